"""How likely chance alone parts two files that were asked about the same images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from autosearch.evaluation.metrics import calibration_gaps, mcnemar_p_value, normalised
from autosearch.store.predictions import Predictions

__all__ = ["paired_p_value"]

_Array: TypeAlias = npt.NDArray[np.float32]
_Figure: TypeAlias = Callable[[_Array], _Array]

_NUM_EXCHANGES = 2_000
_AT_ONCE = 2_000_000  # random bits


def paired_p_value(one: Predictions, other: Predictions, *, metric: str = "accuracy") -> float:
    """How likely chance alone parts two sets of predictions of the same images that far.

    For accuracy this is McNemar's exact test: of the images that only one of the two got right,
    each is as likely to be the one's as the other's. Any other figure is tested by exchange: if
    neither file is better, what the two say of an image might as well be the other way round, so
    it is exchanged for each image or not, at random, and the figure taken anew of both.

    Args:
        one: Predictions of n images.
        other: Those of the same images, in the same order.
        metric: One of ``QUALITY_METRICS``.

    Returns:
        The two-sided p-value, above 0 and at most 1.

    Raises:
        ValueError: The labels of the two are not the same, or nothing is known of groups and
            ``metric`` is ``worst_group_accuracy``.

    References:
        ``mcnemar_p_value``; exchanging: Fisher (1935), The Design of Experiments, §21; of figures
        that are no means: Noreen (1989), Computer-Intensive Methods for Testing Hypotheses.
    """
    if not np.array_equal(one.labels, other.labels):
        raise ValueError(
            f"Got predictions of {len(one.labels)} and {len(other.labels)} images that differ in "
            "their labels; expected two of the same images."
        )
    if metric == "accuracy":
        only_one = int(np.sum(one.right & ~other.right))
        only_other = int(np.sum(other.right & ~one.right))
        return mcnemar_p_value(only_one, only_other)
    if metric == "worst_group_accuracy" and one.groups is None:
        raise ValueError("Got predictions without groups; expected some for worst_group_accuracy.")
    terms, figure = _TERMS[metric](one)
    of_one, of_other = terms(one), terms(other)
    differences = of_one - of_other
    differences = differences[(differences != 0).any(axis=1)]
    if not len(differences):
        return 1.0
    sums = np.stack([of_one.sum(axis=0), of_other.sum(axis=0)])
    observed = float(abs(np.subtract(*figure(sums))))
    rng = np.random.default_rng(0)
    as_far, left = 0, _NUM_EXCHANGES
    while left > 0:
        count = min(left, max(_AT_ONCE // len(differences), 1))
        is_exchanged = rng.integers(0, 2, (count, len(differences)), dtype=np.int8)
        moved = is_exchanged.astype(np.float32) @ differences
        apart = np.abs(figure(sums[0] - moved) - figure(sums[1] + moved))
        # Sums of single precision: as far but for rounding is as far.
        as_far += int(np.sum(apart >= observed - 1e-6 * max(observed, 1.0)))
        left -= count
    return (as_far + 1) / (_NUM_EXCHANGES + 1)


# Of each figure: terms of every image, shape (n, f), whose sums over the images are all that it
# needs, and the figure of such sums, (k, f) to (k,).


def _log_loss(_: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    def terms(seen: Predictions) -> _Array:
        true = normalised(seen.probabilities)[np.arange(len(seen.labels)), seen.labels]
        return (np.log(true)[:, None] / len(seen.labels)).astype(np.float32)

    return terms, lambda sums: sums[:, 0]


def _calibration(_: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    def terms(seen: Predictions) -> _Array:
        confidences = normalised(seen.probabilities).max(axis=1)
        bins, gaps, num_bins = calibration_gaps(confidences, seen.right)
        each = np.zeros((len(bins), num_bins), np.float32)
        each[np.arange(len(bins)), bins] = gaps / len(bins)
        return each

    return terms, lambda sums: np.abs(sums).sum(axis=1)


def _mean_recall(one: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    return _right_among(_columns(one.labels)), lambda shares: shares.mean(axis=1)


def _worst_recall(one: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    return _right_among(_columns(one.labels)), lambda shares: shares.min(axis=1)


def _worst_group(one: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    assert one.groups is not None
    # An image is in one group of each column at most.
    members = np.concatenate([_columns(codes) for codes in one.groups.T], axis=1)
    return _right_among(members), lambda shares: shares.min(axis=1)


def _macro_f1(one: Predictions) -> tuple[Callable[[Predictions], _Array], _Figure]:
    classes = np.arange(one.probabilities.shape[1])
    is_label = one.labels[:, None] == classes
    supports = is_label.sum(axis=0, dtype=np.float32)

    def terms(seen: Predictions) -> _Array:
        is_predicted = seen.probabilities.argmax(axis=1)[:, None] == classes
        return np.concatenate([is_predicted & is_label, is_predicted], axis=1).astype(np.float32)

    def figure(sums: _Array) -> _Array:
        right, predicted = np.split(sums, 2, axis=1)
        either = supports + predicted
        # A class that is neither there nor predicted counts for nothing.
        found = 2 * right / np.maximum(either, 1)
        return np.asarray(found.sum(axis=1) / (either > 0.5).sum(axis=1), dtype=np.float32)

    return terms, figure


def _right_among(members: npt.NDArray[np.bool_]) -> Callable[[Predictions], _Array]:
    shares = members.astype(np.float32) / members.sum(axis=0)
    return lambda seen: seen.right[:, None] * shares


def _columns(codes: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which image is of which class or group, of those that there are; below 0 is of none."""
    present = np.unique(codes[codes >= 0])
    return np.asarray(codes[:, None] == present)


_TERMS: dict[str, Callable[[Predictions], tuple[Callable[[Predictions], _Array], _Figure]]] = {
    "balanced_accuracy": _mean_recall,
    "macro_f1": _macro_f1,
    "worst_class_recall": _worst_recall,
    "worst_group_accuracy": _worst_group,
    "log_loss": _log_loss,
    "expected_calibration_error": _calibration,
}
