"""How sure one can be of figures that are no plain share: the bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autosearch.evaluation.metrics import calibration_gaps, normalised

__all__ = ["bootstrap_intervals"]

_NUM_DRAWN_AT_ONCE = 2_000_000
_MANY_IMAGES = 20_000


def bootstrap_intervals(
    labels: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    *,
    num_resamples: int | None = None,
    confidence: float = 0.9,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Intervals of figures over images, by the stratified percentile bootstrap.

    Images are drawn with replacement within each class, so that every resample has the classes
    in the sample's numbers. Where resampling shifts a figure (the worst of several is worse in a
    resample), the interval is widened to hold the sample's own. A class of one image shows no
    spread: intervals over few images are too narrow.

    Args:
        labels: True class indices, shape (n,), n > 0.
        probabilities: Shape (n, classes).
        num_resamples: Resamples drawn; by default 1,000, and 200 of more than 20,000 images, whose
            intervals are narrow anyway.
        confidence: Share between the two percentiles.
        seed: The same seed gives the same intervals.

    Returns:
        Lower and upper end for ``balanced_accuracy``, ``macro_f1``, ``worst_class_recall``,
        ``log_loss`` and ``expected_calibration_error``, each as ``classification_metrics``
        defines it.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 13 and 16.
    """
    if num_resamples is None:
        num_resamples = 1000 if len(labels) <= _MANY_IMAGES else 200
    num_classes = probabilities.shape[1]
    predictions = probabilities.argmax(axis=1)
    rows = normalised(probabilities)
    losses = -np.log(rows[np.arange(len(labels)), labels])
    bins, gaps, num_bins = calibration_gaps(rows.max(axis=1), predictions == labels)
    present = np.unique(labels)
    generator = np.random.default_rng(seed)
    figures: dict[str, list[npt.NDArray[np.float64]]] = {}
    at_once = max(1, min(num_resamples, _NUM_DRAWN_AT_ONCE // max(len(labels), num_classes)))
    # The first "resample" is the sample itself.
    sizes = [1] + [at_once] * (num_resamples // at_once) + [num_resamples % at_once]
    for number, size in enumerate(size for size in sizes if size):
        right = np.zeros((size, num_classes))
        predicted = np.zeros((size, num_classes))
        support = np.zeros(num_classes)
        loss = np.zeros(size)
        gap = np.zeros((size, num_bins))
        offsets = np.arange(size)[:, np.newaxis]
        for label in present:
            members = np.nonzero(labels == label)[0]
            drawn = (
                members[np.newaxis]
                if number == 0
                else members[generator.integers(0, len(members), (size, len(members)))]
            )
            counts = np.bincount(
                (offsets * num_classes + predictions[drawn]).ravel(), minlength=size * num_classes
            ).reshape(size, num_classes)
            predicted += counts
            right[:, label] = counts[:, label]
            support[label] = len(members)
            loss += losses[drawn].sum(axis=1)
            gap += np.bincount(
                (offsets * num_bins + bins[drawn]).ravel(),
                weights=gaps[drawn].ravel(),
                minlength=size * num_bins,
            ).reshape(size, num_bins)
        recalls = right[:, present] / support[present]
        seen = predicted + support
        f1 = np.divide(2 * right, seen, out=np.zeros_like(right), where=seen > 0)
        of_part = {
            "balanced_accuracy": recalls.mean(axis=1),
            "macro_f1": f1.sum(axis=1) / (seen > 0).sum(axis=1),
            "worst_class_recall": recalls.min(axis=1),
            "log_loss": loss / len(labels),
            "expected_calibration_error": np.abs(gap).sum(axis=1) / len(labels),
        }
        for name, values in of_part.items():
            figures.setdefault(name, []).append(values)
    ends = [50 * (1 - confidence), 50 * (1 + confidence)]
    intervals = {}
    for name, parts in figures.items():
        own, drawn_figures = float(parts[0][0]), np.concatenate(parts[1:])
        low, high = np.percentile(drawn_figures, ends)
        intervals[name] = (min(float(low), own), max(float(high), own))
    return intervals
