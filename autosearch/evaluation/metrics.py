"""How well a classifier does on labelled images, and how sure one can be of it."""

import math
import warnings
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

__all__ = ["classification_metrics", "wilson_interval"]

_SMALLEST_PROBABILITY = 1e-7


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


def classification_metrics(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> dict[str, float]:
    """Accuracy and its relatives of a set of predictions.

    Args:
        labels: True class indices, shape (n,), n > 0.
        probabilities: Shape (n, classes). Quantized outputs need not sum to 1: the logarithmic
            loss divides each row by its sum, after raising what is below 1e-7 to that.

    Returns:
        ``accuracy``; ``balanced_accuracy`` (mean recall of the classes among the labels);
        ``macro_f1`` (mean F1 of the classes among labels or predictions); ``log_loss`` (natural
        logarithm). The prediction is the most probable class, the lowest index among equals.

    Raises:
        ValueError: The shapes do not fit, there is no image, or a label is no class.
    """
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
    from sklearn.metrics import balanced_accuracy_score, f1_score

    predictions = probabilities.argmax(axis=1)
    rows = np.clip(probabilities.astype(np.float64), _SMALLEST_PROBABILITY, None)
    of_label = rows[np.arange(len(labels)), labels] / rows.sum(axis=1)
    with warnings.catch_warnings():
        # A class that is predicted but absent from the labels is no fault.
        warnings.simplefilter("ignore", UserWarning)
        balanced_accuracy = float(balanced_accuracy_score(labels, predictions))
    return {
        "accuracy": float(np.mean(predictions == labels)),
        "balanced_accuracy": balanced_accuracy,
        "macro_f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
        "log_loss": float(-np.log(of_label).mean()),
    }
