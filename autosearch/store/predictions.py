"""What a file predicts for each image of a split, as a small file of its own.

Two candidates can be compared on the same images with it, long after both were measured.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autosearch.errors import StorageError

__all__ = ["Predictions"]

_MAX_PROBABILITIES = 2_000_000  # 8 MB: past it a file of predictions outweighs every network


@dataclass(frozen=True, slots=True)
class Predictions:
    """Labels and probabilities of the same images, in the same order.

    Attributes:
        labels: (n,) true class indices.
        probabilities: (n, classes) float32, as the file gave them.
        groups: (n, columns) the group that each image counts in, of each column of groups, -1 for
            none; None where the images have no groups.
    """

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int32] | None = None

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the most probable class, the lowest index among equals, is the true one."""
        right: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    def to_bytes(self) -> bytes:
        """The file: a compressed ``.npz`` of the arrays."""
        file = io.BytesIO()
        known = {} if self.groups is None else {"groups": self.groups}
        np.savez_compressed(
            file, allow_pickle=False, labels=self.labels, probabilities=self.probabilities, **known
        )
        return file.getvalue()

    def stored(self, store: Callable[[bytes], str]) -> str | None:
        """The SHA-256 that ``store`` answers for the file; None if there is too much to keep."""
        return store(self.to_bytes()) if self.probabilities.size <= _MAX_PROBABILITIES else None

    @classmethod
    def from_bytes(cls, content: bytes) -> Predictions:
        """Reads such a file.

        Raises:
            StorageError: It is none.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                labels, probabilities = arrays["labels"], arrays["probabilities"]
                groups = arrays.get("groups")
        except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
            raise StorageError(
                f"a file of predictions cannot be read ({error}); bring the artifact store back "
                "from a copy, or run the study anew"
            ) from error
        return cls(labels, probabilities, groups)

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Those of several sets of images, one after the other, without their groups."""
        return cls(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
        )
