"""How a user writes what a parameter of a space may be, and the base of every space.

A scalar is fixed, a tuple ``(low, high)`` is a range with both ends, a list holds choices, and
:class:`Range` says the rest: a step, or a logarithm. In JSON a range is an object and choices are
a list, so that neither is taken for the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from autosearch.declared import Declared
from autosearch.errors import DefinitionError
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import unwrapped

__all__ = [
    "BoolDomain",
    "Flags",
    "FloatDomain",
    "IntDomain",
    "Integers",
    "Options",
    "Range",
    "Reals",
    "Space",
    "StrDomain",
    "Words",
    "sample",
]


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers from ``low`` to ``high``, both included.

    Args:
        low: the low end.
        high: the high end.
        step: distance between two values; with ``log``, the factor between them.
        log: spread the values evenly over the logarithm, as suits a learning rate.

    Raises:
        DefinitionError: the range is empty or not possible.

    Example:
        >>> Range(1e-4, 1e-2, log=True)
        Range(low=0.0001, high=0.01, step=None, log=True)
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = unwrapped(getattr(self, name))
            object.__setattr__(self, name, value)
            if not (_is_number(value) or (name == "step" and value is None)):
                raise DefinitionError(f"Range: {name} must be a number, not {value!r}")
        if not isinstance(self.log, bool):
            raise DefinitionError(f"Range: log must be True or False, not {self.log!r}")
        low, high, step = self.low, self.high, self.step
        where = f"Range({low}, {high})"
        if low > high:
            raise DefinitionError(f"{where}: low is above high; write Range({high}, {low})")
        if self.log and low <= 0:
            raise DefinitionError(
                f"{where}: a logarithmic range needs a low above 0; raise low or drop log=True"
            )
        if step is not None and self.log and step <= 1:
            raise DefinitionError(
                f"{where}: with log=True the step is a factor and must be above 1, not {step}"
            )
        if step is not None and step <= 0:
            raise DefinitionError(
                f"{where}: step {step} must be above 0; leave it out for any value"
            )


class Options(tuple[Any, ...]):
    """Choices, once validated: a tuple that is not taken for ``(low, high)``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(list(self))


IntDomain: TypeAlias = int | Sequence[int] | Range
FloatDomain: TypeAlias = float | Sequence[float] | Range
StrDomain: TypeAlias = str | Sequence[str]
BoolDomain: TypeAlias = bool | Sequence[bool]


class _Rule:
    """A pydantic annotation: turns what a user wrote into a scalar, Options or a Range."""

    __slots__ = ()

    def expected(self) -> str:
        """What may be written, in words."""
        raise NotImplementedError

    def scalar(self, value: Any) -> Any:
        """Return the value as it is kept, or raise ValueError with what was expected."""
        raise NotImplementedError

    def of_range(self, written: Range) -> Range:
        """Return the range as it is kept, or raise ValueError."""
        raise ValueError(f"a range does not fit here; write {self.expected()}")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(_plain),
        )

    def _validate(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.of_range(_range_from(value))
        if isinstance(value, Range):
            return self.of_range(value)
        if isinstance(value, list | Options):
            return self._options([unwrapped(one) for one in value])
        if isinstance(value, tuple):
            return self.of_range(self._pair(tuple(map(unwrapped, value))))
        return self.scalar(unwrapped(value))

    def _pair(self, written: tuple[Any, ...]) -> Range:
        if len(written) != 2 or not all(_is_number(end) for end in written):
            raise ValueError(
                f"{written!r} is not a range; write (low, high), or a list of choices such as "
                f"{list(written)!r}"
            )
        low, high = written
        if low > high:
            raise ValueError(f"low {low} is above high {high}; write ({high}, {low})")
        return Range(low, high)

    def _options(self, written: Sequence[Any]) -> Options:
        if not written:
            raise ValueError(f"the list of choices is empty; write {self.expected()}")
        options = Options(self.scalar(value) for value in written)
        for index, option in enumerate(options):
            if option in options[:index]:
                raise ValueError(f"{option!r} is listed twice; keep one of them")
        return options


@dataclass(frozen=True, slots=True)
class Integers(_Rule):
    """Whole numbers from ``low`` to ``high``, both included."""

    low: int
    high: int

    def expected(self) -> str:
        """What may be written, in words."""
        return (
            f"a whole number from {self.low} to {self.high}, a range (low, high) or a list of them"
        )

    def scalar(self, value: Any) -> int:
        """Return ``value`` if it is an int within bounds."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{value!r} is not a whole number; write {self.expected()}")
        if not self.low <= value <= self.high:
            raise ValueError(f"{value} is out of bounds; write {self.expected()}")
        return value

    def of_range(self, written: Range) -> Range:
        """Return ``written`` if both ends and the step are whole numbers within bounds."""
        if written.step is not None and not isinstance(written.step, int):
            raise ValueError(f"the step {written.step!r} is not a whole number")
        low, high = self.scalar(written.low), self.scalar(written.high)
        return Range(low, high, written.step, written.log)


@dataclass(frozen=True, slots=True)
class Reals(_Rule):
    """Numbers from ``low`` to ``high``, both included unless ``above``: then more than ``low``."""

    low: float
    high: float
    above: bool = False

    def expected(self) -> str:
        """What may be written, in words."""
        start = f"above {self.low} up to" if self.above else f"from {self.low} to"
        return f"a number {start} {self.high}, a range (low, high) or a list of them"

    def scalar(self, value: Any) -> float:
        """Return ``value`` as a float if it is a number within bounds."""
        if not _is_number(value):
            raise ValueError(f"{value!r} is not a number; write {self.expected()}")
        if not self.low <= value <= self.high or (self.above and value == self.low):
            raise ValueError(f"{value} is out of bounds; write {self.expected()}")
        return float(value)

    def of_range(self, written: Range) -> Range:
        """Return ``written`` with floats if both ends are within bounds."""
        step = None if written.step is None else float(written.step)
        return Range(self.scalar(written.low), self.scalar(written.high), step, written.log)


@dataclass(frozen=True, slots=True)
class Words(_Rule):
    """One or several of ``allowed``."""

    allowed: tuple[str, ...]

    def expected(self) -> str:
        """What may be written, in words."""
        return f"one or a list of {', '.join(self.allowed)}"

    def scalar(self, value: Any) -> str:
        """Return ``value`` if it is one of the words."""
        if not isinstance(value, str) or value not in self.allowed:
            raise ValueError(f"{value!r} is unknown; write {self.expected()}")
        return value

    def _pair(self, written: tuple[Any, ...]) -> Range:
        raise ValueError(f"{written!r} is a tuple; choices are a list: {list(written)!r}")


@dataclass(frozen=True, slots=True)
class Flags(_Rule):
    """True, False, or either."""

    def expected(self) -> str:
        """What may be written, in words."""
        return "True, False or [True, False]"

    def scalar(self, value: Any) -> bool:
        """Return ``value`` if it is a bool."""
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not a truth value; write {self.expected()}")
        return value


class Space(Declared):
    """The base of every space."""

    model_config = ConfigDict(validate_default=True)


def sample(hp: HyperParameters, name: str, domain: Any) -> Any:
    """Return the value of parameter ``name``: sampled, or fixed where there is but one.

    Args:
        hp: where to ask; a fixed value stands in ``hp.values`` and nothing is sampled for it.
        name: of the parameter, within the current name scope.
        domain: a validated domain: a scalar, :class:`Options` or a :class:`Range`.

    Returns:
        An int, float, str or bool, as the domain has them.
    """
    if isinstance(domain, Options):
        return hp.Fixed(name, domain[0]) if len(domain) == 1 else hp.Choice(name, domain)
    if not isinstance(domain, Range):
        return hp.Fixed(name, domain)
    low, high, step = domain.low, domain.high, domain.step
    if low == high:
        return hp.Fixed(name, low)
    sampling = "log" if domain.log else "linear"
    if isinstance(low, int) and isinstance(high, int):
        return hp.Int(name, low, high, None if step is None else int(step), sampling)
    if step is not None and not domain.log:
        # Keras Tuner's count of steps loses the last one to rounding: 1.0 // 0.2 is 4.0.
        high += step * 1e-6
    return hp.Float(name, low, high, step, sampling)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Options):
        return list(value)
    if isinstance(value, Range):
        return {"low": value.low, "high": value.high, "step": value.step, "log": value.log}
    return value


def _range_from(written: dict[str, Any]) -> Range:
    unknown = sorted(set(written) - {"low", "high", "step", "log"})
    if unknown or not {"low", "high"} <= set(written):
        raise ValueError(f"{written!r} is not a range; write its low, high, step and log")
    return Range(**written)
