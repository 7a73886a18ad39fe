"""In which number formats a trained network is measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import field_validator

from autosearch.space.domain import Options, Space, sample
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["MIXED", "SCHEMES", "Quantization"]

SCHEMES: tuple[str, ...] = ("float32", "float16", "dynamic_int8", "int8", "int16x8")
"""Every scheme, by name: ``int8`` has uint8 input and output, ``int16x8`` 16-bit activations."""

MIXED = "mixed"
"""The ``int8`` file with the weights of some layers in four bits, chosen for each network."""

_NAMES = (*SCHEMES, MIXED)


class Quantization(Space):
    """The schemes of a study: every trained network is measured in each of them.

    One of them is sampled per trial, as ``quantization``: it decides whose figures the sampler
    learns from. ``mixed`` is never that one: what it comes to is found after training, and of
    some networks nothing comes.

    Args:
        *schemes: names from :data:`SCHEMES`, or one list of them; all by default. ``mixed`` may
            stand beside ``int8``: a smaller file that has nearly its accuracy, and is slower on
            the host.

    Raises:
        DefinitionError: a name is unknown or there twice, there is none, or ``mixed`` stands
            without ``int8``.

    Example:
        >>> Quantization("float32", "int8").schemes
        ('float32', 'int8')
    """

    schemes: tuple[str, ...] = SCHEMES

    def __init__(self, *schemes: str | Sequence[str], **data: Any) -> None:
        if schemes:
            data["schemes"] = schemes[0] if len(schemes) == 1 else schemes
        super().__init__(**data)

    @field_validator("schemes", mode="before")
    @classmethod
    def _known(cls, written: Any) -> tuple[str, ...]:
        is_several = isinstance(written, list | tuple | set | frozenset)
        schemes = tuple(written) if is_several else (written,)
        if not schemes:
            raise ValueError(f"no scheme is left; write one or more of {', '.join(_NAMES)}")
        for index, scheme in enumerate(schemes):
            if scheme not in _NAMES:
                raise ValueError(f"{scheme!r} is unknown; write one or more of {', '.join(_NAMES)}")
            if scheme in schemes[:index]:
                raise ValueError(f"{scheme!r} is there twice; keep one of them")
        if MIXED in schemes and "int8" not in schemes:
            raise ValueError(f'{MIXED!r} narrows the file of int8; write "int8", {MIXED!r}')
        return schemes

    def sample(self, hp: HyperParameters) -> str:
        """Return the scheme whose figures this trial tells the sampler."""
        fixed = [scheme for scheme in self.schemes if scheme != MIXED]
        scheme: str = sample(hp, "quantization", Options(fixed))
        return scheme
