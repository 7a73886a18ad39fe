"""How much each class counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autosearch.errors import DefinitionError
from autosearch.space.domain import FloatDomain, Options, Reals, Space, StrDomain, Words, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["ClassWeighting", "ClassWeightingConfig", "class_weights"]


@dataclass(frozen=True, slots=True)
class ClassWeightingConfig:
    """How classes are weighted.

    Attributes:
        method: "none", "balanced" or "effective_number".
        beta: of the effective number of samples; 0.0, and not used, with another method.
    """

    method: str
    beta: float


class ClassWeighting(Space):
    """The space of class weightings, for data in which some classes are rare.

    Attributes:
        method: "none", "balanced" (inverse frequency) or "effective_number".
        beta: above 0 and below 1; the nearer to 1, the more a rare class counts. Sampled only
            with "effective_number".

    Example:
        >>> ClassWeighting(method=["none", "balanced"]).method
        ['none', 'balanced']
    """

    method: Annotated[StrDomain, Words(("none", "balanced", "effective_number"))] = "none"
    beta: Annotated[FloatDomain, Reals(0.0, 0.9999999, above=True)] = Options((0.99, 0.999, 0.9999))

    def sample(self, hp: HyperParameters) -> ClassWeightingConfig:
        """Return one configuration of the space; parameters are named ``weighting/…``."""
        with hp.name_scope("weighting"):
            method = sample(hp, "method", self.method)
            beta = sample(hp, "beta", self.beta) if method == "effective_number" else 0.0
            return ClassWeightingConfig(method=method, beta=beta)


def class_weights(config: ClassWeightingConfig, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the weight of a sample of each class.

    The mean over all samples is 1, so that the loss keeps its scale and a learning rate its
    meaning. A class without samples has weight 0, except with "none", where all weights are 1.

    "balanced" weights by the inverse of the count n, "effective_number" by the inverse of
    (1 − beta^n) / (1 − beta) (Cui et al., Class-Balanced Loss Based on Effective
    Number of Samples, CVPR 2019, equation 2).

    Args:
        config: the method and its beta.
        counts: training samples of each class, shape (num_classes,).

    Returns:
        Weights, shape (num_classes,).

    Raises:
        DefinitionError: ``counts`` has another shape, a negative number, or no sample at all.

    Example:
        >>> class_weights(ClassWeightingConfig("balanced", 0.0), [30, 10])
        array([0.66666667, 2.        ])
    """
    number: NDArray[Any] = np.asarray(counts, dtype=np.float64)
    if number.ndim != 1 or not number.size or (number < 0).any() or not number.sum() > 0:
        raise DefinitionError(
            f"class weights need the number of samples of each class, at least one above 0, "
            f"not {np.asarray(counts).tolist()}"
        )
    if config.method == "none":
        return np.ones_like(number)
    present = number > 0
    weights = np.zeros_like(number)
    if config.method == "balanced":
        weights[present] = 1.0 / number[present]
    else:
        # expm1 keeps the digits of 1 − β^n when β^n is close to 1.
        effective = -np.expm1(number[present] * np.log(config.beta)) / (1.0 - config.beta)
        weights[present] = 1.0 / effective
    scaled: NDArray[np.float64] = weights * number.sum() / (weights @ number)
    return scaled
