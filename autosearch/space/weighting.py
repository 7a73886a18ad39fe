"""How much each class counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from autosearch.errors import DefinitionError
from autosearch.space.domain import FloatDomain, Options, Reals, Space, StrDomain, Words, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = [
    "ClassWeighting",
    "ClassWeightingConfig",
    "class_weights",
    "logit_offsets",
    "oversampled",
]


_METHODS = ("none", "balanced", "effective_number", "focal", "oversample", "logit_adjustment")


@dataclass(frozen=True, slots=True)
class ClassWeightingConfig:
    """How classes are weighted. A number is 0.0, and not used, with another method than its own.

    Attributes:
        method: "none", "balanced", "effective_number", "focal", "oversample" or
            "logit_adjustment".
        beta: of the effective number of samples.
        gamma: of the focal loss.
        tau: of the logit adjustment.
        power: of the oversampling.
    """

    method: str
    beta: float = 0.0
    gamma: float = 0.0
    tau: float = 0.0
    power: float = 0.0


class ClassWeighting(Space):
    """The space of class weightings, for data in which some classes are rare.

    A model that the user's ``build`` compiled has a loss of its own: "focal" and
    "logit_adjustment" are then an error. A ``fit`` of a ``HyperModel`` is then given the weights of
    "balanced" and "effective_number" as ``class_weight``, which it must take and hand on.

    Attributes:
        method: "none"; "balanced" (inverse frequency) or "effective_number" (Cui et al. 2019)
            class weights in the loss; "focal" loss, in which hard images count more (Lin et al.
            2017); "oversample" (images of rare classes come several times an epoch, which is
            the longer for it); "logit_adjustment" of the loss by the class priors (Menon et al.
            2021).
        beta: above 0 and below 1; the nearer to 1, the more a rare class counts. Sampled only
            with "effective_number".
        gamma: above 0, up to 10; the higher, the less an easy image counts. Sampled only with
            "focal".
        tau: above 0, up to 10; 1 aims at the balanced accuracy. Sampled only with
            "logit_adjustment".
        power: above 0, up to 1; a class comes (largest count / its count)^power times as often,
            so that with 1 all classes come equally often. Sampled only with "oversample".

    Example:
        >>> ClassWeighting(method=["none", "balanced"]).method
        ['none', 'balanced']
    """

    method: Annotated[StrDomain, Words(_METHODS)] = "none"
    beta: Annotated[FloatDomain, Reals(0.0, 0.9999999, above=True)] = Options((0.99, 0.999, 0.9999))
    gamma: Annotated[FloatDomain, Reals(0.0, 10.0, above=True)] = Options((0.5, 1.0, 2.0))
    tau: Annotated[FloatDomain, Reals(0.0, 10.0, above=True)] = Options((0.5, 1.0, 1.5))
    power: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Options((0.5, 1.0))

    def sample(self, hp: HyperParameters) -> ClassWeightingConfig:
        """Return one configuration of the space; parameters are named ``weighting/…``."""
        with hp.name_scope("weighting"):
            method = sample(hp, "method", self.method)
            return ClassWeightingConfig(
                method=method,
                beta=sample(hp, "beta", self.beta) if method == "effective_number" else 0.0,
                gamma=sample(hp, "gamma", self.gamma) if method == "focal" else 0.0,
                tau=sample(hp, "tau", self.tau) if method == "logit_adjustment" else 0.0,
                power=sample(hp, "power", self.power) if method == "oversample" else 0.0,
            )


def class_weights(config: ClassWeightingConfig, counts: ArrayLike) -> NDArray[np.float64]:
    """Return the weight of a sample of each class.

    The mean over all samples is 1, so that the loss keeps its scale and a learning rate its
    meaning. A class without samples has weight 0; with a method that has no class weights, all
    of them are 1.

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
    number = _checked(counts)
    if config.method not in ("balanced", "effective_number"):
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


def logit_offsets(config: ClassWeightingConfig, counts: ArrayLike) -> NDArray[np.float64]:
    """Return what "logit_adjustment" adds to the logits in the loss: tau · log(prior).

    A class without samples, whose prior has no logarithm, counts as half a sample (Menon et al.,
    Long-tail Learning via Logit Adjustment, ICLR 2021, equation 10).

    Args:
        config: the method's tau.
        counts: training samples of each class, shape (num_classes,).

    Returns:
        Offsets, at most 0, shape (num_classes,); 0 with another method.

    Raises:
        DefinitionError: as of ``class_weights``.
    """
    number = np.maximum(_checked(counts), 0.5)
    offsets: NDArray[np.float64] = config.tau * np.log(number / number.sum())
    return offsets if config.tau else np.zeros_like(number)


def oversampled(config: ClassWeightingConfig, labels: ArrayLike, *, seed: int) -> NDArray[np.int64]:
    """Return the indices of the images of an epoch, some of them several times.

    A class of n images comes round(n · (N / n)^power) times, N being the largest count: all of
    its images equally often, but for a rest that is drawn at random.

    Args:
        config: the method's power; with another method every image comes once.
        labels: class index of each image, shape (n,).
        seed: draws the rest.

    Returns:
        Indices in ascending order, every image at least once.
    """
    of_image = np.asarray(labels)
    if not config.power or not of_image.size:
        return np.arange(len(of_image))
    classes, counts = np.unique(of_image, return_counts=True)
    generator = np.random.default_rng(seed)
    chosen = []
    for label, count in zip(classes, counts, strict=True):
        total = round(count * (counts.max() / count) ** config.power)
        chosen.append(np.resize(generator.permutation(np.flatnonzero(of_image == label)), total))
    return np.sort(np.concatenate(chosen))


def _checked(counts: ArrayLike) -> NDArray[np.float64]:
    number: NDArray[np.float64] = np.asarray(counts, dtype=np.float64)
    if number.ndim != 1 or not number.size or (number < 0).any() or not number.sum() > 0:
        raise DefinitionError(
            f"class weights need the number of samples of each class, at least one above 0, "
            f"not {np.asarray(counts).tolist()}"
        )
    return number
