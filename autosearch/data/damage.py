"""What is wrong with an image file, in words, and what Pillow decodes although it is damaged."""

from __future__ import annotations

import io
import re
import struct

from PIL import Image, UnidentifiedImageError

__all__ = ["FORMATS", "hidden_damage", "reason"]

# JPEG stands for MPO too, which is what Pillow calls a camera's file of several pictures.
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF")
"""What Pillow is asked to decode."""

_SIGNATURES = (
    re.compile(rb"\xff\xd8(?:\xff|$)"),
    re.compile(rb"\x89PNG"),
    re.compile(rb"GIF8[79]a"),
    re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL),
    re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    re.compile(rb"II\*\0|MM\0\*"),
)
_END_OF_PNG = b"IEND\xaeB`\x82"
_END_OF_GIF = b"\0;"

_SCAN_MARKER = re.compile(rb"\xff+([^\0\xff])", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE, _RESTART = 0xDA, 0xD9, range(0xD0, 0xD8)
# Tables, comments and applications' segments, which may stand between the scans of one picture.
_BETWEEN_SCANS = frozenset((0xC4, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)))
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}


def hidden_damage(contents: bytes) -> str | None:
    """What is wrong with a file whose picture Pillow decodes without a word.

    Of a JPEG, which has no checksums, only damage to the order of its markers shows.

    Args:
        contents: A file that Pillow decoded.

    Returns:
        The reason, or None.
    """
    if contents.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(contents), formats=("PNG",)) as image:
            image.verify()  # Decoding alone overlooks wrong checksums.
    if contents.startswith((b"\x89PNG", b"GIF8")):
        return _truncated("its end is missing") if _ends_early(contents) else None
    if contents.startswith(b"\xff\xd8"):
        return _jpeg_damage(contents)
    return None


def reason(contents: bytes, error: Exception) -> str:
    """Why a file cannot be used.

    Args:
        contents: All of it, which is not empty.
        error: What Pillow raised.
    """
    if not any(signature.match(contents) for signature in _SIGNATURES):
        return "not an image: its contents are none of JPEG, PNG, BMP, GIF, WebP and TIFF"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        text = _why_unidentified(contents)
    if "too large" in text:
        return f"too large: {text}"
    if isinstance(error, EOFError) or "truncated" in text.lower() or _ends_early(contents):
        return _truncated(text)
    return f"damaged: {text}"


def _truncated(text: str) -> str:
    return f"truncated: the file ends too early ({text})"


def _why_unidentified(contents: bytes) -> str:
    """What the PNG plugin has against it; Pillow keeps that to itself."""
    if contents.startswith(b"\x89PNG"):
        try:
            Image.OPEN["PNG"][0](io.BytesIO(contents), "")
        except Exception as error:
            return " ".join(str(error).split())
    return "it begins like an image and cannot be read as one"


def _ends_early(contents: bytes) -> bool:
    """Whether a broken file lacks what its format ends with, or is shorter than it says."""
    size = len(contents)
    if contents.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in contents[-64:]
    if contents.startswith(b"\x89PNG"):
        return _END_OF_PNG not in contents
    if contents.startswith(b"GIF8"):
        return _END_OF_GIF not in contents.rstrip(b"\0")[-64:]
    if contents.startswith(b"RIFF"):
        return size < 8 + int.from_bytes(contents[4:8], "little")
    if contents.startswith(b"BM"):
        return size < int.from_bytes(contents[2:6], "little")
    return _tiff_ends_early(contents)


def _tiff_ends_early(contents: bytes) -> bool:
    """Whether a directory of a TIFF file, or what one points to, lies behind the file's end."""
    order = "<" if contents[:1] == b"I" else ">"
    seen: set[int] = set()
    try:
        (directory,) = struct.unpack_from(f"{order}I", contents, 4)
        while directory and directory not in seen:
            seen.add(directory)
            (entries,) = struct.unpack_from(f"{order}H", contents, directory)
            for index in range(entries):
                _, kind, count, at = struct.unpack_from(
                    f"{order}HHII", contents, directory + 2 + 12 * index
                )
                num_bytes = count * _TIFF_SIZES.get(kind, 0)
                if num_bytes > 4 and at + num_bytes > len(contents):
                    return True
            (directory,) = struct.unpack_from(f"{order}I", contents, directory + 2 + 12 * entries)
    except struct.error:
        return True
    return False


def _jpeg_damage(contents: bytes) -> str | None:
    """Markers that no JPEG has where they are: the decoder goes on in grey after them."""
    at = _first_scan(contents)
    restart = 0
    while at is not None:
        marker = _SCAN_MARKER.search(contents, at)
        if marker is None and _ends_early(contents):
            return _truncated("its end is missing")
        if marker is None:  # There is an end, so a segment in the data led astray.
            return "damaged: a segment in the middle of its data"
        code = marker[1][0]
        at = marker.end()
        if code == _END_OF_IMAGE:
            rest = contents[at:].rstrip(b"\0")
            if rest.endswith(b"\xff\xd9") and b"\xff\xd8\xff" not in rest:
                return "damaged: an end of the picture in the middle of its data"
            return None
        if code in _RESTART and code - _RESTART.start == restart:
            restart = (restart + 1) % len(_RESTART)
        elif code == _START_OF_SCAN or code in _BETWEEN_SCANS:
            restart = 0 if code == _START_OF_SCAN else restart
            at += int.from_bytes(contents[at : at + 2], "big")
        else:
            return f"damaged: the JPEG marker FF{code:02X} in the middle of its data"
    return None


def _first_scan(contents: bytes) -> int | None:
    """Where the data of the first scan begin; None if the segments before it are unusual."""
    at = 2
    while contents[at : at + 1] == b"\xff":
        code = contents[at + 1]
        if code == 0xFF:  # Any marker may be padded so.
            at += 1
            continue
        at += 2 + int.from_bytes(contents[at + 2 : at + 4], "big")
        if code == _START_OF_SCAN:
            return at
    return None
