"""What Optuna holds of a value: of some ranges it is asked for a number that stands for one."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from autosearch.space.parameters import Choices, Numbers, to_distribution

__all__ = ["distribution_of", "held", "held_by", "is_same", "is_stand_in", "value_of"]


def distribution_of(asked: Choices | Numbers) -> BaseDistribution:
    """What Optuna is asked for, in place of a range."""
    if isinstance(asked, Choices):
        return CategoricalDistribution(asked.values)
    like = to_distribution(asked)
    if not like.integer:
        return FloatDistribution(like.low, like.high, log=like.log, step=like.step)
    step = 1 if like.step is None else int(like.step)
    return IntDistribution(int(like.low), int(like.high), log=like.log, step=step)


def is_stand_in(asked: Choices | Numbers) -> bool:
    """Whether Optuna holds something else in place of the values of a range."""
    return isinstance(asked, Numbers) and to_distribution(asked).stands_for != "value"


def held(asked: Choices | Numbers, value: Any) -> tuple[Any] | None:
    """What Optuna holds in place of a value, which may be None; nothing if it is none of a range.

    Example:
        >>> held(Numbers(True, 8, 64, 2, "log"), 32), held(Numbers(True, 8, 64, 2, "log"), 33)
        ((2,), None)
    """
    if isinstance(asked, Numbers):
        if not _is_number(value) or not asked.low <= value <= asked.high:
            return None
        drawn = asked.drawn(value)
        if not math.isclose(asked.value(drawn), value, rel_tol=1e-9):
            return None
        value = drawn
    return held_by(distribution_of(asked), value)


def value_of(asked: Choices | Numbers, known: Any) -> Any:
    """The value that Optuna holds something in place of: what ``held`` answered, turned back."""
    return asked.value(known) if isinstance(asked, Numbers) else known


def held_by(distribution: BaseDistribution, value: Any) -> tuple[Any] | None:
    """The value as a distribution holds it, which may be None; nothing if it does not fit."""
    if isinstance(distribution, CategoricalDistribution):
        return next(((c,) for c in distribution.choices if is_same(c, value)), None)
    if not _is_number(value):
        return None
    if isinstance(distribution, IntDistribution) and value != int(value):
        return None
    try:
        internal = distribution.to_internal_repr(value)
    except ValueError:  # It has no logarithm.
        return None
    if not distribution._contains(internal):
        return None
    return (distribution.to_external_repr(internal),)


def is_same(value: Any, other: Any) -> bool:
    """Whether two values are one: 2 is 2.0, which JSON does not tell apart, but no True is 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
