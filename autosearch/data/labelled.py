"""Labelled images of any source, as they are judged: all of them, or one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data.arrays import Arrays, checked_groups
from autosearch.data.dataset import SPLITS, Dataset, Images, Labels, check_split
from autosearch.data.files import FileDataset, printable
from autosearch.data.folder import ImageFolder
from autosearch.data.manifest import Manifest
from autosearch.data.npz import read_npz
from autosearch.errors import DefinitionError

__all__ = ["EVERY_SPLIT", "LabelledImages", "labelled_images", "read_labelled"]

EVERY_SPLIT = "all"
_TABLES = (".csv", ".parquet", ".pq")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """Images with what is known of each, all in one order.

    Attributes:
        images: uint8 images (h, w, c), n of them.
        labels: (n,) indices into ``classes``.
        classes: The class names.
        members: What names each image: a printable path, or a row.
        groups: Group column → the value of each image.
        unusable: Printable path and reason of each file that was left out.
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...]
    members: list[Any]
    groups: Mapping[str, list[str]] = field(default_factory=dict)
    unusable: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


class _AnyFolder(ImageFolder):
    """A folder that need not be fit to be trained on: one class is enough."""

    fewest_classes = 1


class _AnyManifest(Manifest):
    """A table that need not be fit to be trained on."""

    fewest_classes = 1


def read_labelled(
    path: Path, *, split: str = EVERY_SPLIT, group: str | None = None
) -> LabelledImages:
    """The labelled images at a path.

    With every split, what could not be split counts as well: a single class, a class of one
    image, a table that gives one split alone.

    Args:
        path: A folder of class sub-folders, a CSV or Parquet table with the columns path and
            label, or an ``.npz`` file with the arrays images, labels and perhaps classes (names).
        split: "all", or the split of that name as the defaults draw it, or as it is given.
        group: A regular expression for a folder, a column for a table, the name of an array for
            an ``.npz`` file.

    Raises:
        NotFoundError: There is nothing there.
        DefinitionError: It is none of these, or has no usable image.
    """
    if path.suffix.lower() == ".npz":
        found = _read_npz(path, split, group)
    elif path.suffix.lower() in _TABLES:
        found = labelled_images(_AnyManifest(path, group=group), split)
    elif path.is_file():
        raise DefinitionError(
            f'"{path}" holds no labelled images; expected a folder with a sub-folder for each '
            "class, a .csv, .parquet or .npz file, or a study's .py file"
        )
    else:
        found = labelled_images(_AnyFolder(path, group=group), split)
    if not len(found):
        raise DefinitionError(
            f'"{path}" has no usable image; see why with: autosearch data inspect "{path}"'
        )
    return found


def labelled_images(dataset: Dataset, split: str = EVERY_SPLIT) -> LabelledImages:
    """The images of one split of a dataset, or of every one.

    Args:
        dataset: Any; of one that reads files, those that cannot be used are listed too.
        split: "train", "validation", "test" or "all".

    Raises:
        DefinitionError: There is no split of that name, or the dataset cannot be split.
    """
    if split != EVERY_SPLIT:
        check_split(split)
    if not isinstance(dataset, FileDataset):
        return _of_splits(dataset, SPLITS if split == EVERY_SPLIT else (split,))
    unusable = tuple((printable(path), why) for path, why in dataset.survey.unusable)
    if split == EVERY_SPLIT:
        images, labels, members, groups = dataset.everything()
    else:
        images, labels = dataset.load(split)
        members, groups = dataset.members(split), dataset.groups(split)
    return LabelledImages(
        images=images,
        labels=labels,
        classes=dataset.classes,
        members=[printable(path) for path in members],
        groups=groups,
        unusable=unusable,
    )


def _of_splits(dataset: Dataset, splits: tuple[str, ...]) -> LabelledImages:
    images: list[Any] = []
    labels: list[Labels] = []
    members: list[Any] = []
    groups: dict[str, list[str]] = {column: [] for column in dataset.group_columns}
    for split in splits:
        loaded, of_split = dataset.load(split)
        if len(splits) == 1:
            return LabelledImages(
                images=loaded,
                labels=np.asarray(of_split),
                classes=dataset.classes,
                members=list(dataset.members(split)),
                groups=dataset.groups(split),
            )
        images += list(loaded)
        labels.append(np.asarray(of_split))
        members += [f"{split}/{member}" for member in dataset.members(split)]
        for column, values in dataset.groups(split).items():
            groups[column] += values
    return LabelledImages(
        images=images,
        labels=np.concatenate(labels),
        classes=dataset.classes,
        members=members,
        groups=groups,
    )


def _read_npz(path: Path, split: str, group: str | None) -> LabelledImages:
    found = read_npz(path, groups=(group,) if group is not None else ())
    if split != EVERY_SPLIT:
        dataset = Arrays(found.images, found.labels, found.classes, groups=found.groups)
        return labelled_images(dataset, split)
    images, labels, classes = Arrays.checked(found.images, found.labels, found.classes)
    return LabelledImages(
        images=images,
        labels=labels,
        classes=classes,
        members=list(range(len(labels))),
        groups=checked_groups(found.groups, len(labels)),
    )
