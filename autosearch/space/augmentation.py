"""How training images are varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from autosearch.space.domain import (
    BoolDomain,
    Flags,
    FloatDomain,
    IntDomain,
    Integers,
    Options,
    Reals,
    Space,
    StrDomain,
    Words,
    sample,
)
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["Augmentation", "AugmentationConfig", "AugmentationStep"]

_FLIPS = ("horizontal_flip", "vertical_flip")
_LAYERS = ("shift", "rotation", "zoom", "brightness", "contrast", "saturation", "hue")
_COLOR_ONLY = ("saturation", "hue")
_MIXES = ("mixup", "cutmix")
_LAST = ("erasing", *_MIXES)


@dataclass(frozen=True, slots=True)
class AugmentationStep:
    """One thing that is done to training images, at random and anew in every epoch.

    Attributes:
        name: as ``Augmentation`` has it, such as "shift".
        strength: how far, above 0; 1.0 of a flip.
        probability: share of the images that it is done to.
        repeats: how many layers are drawn for an image, with "randaugment"; else 1.
    """

    name: str
    strength: float
    probability: float
    repeats: int = 1


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """What is done to training images, in this order."""

    steps: tuple[AugmentationStep, ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether images stay as they are."""
        return not self.steps

    @property
    def mixes_labels(self) -> bool:
        """Whether images become mixtures of two, with labels to match."""
        return any(step.name in _MIXES for step in self.steps)


class Augmentation(Space):
    """The space of augmentations, all off by default.

    Each has a strength, 0 being off, and a probability: the share of the images that it is done
    to, sampled only where the strength is above 0. A flip needs no strength.

    Attributes:
        policy: "none" (images stay as they are, and nothing below is sampled), "layers" (each
            layer with its own strength) or "randaugment" (in place of the layers from ``shift``
            to ``hue``). Flips, ``erasing``, ``mixup`` and ``cutmix`` are the same with both.
        horizontal_flip: True, False or ``[True, False]``; not for digits or text.
        vertical_flip: likewise; for images without an up and down.
        shift: most that an image moves along each axis, as a fraction of its size, 0 to 0.5.
        rotation: most that it turns either way, in degrees, 0 to 180.
        zoom: most that it grows or shrinks, as a fraction of its size, 0 to 0.9.
        brightness: most that is added or taken away, as a fraction of the full range, 0 to 1.
        contrast: most that the distance from the mean grows or shrinks, as a fraction, 0 to 1.
        saturation: colour images only. Most that the saturation changes, 0 to 1: s multiplies
            it by (1 - s) / (1 + s) to (1 + s) / (1 - s).
        hue: colour images only. Most that it turns, as a fraction of half the circle, 0 to 1.
        randaugment: strength of RandAugment's layers, above 0, up to 1 (Cubuk et al.,
            RandAugment, NeurIPS 2020). Sampled only with that policy.
        randaugment_layers: how many of them an image goes through, 1 to 4. Likewise.
        erasing: largest share of an image that is replaced by noise, 0 to 1 (Zhong et al.,
            Random Erasing Data Augmentation, AAAI 2020).
        mixup: alpha of the Beta distribution of the weight of an image that is blended with
            another, as their labels are, 0 to 1 (Zhang et al., mixup, ICLR 2018). Below 0.02
            nothing is mixed.
        cutmix: likewise of the share of an image that keeps its pixels, the rest being cut from
            another (Yun et al., CutMix, ICCV 2019).

    Example:
        >>> Augmentation(shift=(0.0, 0.1), rotation=[0, 10]).rotation
        [0.0, 10.0]
    """

    policy: Annotated[StrDomain, Words(("none", "layers", "randaugment"))] = "layers"
    horizontal_flip: Annotated[BoolDomain, Flags()] = False
    vertical_flip: Annotated[BoolDomain, Flags()] = False
    shift: Annotated[FloatDomain, Reals(0.0, 0.5)] = 0.0
    rotation: Annotated[FloatDomain, Reals(0.0, 180.0)] = 0.0
    zoom: Annotated[FloatDomain, Reals(0.0, 0.9)] = 0.0
    brightness: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    contrast: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    saturation: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    hue: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    randaugment: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = Options((0.25, 0.5, 0.75))
    randaugment_layers: Annotated[IntDomain, Integers(1, 4)] = 2
    erasing: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    mixup: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    cutmix: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    horizontal_flip_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 0.5
    vertical_flip_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 0.5
    shift_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    rotation_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    zoom_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    brightness_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    contrast_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    saturation_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    hue_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    randaugment_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    erasing_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 0.5
    mixup_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0
    cutmix_probability: Annotated[FloatDomain, Reals(0.0, 1.0, above=True)] = 1.0

    def sample(self, hp: HyperParameters, *, num_channels: int = 3) -> AugmentationConfig:
        """Return one configuration of the space; parameters are named ``augmentation/…``.

        Args:
            hp: where to ask.
            num_channels: of the images; with 1 what concerns colour is not sampled.
        """
        with hp.name_scope("augmentation"):
            policy = sample(hp, "policy", self.policy)
            if policy == "none":
                return AugmentationConfig()
            middle = _LAYERS if policy == "layers" else ("randaugment",)
            steps = [
                self._step(hp, name)
                for name in (*_FLIPS, *middle, *_LAST)
                if num_channels > 1 or name not in _COLOR_ONLY
            ]
            return AugmentationConfig(tuple(step for step in steps if step is not None))

    def _step(self, hp: HyperParameters, name: str) -> AugmentationStep | None:
        strength = float(sample(hp, name, getattr(self, name)))
        if not strength:
            return None
        probability = sample(hp, f"{name}_probability", getattr(self, f"{name}_probability"))
        repeats = 1
        if name == "randaugment":
            repeats = sample(hp, "randaugment_layers", self.randaugment_layers)
        return AugmentationStep(name, strength, probability, repeats)
