"""Preparing an image for a network: colours, shape and size, with Pillow's resampling.

Training and the exported predict.py run this very text, so that a network sees in use what it
saw in training. It needs NumPy and Pillow only.
"""

from typing import Any

import numpy as np
from PIL import Image, ImageOps

__all__ = ["prepare", "prepare_all", "prepare_upright"]

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each orientation upright."""


def prepare(
    image: np.ndarray | Image.Image, *, size: int, color: str, resize: str, fit: str
) -> np.ndarray:
    """Turns any image into the pixels that a network takes.

    A Pillow image is first turned upright by its EXIF orientation. Transparent pixels become
    black, as padding is. Pixels of 16 bits are scaled to 8. An array that has the right size and
    channels already comes back as it is, bit for bit.

    Args:
        image: A Pillow image of any mode but "F", or a uint8 array (h, w), (h, w, 1), (h, w, 3)
            or, with transparency, (h, w, 4).
        size: Height and width of the result, in pixels.
        color: "rgb" (3 channels) or "greyscale" (1 channel, ITU-R 601-2 luma).
        resize: "nearest", "box", "bilinear", "bicubic" or "lanczos".
        fit: What makes it square: "stretch" changes the proportions, "crop" takes the central
            square, "pad" centres it on black.

    Returns:
        A uint8 array (size, size, channels).

    Raises:
        ValueError: A word is not known, the array is no image, or the pixels are floating-point
            numbers.
    """
    check_words(color, resize, fit)
    if not isinstance(image, np.ndarray):
        return prepare_upright(upright(image), size=size, color=color, resize=resize, fit=fit)
    image = check_array(image)
    if image.shape == (size, size, 3 if color == "rgb" else 1):
        return image
    image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return prepare_upright(image, size=size, color=color, resize=resize, fit=fit)


def prepare_upright(
    image: Image.Image, *, size: int, color: str, resize: str, fit: str
) -> np.ndarray:
    """As ``prepare``, for a Pillow image whose orientation nothing more is to be done about."""
    check_words(color, resize, fit)
    image = to_square(to_color(image, color), fit)
    if image.size != (size, size):
        image = image.resize((size, size), RESAMPLING[resize])
    channels = 3 if color == "rgb" else 1
    return np.array(image, dtype=np.uint8).reshape(size, size, channels)


def prepare_all(images: Any, *, size: int, color: str, resize: str, fit: str) -> np.ndarray:
    """Prepares many images.

    Args:
        images: A uint8 array (n, h, w, c), or any sequence of what ``prepare`` takes.
        size: As for ``prepare``, and so are color, resize and fit.
        color: See ``prepare``.
        resize: See ``prepare``.
        fit: See ``prepare``.

    Returns:
        A uint8 array (n, size, size, channels); the given one if it is that already.
    """
    channels = 3 if color == "rgb" else 1
    shape = (len(images), size, size, channels)
    if isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.shape == shape:
        return images
    prepared = np.empty(shape, np.uint8)
    for index, image in enumerate(images):
        prepared[index] = prepare(image, size=size, color=color, resize=resize, fit=fit)
    return prepared


def check_words(color: str, resize: str, fit: str) -> None:
    """Refuses a word that is not known."""
    if color not in ("rgb", "greyscale"):
        raise ValueError(f'color "{color}" is not known; expected "rgb" or "greyscale"')
    if resize not in RESAMPLING:
        raise ValueError(f'resize "{resize}" is not known; expected one of {sorted(RESAMPLING)}')
    if fit not in ("stretch", "crop", "pad"):
        raise ValueError(f'fit "{fit}" is not known; expected "stretch", "crop" or "pad"')


def check_array(array: np.ndarray) -> np.ndarray:
    """The array as (h, w, channels)."""
    if array.ndim == 2:
        array = array[..., np.newaxis]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"the image is {array.dtype} of shape {array.shape}; expected uint8 of shape "
            "(h, w), (h, w, 1), (h, w, 3) or (h, w, 4)"
        )
    return array


def read_exif(image: Image.Image) -> Image.Exif:
    """The image's EXIF data; none where it is damaged, which makes no damaged picture."""
    try:
        return image.getexif()
    except Exception:  # Pillow answers damaged bytes with almost any.
        return Image.Exif()


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says."""
    image.load()
    turn = TURNS.get(read_exif(image).get(ORIENTATION, 1))
    if turn is None:
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # It turns the pixels, then fails to write damaged EXIF back.
        return image.transpose(turn)


def of_unknown_scale(image: Image.Image) -> str | None:
    """What an image's pixels are, if nobody can tell which of them is white; None otherwise."""
    if image.mode == "F":  # White may be 1, 255, 65535 or anything else.
        return "floating-point numbers"
    if image.mode == "I":
        low, high = np.ravel(image.getextrema()).tolist()
        return None if low >= 0 and high <= 65535 else f"integers from {low} to {high}"
    return None


def to_color(image: Image.Image, color: str) -> Image.Image:
    """The image in mode RGB or L, whatever its own mode.

    Raises:
        ValueError: Its pixels are floating-point numbers, or integers of more than 16 bits.
    """
    pixels = of_unknown_scale(image)
    if pixels is not None:
        raise ValueError(
            f"its pixels are {pixels} whose scale is not known; convert it to 8 or 16 bits"
        )
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip rather than scale
        wide = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    if image.mode == ("RGB" if color == "rgb" else "L"):
        return image
    if color == "rgb":
        return image.convert("RGB")
    # Palettes, CMYK and the like have a luma by way of RGB only.
    return image.convert("L") if image.mode == "1" else image.convert("RGB").convert("L")


def to_square(image: Image.Image, fit: str) -> Image.Image:
    """The image cropped or padded to a square; "stretch" leaves that to the resizing."""
    width, height = image.size
    if fit == "stretch" or width == height:
        return image
    side = min(width, height) if fit == "crop" else max(width, height)
    left, top = (side - width) // 2, (side - height) // 2
    square = Image.new(image.mode, (side, side))
    square.paste(image, (left, top))
    return square
