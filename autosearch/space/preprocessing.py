"""What a network sees: the size, colour and fit of its input image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from autosearch.space.domain import IntDomain, Integers, Space, StrDomain, Words, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["Preprocessing", "PreprocessingConfig"]


@dataclass(frozen=True, slots=True)
class PreprocessingConfig:
    """How an image becomes a network's input.

    Attributes:
        size: height and width in pixels.
        color: "rgb" or "greyscale".
        resize: the filter: "nearest", "box", "bilinear", "bicubic" or "lanczos".
        fit: "stretch" to the square, "crop" its centre, or "pad" it with black.
    """

    size: int
    color: str
    resize: str
    fit: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return (self.size, self.size, 3 if self.color == "rgb" else 1)


class Preprocessing(Space):
    """The space of inputs; a parameter is a value, a list of choices or a range.

    Attributes:
        size: height and width in pixels, 4 to 1024.
        color: "rgb" or "greyscale".
        resize: "nearest", "box", "bilinear", "bicubic" or "lanczos".
        fit: how a picture that is not square becomes one: "stretch", "crop" or "pad".

    Example:
        >>> Preprocessing(size=[16, 32], color="greyscale").color
        'greyscale'
    """

    size: Annotated[IntDomain, Integers(4, 1024)] = 32
    color: Annotated[StrDomain, Words(("rgb", "greyscale"))] = "rgb"
    resize: Annotated[StrDomain, Words(("nearest", "box", "bilinear", "bicubic", "lanczos"))] = (
        "bilinear"
    )
    fit: Annotated[StrDomain, Words(("stretch", "crop", "pad"))] = "stretch"

    def sample(self, hp: HyperParameters) -> PreprocessingConfig:
        """Return one configuration of the space; parameters are named ``preprocessing/…``."""
        with hp.name_scope("preprocessing"):
            return PreprocessingConfig(
                size=sample(hp, "size", self.size),
                color=sample(hp, "color", self.color),
                resize=sample(hp, "resize", self.resize),
                fit=sample(hp, "fit", self.fit),
            )
