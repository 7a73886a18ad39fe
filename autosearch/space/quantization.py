"""In which number formats a trained network is measured."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from autosearch.space.domain import Options, Space, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["SCHEMES", "Quantization"]

SCHEMES: tuple[str, ...] = ("float32", "float16", "dynamic_int8", "int8", "int16x8")
"""Every scheme, by name: ``int8`` has uint8 input and output, ``int16x8`` 16-bit activations."""


class Quantization(Space):
    """The schemes of a study, all by default: every trained network is measured in each of them.

    One of them is sampled per trial, as ``quantization``: it decides whose figures the sampler
    learns from.

    Args:
        *schemes: names from :data:`SCHEMES`.

    Raises:
        DefinitionError: a name is unknown or there twice, or there is none.

    Example:
        >>> Quantization("float32", "int8").schemes
        ('float32', 'int8')
    """

    schemes: tuple[str, ...] = SCHEMES

    def __init__(self, *schemes: str, **data: Any) -> None:
        if schemes:
            data["schemes"] = schemes
        super().__init__(**data)

    @field_validator("schemes", mode="before")
    @classmethod
    def _known(cls, written: Any) -> tuple[str, ...]:
        schemes = (written,) if isinstance(written, str) else tuple(written)
        if not schemes:
            raise ValueError(f"no scheme is left; write one or more of {', '.join(SCHEMES)}")
        for index, scheme in enumerate(schemes):
            if scheme not in SCHEMES:
                raise ValueError(
                    f"{scheme!r} is unknown; write one or more of {', '.join(SCHEMES)}"
                )
            if scheme in schemes[:index]:
                raise ValueError(f"{scheme!r} is there twice; keep one of them")
        return schemes

    def sample(self, hp: HyperParameters) -> str:
        """Return the scheme whose figures this trial tells the sampler."""
        scheme: str = sample(hp, "quantization", Options(self.schemes))
        return scheme
