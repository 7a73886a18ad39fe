"""Datasets by name, which Keras or TensorFlow Datasets download once."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import SPLIT_NAMES, SPLITS, Dataset, Images, Labels, check_split
from autosearch.data.idx import FASHION_MNIST_CLASSES
from autosearch.data.splits import stratified_split
from autosearch.errors import DefinitionError, StudyError

__all__ = ["KerasDataset", "TensorFlowDataset"]

_DIGITS = tuple(str(digit) for digit in range(10))
_CLASSES = {
    "cifar10": (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    "cifar100": tuple(str(index) for index in range(100)),
    "fashion_mnist": FASHION_MNIST_CLASSES,
    "mnist": _DIGITS,
}


class KerasDataset(Dataset):
    """MNIST, Fashion-MNIST, CIFAR-10 or CIFAR-100 by name, through ``keras.datasets``.

    Keras downloads it into ``~/.keras`` when the first split is loaded. It gives training and test
    images; a sixth of the training images, drawn by class, is validation.

    Args:
        name: "mnist", "fashion_mnist", "cifar10" or "cifar100".
        split_seed: Draws validation.

    Raises:
        DefinitionError: There is no dataset of that name.

    Example:
        >>> KerasDataset("cifar10").classes[:2]
        ('airplane', 'automobile')
    """

    def __init__(self, name: str, *, split_seed: int = 0) -> None:
        if name not in _CLASSES:
            raise DefinitionError(
                f'Keras dataset "{name}" is not known; expected one of {sorted(_CLASSES)}'
            )
        self.name = name
        self.classes = _CLASSES[name]
        self.split_seed = split_seed

    def __repr__(self) -> str:
        return f"KerasDataset({self.name!r}, split_seed={self.split_seed})"

    def load(self, split: str) -> tuple[npt.NDArray[np.uint8], Labels]:
        """One split: uint8 images (n, h, w, c) and int64 labels (n,).

        Raises:
            StudyError: It is not on this machine and cannot be downloaded.
        """
        check_split(split)
        train, test = _download(self.name)
        if split == "test":
            return test
        images, labels = train
        parts = stratified_split(
            labels, fractions=(5 / 12, 1 / 6, 5 / 12), seed=self.split_seed, classes=self.classes
        )
        if split == "train":
            drawn = np.sort(np.concatenate([parts["train"], parts["test"]]))
        else:
            drawn = parts["validation"]
        return images[drawn], labels[drawn]

    def definition(self) -> dict[str, Any]:
        """Name and split seed, from which the same dataset is made again."""
        return {"kind": "keras", "name": self.name, "split_seed": self.split_seed}


class TensorFlowDataset(Dataset):
    """A dataset of TensorFlow Datasets by name, such as "oxford_iiit_pet" or "beans".

    It needs ``pip install tensorflow-datasets importlib-resources``. What is not prepared on this
    machine yet is downloaded when the dataset is made. Its own splits are respected, by their usual
    names; of validation and test, one that it lacks is drawn from its training images, by class.
    All images are held in memory as they are; one whose class is not told is left out.

    Args:
        name: The name, with a version if one is meant: "beans" or "beans:0.1.0".
        split_seed: Draws what it lacks.
        data_dir: Where prepared datasets are; by default TensorFlow Datasets' own folder.

    Raises:
        DefinitionError: It is no dataset of labelled images, or the extra is not installed.
        StudyError: It is not on this machine and cannot be downloaded.
    """

    def __init__(self, name: str, *, split_seed: int = 0, data_dir: str | None = None) -> None:
        self.name = name
        self.split_seed = split_seed
        self.data_dir = str(Path(data_dir).expanduser().absolute()) if data_dir else None
        self.classes, self._given = _read_tensorflow_dataset(name, self.data_dir)

    def __repr__(self) -> str:
        return f"TensorFlowDataset({self.name!r}, split_seed={self.split_seed})"

    def load(self, split: str) -> tuple[Images, Labels]:
        """One split: uint8 images (h, w, c) of any sizes and int64 labels (n,)."""
        check_split(split)
        source, rows = self._rows[split]
        images, labels = self._given[source]
        return [images[row] for row in rows], labels[rows]

    def definition(self) -> dict[str, Any]:
        """Name, split seed and folder, from which the same dataset is made again."""
        return {
            "kind": "tfds",
            "name": self.name,
            "split_seed": self.split_seed,
            "data_dir": self.data_dir,
        }

    @cached_property
    def _rows(self) -> dict[str, tuple[str, npt.NDArray[np.int64]]]:
        """For each split, whose images it has, and which of them."""
        rows = {split: (split, np.arange(len(part[1]))) for split, part in self._given.items()}
        missing = [split for split in SPLITS if split not in rows]
        if missing:
            parts = _drawn(self._given["train"][1], missing, self.split_seed, self.classes)
            rows |= {split: ("train", part) for split, part in parts.items()}
        return rows


_Part = tuple[npt.NDArray[np.uint8], Labels]


@lru_cache(maxsize=1)
def _download(name: str) -> tuple[_Part, _Part]:
    # Keras is imported there alone within this package.
    from autosearch.data.pipeline import download_keras_dataset

    try:
        train, test = download_keras_dataset(name)
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise StudyError(
            f'Keras dataset "{name}" is not on this machine and cannot be downloaded '
            f"({error}); connect to the network, or use a folder of images: ImageFolder(path)"
        ) from error
    return _part(*train), _part(*test)


def _part(images: npt.NDArray[np.uint8], labels: npt.NDArray[Any]) -> _Part:
    images = images[..., np.newaxis] if images.ndim == 3 else images
    return images, labels.reshape(-1).astype(np.int64)


_GivenParts = dict[str, tuple[list[npt.NDArray[np.uint8]], Labels]]


@lru_cache(maxsize=1)
def _read_tensorflow_dataset(
    name: str, data_dir: str | None
) -> tuple[tuple[str, ...], _GivenParts]:
    from autosearch.data.pipeline import read_tensorflow_dataset

    try:
        classes, parts = read_tensorflow_dataset(name, data_dir)
    except ImportError as error:
        raise DefinitionError(
            "TensorFlow Datasets is not installed; install it with: "
            "pip install tensorflow-datasets importlib-resources"
        ) from error
    except (AttributeError, KeyError) as error:
        raise DefinitionError(
            f'TensorFlow dataset "{name}" has no image and label; expected one of labelled images'
        ) from error
    except DefinitionError:
        raise
    except Exception as error:  # it raises what its source happens to raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StudyError(
            f'TensorFlow dataset "{name}" is not on this machine and cannot be downloaded '
            f"({first}); check its name, connect to the network, or say where it is: "
            "TensorFlowDataset(name, data_dir=...)"
        ) from error
    given: _GivenParts = {}
    for split, part in parts.items():
        known = SPLIT_NAMES.get(split.lower())
        if known is not None and len(part[1]):
            given[known] = part
    if "train" not in given:
        raise DefinitionError(
            f'TensorFlow dataset "{name}" has no training split; it has: {", ".join(parts)}'
        )
    return tuple(classes), given


def _drawn(
    labels: Labels, missing: list[str], seed: int, classes: tuple[str, ...]
) -> dict[str, npt.NDArray[np.int64]]:
    """A fifth of the training images for each missing split, the rest for training."""
    parts = stratified_split(labels, fractions=(0.6, 0.2, 0.2), seed=seed, classes=classes)
    kept = [parts[split] for split in SPLITS if split not in missing]
    return {"train": np.sort(np.concatenate(kept)), **{split: parts[split] for split in missing}}
