"""Image files: looking at each one once, and decoding them when they are asked for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image

from autosearch.data.damage import FORMATS, hidden_damage, reason
from autosearch.data.findings import keep_findings, known_findings
from autosearch.data.images import (
    ORIENTATION,
    TURNS,
    of_unknown_scale,
    prepare_all,
    prepare_upright,
    read_exif,
    to_color,
    upright,
)
from autosearch.errors import StudyError

__all__ = [
    "IMAGE_SUFFIXES",
    "LARGEST_MAX_PIXELS",
    "MAX_PIXELS",
    "Photo",
    "Photos",
    "decode",
    "examine",
    "examine_all",
    "in_parallel",
    "open_image",
    "open_usable",
    "prepare_images",
]

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
)
"""The endings, in lower case, of what is taken for an image file."""

MAX_PIXELS = 64_000_000
"""The largest image that is decoded by default: 256 MB as RGBA."""

LARGEST_MAX_PIXELS = 178_956_970
"""Pillow itself refuses anything larger as a decompression bomb."""

_GREY_MODES = ("1", "L", "LA", "La")

# Four channels of 16 bits, uncompressed, and what may stand before them.
_BYTES_PER_PIXEL, _LARGEST_HEADER = 8, 64_000_000

# Larger ones are decoded one at a time, or memory would grow with the number of cores.
_LARGE_PIXELS = 12_000_000
_large = threading.Lock()

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Photo:
    """What one look at an image file found.

    Attributes:
        sha256: Of the file's bytes; "" if they could not be read.
        problem: Why it cannot be used; None if it can.
        width: In pixels, turned upright by EXIF; 0 if it cannot be used, as is the rest.
        height: In pixels.
        mode: Pillow's mode of the file, such as "RGB" or "CMYK".
        luma: 18 × 16 bytes of its luma, by rows: what near duplicates are found by.
        taken: When it was taken, as a POSIX time without a time zone, if EXIF says so.
        camera: What took it, if EXIF says so.
    """

    sha256: str
    problem: str | None = None
    width: int = 0
    height: int = 0
    mode: str = ""
    luma: bytes = b""
    taken: float | None = None
    camera: str = ""


_seen: dict[tuple[str, str], Photo] = {}

# A file that was just written may be written again without a change of its times.
_SETTLED_NS = 2_000_000_000


def examine_all(paths: Sequence[Path], *, max_pixels: int = MAX_PIXELS) -> list[Photo]:
    """Examines many files, on all cores; an unchanged one that is usable only once.

    What was found is kept for other processes too. It holds while a file's size, inode and times
    of change are what they were.

    Args:
        paths: The files.
        max_pixels: As for ``examine``.

    Returns:
        One finding for each path, in their order.
    """
    keys = [(str(path.absolute()), _stamp(path, max_pixels)) for path in paths]
    unseen = {name: stamp for name, stamp in keys if stamp and (name, stamp) not in _seen}
    for name, text in known_findings(list(unseen.items())).items():
        finding = json.loads(text)
        photo = Photo(**{**finding, "luma": bytes.fromhex(finding["luma"])})
        _seen[name, unseen.pop(name)] = photo

    def look(key: tuple[str, str]) -> Photo:
        if key not in _seen or not key[1]:
            _seen[key] = examine(Path(key[0]), max_pixels=max_pixels)
        return _seen[key]

    with warnings.catch_warnings():
        # What Pillow warns of is either decoded all the same or reported as a problem.
        warnings.simplefilter("ignore")
        photos = list(in_parallel(look, keys))
    keep_findings(
        (name, stamp, json.dumps({**asdict(photo), "luma": photo.luma.hex()}))
        for (name, stamp), photo in zip(keys, photos, strict=True)
        if photo.problem is None and name in unseen and _is_settled(Path(name), stamp, max_pixels)
    )
    return photos


def _stamp(path: Path, max_pixels: int) -> str:
    """What a finding depends on; "" if the file's state cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return ""
    # The time of the last change of its state (ctime) cannot be set, unlike that of its contents.
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{_recipe()} {max_pixels} {status.st_size} {status.st_ino} {times}"


def _is_settled(path: Path, stamp: str, max_pixels: int) -> bool:
    """Whether a file is as it was before it was examined, and not so young as to hide a change."""
    if _stamp(path, max_pixels) != stamp:
        return False
    changed_ns, state_changed_ns = map(int, stamp.split()[-2:])
    return max(changed_ns, state_changed_ns) < time.time_ns() - _SETTLED_NS


@lru_cache(maxsize=1)
def _recipe() -> str:
    """What decides a finding besides the file: this very code and Pillow's version."""
    here = resources.files("autosearch.data")
    names = ("photos.py", "damage.py", "images.py")
    texts = [here.joinpath(name).read_text("utf-8") for name in names]
    return hashlib.sha256("\n".join([PIL.__version__, *texts]).encode()).hexdigest()[:8]


def examine(path: Path, *, max_pixels: int = MAX_PIXELS) -> Photo:
    """Reads and decodes one file, and says what it is or why it cannot be used.

    Args:
        path: The file.
        max_pixels: An image of more pixels is not decoded.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Photo("", "not a file: reading it could take for ever")
        if status.st_size > _LARGEST_HEADER + _BYTES_PER_PIXEL * max_pixels:
            return Photo("", f"too large: {status.st_size:,} bytes")
        contents = path.read_bytes()
    except FileNotFoundError:
        return Photo("", "missing: there is no such file")
    except OSError as error:
        return Photo("", f"unreadable: {error.strerror or error}")
    sha256 = hashlib.sha256(contents).hexdigest()
    if not contents:
        return Photo(sha256, "empty: 0 bytes")
    try:
        return _look(contents, sha256, max_pixels)
    except Image.DecompressionBombError:
        return Photo(sha256, f"too large: more than {max_pixels:,} pixels")
    except MemoryError:
        return Photo(sha256, "too large: not enough memory to decode it")
    # Pillow's plugins answer damaged bytes with almost any exception.
    except Exception as error:
        return Photo(sha256, reason(contents, error))


def decode(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of a file: upright, on black where transparent, 16 bits scaled to 8.

    Returns:
        uint8 (h, w, 1) if the file is greyscale, otherwise (h, w, 3).

    Raises:
        StudyError: It can no longer be decoded, although it once could.
    """
    image = open_usable(path)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels


def open_usable(path: Path) -> Image.Image:
    """As ``open_image``, for a file that could be read when it was looked at.

    Raises:
        StudyError: It can no longer be decoded.
    """
    try:
        return open_image(path)
    except Exception as error:
        raise StudyError(
            f'"{path}" could be read when the folder was looked at and no longer can '
            f"({type(error).__name__}: {error}); bring it back, or begin anew without it"
        ) from error


def open_image(path: Path) -> Image.Image:
    """The file as an upright Pillow image of mode L or RGB."""
    with _opened(path) as image, _room_for(image):
        turned = upright(image)
        return to_color(turned, "greyscale" if _is_grey(turned) else "rgb")


class Photos(Sequence[npt.NDArray[np.uint8]]):
    """Image files as a sequence of uint8 arrays, each decoded when it is asked for.

    Iterating decodes a few images ahead on all cores; memory holds no more than those.

    Args:
        paths: The files, every one of which ``examine`` found usable.
        sha256s: Of each file's bytes then, if ``check_unchanged`` is to be asked.
        max_pixels: As for ``examine`` then.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sha256s: Sequence[str] = (),
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._paths, self._sha256s = tuple(paths), tuple(sha256s)
        self._max_pixels = max_pixels

    def __repr__(self) -> str:
        return f"Photos({len(self._paths)} files)"

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return self._paths

    @property
    def sha256s(self) -> tuple[str, ...]:
        """Of each file's bytes when it was looked at; empty if that is not known."""
        return self._sha256s

    @overload
    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]: ...

    @overload
    def __getitem__(self, index: slice) -> Photos: ...

    def __getitem__(self, index: int | slice) -> npt.NDArray[np.uint8] | Photos:
        if isinstance(index, slice):
            return self.chosen(range(len(self))[index])
        return decode(self._paths[index])

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        return in_parallel(decode, self._paths)

    def chosen(self, rows: Iterable[int]) -> Photos:
        """Some of the files, in that order."""
        rows = list(rows)
        sha256s = [self._sha256s[row] for row in rows] if self._sha256s else ()
        paths = [self._paths[row] for row in rows]
        return Photos(paths, sha256s, max_pixels=self._max_pixels)

    def check_unchanged(self) -> None:
        """Refuses files whose contents are others by now, and so what was just read of them.

        Those whose size and times of change are what they were are not read again.

        Raises:
            StudyError: One was changed or removed since it was looked at.
        """
        if not self._sha256s:
            return
        found = examine_all(self._paths, max_pixels=self._max_pixels)
        for path, before, photo in zip(self._paths, self._sha256s, found, strict=True):
            if photo.sha256 != before:
                raise StudyError(
                    f'"{path}" has changed since the folder was looked at; bring it back as it '
                    "was, or begin anew with what is there now"
                )


def prepare_images(images: Any, words: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """As ``prepare_all``; of photos no more are in memory as they are than cores work on.

    Args:
        images: What ``prepare_all`` takes, or ``Photos``.
        words: size, color, resize and fit, as for ``prepare``.

    Raises:
        StudyError: A photo can no longer be decoded, or is another than it was.
    """
    pixels: npt.NDArray[np.uint8]
    if not isinstance(images, Photos):
        pixels = prepare_all(images, **words)
        return pixels

    def prepared(path: Path) -> npt.NDArray[np.uint8]:
        small: npt.NDArray[np.uint8] = prepare_upright(open_usable(path), **words)
        return small

    channels = 3 if words["color"] == "rgb" else 1
    pixels = np.empty((len(images), words["size"], words["size"], channels), np.uint8)
    for index, small in enumerate(in_parallel(prepared, images.paths)):
        pixels[index] = small
    images.check_unchanged()
    return pixels


def in_parallel(function: Callable[[_In], _Out], values: Iterable[_In]) -> Iterator[_Out]:
    """What ``map`` answers, a few values ahead in threads: Pillow and hashing free the lock."""
    num_threads = os.cpu_count() or 1
    waiting: deque[Future[_Out]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="autosearch-photos")
    try:
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > 4 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _opened(file: Path | io.BytesIO) -> Image.Image:
    Image.init()  # Until then Pillow knows only some of the formats, and trips over the others.
    return Image.open(file, formats=FORMATS)


def _room_for(image: Image.Image) -> AbstractContextManager[object]:
    return _large if image.width * image.height > _LARGE_PIXELS else nullcontext()


def _look(contents: bytes, sha256: str, max_pixels: int) -> Photo:
    with _opened(io.BytesIO(contents)) as image:
        width, height = image.size
        if width * height > max_pixels:
            return Photo(
                sha256, f"too large: {width} × {height} pixels, more than {max_pixels:,} in all"
            )
        with _room_for(image):
            image.load()
            if (pixels := of_unknown_scale(image)) is not None:
                return Photo(
                    sha256, f"unknown scale: its pixels are {pixels}; convert it to 8 or 16 bits"
                )
            plain = image if image.mode in ("L", "RGB") else to_color(image, "rgb")
            small = plain.resize((36, 36), Image.Resampling.BOX).convert("L")
        mode, exif = image.mode, read_exif(image)
        _try_last_picture(image, max_pixels)
    problem = hidden_damage(contents)
    if problem is not None:
        return Photo(sha256, problem)
    orientation = exif.get(ORIENTATION, 1)
    if orientation in TURNS:
        small = small.transpose(TURNS[orientation])
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    luma = small.resize((18, 16), Image.Resampling.BOX).tobytes()
    return Photo(sha256, None, width, height, mode, luma, *_taken(exif))


def _try_last_picture(image: Image.Image, max_pixels: int) -> None:
    """Raises if a file of several pictures lacks the last of them; only the first is used."""
    if image.format not in ("TIFF", "MPO") or getattr(image, "n_frames", 1) == 1:
        return
    image.seek(image.n_frames - 1)  # type: ignore[attr-defined]
    if image.width * image.height <= max_pixels:
        with _room_for(image):
            image.load()


def _taken(exif: Any) -> tuple[float | None, str]:
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
        text = str(details.get(ExifTags.Base.DateTimeOriginal, "")).strip("\x00 ")
        camera = " ".join(
            str(exif.get(tag, "")).strip("\x00 ")
            for tag in (ExifTags.Base.Make, ExifTags.Base.Model)
        ).strip()
        taken = datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
        return (taken - datetime(1970, 1, 1)).total_seconds(), camera
    except Exception:  # Absent or damaged; either way there is no time to go by.
        return None, ""


def _is_grey(image: Image.Image) -> bool:
    return image.mode in _GREY_MODES or image.mode.startswith("I")
