"""Keras's own image datasets, which it downloads once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Dataset, Labels, check_split
from autosearch.data.idx import FASHION_MNIST_CLASSES
from autosearch.data.splits import stratified_split
from autosearch.errors import DefinitionError, StudyError

__all__ = ["KerasDataset"]

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
