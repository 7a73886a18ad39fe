"""The loss that a network of ours is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from autosearch.space.weighting import ClassWeightingConfig, class_weights, logit_offsets

__all__ = ["LossTerms", "loss_terms", "make_loss"]

# Far below what a float32 softmax of ordinary logits gives, so that a probability keeps its
# gradient: that of log(p) by the logits is p_k − 1 or p_k, however small p is.
_SMALLEST_PROBABILITY = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTerms:
    """What makes some images count more in the loss than others. By default nothing does.

    Attributes:
        class_weights: (num_classes,), the weight of an image of each class.
        focal_gamma: of the focal loss; 0.0 is none.
        logit_offsets: (num_classes,), added to the logits in the loss and nowhere else: tau
            times the logarithm of the class priors, for logit adjustment.
    """

    class_weights: npt.NDArray[np.floating[Any]] | None = None
    focal_gamma: float = 0.0
    logit_offsets: npt.NDArray[np.floating[Any]] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether all images count the same."""
        return self.class_weights is None and not self.focal_gamma and self.logit_offsets is None

    @property
    def needs_our_loss(self) -> bool:
        """Whether class weights alone, which any Keras loss takes, do not say it."""
        return bool(self.focal_gamma) or self.logit_offsets is not None


def loss_terms(weighting: ClassWeightingConfig, counts: npt.NDArray[np.int64]) -> LossTerms:
    """What a class weighting does to the loss; oversampling does nothing to it.

    Args:
        weighting: What was sampled.
        counts: Training images of each class, (num_classes,), before any oversampling.
    """
    if weighting.method in ("balanced", "effective_number"):
        return LossTerms(class_weights=class_weights(weighting, counts))
    if weighting.method == "logit_adjustment":
        return LossTerms(logit_offsets=logit_offsets(weighting, counts))
    return LossTerms(focal_gamma=weighting.gamma)


def make_loss(terms: LossTerms, *, label_smoothing: float, one_hot: bool) -> Any:
    """A Keras loss of labels and probabilities: cross-entropy with these terms.

    The focal loss is that of Lin et al., Focal Loss for Dense Object Detection, ICCV 2017,
    with alpha 1. Logit adjustment is that of Menon et al., Long-tail Learning via Logit
    Adjustment, ICLR 2021, equation 10: the cross-entropy of softmax(z + offsets) for logits z.
    A network answers p = softmax(z), and log p differs from z by a number that is the same for
    all classes of an image, so that softmax(log p + offsets) is the same.

    Smoothed and mixed labels combine with all of it; the weight of an image is then the mean of
    the classes' weights by its label before smoothing.

    Args:
        terms: What counts more. At most one of them may be set.
        label_smoothing: Share of the probability that is spread over all classes.
        one_hot: Whether labels are (batch, num_classes), as they must be with any of the terms
            or with smoothing, and not (batch,).

    Raises:
        ValueError: The labels do not suit, or several terms are set.
    """
    if not one_hot:
        if label_smoothing or not terms.is_plain:
            raise ValueError("Got labels as class indices; expected one-hot ones for this loss.")
        return keras.losses.SparseCategoricalCrossentropy()
    terms_set = [terms.class_weights is not None, bool(terms.focal_gamma),
                 terms.logit_offsets is not None]  # fmt: skip
    if sum(terms_set) > 1:
        raise ValueError(f"Got {terms}; expected at most one of its terms.")
    if terms.focal_gamma:
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=terms.focal_gamma, label_smoothing=label_smoothing
        )
    if terms.is_plain:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return _ClassAwareCrossentropy(terms, label_smoothing)


class _ClassAwareCrossentropy(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """Cross-entropy of one-hot labels with class weights or offsets to the logits."""

    def __init__(self, terms: LossTerms, label_smoothing: float) -> None:
        super().__init__(name="class_aware_crossentropy")
        self._terms = terms
        self._label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, shape (batch,)."""
        outputs, is_logits = y_pred, False
        if self._terms.logit_offsets is not None:
            log_probabilities = tf.math.log(tf.maximum(y_pred, _SMALLEST_PROBABILITY))
            outputs = log_probabilities + tf.constant(self._terms.logit_offsets, y_pred.dtype)
            is_logits = True
        losses = keras.losses.categorical_crossentropy(
            y_true, outputs, from_logits=is_logits, label_smoothing=self._label_smoothing
        )
        if self._terms.class_weights is not None:
            weights = tf.constant(self._terms.class_weights, y_pred.dtype)
            losses *= tf.linalg.matvec(tf.cast(y_true, y_pred.dtype), weights)
        return losses
