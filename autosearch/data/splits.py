"""Dividing labelled images into training, validation and test parts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import SPLITS, check_seed
from autosearch.errors import DefinitionError

__all__ = ["fold_numbers", "most_folds", "stratified_split"]


def stratified_split(
    labels: npt.ArrayLike,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int,
    classes: Sequence[str] | None = None,
) -> dict[str, npt.NDArray[np.int64]]:
    """Splits so that every class has about the same share in every part.

    Args:
        labels: (n,) class indices.
        fractions: The shares of train, validation and test; positive, together 1.
        seed: Draws the split; the same seed and labels give the same split.
        classes: The class names, for messages; by default the labels themselves. With them,
            a class without any image is refused too.

    Returns:
        "train", "validation" and "test", each with its ascending indices into ``labels``.

    Raises:
        DefinitionError: The fractions are no division, or a class is too small to be in
            every part.

    Example:
        >>> parts = stratified_split([0, 1] * 10, seed=0)
        >>> {name: len(indices) for name, indices in parts.items()}
        {'train': 12, 'validation': 4, 'test': 4}
    """
    check_seed(seed)
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DefinitionError(
            f"fractions {fractions} do not divide a dataset; expected three positive shares of "
            "train, validation and test that add up to 1, such as (0.6, 0.2, 0.2)"
        )
    from sklearn.model_selection import train_test_split

    labels = np.asarray(labels, dtype=np.int64)
    num_classes = len(classes) if classes is not None else int(labels.max(initial=-1)) + 1
    names = list(classes) if classes is not None else [str(i) for i in range(num_classes)]
    counts = np.bincount(labels, minlength=num_classes)
    expected = [i for i in range(num_classes) if classes is not None or counts[i]]
    for index in expected:
        if counts[index] < len(SPLITS):
            raise _too_small(names[index], int(counts[index]), "every part")

    everything = np.arange(len(labels))
    try:
        train, rest = train_test_split(
            everything, train_size=fractions[0], stratify=labels, random_state=seed
        )
        validation, test = train_test_split(
            rest,
            train_size=fractions[1] / (fractions[1] + fractions[2]),
            stratify=labels[rest],
            random_state=seed,
        )
    except ValueError as error:  # scikit-learn wants at least one image a class in every part
        smallest = min(expected, key=lambda index: int(counts[index]))
        raise _too_small(names[smallest], int(counts[smallest]), "every part") from error
    parts = dict(zip(SPLITS, (np.sort(part) for part in (train, validation, test)), strict=True))
    for split, part in parts.items():
        present = np.bincount(labels[part], minlength=num_classes)
        for index in expected:
            if not present[index]:
                raise _too_small(names[index], int(counts[index]), f'split "{split}"')
    return parts


def fold_numbers(
    labels: npt.ArrayLike, clusters: npt.ArrayLike, *, folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Divides images into folds of about equal size, classes spread evenly, clusters kept whole.

    A class of fewer clusters than folds is missing from some of them.

    Args:
        labels: (n,) class indices.
        clusters: (n,) numbers; images with the same one share a fold.
        folds: How many folds, at least 2 and at most ``most_folds``.
        seed: Draws them.

    Returns:
        (n,) the number of each image's fold, from 0.

    Raises:
        DefinitionError: There are more folds than that.

    Example:
        >>> folds = fold_numbers([0, 0, 1, 1], [0, 1, 2, 3], folds=2, seed=0).tolist()
        >>> sorted(folds[:2]), sorted(folds[2:])
        ([0, 1], [0, 1])
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels, clusters = np.asarray(labels), np.asarray(clusters)
    _, first, sizes = np.unique(clusters, return_index=True, return_counts=True)
    num_clusters = len(sizes)
    if num_clusters < folds:
        raise DefinitionError(
            f"{num_clusters} groups of images cannot be divided into {folds} folds; lower "
            "CrossValidation(folds=...)"
        )
    if _largest(labels) < folds:
        raise DefinitionError(
            f"no class has images for {folds} folds; lower CrossValidation(folds=...)"
        )
    # Without groups the plain way is exact, and faster.
    kind = StratifiedKFold if num_clusters == len(labels) else StratifiedGroupKFold
    numbers = np.full(len(labels), -1, np.int64)
    with warnings.catch_warnings():
        # It says when a class has fewer images than there are folds, as is documented above.
        warnings.simplefilter("ignore", category=UserWarning)
        splitter = kind(folds, shuffle=True, random_state=seed % 2**32)
        for number, (_, inside) in enumerate(splitter.split(labels, labels, clusters)):
            numbers[inside] = number
    # Lopsided groups can leave one empty.
    for empty in np.setdiff1d(np.arange(folds), numbers):
        held = np.bincount(numbers[first], minlength=folds)[numbers[first]]
        smallest = np.lexsort((sizes, -held))[0]
        numbers[clusters == clusters[first[smallest]]] = empty
    return numbers


def most_folds(labels: npt.ArrayLike, clusters: npt.ArrayLike) -> int:
    """Into how many folds images can be divided: with a cluster in each, and one class in all.

    Args:
        labels: (n,) class indices.
        clusters: (n,) numbers; images with the same one share a fold.

    Example:
        >>> most_folds([0, 0, 0, 1, 1], [0, 1, 2, 3, 4])
        3
    """
    return min(len(np.unique(np.asarray(clusters))), _largest(np.asarray(labels)))


def _largest(labels: npt.NDArray[np.int64]) -> int:
    """How many images the largest class has."""
    return int(np.bincount(labels).max(initial=0))


def _too_small(name: str, count: int, where: str) -> DefinitionError:
    images = "image" if count == 1 else "images"
    return DefinitionError(
        f'class "{name}" has {count} {images}, too few for {where} to get one; add images of it, '
        "leave the class out, or give the smaller parts a larger fraction"
    )
