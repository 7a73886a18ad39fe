"""Files as people bring them: of every mode, turned, broken, or no images at all."""

import io
import os
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from autosearch.data import ImageFolder, prepare, prepare_all
from autosearch.data import photos as photos_module
from autosearch.data.photos import Photos, decode, examine, examine_all, prepare_images
from autosearch.errors import DefinitionError, NotFoundError, StudyError


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", s) for s in ("jpg", "png", "bmp", "gif", "webp", "tiff")]
    + [("L", s) for s in ("jpeg", "png", "bmp", "gif", "tif")]
    + [("RGBA", "png"), ("RGBA", "webp"), ("LA", "png"), ("P", "png"), ("CMYK", "jpg")]
    + [("CMYK", "tif"), ("1", "png"), ("1", "tif"), ("I;16", "png"), ("I;16", "tif")],
)
def test_every_format_and_mode_is_decoded(tmp_path, make_scene, mode, suffix):
    grey = np.asarray(make_scene(1).convert("L"))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = make_scene(1).convert("L" if mode == "LA" else "RGB").convert(mode)
    path = tmp_path / f"some.{suffix}"
    image.save(path)
    found = examine(path)
    assert found.problem is None
    assert (found.width, found.height) == (40, 30)
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape[:2] == (30, 40)
    if mode != "1":
        luma = pixels.astype(float).mean(axis=-1)
        is_grey = mode in ("L", "LA", "I;16")
        reference = grey if is_grey else np.asarray(make_scene(1), float).mean(axis=-1)
        assert np.corrcoef(luma.ravel(), reference.ravel())[0, 1] > 0.97


def test_an_image_turned_by_exif_comes_out_upright(tmp_path, make_scene):
    upright = make_scene(2, size=(40, 20))
    for orientation, turn in (
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (5, Image.Transpose.TRANSPOSE),
    ):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.png"
        upright.transpose(turn).save(path, exif=exif)
        assert np.array_equal(decode(path), np.asarray(upright))
        found = examine(path)
        assert (found.width, found.height) == (40, 20)
        plain = tmp_path / "plain.png"
        upright.save(plain)
        assert np.abs(np.subtract(*(np.frombuffer(p.luma, np.uint8).astype(int)
                                    for p in (found, examine(plain))))).max() <= 1  # fmt: skip


def test_transparent_pixels_are_black(tmp_path):
    image = np.full((2, 2, 4), 200, np.uint8)
    image[0, 0, 3] = 0
    image[1:, :, 3] = 255
    Image.fromarray(image).save(tmp_path / "some.png")
    assert decode(tmp_path / "some.png")[0, 0].tolist() == [0, 0, 0]
    assert decode(tmp_path / "some.png")[1, 1].tolist() == [200, 200, 200]


def bad_checksum(image):
    contents = bytearray(encoded(image, "PNG"))
    contents[contents.index(b"IDAT") - 20] ^= 0xFF  # within the header's checksum
    return bytes(contents)


def huge_header(image):
    contents = bytearray(encoded(image, "BMP"))
    contents[18:26] = (50_000).to_bytes(4, "little") * 2
    return bytes(contents)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda image: b"", "empty: 0 bytes"),
        (lambda image: b"hello, I am no image\n" * 9, "not an image"),
        (lambda image: b"<!DOCTYPE html><html></html>", "not an image"),
        (lambda image: bytes(500), "not an image"),
        (lambda image: encoded(image, "JPEG")[:-400], "truncated"),
        (lambda image: encoded(image, "JPEG")[:100], "truncated"),
        (lambda image: encoded(image, "PNG")[:-200], "truncated"),
        (lambda image: encoded(image, "GIF")[:-300], "truncated"),
        (lambda image: encoded(image, "BMP")[:-300], "truncated"),
        (lambda image: encoded(image, "WEBP")[:-100], "truncated"),
        (lambda image: encoded(image, "TIFF")[:-300], "truncated"),
        (lambda image: encoded(image, "TIFF", compression="tiff_lzw")[:200], "truncated"),
        (bad_checksum, "damaged"),
        (lambda image: encoded(image, "JPEG", progressive=True)[:600], "truncated"),
        (lambda image: encoded(image, "GIF")[:8], "truncated"),
        (lambda image: encoded(image, "PNG")[:-12], "truncated"),
        (huge_header, "too large"),
        (lambda image: encoded(image.convert("F"), "TIFF"), "unknown scale: its pixels are float"),
        (
            lambda image: encoded(Image.fromarray(np.array([[0, 65536]], np.int32)), "TIFF"),
            "unknown scale: its pixels are integers from 0 to 65536",
        ),
        (lambda image: encoded(Image.new("1", (9000, 8000)), "PNG"), "too large: 9000 × 8000"),
        (lambda image: encoded(Image.new("1", (15000, 13000)), "PNG"), "too large"),
    ],
)
def test_what_cannot_be_used_has_its_reason(tmp_path, make_scene, make, reason):
    path = tmp_path / "some.jpg"
    path.write_bytes(make(make_scene(1)))
    (found,) = examine_all([path])
    assert found.problem is not None
    assert any(found.problem.startswith(start) for start in reason.split("|")), found.problem


def test_what_is_no_file_or_endless_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**36)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    names = ("pipe.jpg", "gone.jpg", "sparse.jpg")
    pipe, gone, sparse = examine_all([tmp_path / name for name in names])
    assert sparse.problem == "too large: 68,719,476,736 bytes"
    assert pipe.problem.startswith("not a file")
    assert gone.problem.startswith("missing")


def test_an_image_under_another_formats_name_is_used(tmp_path, make_scene):
    (tmp_path / "some.jpg").write_bytes(encoded(make_scene(1), "PNG"))
    assert examine(tmp_path / "some.jpg").problem is None


def test_damaged_exif_makes_no_damaged_picture(tmp_path, make_scene):
    make_scene(1).save(tmp_path / "some.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff junk")
    assert examine(tmp_path / "some.jpg").problem is None
    assert decode(tmp_path / "some.jpg").shape == (30, 40, 3)


@pytest.mark.parametrize(
    "entries",
    [
        [(0x0112, 3, b"\6\0\0\0"), (0x011A, 2, b"72\0\0")],  # XResolution as text
        [(0x0100, 9, struct.pack("<i", -5)), (0x0112, 3, b"\6\0\0\0")],  # a width below 0
    ],
)
def test_exif_that_cannot_be_written_back_turns_a_photo_in_training_and_in_use(
    tmp_path, make_scene, entries
):
    directory = [struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in entries]
    header = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries))
    path = tmp_path / "some.jpg"
    make_scene(1).save(path, exif=header + b"".join(directory) + bytes(4))
    found = examine(path)
    assert (found.problem, found.width, found.height) == (None, 30, 40)
    words = {"size": 16, "color": "rgb", "resize": "bilinear", "fit": "pad"}
    trained_on = prepare_images(Photos([path]), words)[0]
    with Image.open(path) as image:
        assert np.array_equal(prepare(image, **words), trained_on)


@pytest.mark.parametrize("name", ["photos.py", "damage.py", "images.py"])
def test_a_finding_holds_for_the_code_that_made_it(tmp_path, monkeypatch, name):
    names = ("photos.py", "damage.py", "images.py")
    for other in names:
        (tmp_path / other).write_text("")
    files = SimpleNamespace(files=lambda package: tmp_path)
    monkeypatch.setattr(photos_module, "resources", files)
    before = photos_module._recipe.__wrapped__()
    (tmp_path / name).write_text("# changed")
    assert photos_module._recipe.__wrapped__() != before


def test_photos_are_a_sequence(photos):
    paths = sorted(photos.rglob("*.png"))
    images = Photos(paths)
    assert len(images) == 30
    assert len(images[4:9]) == 5
    assert np.array_equal(images[4:9][-1], images[8])
    assert [i.tolist() for i in images] == [decode(path).tolist() for path in paths]
    with pytest.raises(IndexError):
        images[30]


def test_photos_wait_for_others_only_when_they_are_small(photos, monkeypatch):
    sizes, in_parallel = [], photos_module.in_parallel

    def noted(function, values):
        for result in in_parallel(function, values):
            sizes.append(np.size(result))
            yield result

    monkeypatch.setattr(photos_module, "in_parallel", noted)
    images = Photos(sorted((photos / "cat").iterdir()))
    words = {"size": 4, "color": "rgb", "resize": "box", "fit": "crop"}
    pixels = prepare_images(images, words)
    assert max(sizes) == 4 * 4 * 3
    assert np.array_equal(pixels, prepare_all([*images], **words))


def test_a_photo_that_vanished_ends_in_a_sentence(photos):
    images, _ = ImageFolder(photos).load("train")
    for path in photos.rglob("*.png"):
        path.unlink()
    with pytest.raises(StudyError, match="no longer can"):
        list(images)


def test_broken_and_stray_files_are_left_out_of_a_folder(photos):
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "cat" / "notes.txt").write_text("hello")
    (photos / "cat" / ".hidden.png").write_bytes(b"")
    (photos / "dog" / "Thumbs.db").write_bytes(b"x")
    (photos / ".git").mkdir()
    (photos / ".git" / "x.png").write_bytes(b"x")
    (photos / "stray.png").write_bytes(b"x")
    dataset = ImageFolder(photos)
    assert sum(dataset.split_counts().values()) == 30
    assert [path for path, _ in dataset.survey.unusable] == ["cat/broken.jpg"]
    assert set(dataset.listing.ignored) == {
        "cat/notes.txt", "cat/.hidden.png", "dog/Thumbs.db", ".git/x.png", "stray.png"
    }  # fmt: skip


def test_an_empty_class_and_one_too_small_are_named(photos, fill_folder):
    (photos / "newt").mkdir()
    with pytest.raises(DefinitionError, match=r'class "newt".*0 usable'):
        ImageFolder(photos).load("train")
    fill_folder(photos, {"newt": 2}, start=500)
    with pytest.raises(DefinitionError, match='class "newt" has 2 usable images, too few'):
        ImageFolder(photos).load("train")


def test_a_class_of_one_picture_many_times_is_refused(photos, make_scene):
    (photos / "newt").mkdir()
    for index in range(6):
        make_scene(999).save(photos / "newt" / f"{index}.png")
    with pytest.raises(DefinitionError, match='class "newt" has 6 images that belong together'):
        ImageFolder(photos).load("train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group": "("}, "no regular expression"),
        ({"split_seed": -1}, "split_seed"),
        ({"fractions": (0.9, 0.2, 0.1)}, "fractions"),
        ({"fractions": "abc"}, "fractions"),
        ({"fractions": 0.8}, "fractions"),
        ({"max_pixels": "many"}, "max_pixels"),
        ({"group": 3}, "no regular expression"),
        ({"max_pixels": 10**10}, "max_pixels"),
        ({"known_sides": {"a": "holdout"}}, "holdout"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(photos, arguments, message):
    with pytest.raises(DefinitionError, match=message):
        ImageFolder(photos, **arguments)


def test_a_folder_that_is_missing_or_has_no_classes_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="there is no folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(DefinitionError, match="0 sub-folders for classes"):
        ImageFolder(tmp_path)


def test_links_that_go_round_in_circles_end(photos):
    (photos / "cat" / "loop").symlink_to(photos, target_is_directory=True)
    (photos / "cat" / "self.png").symlink_to(photos / "cat" / "self.png")
    (photos / "dog" / "folder.png").mkdir()
    survey = ImageFolder(photos).survey
    assert len(survey.sources) == 30
    assert [path for path, _ in survey.unusable] == ["cat/self.png"]
