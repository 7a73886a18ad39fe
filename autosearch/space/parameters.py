"""What a parameter may be, and how an Optuna trial is asked for it.

Keras Tuner has three ways to spread numbers over a range, each with or without a step. Optuna
has no reversed logarithm and refuses a logarithm with a step, so some ranges are asked for
through a stand-in. This is the whole mapping:

===========  ============  =======================  ===============================
sampling     step          asked of Optuna          the value
===========  ============  =======================  ===============================
linear       none          the range                as it comes
linear       ``s``         the range, step ``s``    as it comes
log          none          the range, logarithmic   as it comes
log          factor ``s``  an index ``i`` from 0    ``low·s^i``
reverse_log  none          ``p`` from 0 to 1        ``high+low − low·(high/low)^(1−p)``
reverse_log  factor ``s``  an index ``i`` from 0    ``high+low − low·s^i``
===========  ============  =======================  ===============================

Whole numbers of ``reverse_log`` use ``high + 1`` in place of ``high`` and are cut to integers, so
that ``high`` can be reached. The values that can be reached are those of ``keras_tuner`` 1.4.8.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeAlias

from autosearch.errors import DefinitionError

__all__ = [
    "Choices",
    "Condition",
    "Constant",
    "Distribution",
    "Numbers",
    "Parameter",
    "Scalar",
    "TrialLike",
    "as_scalar",
    "to_distribution",
    "unwrapped",
]

Scalar: TypeAlias = "int | float | str | bool | None"
"""What a parameter's value may be: all of it can be written as JSON."""

# Optuna's database keeps a parameter's name in a column of 512 characters.
_LONGEST_NAME = 500


class TrialLike(Protocol):
    """What is asked of a trial: the three methods that every Optuna trial has."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from ``low`` to ``high``, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of ``choices``."""
        ...


def as_scalar(value: Any, name: str) -> Scalar:
    """Return ``value`` as a plain Python scalar; NumPy's scalars are unwrapped.

    Raises:
        DefinitionError: ``value`` is a list, an object or a number that JSON cannot hold.
    """
    value = unwrapped(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise DefinitionError(f"parameter '{name}': {value} is not finite; write a finite number")
    if value is None or isinstance(value, bool | int | float | str):
        # A subclass such as an enumeration of strings would not survive the way to JSON and back.
        for plain in (bool, int, float, str):
            if isinstance(value, plain):
                return plain(value) if plain is not str else str.__str__(value)
        return None
    raise DefinitionError(
        f"parameter '{name}': a value may be int, float, str, bool or None, not {value!r}"
    )


def unwrapped(value: Any) -> Any:
    """Return a scalar of NumPy's as Python's, and anything else as it is."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar else value


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is fixed: nothing is asked."""

    value: Scalar

    def __str__(self) -> str:
        return f"the fixed value {self.value!r}"

    @property
    def default(self) -> Scalar:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"choices {list(self.values)}"

    def __eq__(self, other: object) -> bool:
        # 1 == True == 1.0 in Python, but they are different lists of choices.
        return isinstance(other, Choices) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def default(self) -> Scalar:
        """What Keras Tuner takes unless told otherwise: None if it is a choice, else the first."""
        return None if None in self.values else self.values[0]


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is asked of Optuna in place of a range of numbers.

    Attributes:
        integer: ``suggest_int``, otherwise ``suggest_float``.
        stands_for: what Optuna's number means: the value itself, the index of a value, or a
            probability.
    """

    integer: bool
    low: float
    high: float
    step: float | None
    log: bool
    stands_for: Literal["value", "index", "probability"]

    def suggest(self, trial: TrialLike, name: str) -> float:
        """Ask ``trial`` for parameter ``name``."""
        if self.integer:
            step = 1 if self.step is None else int(self.step)
            low, high = int(self.low), int(self.high)
            return trial.suggest_int(name, low, high, step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A range of numbers, with both ends, spread in one of Keras Tuner's three ways.

    Attributes:
        integer: whole numbers only.
        step: distance between two values, or, unless ``sampling`` is linear, the factor.
    """

    integer: bool
    low: float
    high: float
    step: float | None
    sampling: str

    @classmethod
    def checked(
        cls, name: str, integer: bool, low: Any, high: Any, step: Any, sampling: str | None
    ) -> Numbers:
        """Return the range that a user wrote.

        Raises:
            DefinitionError: it holds no number, or a logarithm of a number that has none.
        """
        method = "Int" if integer else "Float"
        where = f"parameter '{name}'"
        low = _number(low, integer, f"{where}: min_value")
        high = _number(high, integer, f"{where}: max_value")
        step = None if step is None else _number(step, integer, f"{where}: step")
        spread = "linear" if sampling is None else str(sampling).lower()
        if spread not in ("linear", "log", "reverse_log"):
            raise DefinitionError(
                f"{where}: sampling '{sampling}' is unknown; write 'linear', 'log' or 'reverse_log'"
            )
        if low > high:
            raise DefinitionError(
                f"{where}: low {low} is above high {high}; "
                f"write hp.{method}('{name}', {high}, {low})"
            )
        if spread != "linear" and low <= 0:
            raise DefinitionError(
                f"{where}: sampling='{spread}' needs a low above 0, not {low}; "
                "raise min_value or write sampling='linear'"
            )
        if step is not None and spread == "linear" and step <= 0:
            raise DefinitionError(
                f"{where}: step {step} must be above 0; leave it out for any value"
            )
        if step is not None and spread != "linear" and step <= 1:
            raise DefinitionError(
                f"{where}: with sampling='{spread}' the step is a factor and must be above 1, "
                f"not {step}"
            )
        if integer and step is None and spread == "linear":
            step = 1
        return cls(integer, low, high, step, spread)

    def __str__(self) -> str:
        step = "" if self.step in (None, 1) else f", step {self.step}"
        spread = "" if self.sampling == "linear" else f", {self.sampling}"
        kind = "whole numbers" if self.integer else "numbers"
        return f"{kind} {self.low} to {self.high}{step}{spread}"

    @property
    def default(self) -> Scalar:
        """The low end."""
        return self.low

    @property
    def num_values(self) -> int | None:
        """How many values there are on the steps; None without a step.

        Counted as Keras Tuner counts, which cuts a quotient to an integer: 0.0 to 1.0 with step
        0.2 ends at 0.8, because ``1.0 // 0.2`` is 4.0 in floating point.
        """
        if self.step is None:
            return None
        if self.sampling == "linear":
            return int((self.high - self.low) // self.step + 1)
        return int(math.log(self.high / self.low, self.step) + 1e-8) + 1

    def value(self, drawn: float) -> int | float:
        """The value that Optuna's number ``drawn`` stands for."""
        stands_for = to_distribution(self).stands_for
        if stands_for == "value":
            found = drawn
        elif stands_for == "index":
            offset = self.low * math.pow(self.step or 1, int(drawn))
            found = offset if self.sampling == "log" else self.high + self.low - offset
        else:
            top = self.high + 1 if self.integer else self.high
            found = top + self.low - self.low * math.pow(top / self.low, 1 - drawn)
        if stands_for != "value":
            # Rounding at the ends must not leave the range.
            found = min(max(found, self.low), self.high)
        return int(found) if self.integer else float(found)

    def drawn(self, value: float) -> int | float:
        """The number of Optuna's that stands for ``value``: the inverse of :meth:`value`."""
        stands_for = to_distribution(self).stands_for
        if stands_for == "value":
            return value
        if stands_for == "index":
            offset = value if self.sampling == "log" else self.high + self.low - value
            index = round(math.log(max(offset, self.low) / self.low, self.step or 1))
            return min(max(index, 0), (self.num_values or 1) - 1)
        top, middle = (self.high + 1, 0.5) if self.integer else (self.high, 0.0)
        if top == self.low:
            return 0.5
        offset = max((top + self.low - value - middle) / self.low, 1.0)
        return min(max(1 - math.log(offset) / math.log(top / self.low), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Condition:
    """A parameter is active only while the one named ``name`` has one of ``values``."""

    name: str
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"{self.name}={'|'.join(str(value) for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that a space has asked for, active or not.

    Attributes:
        name: with its name scopes, as in ``training/learning_rate``.
        conditions: all must hold for the parameter to be active.
        range: what it may be.
        default: its value where no trial decides.
    """

    name: str
    conditions: tuple[Condition, ...]
    range: Numbers | Choices | Constant
    default: Scalar

    @property
    def trial_name(self) -> str:
        """The name that Optuna knows it by: with its conditions, if it has any.

        Two branches may use one name for different ranges; for Optuna, whose parameters have one
        range each in a whole study, they are different parameters.
        """
        if not self.conditions:
            return self.name
        conditions = ",".join(str(condition) for condition in self.conditions)
        full = f"{self.name}[{conditions}]"
        if len(full) <= _LONGEST_NAME:
            return full
        return f"{self.name}[{hashlib.sha256(conditions.encode()).hexdigest()[:16]}]"


def to_distribution(numbers: Numbers) -> Distribution:
    """What Optuna is asked for, in place of ``numbers``: the table at the top of this module."""
    count = numbers.num_values
    if numbers.sampling == "linear":
        low, high, step = numbers.low, numbers.high, numbers.step
        if step is not None and count is not None:
            # Optuna warns when the last step does not end at high; decimals keep 0.1·3 at 0.3.
            high = type(low)(Decimal(str(low)) + (count - 1) * Decimal(str(step)))
        return Distribution(numbers.integer, low, high, step, log=False, stands_for="value")
    if count is not None:
        return Distribution(True, 0, count - 1, None, log=False, stands_for="index")
    if numbers.sampling == "log":
        return Distribution(
            numbers.integer, numbers.low, numbers.high, None, log=True, stands_for="value"
        )
    return Distribution(False, 0.0, 1.0, None, log=False, stands_for="probability")


def _number(value: Any, integer: bool, where: str) -> int | float:
    expected = "a whole number" if integer else "a number"
    try:
        number = float(value)
        usable = math.isfinite(number) and not isinstance(value, str | bool)
    except (TypeError, ValueError):
        usable = False
    if not usable or (integer and int(value) != value):
        raise DefinitionError(f"{where} must be {expected}, not {value!r}")
    return int(value) if integer else number
