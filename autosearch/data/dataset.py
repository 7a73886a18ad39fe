"""What a dataset is: labelled images in three splits that never change."""

from __future__ import annotations

import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from autosearch.code_names import code_name
from autosearch.errors import DefinitionError

__all__ = [
    "SPLITS",
    "SPLIT_NAMES",
    "Dataset",
    "Images",
    "Labels",
    "as_texts",
    "check_seed",
    "check_split",
    "checked_classes",
    "dataset_from_definition",
]

SPLITS: tuple[str, ...] = ("train", "validation", "test")
"""A search trains on the first, compares on the second and never reads the third."""

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What users call a split in folders and tables, in lower case, and which one that is."""

Images: TypeAlias = Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8]
"""uint8 images (h, w, c), c being 1 or 3: one array (n, h, w, c), or a sequence of any sizes."""

Labels: TypeAlias = npt.NDArray[np.int64]
"""(n,) indices into ``classes``."""

_BUILT_IN = {
    "digits": "autosearch.data.digits:Digits",
    "idx": "autosearch.data.idx:Idx",
    "image_folder": "autosearch.data.folder:ImageFolder",
    "keras": "autosearch.data.downloads:KerasDataset",
    "manifest": "autosearch.data.manifest:Manifest",
    "npz": "autosearch.data.arrays:Arrays.from_npz",
    "tfds": "autosearch.data.downloads:TensorFlowDataset",
}


class Dataset(ABC):
    """Labelled images. Subclass it to search on your own: set three attributes, write ``load``.

    Two calls of ``load`` answer the same images in the same order, in any process: every stored
    accuracy refers to them.

    Attributes:
        name: What listings show.
        classes: The class names; a label is an index into them.
        split_seed: What the split into train, validation and test was drawn with.
        group_columns: What ``groups`` answers of each image, such as its camera; none by default.

    Example:
        >>> import numpy as np
        >>> class Noise(Dataset):
        ...     name = "noise"
        ...     classes = ("a", "b")
        ...     def load(self, split):
        ...         check_split(split)
        ...         return np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1])
        >>> Noise().split_counts()
        {'train': 4, 'validation': 4, 'test': 4}
    """

    name: str
    classes: tuple[str, ...]
    split_seed: int = 0
    group_columns: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "load" in vars(cls) and not cls.__module__.startswith("autosearch."):
            # A user's class of other images than those of the one that it is made from: it is
            # known by what it loads, and not by the words that make the other again.
            for name in ("definition", "fingerprint"):
                if getattr(cls, name).__module__.startswith("autosearch."):
                    setattr(cls, name, vars(Dataset)[name])

    @abstractmethod
    def load(self, split: str) -> tuple[Images, Labels]:
        """Loads one split.

        Args:
            split: "train", "validation" or "test".

        Returns:
            The uint8 images, and the int64 labels (n,).

        Raises:
            DefinitionError: There is no split of that name.
        """

    def definition(self) -> dict[str, Any]:
        """What the study's row holds of the dataset, as JSON; ``kind`` says how to read it.

        A user's own class is recorded by its name and contents, and comes back only from the
        study file.
        """
        return {
            "kind": "user",
            "class": code_name(type(self)),
            "name": self.name,
            "split_seed": self.split_seed,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str:
        """SHA-256 over classes, images and labels of every split, 64 hexadecimal digits.

        The same images give the same fingerprint whether they are one array or many.
        """
        digest = hashlib.sha256(json.dumps(list(self.classes)).encode())
        for split in SPLITS:
            images, labels = self.load(split)
            digest.update(f"{split} {len(labels)}".encode())
            digest.update(np.ascontiguousarray(labels, dtype="<i8").tobytes())
            for image in images:
                digest.update(str(image.shape).encode())
                digest.update(np.ascontiguousarray(image, dtype=np.uint8).tobytes())
        return digest.hexdigest()

    def split_counts(self) -> dict[str, int]:
        """The number of images in each split."""
        return {split: len(self.load(split)[1]) for split in SPLITS}

    def sides(self) -> dict[str, str] | None:
        """SHA-256 of each file to its split; None where images are not files."""
        return None

    def keeping_sides(self, sides: Mapping[str, str]) -> Dataset:
        """The dataset with those images where they were, whatever was added since.

        Args:
            sides: What ``sides`` answered for an earlier state.
        """
        return self

    def clusters(self, splits: Sequence[str]) -> Labels:
        """For each image of these splits, one after the other, the number of its cluster.

        Images of one cluster, such as copies of a picture or photos of one patient, belong on one
        side of any further split. By default every image stands alone.

        Returns:
            (n,) numbers.
        """
        return np.arange(sum(len(self.load(split)[1]) for split in splits))

    def members(self, split: str) -> list[str] | list[int]:
        """What names each image of a split, in the order of ``load``.

        By default the places in that split; paths or rows of the source where there are any.
        """
        return list(range(len(self.load(split)[1])))

    def groups(self, split: str) -> dict[str, list[str]]:
        """What each image of a split belongs to, in the order of ``load``.

        Returns:
            Each of ``group_columns`` → the value of every image, "" where it has none. What is
            no column there is no group: by default there are none.

        Raises:
            DefinitionError: There is no split of that name.
        """
        check_split(split)
        return {}


def checked_classes(classes: Iterable[Any]) -> tuple[str, ...]:
    """Names of classes as texts, also where they were numbers or NumPy answered them.

    Raises:
        DefinitionError: Two are the same.

    Example:
        >>> checked_classes(np.unique([7, 3, 7]))
        ('3', '7')
    """
    names = tuple(as_texts(classes))
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DefinitionError(
            f'the {len(names)} classes name "{twice}" twice; expected different names'
        )
    return names


def as_texts(values: Iterable[Any]) -> list[str]:
    """Each value as a text; bytes, as NumPy keeps texts without accents, are UTF-8.

    Raises:
        DefinitionError: They are not.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "S":
        try:
            return [str(value) for value in np.char.decode(values, "utf-8")]
        except UnicodeDecodeError as error:
            raise DefinitionError(
                f"{error.object!r} is no text in UTF-8; save texts in place of bytes"
            ) from error
    return [str(value) for value in values]


def check_split(split: str) -> None:
    """Refuses a name that is no split.

    Raises:
        DefinitionError: It is none of ``SPLITS``.
    """
    if split not in SPLITS:
        raise DefinitionError(
            f'split "{split}" is not known; expected "train", "validation" or "test"'
        )


def check_seed(split_seed: int) -> None:
    """Refuses what draws no split.

    Raises:
        DefinitionError: It is no whole number from 0 to 4294967295.
    """
    is_whole = isinstance(split_seed, int) and not isinstance(split_seed, bool)
    if not is_whole or not 0 <= split_seed < 2**32:
        raise DefinitionError(
            f"split_seed {split_seed!r} is no seed; expected a whole number from 0 to 4294967295, "
            "such as split_seed=0"
        )


def dataset_from_definition(definition: Mapping[str, Any]) -> Dataset:
    """The built-in dataset that a stored definition names.

    Args:
        definition: What ``Dataset.definition`` answered, from JSON.

    Raises:
        DefinitionError: Its images are only to be had from the user's own code, its kind is
            not known, or its arguments do not fit.

    Example:
        >>> from autosearch.data import Digits
        >>> dataset_from_definition(Digits(split_seed=3).definition())
        Digits(split_seed=3)
    """
    arguments = dict(definition)
    kind = arguments.pop("kind", None)
    if kind not in _BUILT_IN:
        name = definition.get("name", kind)
        raise DefinitionError(
            f'dataset "{name}" (kind "{kind}") cannot be made from the database, which holds '
            "its fingerprint but not its images; pass --study-file with the file that makes it"
        )
    module, _, attribute = _BUILT_IN[kind].partition(":")
    factory = attrgetter(attribute)(importlib.import_module(module))
    try:
        dataset: Dataset = factory(**arguments)
    except TypeError as error:
        raise DefinitionError(
            f'dataset of kind "{kind}" does not take {arguments}: {error}; the study was '
            "written by another version, so pass --study-file with its file"
        ) from error
    return dataset
