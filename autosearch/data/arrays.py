"""A dataset of images that are in memory already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Dataset, Images, Labels, as_texts, check_split, checked_classes
from autosearch.data.duplicates import clusters, identical_images
from autosearch.data.grouping import grouped_split
from autosearch.data.npz import read_npz
from autosearch.data.splits import stratified_split
from autosearch.errors import DefinitionError

__all__ = ["Arrays", "checked_groups"]


class Arrays(Dataset):
    """Your own NumPy images and labels, split 60:20:20 by class.

    Images that are the same to the pixel stay on one side of the split. Those that only look alike
    are not looked for: what belongs together is named as a ``group``.

    The database keeps a fingerprint of them, not the images: promotion and export need
    ``--study-file`` with the file that makes them.

    Args:
        images: uint8, one array (n, h, w) or (n, h, w, c), or a sequence of arrays (h, w, c) of
            any sizes; c is 1 or 3.
        labels: (n,) whole numbers, indices into ``classes``.
        classes: The class names; by default "0", "1", … up to the largest label.
        name: What listings show.
        split_seed: Draws the split.
        groups: Group column → a value for each image, such as its camera; "", None and NaN are
            no group. Figures are given for each of them.
        group: A column of them, or several: images with the same value stay on one side of the
            split.

    Raises:
        DefinitionError: Images, labels and classes do not fit each other, or a class is too
            small to be in every split.

    Example:
        >>> import numpy as np
        >>> images = np.arange(20, dtype=np.uint8).repeat(64).reshape(20, 8, 8)
        >>> dataset = Arrays(images, [0, 1] * 10, classes=("no", "yes"))
        >>> dataset.split_counts()
        {'train': 12, 'validation': 4, 'test': 4}
    """

    def __init__(
        self,
        images: Images,
        labels: npt.ArrayLike,
        classes: Sequence[str] | None = None,
        name: str = "arrays",
        split_seed: int = 0,
        groups: Mapping[str, Iterable[Any]] | None = None,
        group: str | Sequence[str] | None = None,
    ) -> None:
        self._images, self._labels, self.classes = self.checked(images, labels, classes)
        if len(self.classes) < 2:
            raise DefinitionError(
                f'there is one class, "{self.classes[0]}"; expected labels of at least two'
            )
        self.name = name
        self.split_seed = split_seed
        self._groups = checked_groups(groups or {}, len(self._labels))
        self.group_columns = tuple(self._groups)
        self.group = (group,) if isinstance(group, str) else tuple(group or ())
        self._clusters = self._together()
        self._parts = self._split()
        self._file: dict[str, Any] | None = None

    def _split(self) -> dict[str, npt.NDArray[np.int64]]:
        if not self.group and len(np.unique(self._clusters)) == len(self._labels):
            return stratified_split(self._labels, seed=self.split_seed, classes=self.classes)
        return grouped_split(
            self._labels,
            self._clusters,
            seed=self.split_seed,
            classes=self.classes,
            every_class_everywhere=not self.group,
        )

    def _together(self) -> Labels:
        """For each row the number of its cluster: copies, and what shares a group."""
        together: dict[tuple[str, str], list[int]] = {}
        for column in self.group:
            if column not in self._groups:
                raise DefinitionError(
                    f'group "{column}" is none of the columns of groups; expected one of: '
                    f"{', '.join(self._groups) or 'none, since there are none'}"
                )
            for row, value in enumerate(self._groups[column]):
                if value:
                    together.setdefault((column, value), []).append(row)
        return clusters(len(self._labels), [*identical_images(self._images), *together.values()])

    @staticmethod
    def checked(
        images: Images, labels: npt.ArrayLike, classes: Sequence[str] | None = None
    ) -> tuple[Images, Labels, tuple[str, ...]]:
        """Images, labels and class names as a dataset holds them, whether or not they can be split.

        Raises:
            DefinitionError: They do not fit each other.
        """
        names = checked_classes(classes) if classes is not None else ()
        images = _checked_images(images)
        indices = _checked_labels(labels, len(images), names)
        return images, indices, names or tuple(map(str, range(int(indices.max()) + 1)))

    @classmethod
    def from_npz(
        cls,
        path: str | Path,
        *,
        images: str = "images",
        labels: str = "labels",
        classes: Sequence[str] | None = None,
        split_seed: int = 0,
        groups: Sequence[str] = (),
        group: str | Sequence[str] | None = None,
    ) -> Arrays:
        """Reads images and labels from a file that ``numpy.savez`` wrote.

        The database keeps the file's place, so promotion and export need no study file.

        Args:
            path: The ``.npz`` file.
            images: The name of the image array within it, uint8 (n, h, w) or (n, h, w, c).
            labels: The name of the label array, (n,) whole numbers or names of classes.
            classes: As for ``Arrays``; by default the array "classes" of the file, otherwise the
                labels themselves if they are names, in their order.
            split_seed: As for ``Arrays``.
            groups: The names of arrays with a group for each image, (n,) texts or numbers.
            group: As for ``Arrays``: one of these names, or several.

        Raises:
            NotFoundError: There is no such file.
            DefinitionError: It is no such file, lacks an array, or the arrays do not fit.
        """
        file = Path(path).expanduser().absolute()
        given = checked_classes(classes) if classes is not None else None
        found = read_npz(file, images=images, labels=labels, classes=given, groups=groups)
        dataset = cls(
            found.images, found.labels, found.classes, file.stem, split_seed, found.groups, group
        )
        dataset._file = {
            "kind": "npz",
            "path": str(file),
            "images": images,
            "labels": labels,
            "classes": list(given) if given else None,
            "split_seed": split_seed,
            **({"groups": list(groups)} if groups else {}),
            **({"group": list(dataset.group)} if dataset.group else {}),
        }
        return dataset

    def __repr__(self) -> str:
        return f"Arrays({self.name!r}, {len(self._labels)} images, {len(self.classes)} classes)"

    def load(self, split: str) -> tuple[Images, Labels]:
        """One split; images as one array if they came as one, otherwise as a list."""
        check_split(split)
        part = self._parts[split]
        if isinstance(self._images, np.ndarray):
            return self._images[part], self._labels[part]
        return [self._images[index] for index in part], self._labels[part]

    def members(self, split: str) -> list[int]:
        """The rows of the images in a split."""
        check_split(split)
        return [int(row) for row in self._parts[split]]

    def clusters(self, splits: Sequence[str]) -> Labels:
        """(n,) numbers: the same for copies, and for images that ``group`` keeps together."""
        return np.concatenate([self._clusters[self.members(split)] for split in splits])

    def groups(self, split: str) -> dict[str, list[str]]:
        """Each group column with the value of every image, in the order of ``load``."""
        rows = self.members(split)
        return {column: [values[row] for row in rows] for column, values in self._groups.items()}

    def definition(self) -> dict[str, Any]:
        """Name, shape and fingerprint: enough to recognise the images, not to make them.

        If they were read from a file, where it is, from which they are read again.
        """
        if self._file is not None:
            return dict(self._file)
        one_array = isinstance(self._images, np.ndarray)
        return {
            "kind": "arrays",
            "name": self.name,
            "num_images": len(self._labels),
            "image_shape": list(self._images[0].shape) if one_array else None,
            "classes": list(self.classes),
            "split_seed": self.split_seed,
            "fingerprint": self.fingerprint(),
            **({"group_columns": list(self._groups)} if self._groups else {}),
            **({"group": list(self.group)} if self.group else {}),
        }


def _checked_images(images: Images) -> Images:
    if not hasattr(images, "__len__") or len(images) == 0:
        raise DefinitionError("there are no images; expected a uint8 array (n, h, w, c)")
    if isinstance(images, np.ndarray):
        images = images[..., np.newaxis] if images.ndim == 3 else images
        is_right = images.dtype == np.uint8 and images.ndim == 4 and images.shape[-1] in (1, 3)
        if not is_right or 0 in images.shape:
            raise DefinitionError(
                f"images are {images.dtype} of shape {images.shape}; expected uint8 of shape "
                "(n, h, w, 1) or (n, h, w, 3), with pixels from 0 to 255"
            )
        return images
    for index, image in enumerate(images):
        shape: tuple[int, ...] = getattr(image, "shape", ())
        dtype = getattr(image, "dtype", type(image).__name__)
        if dtype != np.uint8 or len(shape) != 3 or shape[-1] not in (1, 3) or 0 in shape:
            raise DefinitionError(
                f"image {index} is {dtype} of shape {shape}; expected a uint8 array of shape "
                "(h, w, 1) or (h, w, 3), with pixels from 0 to 255"
            )
    return list(images)


def checked_groups(groups: Mapping[str, Iterable[Any]], num_images: int) -> dict[str, list[str]]:
    """Group columns as texts, "" where a value is missing.

    Raises:
        DefinitionError: One has not a value for each image.
    """
    for column, given in groups.items():
        if isinstance(given, np.ndarray) and given.ndim != 1:
            raise DefinitionError(
                f'group column "{column}" has the shape {given.shape}; expected ({num_images},), '
                "one value for each image"
            )
    checked = {column: _texts(values) for column, values in groups.items()}
    for column, values in checked.items():
        if len(values) != num_images:
            raise DefinitionError(
                f'group column "{column}" has {len(values)} values; expected {num_images}, one '
                "for each image"
            )
    return checked


def _texts(values: Iterable[Any]) -> list[str]:
    """Each value as a text, "" where it is missing."""
    import pandas as pd

    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        values = as_texts(values)
    listed = list(values)
    missing = pd.Series(listed, dtype=object).isna()
    return ["" if none else str(value) for value, none in zip(listed, missing, strict=True)]


def _checked_labels(labels: npt.ArrayLike, num_images: int, classes: Sequence[str]) -> Labels:
    given = np.asarray(labels)
    if given.shape != (num_images,) or not np.issubdtype(given.dtype, np.integer):
        hint = ""
        if given.dtype.kind in "US":
            hint = ": classes, labels = np.unique(labels, return_inverse=True)"
        elif given.ndim == 2 and len(given) == num_images:
            hint = ": labels.argmax(axis=1) of one-hot labels"
        raise DefinitionError(
            f"labels are {given.dtype} of shape {given.shape}; expected {num_images} whole "
            f"numbers, one for each image{hint}"
        )
    low, high = int(given.min()), int(given.max())
    if low < 0 or (classes and high >= len(classes)):
        known = f"0 to {len(classes) - 1}, one for each class" if classes else "0 on"
        raise DefinitionError(f"labels run from {low} to {high}; expected indices from {known}")
    return given.astype(np.int64)
