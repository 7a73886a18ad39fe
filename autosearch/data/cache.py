"""Prepared photos on disk: each decoded and resized once, for all workers and all studies.

An entry holds the images of one split, prepared one way, as a NumPy array file that is mapped
into memory, so that workers share the pages and a set may be larger than what a process may use.
Behind the array stand the CRC-32 of each image: what a power cut or a full disk left incomplete
is found when the entry is opened, and made again. Entries appear under their names whole, and
one process at a time writes; opening takes no lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import PIL
from filelock import FileLock, Timeout

from autosearch.data.dataset import SPLITS, Dataset, Images, Labels
from autosearch.data.decoding import PixelFile, decode_all
from autosearch.data.findings import (
    CACHE_BYTES_VARIABLE,
    CACHE_VARIABLE,
    FINDINGS_FILE,
    cache_root,
    max_cache_bytes,
)
from autosearch.data.images import prepare
from autosearch.data.photos import Photos, prepare_images
from autosearch.errors import DefinitionError, StorageError

__all__ = ["CacheEntry", "ImageCache", "load_prepared", "some_rows"]

_LOGGER = logging.getLogger(__name__)
_CLEAR_PATIENCE_S = 10.0
_DISK_RESERVE_BYTES = 200_000_000  # Left free for the database and the artifacts.
_FOLDER = re.compile(r"[0-9a-f]{64}")
_ENTRY = re.compile(rf"({'|'.join(SPLITS)})-(\d+)-([a-z]+)-([a-z]+)-([a-z]+)-[0-9a-f]{{8}}\.npy")
_PART = ".part"

_Shape: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One split, prepared one way.

    Attributes:
        fingerprint: Of the dataset.
        split: "train", "validation" or "test".
        size: Height and width, in pixels.
        color: "rgb" or "greyscale".
        resize: The filter.
        fit: What made the images square.
        size_bytes: Of the file.
        last_used: When a process last opened it.
        path: The file.
    """

    fingerprint: str
    split: str
    size: int
    color: str
    resize: str
    fit: str
    size_bytes: int
    last_used: datetime
    path: Path


class ImageCache:
    """A folder of prepared images, which may be removed at any time.

    Args:
        root: The folder; by default what ``AUTOSEARCH_CACHE`` names, else the system's place for
            caches, such as ~/.cache/autosearch.
        max_bytes: The most that it holds; what was unused longest goes first. By default what
            ``AUTOSEARCH_CACHE_BYTES`` says, else 20 GB. 0 keeps everything in memory.

    Attributes:
        root: The folder.
        max_bytes: The most that it holds.

    Raises:
        DefinitionError: ``AUTOSEARCH_CACHE_BYTES`` is no number of bytes.
    """

    def __init__(self, root: str | Path | None = None, *, max_bytes: int | None = None) -> None:
        self.root = Path(root).expanduser().absolute() if root else cache_root()
        self.max_bytes = max_cache_bytes() if max_bytes is None else max_bytes

    def prepared(
        self, images: Images, *, fingerprint: str, split: str, preprocessing: Mapping[str, Any]
    ) -> npt.NDArray[np.uint8]:
        """A whole split, prepared: from the cache, which it is put into if it is not there.

        Where it cannot be put there, a warning is logged and the images are in memory.

        Args:
            images: The split as its dataset loads it.
            fingerprint: Of the dataset.
            split: Its name.
            preprocessing: size, color, resize and fit, as for ``prepare``.

        Returns:
            uint8 (n, size, size, channels), mapped into memory; written to, it changes for this
            process alone.

        Raises:
            StudyError: A file can no longer be decoded, or is another than it was.
        """
        channels = 3 if preprocessing["color"] == "rgb" else 1
        shape = (len(images), preprocessing["size"], preprocessing["size"], channels)
        path = self._path(fingerprint, split, preprocessing)
        num_bytes = _file_bytes(shape)
        if num_bytes > self.max_bytes or not len(images):
            if self.max_bytes and len(images):
                _LOGGER.warning(
                    "the images of one split take %.1f GB, more than the image cache may hold "
                    "(%.1f GB): they stay in memory; set %s to allow more",
                    num_bytes / 1e9, self.max_bytes / 1e9, CACHE_BYTES_VARIABLE,
                )  # fmt: skip
            return prepare_images(images, preprocessing)
        found = _opened(path, shape)
        if found is not None:
            return found
        try:
            with self._lock():
                found = _opened(path, shape)  # Another worker may have made it meanwhile.
                if found is None:
                    self._make_room(num_bytes)
                    _make(path, shape, images, preprocessing)
                    found = _opened(path, shape, is_new=True)
        except (OSError, NotImplementedError) as error:
            _LOGGER.warning(
                'the image cache "%s" cannot be written (%s): images are decoded again by every '
                "worker; name another folder with %s",
                self.root, error, CACHE_VARIABLE,
            )  # fmt: skip
        return prepare_images(images, preprocessing) if found is None else found

    def entries(self) -> list[CacheEntry]:
        """What is there, the longest unused first."""
        entries = []
        for path in self._files():
            match = _ENTRY.fullmatch(path.name)
            if match is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                split, size, color, resize, fit = match.groups()
                entries.append(
                    CacheEntry(
                        fingerprint=path.parent.name,
                        split=split,
                        size=int(size),
                        color=color,
                        resize=resize,
                        fit=fit,
                        size_bytes=status.st_size,
                        last_used=datetime.fromtimestamp(status.st_mtime, UTC),
                        path=path,
                    )
                )
        return sorted(entries, key=lambda entry: (entry.last_used, entry.path))

    def held_bytes(self) -> int:
        """What everything in it takes, what is known of the photos included."""
        findings = self.root / FINDINGS_FILE
        known = findings.stat().st_size if findings.is_file() else 0
        return known + sum(entry.size_bytes for entry in self.entries())

    def clear(self) -> int:
        """Removes everything that the cache wrote; workers go on with what they have open.

        Returns:
            The bytes that it held.

        Raises:
            StorageError: It is being written to, or its files cannot be removed.
        """
        if not self.root.is_dir():
            return 0
        try:
            with self._lock(timeout=_CLEAR_PATIENCE_S):
                files = [self.root / FINDINGS_FILE, *self._files()]
                num_bytes = sum(map(_removed_bytes, files))
        except Timeout as error:
            raise StorageError(
                f'a worker is writing to the image cache "{self.root}"; wait for it, or stop it'
            ) from error
        except OSError as error:
            raise StorageError(
                f'the image cache "{self.root}" cannot be removed ({error.strerror or error})'
            ) from error
        left = next(self._files(), None)
        if left is not None:
            raise StorageError(
                f'"{left}" cannot be removed; end what uses it, or remove it by hand'
            )
        return num_bytes

    def _path(self, fingerprint: str, split: str, words: Mapping[str, Any]) -> Path:
        if not _FOLDER.fullmatch(fingerprint):  # A user's own dataset may answer anything.
            fingerprint = hashlib.sha256(fingerprint.encode()).hexdigest()
        named = f"{split}-{words['size']}-{words['color']}-{words['resize']}-{words['fit']}"
        return self.root / fingerprint / f"{named}-{_recipe()}.npy"

    def _files(self) -> Iterator[Path]:
        """The entries and what was cut off while it was written; nothing that is not ours."""
        for folder in self.root.glob("*"):
            if _FOLDER.fullmatch(folder.name) and folder.is_dir():
                for path in folder.iterdir():
                    if _ENTRY.fullmatch(path.name) or path.suffix == _PART:
                        yield path

    @contextlib.contextmanager
    def _lock(self, timeout: float = -1) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / "cache.lock", timeout=timeout):
            yield

    def _make_room(self, num_bytes: int) -> None:
        """Removes what was unused longest, until there is room within the bound and on the disk.

        What other workers have open stays readable to them.
        """
        for path in list(self._files()):
            if path.suffix == _PART:  # Its writer held the lock that is ours now, and died.
                _removed_bytes(path)
        entries = self.entries()
        held = sum(entry.size_bytes for entry in entries)
        wanted = num_bytes + _DISK_RESERVE_BYTES
        for entry in entries:
            has_disk = shutil.disk_usage(self.root).free >= wanted
            if held + num_bytes <= self.max_bytes and has_disk:
                return
            held -= _removed_bytes(entry.path)
        if shutil.disk_usage(self.root).free < wanted:
            raise OSError(errno.ENOSPC, "the disk is full")


def load_prepared(
    dataset: Dataset,
    split: str,
    preprocessing: Mapping[str, Any],
    *,
    cache: ImageCache,
    max_images: int | None = None,
) -> tuple[npt.NDArray[np.uint8], Labels]:
    """Loads a split and prepares its images, by way of the cache where that pays.

    It pays for images that are decoded when they are asked for. Those that a dataset holds in
    memory are prepared there. So are a dataset's whose fingerprint is the inherited one, which
    reads every image itself.

    Args:
        dataset: Where the images come from.
        split: "train", "validation" or "test".
        preprocessing: size, color, resize and fit, as for ``prepare``.
        cache: Where prepared images are kept.
        max_images: Take no more than that, as ``some_rows`` says; a part of a split is not kept.

    Returns:
        uint8 (n, size, size, channels), and int64 (n,).

    Raises:
        StudyError: A file can no longer be decoded, or is another than it was.
        DefinitionError: The labels of a user's own dataset do not fit its images and classes.
    """
    images, labels = dataset.load(split)
    labels = np.asarray(labels)
    _check_labels(dataset, split, len(images), labels)
    if max_images is not None and max_images < len(labels):
        rows = some_rows(len(labels), max_images)
        return prepare_images(_chosen(images, rows), preprocessing), labels[rows]
    is_in_memory = isinstance(images, np.ndarray | list | tuple)
    if is_in_memory or type(dataset).fingerprint is Dataset.fingerprint:
        return prepare_images(images, preprocessing), labels
    pixels = cache.prepared(
        images, fingerprint=dataset.fingerprint(), split=split, preprocessing=preprocessing
    )
    return pixels, labels


def _check_labels(dataset: Dataset, split: str, num_images: int, labels: Labels) -> None:
    """Refuses what a user's own dataset may answer, before TensorFlow stumbles over it."""
    last = len(dataset.classes) - 1
    if labels.shape != (num_images,) or not np.issubdtype(labels.dtype, np.integer):
        found = f"labels {labels.dtype} of shape {labels.shape} for {num_images} images"
    elif not num_images:
        found = "no image"
    elif labels.min() < 0 or labels.max() > last:
        found = f"labels from {labels.min()} to {labels.max()}"
    else:
        return
    raise DefinitionError(
        f'split "{split}" of dataset "{dataset.name}" has {found}; expected images, and for each '
        f"a whole number from 0 to {last}, the index of its class"
    )


def some_rows(num_images: int, max_images: int | None) -> npt.NDArray[np.intp]:
    """Which images stand for a whole split, the same ones every time.

    They are drawn from all of it: the first ones of a dataset are often of one class.

    Args:
        num_images: In the split.
        max_images: How many there may be; None is no bound.

    Returns:
        Ascending rows.
    """
    return np.sort(np.random.default_rng(0).permutation(num_images)[:max_images])


def _chosen(images: Images, rows: npt.NDArray[np.intp]) -> Images:
    if isinstance(images, np.ndarray):
        return images[rows]
    if isinstance(images, Photos):
        return images.chosen(rows.tolist())
    return [images[row] for row in rows.tolist()]


@lru_cache(maxsize=1)
def _recipe() -> str:
    """What else decides the pixels: our code and Pillow's version."""
    package = resources.files("autosearch.data")
    texts = [package.joinpath(name).read_text("utf-8") for name in ("images.py", "photos.py")]
    return hashlib.sha256("\n".join([PIL.__version__, *texts]).encode()).hexdigest()[:8]


def _header(shape: _Shape) -> bytes:
    """What a NumPy array file begins with; its length is a multiple of 64."""
    with tempfile.SpooledTemporaryFile(max_size=4096) as file:
        words = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, words)
        file.seek(0)
        return file.read()


def _file_bytes(shape: _Shape) -> int:
    return len(_header(shape)) + int(np.prod(shape, dtype=np.int64)) + 4 * shape[0]


def _make(path: Path, shape: _Shape, images: Images, words: Mapping[str, Any]) -> None:
    """Writes an entry beside its place and moves it there; the caller holds the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(_PART)
    header = _header(shape)
    try:
        with part.open("wb") as file:
            _allocate(file.fileno(), _file_bytes(shape))
            file.write(header)
        target = PixelFile(path=part, offset=len(header), shape=shape)
        if isinstance(images, Photos):
            checksums = decode_all(target, images.paths, words)
            # Else the entry would hold other pictures than its fingerprint says, for all studies.
            images.check_unchanged()
        else:
            checksums = _prepare_into(target.open(), images, words)
        with part.open("r+b") as file:
            file.seek(-4 * shape[0], os.SEEK_END)
            file.write(checksums.astype("<u4").tobytes())
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _prepare_into(
    pixels: npt.NDArray[np.uint8], images: Images, words: Mapping[str, Any]
) -> npt.NDArray[np.uint32]:
    """Prepares a user's own images one by one, and answers the CRC-32 of each."""
    checksums = np.zeros(len(pixels), np.uint32)
    for index, image in enumerate(images):
        pixels[index] = prepare(image, **words)
        checksums[index] = zlib.crc32(pixels[index].data)
    return checksums


def _allocate(descriptor: int, num_bytes: int) -> None:
    """Takes the room on the disk: a mapped file that finds none left ends the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
        return
    zeros = memoryview(bytes(1 << 20))
    for start in range(0, num_bytes, len(zeros)):
        os.write(descriptor, zeros[: num_bytes - start])
    os.lseek(descriptor, 0, os.SEEK_SET)


def _opened(path: Path, shape: _Shape, *, is_new: bool = False) -> npt.NDArray[np.uint8] | None:
    """The pixels of an entry, or None if there is none or it is not whole."""
    header = _header(shape)
    try:
        if path.stat().st_size != _file_bytes(shape):
            return None
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                return None
            file.seek(-4 * shape[0], os.SEEK_END)
            checksums = np.frombuffer(file.read(), "<u4")
        pixels = _mapped(path, len(header), shape)
    except (OSError, ValueError):
        return None
    if not is_new and any(
        zlib.crc32(image.data) != checksum
        for image, checksum in zip(pixels, checksums, strict=True)
    ):
        return None
    with contextlib.suppress(OSError):  # Not ours to write, then it is not ours to remove either.
        os.utime(path)
    return pixels


def _mapped(path: Path, offset: int, shape: _Shape) -> npt.NDArray[np.uint8]:
    mapped: npt.NDArray[np.uint8]
    try:
        # Copy on write, so that TensorFlow can take the pages as they are: it takes no array that
        # says it is read-only.
        mapped = np.memmap(path, np.uint8, "c", offset=offset, shape=shape)
    except OSError:  # More than the memory that there is, which a writable map must not exceed.
        mapped = np.memmap(path, np.uint8, "r", offset=offset, shape=shape)
    return np.asarray(mapped)


def _removed_bytes(path: Path) -> int:
    """Removes a file and answers its size; 0 if it is gone or, on Windows, open elsewhere."""
    try:
        num_bytes = path.stat().st_size
        path.unlink()
    except (FileNotFoundError, PermissionError):
        return 0
    if _FOLDER.fullmatch(path.parent.name):
        with contextlib.suppress(OSError):  # Others are in it.
            path.parent.rmdir()
    return num_bytes
