"""``hp``: Keras Tuner's way to write a search space, over an Optuna trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, TypeAlias

from autosearch.errors import DefinitionError
from autosearch.space.parameters import (
    Choices,
    Condition,
    Constant,
    Numbers,
    Parameter,
    Scalar,
    TrialLike,
    as_scalar,
    to_distribution,
)

__all__ = ["HyperParameters"]

Shape: TypeAlias = "tuple[int, ...] | None"
Answer: TypeAlias = "Callable[[Parameter], tuple[Scalar] | None]"


class HyperParameters:
    """Keras Tuner's ``hp`` over an Optuna trial: same methods, same meaning.

    A ``build(hp)`` written for Keras Tuner 1.4 runs unchanged. What differs: a name that is used
    twice with different ranges under the same conditions is an error (Keras Tuner silently keeps
    the first), and ``None`` may be a choice.

    Args:
        trial: anything with Optuna's ``suggest_int``, ``suggest_float`` and
            ``suggest_categorical``. Without one, every parameter takes its default.
        input_shape: (height, width, channels) of the images, for a user's ``build``.
        num_classes: how many probabilities a network gives, for a user's ``build``.
        before_asking: called with each parameter before the trial is asked for it.
        answer: without a trial, told each parameter, answers the value that it takes, in a tuple
            since that may be None; None for its default.

    Example:
        >>> hp = HyperParameters()
        >>> kind = hp.Choice("kind", ["dense", "convolution"])
        >>> with hp.conditional_scope("kind", ["dense"]):
        ...     units = hp.Int("units", 8, 64, step=8, default=16)
        >>> hp.values
        {'kind': 'dense', 'units': 16}
    """

    def __init__(
        self,
        trial: TrialLike | None = None,
        *,
        input_shape: Shape = None,
        num_classes: int | None = None,
        before_asking: Callable[[Parameter], None] | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.trial = trial
        self._before_asking = before_asking
        self._answer = answer
        self.input_shape = input_shape
        self.num_classes = num_classes
        self.values: dict[str, Scalar] = {}
        self._scopes: list[str] = []
        self._conditions: list[Condition] = []
        self._declared: dict[str, list[Parameter]] = {}
        self._sources: dict[str, Parameter] = {}
        self._drawn: dict[str, Scalar] = {}

    def Int(  # noqa: N802 - Keras Tuner's name
        self,
        name: str,
        min_value: int,
        max_value: int,
        step: int | None = None,
        sampling: str | None = "linear",
        default: int | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """A whole number from ``min_value`` to ``max_value``, both included.

        Args:
            name: unique within its name scope and conditions.
            min_value: the low end.
            max_value: the high end.
            step: distance between two values; the factor between them unless sampling is linear.
            sampling: "linear", "log" (small values more often) or "reverse_log" (large ones).
            default: the value without a trial; ``min_value`` if left out.
            parent_name: same as :meth:`conditional_scope` around this call.
            parent_values: the values of the parent for which this parameter is active.

        Returns:
            An int, or None where the parameter is not active.

        Raises:
            DefinitionError: the range is empty or contradicts an earlier one of this name.
        """
        with self._maybe(parent_name, parent_values):
            full = self._full(name)
            numbers = Numbers.checked(full, True, min_value, max_value, step, sampling)
            return self._retrieve(full, numbers, default)

    def Float(  # noqa: N802 - Keras Tuner's name
        self,
        name: str,
        min_value: float,
        max_value: float,
        step: float | None = None,
        sampling: str | None = "linear",
        default: float | None = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """A number from ``min_value`` to ``max_value``; the arguments are those of :meth:`Int`.

        Returns:
            A float, or None where the parameter is not active.

        Raises:
            DefinitionError: the range is empty or contradicts an earlier one of this name.
        """
        with self._maybe(parent_name, parent_values):
            full = self._full(name)
            numbers = Numbers.checked(full, False, min_value, max_value, step, sampling)
            return self._retrieve(full, numbers, default)

    def Choice(  # noqa: N802 - Keras Tuner's name
        self,
        name: str,
        values: Sequence[Any],
        ordered: bool | None = None,
        default: Any = None,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """One of ``values``, each int, float, str, bool or None.

        Args:
            name: unique within its name scope and conditions.
            values: the choices; they stay the same in a whole study.
            ordered: accepted for Keras Tuner's sake; Optuna has no ordered choices.
            default: the value without a trial; None if that is a choice, else the first one.
            parent_name: same as :meth:`conditional_scope` around this call.
            parent_values: the values of the parent for which this parameter is active.

        Returns:
            A choice, or None where the parameter is not active.

        Raises:
            DefinitionError: there are no choices, or they differ from earlier ones of this name.
        """
        del ordered
        with self._maybe(parent_name, parent_values):
            full = self._full(name)
            return self._retrieve(full, _choices(full, values, default), default)

    def Boolean(  # noqa: N802 - Keras Tuner's name
        self,
        name: str,
        default: bool = False,
        parent_name: str | None = None,
        parent_values: Any = None,
    ) -> Any:
        """True or False; None where the parameter is not active.

        Raises:
            DefinitionError: ``default`` is neither, or an earlier range of this name differs.
        """
        with self._maybe(parent_name, parent_values):
            full = self._full(name)
            if default not in (True, False):
                raise DefinitionError(
                    f"parameter '{full}': default must be True or False, not {default!r}"
                )
            return self._retrieve(full, Choices((True, False)), bool(default))

    def Fixed(  # noqa: N802 - Keras Tuner's name
        self, name: str, value: Any, parent_name: str | None = None, parent_values: Any = None
    ) -> Any:
        """``value``: nothing is sampled, but it stands in :attr:`values`.

        Returns:
            ``value``, or None where the parameter is not active.

        Raises:
            DefinitionError: it cannot be written as JSON, or contradicts an earlier range.
        """
        with self._maybe(parent_name, parent_values):
            full = self._full(name)
            return self._retrieve(full, Constant(as_scalar(value, full)), None)

    @contextmanager
    def name_scope(self, name: str) -> Iterator[None]:
        """Within it, every name begins with ``name/``."""
        self._scopes.append(str(name))
        try:
            yield
        finally:
            self._scopes.pop()

    @contextmanager
    def conditional_scope(self, parent_name: str, parent_values: Any) -> Iterator[None]:
        """Within it, parameters are active only while the parent has one of ``parent_values``.

        The code inside runs either way; where the condition does not hold, a parameter is None
        and nothing is sampled. Scopes nest.

        Raises:
            DefinitionError: no parameter of that name was asked for before.
        """
        full = self._full(parent_name)
        if full not in self._declared:
            known = ", ".join(sorted(self._declared)) or "none so far"
            raise DefinitionError(
                f"conditional_scope('{full}', …): no such parameter; "
                f"ask for it first (known: {known})"
            )
        listed = parent_values if isinstance(parent_values, list | tuple) else [parent_values]
        if not listed:
            raise DefinitionError(
                f"conditional_scope('{full}', []): write at least one value of '{full}'"
            )
        values = tuple(as_scalar(value, full) for value in listed)
        self._conditions.append(Condition(full, values))
        try:
            yield
        finally:
            self._conditions.pop()

    def get(self, name: str) -> Any:
        """The value of an active parameter, named within the current name scope.

        Raises:
            ValueError: the parameter is not active.
            KeyError: there is none of that name.
        """
        full = self._full(name)
        if full in self.values:
            return self.values[full]
        if full in self._declared:
            raise ValueError(f"{full} is currently inactive.")
        raise KeyError(f"{full} does not exist.")

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def __contains__(self, name: str) -> bool:
        return self._full(name) in self.values

    def is_active(self, hyperparameter: str | Parameter) -> bool:
        """Whether the conditions of a parameter hold; its name includes its name scopes."""
        if isinstance(hyperparameter, Parameter):
            return self._holds(hyperparameter.conditions)
        return any(self._holds(p.conditions) for p in self._declared.get(str(hyperparameter), ()))

    @property
    def space(self) -> list[Parameter]:
        """Every parameter asked for so far, active or not."""
        return [parameter for group in self._declared.values() for parameter in group]

    @property
    def trial_params(self) -> Mapping[str, Scalar]:
        """The active parameters as Optuna knows them, fixed ones left out.

        ``study.enqueue_trial(dict(hp.trial_params))`` repeats this configuration. A value can
        differ from the one in :attr:`values`: see :mod:`autosearch.space.parameters`.
        """
        return MappingProxyType(self._drawn)

    def copy(self) -> HyperParameters:
        """The same values without a trial: what is asked of the copy beyond them is a default.

        Keras Tuner hands such a copy to a ``HyperModel(tunable=False)``.
        """
        copied = HyperParameters(input_shape=self.input_shape, num_classes=self.num_classes)
        copied.values = dict(self.values)
        copied._scopes = list(self._scopes)
        copied._conditions = list(self._conditions)
        copied._declared = {name: list(group) for name, group in self._declared.items()}
        copied._sources = dict(self._sources)
        copied._drawn = dict(self._drawn)
        return copied

    def _full(self, name: str) -> str:
        return "/".join([*self._scopes, str(name)])

    def _maybe(self, parent_name: str | None, values: Any) -> AbstractContextManager[None]:
        return self.conditional_scope(parent_name, values) if parent_name else nullcontext()

    def _holds(self, conditions: Sequence[Condition]) -> bool:
        return all(
            condition.name in self.values and self.values[condition.name] in condition.values
            for condition in conditions
        )

    def _retrieve(self, name: str, asked: Numbers | Choices | Constant, default: Any) -> Scalar:
        default = asked.default if default is None else as_scalar(default, name)
        if isinstance(asked, Numbers) and not asked.integer and isinstance(default, int):
            default = float(default)
        parameter = Parameter(name, tuple(self._conditions), asked, default)
        self._declare(parameter)
        if not self._holds(parameter.conditions):
            return None
        if name in self._sources:
            # Active under two sets of conditions at once: there is one value per name.
            _agree(self._sources[name], parameter)
        else:
            self.values[name] = self._ask(parameter)
            self._sources[name] = parameter
        return self.values[name]

    def _declare(self, parameter: Parameter) -> None:
        if any(condition.name == parameter.name for condition in parameter.conditions):
            raise DefinitionError(
                f"parameter '{parameter.name}' is inside its own conditional scope; "
                "give it another name"
            )
        group = self._declared.setdefault(parameter.name, [])
        for earlier in group:
            if earlier.conditions == parameter.conditions:
                _agree(earlier, parameter)
                return
        group.append(parameter)

    def _ask(self, parameter: Parameter) -> Scalar:
        asked, name, trial = parameter.range, parameter.trial_name, self.trial
        if isinstance(asked, Constant):
            return asked.value
        if trial is None:
            answered = self._answer(parameter) if self._answer is not None else None
            value = parameter.default if answered is None else answered[0]
            self._drawn[name] = value
            if isinstance(asked, Numbers) and isinstance(value, int | float):
                self._drawn[name] = asked.drawn(value)
            return value
        if self._before_asking is not None:
            self._before_asking(parameter)
        try:
            if isinstance(asked, Choices):
                value = as_scalar(trial.suggest_categorical(name, asked.values), name)
                self._drawn[name] = value
                return value
            drawn = to_distribution(asked).suggest(trial, name)
        except ValueError as error:
            raise _refused(name, asked, error) from error
        self._drawn[name] = drawn
        return asked.value(drawn)


def _choices(name: str, values: Sequence[Any], default: Any) -> Choices:
    if isinstance(values, str):
        raise DefinitionError(f"parameter '{name}': write the choices as a list, not {values!r}")
    listed = [as_scalar(value, name) for value in values]
    if not listed:
        raise DefinitionError(
            f"parameter '{name}': the list of choices is empty; write at least one"
        )
    if default is not None and default not in listed:
        raise DefinitionError(f"parameter '{name}': default {default!r} is not one of {listed}")
    for index, value in enumerate(listed):
        for other in listed[:index]:
            # Optuna would take the one for the other.
            if value == other and type(value) is not type(other):
                raise DefinitionError(
                    f"parameter '{name}': the choices {other!r} and {value!r} are equal in Python; "
                    "keep one of them"
                )
    return Choices(tuple(listed))


def _agree(earlier: Parameter, later: Parameter) -> None:
    if earlier.range != later.range:
        raise DefinitionError(
            f"parameter '{later.name}' is used twice with different ranges: {earlier.range}, "
            f"then {later.range}; give one of them another name"
        )


def _refused(name: str, asked: Numbers | Choices, error: ValueError) -> DefinitionError:
    reason = str(error)
    if "dynamic value space" in reason:
        return DefinitionError(
            f"parameter '{name}' now has {asked}, but this study began with other ones; "
            "restore the earlier list, or start a study with another name"
        )
    if reason.startswith("Cannot set different"):
        return DefinitionError(
            f"parameter '{name}' now has {asked}, but this study began with a range of another "
            "kind; restore the earlier range, or start a study with another name"
        )
    return DefinitionError(f"parameter '{name}' with {asked} was refused: {reason}")
