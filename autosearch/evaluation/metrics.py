"""How well a classifier does on labelled images, and how sure one can be of it."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CLASSIFICATION_METRICS",
    "calibration_gaps",
    "class_figures",
    "classification_metrics",
    "mcnemar_p_value",
    "normalised",
    "wilson_interval",
]

CLASSIFICATION_METRICS: tuple[str, ...] = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "worst_class_recall",
    "log_loss",
    "expected_calibration_error",
)
"""What ``classification_metrics`` answers."""

_SMALLEST_PROBABILITY = 1e-7
_NUM_BINS = 15


def wilson_interval(
    num_correct: float, num_images: int, confidence: float = 0.9
) -> tuple[float, float]:
    """The interval that an accuracy lies in, given its sample: Wilson's score interval.

    Unlike the textbook interval it keeps its coverage for few images and near 0 and 1.

    Args:
        num_correct: Images classified rightly, from 0 to ``num_images``; a fraction if the
            accuracy is weighted or a mean.
        num_images: Images classified.
        confidence: Share of such intervals that hold the true accuracy.

    Returns:
        Lower and upper end, within [0, 1]; (0, 1) for no image.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Wilson (1927), Journal of the American Statistical Association 22, 209–212; recommended
        by Brown, Cai & DasGupta (2001), Statistical Science 16, 101–133.

    Example:
        >>> low, high = wilson_interval(90, 100)
        >>> f"{low:.3f} to {high:.3f}"
        '0.840 to 0.939'
    """
    if num_images < 0 or not 0 <= num_correct <= num_images:
        raise ValueError(
            f"Got {num_correct} correct of {num_images} images; expected 0 <= num_correct <= "
            "num_images."
        )
    if not 0 < confidence < 1:
        raise ValueError(f"Got confidence={confidence}; expected a number between 0 and 1.")
    if num_images == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    accuracy = num_correct / num_images
    scale = 1 + z * z / num_images
    centre = (accuracy + z * z / (2 * num_images)) / scale
    variance = accuracy * (1 - accuracy) / num_images + (z / (2 * num_images)) ** 2
    half = z * math.sqrt(variance) / scale
    # Rounding must not put the sample's own accuracy, or 0 and 1, outside.
    return max(0.0, min(centre - half, accuracy)), min(1.0, max(centre + half, accuracy))


def mcnemar_p_value(num_fixed: int, num_broken: int) -> float:
    """How likely so uneven a count of changes is if both files are equally good: exact, two-sided.

    Args:
        num_fixed: Images that the one file classifies rightly and the other does not.
        num_broken: Images of which it is the other way round.

    References:
        McNemar (1947), Psychometrika 12, 153–157; the exact form is the sign test. For two
        classifiers: Dietterich (1998), Neural Computation 10, 1895–1923.

    Example:
        >>> mcnemar_p_value(8, 1)
        0.0390625
    """
    num_changed = num_fixed + num_broken
    total, ways = 0, 1
    for index in range(min(num_fixed, num_broken) + 1):
        total += ways
        ways = ways * (num_changed - index) // (index + 1)
    p_value: float = 2 * total / 2**num_changed
    return min(1.0, p_value)


def classification_metrics(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Accuracy and its relatives of a set of predictions; ``CLASSIFICATION_METRICS`` names them.

    The prediction is the most probable class, the lowest index among equals.

    Args:
        labels: True class indices, shape (n,), n > 0.
        probabilities: Shape (n, classes). Quantized outputs need not sum to 1: for the last two
            of the figures below each row is divided by its sum, after raising what is below 1e-7
            to that. Rows with a value outside [-0.1, 1.1] cannot be probabilities; all are then
            taken for logits.

    Returns:
        ``accuracy``; ``balanced_accuracy`` (mean recall of the classes among the labels);
        ``macro_f1`` (mean F1 of the classes among labels or predictions);
        ``worst_class_recall`` (lowest recall of the classes among the labels: one without an
        image has none); ``log_loss`` (natural logarithm); ``expected_calibration_error`` (mean
        distance of confidence and accuracy over 15 bins of equal width, each weighted by its
        images: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3).

    Raises:
        ValueError: The shapes do not fit, there is no image, or a label is no class.
    """
    _check(labels, probabilities)
    # Counted here and not by scikit-learn, whose checks take longer than the counting: a candidate
    # is judged on each of its groups of images.
    num_classes = probabilities.shape[1]
    predictions = probabilities.argmax(axis=1)
    is_right = predictions == labels
    supports = np.bincount(labels, minlength=num_classes)
    counts = supports + np.bincount(predictions, minlength=num_classes)
    right = np.bincount(labels[is_right], minlength=num_classes)
    recalls = right[supports > 0] / supports[supports > 0]
    f1_scores = 2 * right[counts > 0] / counts[counts > 0]
    rows = normalised(probabilities)
    return {
        "accuracy": float(np.mean(is_right)),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(np.mean(f1_scores)),
        "worst_class_recall": float(np.min(recalls)),
        "log_loss": float(-np.log(rows[np.arange(len(labels)), labels]).mean()),
        "expected_calibration_error": _calibration_error(rows.max(axis=1), is_right),
    }


def class_figures(
    labels: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
) -> dict[str, Any]:
    """What becomes of each class, JSON-friendly.

    Args:
        labels: True class indices, shape (n,), n > 0.
        probabilities: Shape (n, classes).
        classes: Their names, in order.

    Returns:
        ``per_class``: for each name its ``precision`` (None where it is never predicted),
        ``recall`` (None where no image is of it) and ``support`` (images of it);
        ``confusion``: images by true class (rows) and predicted class (columns), in order.

    Raises:
        ValueError: The shapes do not fit, there is no image, or a label is no class.
    """
    _check(labels, probabilities)
    if len(classes) != probabilities.shape[1]:
        raise ValueError(
            f"Got {len(classes)} class names; expected {probabilities.shape[1]}, since there are "
            "that many probabilities."
        )
    from sklearn.metrics import confusion_matrix

    confusion = confusion_matrix(
        labels, probabilities.argmax(axis=1), labels=np.arange(len(classes))
    )
    per_class = {}
    columns = zip(
        classes, confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1), strict=True
    )
    for name, right, predicted, support in columns:
        per_class[name] = {
            "precision": float(right / predicted) if predicted else None,
            "recall": float(right / support) if support else None,
            "support": int(support),
        }
    return {"per_class": per_class, "confusion": confusion.tolist()}


def _check(labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]) -> None:
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or len(labels) == 0:
        raise ValueError(
            f"Got labels of shape {labels.shape} and probabilities of shape "
            f"{probabilities.shape}; expected (n,) and (n, classes) with n > 0."
        )
    num_classes = probabilities.shape[1]
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"Got labels from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}, "
            "since there are that many probabilities."
        )


def normalised(outputs: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Outputs (n, classes) as rows that sum to 1, none of their values 0."""
    rows = outputs.astype(np.float64)
    if rows.min() < -0.1 or rows.max() > 1.1:
        rows = np.exp(rows - rows.max(axis=1, keepdims=True))
    rows = np.clip(rows, _SMALLEST_PROBABILITY, None)
    normalised: npt.NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return normalised


def calibration_gaps(
    confidences: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], int]:
    """What the calibration error adds up: each image's bin, its gap, and the number of bins.

    The error is the sum over bins of the absolute sum of their gaps, divided by the images.
    """
    # The bins are ((m − 1) / 15, m / 15], as in the paper.
    bins = np.clip(np.ceil(confidences * _NUM_BINS).astype(np.int64), 1, _NUM_BINS)
    return bins, confidences - right, _NUM_BINS + 1


def _calibration_error(confidences: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    bins, gaps, num_bins = calibration_gaps(confidences, right)
    # |mean confidence − accuracy| · share of the images, summed over bins; empty ones add 0.
    sums = np.bincount(bins, weights=gaps, minlength=num_bins)
    return float(np.abs(sums).sum() / len(confidences))
