"""The files of the MNIST family: whole arrays of small greyscale images."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Dataset, Labels, check_split, checked_classes
from autosearch.data.splits import stratified_split
from autosearch.errors import DefinitionError, NotFoundError

__all__ = ["FASHION_MNIST_CLASSES", "Idx"]

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""In the order of their labels; Xiao, Rasul and Vollgraf, arXiv:1708.07747 (2017)."""

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_NAMES = {"train": "train", "test": "t10k"}


class Idx(Dataset):
    """MNIST, Fashion-MNIST and their kin, from their four IDX files.

    The files give training and test images; validation is drawn from the training images.
    Debian's package ``dataset-fashion-mnist`` is found by itself.

    Args:
        path: The folder of ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same
            of ``t10k``, each perhaps with ``.gz``; by default where Debian puts Fashion-MNIST.
        classes: The class names, one for each label that occurs among the training images, in the
            order of the labels; by default Fashion-MNIST's in a folder of that name, otherwise
            the labels themselves: "0", "1", …
        validation: The share of the training images that becomes validation.
        split_seed: Draws those.

    Raises:
        NotFoundError: A file is missing.
        DefinitionError: An argument makes no sense, a file is no IDX file, or there are more or
            fewer names than labels.

    Example:
        >>> Idx().split_counts()  # doctest: +SKIP
        {'train': 50000, 'validation': 10000, 'test': 10000}
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        validation: float = 1 / 6,
        split_seed: int = 0,
    ) -> None:
        if path is None and not _DEBIAN.is_dir():
            raise NotFoundError(
                f'there is no folder "{_DEBIAN}"; run apt-get install dataset-fashion-mnist, or '
                "name the folder of your files: Idx(path)"
            )
        if not 0 < validation < 1:
            raise DefinitionError(
                f"validation is {validation}; expected a share of the training images, such as 0.2"
            )
        self.path = Path(path or _DEBIAN).expanduser().absolute()
        self.name = self.path.name
        self.split_seed = split_seed
        self.validation = validation
        self._files = {
            (part, kind): _file(self.path, f"{prefix}-{kind}")
            for part, prefix in _NAMES.items()
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        }
        # EMNIST's letters begin at 1.
        self._occurring = np.unique(self._read("train", "labels-idx1-ubyte"))
        if classes is None and self.name == "fashion-mnist":
            classes = FASHION_MNIST_CLASSES
        self.classes = checked_classes(self._occurring if classes is None else classes)
        if len(self.classes) != len(self._occurring) or not len(self._occurring):
            occurring = ", ".join(map(str, self._occurring.tolist())) or "none"
            raise DefinitionError(
                f"classes are {len(self.classes)} names ({', '.join(self.classes)}), and the "
                f'labels of the training images in "{self.path}" are {occurring}; expected a name '
                "for each of these labels, in their order"
            )

    def __repr__(self) -> str:
        return f"Idx({str(self.path)!r}, split_seed={self.split_seed})"

    def load(self, split: str) -> tuple[npt.NDArray[np.uint8], Labels]:
        """One split: uint8 images (n, h, w, 1) and int64 labels (n,)."""
        check_split(split)
        part = "test" if split == "test" else "train"
        images = self._read(part, "images-idx3-ubyte")[..., np.newaxis]
        labels = self._indices(part)
        if len(images) != len(labels):
            raise DefinitionError(
                f'"{self.path}" has {len(images)} {part} images and {len(labels)} labels; '
                "expected as many of both"
            )
        if part == "test":
            return images, labels
        drawn = self._drawn(labels)[split]
        return images[drawn], labels[drawn]

    def members(self, split: str) -> list[int]:
        """The rows of a split's images: of the test files, or of the training files."""
        check_split(split)
        if split == "test":
            return list(range(len(self._read("test", "labels-idx1-ubyte"))))
        return [int(row) for row in self._drawn(self._indices("train"))[split]]

    def _indices(self, part: str) -> Labels:
        """(n,) the class of each image of the test or the training files."""
        labels = self._read(part, "labels-idx1-ubyte")
        unknown = np.setdiff1d(labels, self._occurring)
        if len(unknown):
            raise DefinitionError(
                f'"{self.path}" has {part} images with label {unknown[0]}, which no training image '
                "has; expected only labels that are trained on"
            )
        return np.searchsorted(self._occurring, labels).astype(np.int64)

    def _drawn(self, labels: Labels) -> dict[str, Labels]:
        # Two stages of one split: its third part, which must not be empty, goes back to training.
        half = (1 - self.validation) / 2
        parts = stratified_split(
            labels,
            fractions=(half, self.validation, half),
            seed=self.split_seed,
            classes=self.classes,
        )
        train = np.sort(np.concatenate([parts["train"], parts["test"]]))
        return {"train": train, "validation": parts["validation"]}

    def definition(self) -> dict[str, Any]:
        """Folder, classes and split, from which the same dataset is made again."""
        return {
            "kind": "idx",
            "path": str(self.path),
            "classes": list(self.classes),
            "validation": self.validation,
            "split_seed": self.split_seed,
        }

    def _read(self, part: str, kind: str) -> npt.NDArray[np.uint8]:
        return _read_idx(self._files[part, kind])


def _file(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise NotFoundError(f'there is no "{name}" or "{name}.gz" in "{folder}"; bring it there')


@lru_cache(maxsize=8)
def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, type 8, number of axes, big-endian sizes, values."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DefinitionError(f'"{path}" cannot be unpacked ({error}); fetch it again') from error
    num_axes = raw[3] if len(raw) > 3 else 0
    start = 4 + 4 * num_axes
    expected = 3 if "images" in path.name else 1
    if raw[:3] != b"\0\0\x08" or num_axes != expected or len(raw) < start:
        raise DefinitionError(
            f'"{path}" is no IDX file of bytes with {expected} axes; expected one of MNIST\'s kind'
        )
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", num_axes, offset=4))
    if len(raw) - start != math.prod(shape):
        raise DefinitionError(
            f'"{path}" holds {len(raw) - start:,} values; its header promises '
            f"{math.prod(shape):,}; fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
