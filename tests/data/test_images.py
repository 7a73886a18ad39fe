import ast
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from autosearch.data import images as module
from autosearch.data.images import prepare, prepare_all

WORDS = {"size": 8, "color": "rgb", "resize": "bilinear", "fit": "stretch"}


def noise(*shape):
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


@given(
    size=st.integers(1, 40),
    color=st.sampled_from(["rgb", "greyscale"]),
    resize=st.sampled_from(["nearest", "box", "bilinear", "bicubic", "lanczos"]),
    fit=st.sampled_from(["stretch", "crop", "pad"]),
)
@settings(max_examples=40)
def test_what_has_the_right_shape_comes_back_bit_for_bit(size, color, resize, fit):
    image = noise(size, size, 3 if color == "rgb" else 1)
    prepared = prepare(image, size=size, color=color, resize=resize, fit=fit)
    assert prepared is image
    from_file = prepare(
        Image.fromarray(image if color == "rgb" else image[..., 0]),
        size=size, color=color, resize=resize, fit=fit,
    )  # fmt: skip
    assert np.array_equal(from_file, image)


@pytest.mark.parametrize("color", ["rgb", "greyscale"])
@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "I;16"]
)
def test_every_mode_of_pillow_becomes_pixels(mode, color):
    image = Image.new(mode, (12, 9))
    prepared = prepare(image, **{**WORDS, "color": color})
    assert prepared.shape == (8, 8, 3 if color == "rgb" else 1)
    assert prepared.dtype == np.uint8


@pytest.mark.parametrize("color", ["rgb", "greyscale"])
def test_floating_point_pixels_are_refused(color):
    image = Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4))
    with pytest.raises(ValueError, match="whose scale is not known; convert it to 8 or 16 bits"):
        prepare(image, **{**WORDS, "color": color})


def test_sixteen_bits_are_scaled_to_eight():
    image = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))
    prepared = prepare(image, size=2, color="greyscale", resize="nearest", fit="stretch")
    assert prepared[..., 0].tolist() == [[0, 100], [200, 255]]


def test_transparent_pixels_are_black_and_half_transparent_ones_half():
    image = noise(2, 2, 4)
    image[..., :3], image[..., 3] = 200, [[255, 0], [128, 0]]
    for given_image in (image, Image.fromarray(image)):
        prepared = prepare(given_image, **{**WORDS, "size": 2})
        assert prepared[..., 0].tolist() == [[200, 0], [100, 0]]


def test_a_palette_with_a_transparent_entry_is_black_there():
    image = Image.new("P", (2, 1))
    image.putpalette([250, 0, 0, 0, 250, 0])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = 0
    prepared = prepare(image, size=2, color="rgb", resize="nearest", fit="stretch")
    assert prepared[0].tolist() == [[0, 0, 0], [0, 250, 0]]


def test_exif_orientation_turns_the_image_upright(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0, :] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        prepared = prepare(image, **WORDS)
    assert np.all(prepared[:, -1] == 255)
    assert not prepared[:, :-1].any()


def test_padding_centres_on_black():
    prepared = prepare(np.full((2, 4, 1), 9, np.uint8), size=4, color="greyscale",
                       resize="nearest", fit="pad")  # fmt: skip
    assert prepared[..., 0].tolist() == [[0] * 4, [9] * 4, [9] * 4, [0] * 4]


def test_cropping_takes_the_central_square():
    image = np.arange(12, dtype=np.uint8).reshape(2, 6, 1)
    prepared = prepare(image, size=2, color="greyscale", resize="nearest", fit="crop")
    assert prepared[..., 0].tolist() == [[2, 3], [8, 9]]


def test_stretching_uses_the_whole_image():
    image = np.repeat(np.array([[0, 100, 200]], np.uint8), 6, axis=0)
    prepared = prepare(image, size=3, color="greyscale", resize="box", fit="stretch")
    assert prepared[..., 0].tolist() == [[0, 100, 200]] * 3


def test_grey_pixels_keep_their_value_in_colour_and_back():
    grey = noise(5, 5, 1)
    rgb = prepare(grey, size=5, color="rgb", resize="nearest", fit="stretch")
    assert np.array_equal(rgb, np.repeat(grey, 3, axis=-1))
    again = prepare(rgb, size=5, color="greyscale", resize="nearest", fit="stretch")
    assert np.array_equal(again, grey)


def test_preparing_all_equals_preparing_each():
    images = [noise(5, 9, 3), noise(20, 6, 1), noise(8, 8, 3)]
    together = prepare_all(images, **{**WORDS, "fit": "crop"})
    assert together.shape == (3, 8, 8, 3)
    for image, prepared in zip(images, together, strict=True):
        assert np.array_equal(prepare(image, **{**WORDS, "fit": "crop"}), prepared)
    assert prepare_all(together, **WORDS) is together


@pytest.mark.parametrize(
    ("words", "message"),
    [({"color": "blue"}, "color"), ({"resize": "cubic"}, "resize"), ({"fit": "squash"}, "fit")],
)
def test_an_unknown_word_is_refused(words, message):
    with pytest.raises(ValueError, match=f"{message}.*is not known"):
        prepare(noise(9, 9, 3), **{**WORDS, **words})


@pytest.mark.parametrize("image", [noise(4, 4, 3) / 255, noise(4, 4, 2), noise(4)])
def test_an_array_that_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="expected uint8"):
        prepare(image, **WORDS)


def test_the_source_runs_by_itself_with_numpy_and_pillow():
    source = inspect.getsource(module)
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"typing", "numpy", "PIL"}
    space = {}
    exec("first = 1\n" + source, space)  # a bundle has other code before it
    image = noise(11, 7, 3)
    assert np.array_equal(space["prepare"](image, **WORDS), prepare(image, **WORDS))
    turned = Image.fromarray(image)
    turned.getexif()[0x0112] = 6
    upright = np.rot90(image, -1)
    assert np.array_equal(space["prepare"](turned, **WORDS), prepare(upright, **WORDS))


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_integers_of_another_scale_are_refused(value):
    image = Image.fromarray(np.array([[0, value]], np.int32))
    with pytest.raises(ValueError, match="whose scale is not known; convert it to 8 or 16 bits"):
        prepare(image, **WORDS)
