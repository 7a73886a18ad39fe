"""The dataset of the default study: small, real, and part of scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Dataset, Labels, check_seed, check_split
from autosearch.data.splits import stratified_split

__all__ = ["Digits"]


@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 handwritten digits of 8 × 8 greyscale pixels, without a download.

    The source's 17 grey levels are scaled to 0–255. 60 % train, 20 % validation, 20 % test,
    stratified by class. After Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits",
    UCI Machine Learning Repository (1998).

    Args:
        split_seed: Draws the split, from 0 on.

    Example:
        >>> images, labels = Digits().load("train")
        >>> images.shape, images.dtype.name, len(labels)
        ((1078, 8, 8, 1), 'uint8', 1078)
    """

    split_seed: int = 0
    name: str = field(default="digits", init=False, repr=False)
    classes: tuple[str, ...] = field(
        default=tuple(str(digit) for digit in range(10)), init=False, repr=False
    )

    def __post_init__(self) -> None:
        check_seed(self.split_seed)

    def load(self, split: str) -> tuple[npt.NDArray[np.uint8], Labels]:
        """One split: uint8 images (n, 8, 8, 1) and int64 labels (n,)."""
        part = self.members(split)
        images, labels = _digits()
        return images[part], labels[part]

    def members(self, split: str) -> list[int]:
        """The rows of scikit-learn's digits in a split."""
        check_split(split)
        _, labels = _digits()
        part = stratified_split(labels, seed=self.split_seed, classes=self.classes)[split]
        return [int(row) for row in part]

    def definition(self) -> dict[str, Any]:
        """Kind and split seed, from which the same dataset is made again."""
        return {"kind": "digits", "split_seed": self.split_seed}


@cache
def _digits() -> tuple[npt.NDArray[np.uint8], Labels]:
    from sklearn.datasets import load_digits

    source = load_digits()
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    return images, source.target.astype(np.int64)
