"""A space that has grown: the trials from before go on teaching, in the terms of the new space.

Which parameters a study has shows only while its code asks for them, so each is seen to when it is
first asked for after the change: what the earlier trials had under its name is written anew
as drawn from the range that holds now, and a value that was fixed before counts as drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from autosearch.errors import DefinitionError
from autosearch.space.parameters import Choices, Constant, Numbers, Parameter, to_distribution
from autosearch.store.database import Database
from autosearch.store.growth import EarlierTrial, earlier_trials, write_parameter

__all__ = ["GrownTrial", "Growth"]

_Convert = Callable[[EarlierTrial], float | None]


class Growth:
    """What has been seen to, of the parameters that trials of an earlier space have.

    Args:
        database: Opened to write.
        study: The study's name.
        num_earlier: How many trials there were when the definition last changed.
    """

    def __init__(self, database: Database, study: str, *, num_earlier: int) -> None:
        self._database = database
        self._study = study
        self._num_earlier = num_earlier
        self._seen = set[str]()

    def is_settled(self, name: str) -> bool:
        """Whether nothing is to be done for a parameter, by the name that Optuna knows."""
        return self._num_earlier == 0 or name in self._seen

    def settle(
        self,
        name: str,
        distribution: BaseDistribution,
        convert: _Convert,
        known: Sequence[optuna.trial.FrozenTrial],
    ) -> bool:
        """Writes anew what earlier trials had of a parameter.

        Args:
            name: The parameter, by the name that Optuna knows.
            distribution: What Optuna will be asked for.
            convert: Answers an earlier trial's value as the distribution has it, or None where it
                has none.
            known: The study's trials as this process knows them.

        Returns:
            Whether this process knows something else than the database by now.

        Raises:
            DefinitionError: An earlier trial has a choice that is no longer there.
        """
        earlier = [trial for trial in known if trial.number < self._num_earlier]
        had = [t.distributions[name] for t in earlier if name in t.distributions]
        is_stale = any(one != distribution for one in had)
        if is_stale or not had:
            with self._database.exclusive():
                is_stale |= self._rewrite(name, distribution, convert)
        self._seen.add(name)
        return is_stale

    def _rewrite(self, name: str, distribution: BaseDistribution, convert: _Convert) -> bool:
        as_json, values = distribution_to_json(distribution), dict[int, float]()
        earlier = earlier_trials(self._database, self._study, name, before=self._num_earlier)
        for trial in earlier:
            if trial.distribution == as_json:
                continue
            value = convert(trial)
            if value is not None:
                values[trial.id] = value
            elif trial.distribution is not None:
                _check_may_stay(name, trial, distribution)
        write_parameter(self._database, name, values, as_json)
        # Another worker may have written it, which this one cannot know yet.
        return bool(values) or any(trial.distribution is not None for trial in earlier)


class _Engine(Protocol):
    growth: Growth

    def known_trials(self) -> list[optuna.trial.FrozenTrial]: ...

    def reopened(self, trial: optuna.Trial) -> optuna.Trial: ...


class GrownTrial:
    """An Optuna trial whose study may have had a smaller space before.

    Args:
        trial: Optuna's.
        engine: Knows the study's trials, and reads them anew.
    """

    def __init__(self, trial: optuna.Trial, engine: _Engine) -> None:
        self._trial = trial
        self._engine = engine

    def prepare(self, parameter: Parameter) -> None:
        """To be called before the trial is asked for a parameter of ``hp``.

        Raises:
            DefinitionError: An earlier trial has a choice that is no longer there.
        """
        asked = parameter.range
        if isinstance(asked, Constant) or self._engine.growth.is_settled(parameter.trial_name):
            return
        distribution = _distribution(asked)
        convert = partial(_value, parameter, asked, distribution)
        self._settle(parameter.trial_name, distribution, convert)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Optuna's."""
        self._settle_plain(name, lambda: IntDistribution(low, high, log=log, step=step))
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Optuna's."""
        self._settle_plain(name, lambda: FloatDistribution(low, high, log=log, step=step))
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Optuna's."""
        self._settle_plain(name, lambda: CategoricalDistribution(choices))
        return self._trial.suggest_categorical(name, choices)

    @property
    def optuna_trial(self) -> optuna.Trial:
        """Optuna's."""
        return self._trial

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._trial, name)

    def _settle_plain(self, name: str, make: Callable[[], BaseDistribution]) -> None:
        if self._engine.growth.is_settled(name):
            return
        distribution = make()
        self._settle(name, distribution, partial(_same_value, distribution))

    def _settle(self, name: str, distribution: BaseDistribution, convert: _Convert) -> None:
        known = self._engine.known_trials()
        if self._engine.growth.settle(name, distribution, convert, known):
            self._trial = self._engine.reopened(self._trial)


def _distribution(asked: Choices | Numbers) -> BaseDistribution:
    if isinstance(asked, Choices):
        return CategoricalDistribution(asked.values)
    like = to_distribution(asked)
    if not like.integer:
        return FloatDistribution(like.low, like.high, log=like.log, step=like.step)
    step = 1 if like.step is None else int(like.step)
    return IntDistribution(int(like.low), int(like.high), log=like.log, step=step)


def _value(
    parameter: Parameter,
    asked: Choices | Numbers,
    distribution: BaseDistribution,
    trial: EarlierTrial,
) -> float | None:
    """The trial's value of a parameter of ``hp``, fixed ones included."""
    config = trial.config
    if parameter.name not in config:
        # Not finished, so that only what Optuna stores is known.
        stands_for = "value" if isinstance(asked, Choices) else to_distribution(asked).stands_for
        return _same_value(distribution, trial) if stands_for == "value" else None
    if not all(c.name in config and config[c.name] in c.values for c in parameter.conditions):
        return None
    value = config[parameter.name]
    if isinstance(asked, Choices):
        return _index(value, asked.values)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not asked.low <= value <= asked.high:
        return None
    return _within(distribution, asked.drawn(value))


def _same_value(distribution: BaseDistribution, trial: EarlierTrial) -> float | None:
    if trial.distribution is None or trial.value is None:
        return None
    value = json_to_distribution(trial.distribution).to_external_repr(trial.value)
    if isinstance(distribution, CategoricalDistribution):
        return _index(value, distribution.choices)
    return _within(distribution, value)


def _within(distribution: BaseDistribution, value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    internal = distribution.to_internal_repr(value)
    return internal if distribution._contains(internal) else None


def _index(value: Any, choices: Sequence[Any]) -> float | None:
    # True == 1 in Python, and they are different choices.
    found = (i for i, c in enumerate(choices) if c == value and type(c) is type(value))
    return next((float(index) for index in found), None)


def _check_may_stay(name: str, trial: EarlierTrial, distribution: BaseDistribution) -> None:
    """Refuses what Optuna would: of ranges of numbers, each trial may have its own."""
    assert trial.distribution is not None
    assert trial.value is not None
    before = json_to_distribution(trial.distribution)
    is_categorical = isinstance(distribution, CategoricalDistribution)
    if type(before) is type(distribution) and not is_categorical:
        return
    value = before.to_external_repr(trial.value)
    raise DefinitionError(
        f"parameter '{name}' can no longer be {value!r}, as it was in trial {trial.number}: "
        "choices may be added to a study, and none taken away; put it back, or give the study "
        "another name"
    )
