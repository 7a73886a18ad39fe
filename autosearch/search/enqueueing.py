"""A configuration that a person wants evaluated, checked against what may be sampled."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from autosearch.errors import DefinitionError
from autosearch.search.engine import enqueue
from autosearch.search.held import (
    distribution_of,
    held,
    held_by,
    is_same,
    is_stand_in,
    value_of,
)
from autosearch.space import SearchSpace
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Choices, Constant, Numbers, Parameter, Scalar
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView

__all__ = ["check_config", "check_config_by_trials", "enqueue_config"]

_NUM_NAMES_SHOWN = 10


def enqueue_config(database: Database, view: StudyView, config: Mapping[str, Any]) -> int:
    """Adds a configuration to a study: the next free worker evaluates it.

    Args:
        database: Opened to write.
        view: Of the study.
        config: Parameter name to value, by the names that ``trials`` shows or the last part of
            one, such as ``width``; what it leaves out is sampled.

    Returns:
        The number of the trial that will evaluate it.

    Raises:
        DefinitionError: A name or a value fits nothing that the study samples.
    """
    if not config:
        raise DefinitionError(
            'the configuration is empty; write names and values, such as {"width": 16}'
        )
    definition = view.definition["space"]
    space = SearchSpace.from_definition(definition) if _is_declared(definition) else None

    def choose(trials: Sequence[FrozenTrial]) -> Mapping[str, Any]:
        if space is not None:
            return check_config(config, space)
        frame = view.trials_frame()
        configs = dict(zip(frame["number"], frame["config"], strict=True))
        return check_config_by_trials(config, trials, configs)

    recorder = Recorder(database, view.id)
    return enqueue(
        database, view.name, choose, lambda number: recorder.add_waiting_trial(number, config)
    )


def check_config(config: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """The values by parameter name, of a configuration that fits a declared space.

    The choices that what was given hangs on are among them: sampled, they would mostly leave it
    out.

    Raises:
        DefinitionError: With everything that does not fit.
    """
    found = _Attempt(config, space, {})
    while found.faults:
        better = min(found.others(), key=lambda other: len(other.faults), default=found)
        if len(better.faults) >= len(found.faults):
            break
        found = better
    _refuse(found.faults)
    hangs_on = [other.changed for other in found.others() if other.faults]
    return {name: found.hp.values[name] for name in hangs_on} | found.values


def check_config_by_trials(
    config: Mapping[str, Any],
    trials: Sequence[FrozenTrial],
    configs: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """Likewise where code decides what is sampled: by what the trials so far have sampled.

    Args:
        config: Parameter name to value.
        trials: As Optuna has them.
        configs: Number of a trial to its configuration, as ``trials`` shows it.

    Raises:
        DefinitionError: With everything that does not fit.
    """
    known: dict[str, BaseDistribution] = {}
    for trial in trials:
        known |= trial.distributions
    if not known:
        raise DefinitionError(
            "nothing is known of the study's parameters until a trial has run; "
            "run one, then add the configuration"
        )
    plain = {name: _plain(name, trials, configs) for name in known}
    params, faults = dict[str, Any](), list[str]()
    for name, value in config.items():
        # Under several conditions a name has several parameters; whichever is active takes it.
        matching = {n: d for n, d in known.items() if name in _names(n, plain[n])}
        shown = {n: _shown(n, plain[n], trials, configs) for n in matching}
        fitting = {
            n: found
            for n, d in matching.items()
            if (found := _first_same(shown[n], value) if shown[n] else held_by(d, value))
        }
        params |= {plain[n]: found[0] for n, found in fitting.items()}
        if not matching:
            faults.append(_unknown(name, list(plain.values())))
        elif not fitting:
            first, distribution = next(iter(matching.items()))
            faults.append(
                f'"{name}" is {value!r}; expected one of '
                f"{', '.join(map(repr, sorted(set(shown[first]))))}, which "
                "trials have had: what else its steps have, only the study's code knows"
                if shown[first]
                else _outside(name, value, _expected(distribution))
            )
    _refuse(faults)
    return params


def _plain(
    name: str, trials: Sequence[FrozenTrial], configs: Mapping[int, Mapping[str, Any]]
) -> str:
    """A parameter's name without its conditions, which trials show it by."""
    found = set[str]()
    for trial in trials:
        if name in trial.params:
            shown = [n for n in configs.get(trial.number) or {} if f"{name}[".startswith(f"{n}[")]
            found.add(max(shown, key=len, default=name))
    return min(found, key=len, default=name)


def _shown(
    name: str,
    plain: str,
    trials: Sequence[FrozenTrial],
    configs: Mapping[int, Mapping[str, Any]],
) -> list[Any]:
    """The values that trials had, if Optuna holds something else in their place; else none."""
    pairs = [
        (configs[trial.number][plain], trial.params[name])
        for trial in trials
        if name in trial.params and plain in (configs.get(trial.number) or {})
    ]
    return [value for value, _ in pairs] if any(value != known for value, known in pairs) else []


def _first_same(values: Sequence[Any], value: Any) -> tuple[Any] | None:
    return next(((one,) for one in values if is_same(one, value)), None)


def _names(name: str, plain: str) -> tuple[str, str, str]:
    """What a parameter may be called: as Optuna knows it, without conditions, without its part.

    Example:
        >>> _names("architecture/width[kind=cnn]", "architecture/width")
        ('architecture/width[kind=cnn]', 'architecture/width', 'width')
    """
    return name, plain, plain.rpartition("/")[2]


def _is_declared(definition: Mapping[str, Any] | None) -> bool:
    if definition is None:
        return False
    try:
        return SearchSpace.from_definition(dict(definition)).is_declarative
    except DefinitionError:
        return False


class _Attempt:
    """A configuration put into a space, what it leaves out being whatever comes first.

    Args:
        config: Parameter name to value.
        space: What may be sampled.
        supposed: Values of choices that it leaves out, in place of the first ones.
        changed: Which of these was supposed last.

    Attributes:
        changed: Likewise.
        values: The values of what was given, by parameter name.
        faults: What does not fit.
        hp: What it was put into.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        space: SearchSpace,
        supposed: Mapping[str, Scalar],
        changed: str = "",
    ) -> None:
        self._config, self._space, self._supposed = config, space, supposed
        self._used, self._left_out = set[str](), dict[str, Choices]()
        self.changed = changed
        self.values: dict[str, Any] = {}
        self.faults: list[str] = []
        self.hp = HyperParameters(answer=self._answer)
        space.sample_declared(self.hp)
        for name, value in config.items():
            # What the space fixes is no parameter, but stands in the configurations of its trials.
            if name not in self._used and not self._holds(name, value):
                self.faults.append(_unknown(name, list(self.hp.values)))

    def others(self) -> Iterator[_Attempt]:
        """The same with another value of a choice that is left out, one after the other."""
        for name, choices in self._left_out.items():
            for value in choices.values:
                if value != self.hp.values[name]:
                    supposed = {**self._supposed, name: value}
                    yield _Attempt(self._config, self._space, supposed, changed=name)

    def _answer(self, parameter: Parameter) -> tuple[Scalar] | None:
        asked = parameter.range
        assert not isinstance(asked, Constant)
        for known in dict.fromkeys(_names(parameter.trial_name, parameter.name)):
            if known not in self._config:
                continue
            self._used.add(known)
            found = held(asked, self._config[known])
            if found is None:
                self.faults.append(_outside(known, self._config[known], _range(asked)))
                continue
            value: Scalar = value_of(asked, found[0])
            self.values[parameter.name] = value
            return (value,)
        if not isinstance(asked, Choices):
            return None
        self._left_out[parameter.name] = asked
        supposed = self._supposed.get(parameter.name)
        return held(asked, supposed) if parameter.name in self._supposed else None

    def _holds(self, name: str, value: Any) -> bool:
        return any(name in _names(n, n) and is_same(v, value) for n, v in self.hp.values.items())


def _outside(name: str, value: Any, expected: str) -> str:
    return f'"{name}" is {value!r}; expected {expected}'


def _range(asked: Choices | Numbers) -> str:
    return f"one of {asked}" if is_stand_in(asked) else _expected(distribution_of(asked))


def _expected(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(repr, distribution.choices))}"
    if not isinstance(distribution, (IntDistribution, FloatDistribution)):
        return str(distribution)
    expected = f"{distribution.low:g} to {distribution.high:g}"
    if isinstance(distribution, IntDistribution):
        expected = f"a whole number from {expected}"
    if distribution.step not in (None, 1):
        expected += f" in steps of {distribution.step:g}"
    return expected


def _unknown(name: str, known: Sequence[str]) -> str:
    by_last_part = {k.rpartition("/")[2]: k for k in known}
    close = difflib.get_close_matches(name.rpartition("/")[2], by_last_part, n=3)
    shown = [by_last_part[k] for k in close] or sorted(set(known))[:_NUM_NAMES_SHOWN]
    return (
        f'"{name}" is no parameter of such a configuration, or hangs on another one that has to be '
        f"named as well; there are such as: {', '.join(shown)}"
    )


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise DefinitionError(f"the configuration does not fit: {'; '.join(faults)}")
