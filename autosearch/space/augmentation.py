"""How training images are varied."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Annotated

from autosearch.space.domain import BoolDomain, Flags, FloatDomain, Reals, Space, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["Augmentation", "AugmentationConfig"]


@dataclass(frozen=True, slots=True)
class AugmentationConfig:
    """How far each training image is varied, at random and anew in every epoch.

    Attributes:
        horizontal_flip: mirror every other image left to right.
        shift: most that an image moves along each axis, as a fraction of its size.
        rotation: most that it turns either way, in degrees.
        zoom: most that it grows or shrinks, as a fraction of its size.
        brightness: most that is added or taken away, as a fraction of the full range.
        contrast: most that the distance from the mean grows or shrinks, as a fraction.
    """

    horizontal_flip: bool
    shift: float
    rotation: float
    zoom: float
    brightness: float
    contrast: float

    @property
    def is_none(self) -> bool:
        """Whether images stay as they are."""
        return not any(astuple(self))


class Augmentation(Space):
    """The space of augmentations, all off by default.

    Attributes:
        horizontal_flip: True, False or ``[True, False]``; not for digits or text.
        shift: fraction of the image's size, 0 to 0.5.
        rotation: degrees either way, 0 to 180.
        zoom: fraction, 0 to 0.9.
        brightness: fraction of the full range, 0 to 1.
        contrast: fraction, 0 to 1.

    Example:
        >>> Augmentation(shift=(0.0, 0.1), rotation=[0, 10]).rotation
        [0.0, 10.0]
    """

    horizontal_flip: Annotated[BoolDomain, Flags()] = False
    shift: Annotated[FloatDomain, Reals(0.0, 0.5)] = 0.0
    rotation: Annotated[FloatDomain, Reals(0.0, 180.0)] = 0.0
    zoom: Annotated[FloatDomain, Reals(0.0, 0.9)] = 0.0
    brightness: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0
    contrast: Annotated[FloatDomain, Reals(0.0, 1.0)] = 0.0

    def sample(self, hp: HyperParameters) -> AugmentationConfig:
        """Return one configuration of the space; parameters are named ``augmentation/…``."""
        with hp.name_scope("augmentation"):
            return AugmentationConfig(
                horizontal_flip=sample(hp, "horizontal_flip", self.horizontal_flip),
                shift=sample(hp, "shift", self.shift),
                rotation=sample(hp, "rotation", self.rotation),
                zoom=sample(hp, "zoom", self.zoom),
                brightness=sample(hp, "brightness", self.brightness),
                contrast=sample(hp, "contrast", self.contrast),
            )
