"""Files that Pillow decodes without a word, or refuses with a wrong one."""

import io

import pytest

from autosearch.data.photos import examine


@pytest.fixture
def encoded(make_scene):
    def encode(file_format, *, pictures=1, **options):
        first, *others = [make_scene(seed, size=(80, 60)) for seed in range(pictures)]
        if others:
            options |= {"save_all": True, "append_images": others}
        buffer = io.BytesIO()
        first.save(buffer, file_format, **options)
        return buffer.getvalue()

    return encode


def problem(tmp_path, contents):
    path = tmp_path / "some.jpg"
    path.write_bytes(contents)
    return examine(path).problem


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("GIF", {"pictures": 3}),
        ("PNG", {"pictures": 3}),
        ("WEBP", {"pictures": 3}),
        ("TIFF", {"pictures": 3}),
        ("MPO", {"pictures": 3}),
    ],
)
def test_a_file_cut_anywhere_is_truncated(tmp_path, encoded, file_format, options):
    whole = encoded(file_format, **options)
    assert problem(tmp_path, whole) is None
    without_padding = len(whole.rstrip(b"\0"))  # The pictures of a TIFF file are padded.
    for kept in (without_padding - 1, len(whole) - 5, len(whole) - 20, len(whole) * 2 // 3, 30):
        assert problem(tmp_path, whole[:kept]).startswith("truncated: "), kept


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_bytes_after_the_end_do_no_harm(tmp_path, encoded, file_format):
    for more in (b"\0" * 100, b"appended by a telephone"):
        assert problem(tmp_path, encoded(file_format) + more) is None


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (b"\xff\xd9", "damaged: an end of the picture in the middle of its data"),
        (b"\xff\x07", "damaged: broken data stream when reading image file"),
        (b"\xff\xd5", "damaged: the JPEG marker FFD5 in the middle of its data"),
        (b"\xff" * 8 + b"\xe5\xff\xfe", "damaged: a segment in the middle of its data"),
    ],
)
def test_markers_amid_the_data_of_a_jpeg_are_damage(tmp_path, encoded, planted, reason):
    contents = bytearray(encoded("JPEG", quality=95))
    at = len(contents) * 3 // 4
    contents[at : at + len(planted)] = planted
    assert problem(tmp_path, bytes(contents)) == reason


@pytest.mark.parametrize(
    "options",
    [
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 1, "quality": 95},
        {"progressive": True, "restart_marker_blocks": 3},
        {"optimize": True, "comment": b"\xff\xda no scan \xff\xd9"},
    ],
)
def test_markers_where_they_belong_are_none(tmp_path, encoded, options):
    assert problem(tmp_path, encoded("JPEG", **options)) is None


@pytest.mark.parametrize(
    "contents",
    [
        b"BMW makes cars, and this is a text about them" * 3,
        b"GIF8 is how this text begins",
        b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 300,
    ],
)
def test_what_begins_a_little_like_an_image_is_none(tmp_path, contents):
    assert problem(tmp_path, contents).startswith("not an image: ")


def test_a_png_of_bad_checksums_says_which(tmp_path, encoded):
    contents = bytearray(encoded("PNG"))
    contents[30] ^= 0xFF
    reason = "damaged: broken PNG file (bad header checksum in b'IHDR')"
    assert problem(tmp_path, bytes(contents)) == reason


def test_a_text_that_unpacks_to_very_much_is_too_large(tmp_path, make_scene):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Comment", "a" * 8_000_000, zip=True)
    make_scene(0).save(tmp_path / "some.png", pnginfo=text)
    assert examine(tmp_path / "some.png").problem.startswith("too large: ")
