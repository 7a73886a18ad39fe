"""A space that has grown: the trials from before go on teaching, in the terms of the new space.

Which parameters a study has shows only while its code asks for them, so each is seen to when it is
first asked for after the change: what the earlier trials had under its name is written anew
as drawn from the range that holds now, and a value that was fixed before counts as drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from autosearch.search.held import distribution_of, held, held_by, is_stand_in
from autosearch.search.warm_start import StartingSampler
from autosearch.space.parameters import Choices, Constant, Numbers, Parameter
from autosearch.store.database import Database
from autosearch.store.growth import EarlierTrial, earlier_trials, write_parameter

__all__ = ["GrownTrial", "Growth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A parameter as Optuna is asked for it.

    Attributes:
        name: By the name that Optuna knows.
        plain: The name without the conditions that it may have got.
        distribution: What Optuna is asked for.
        convert: Answers an earlier trial's value as the distribution has it, or None where it has
            none.
        stands_in: Whether what Optuna holds means something else in another range.
    """

    name: str
    plain: str
    distribution: BaseDistribution
    convert: Callable[[EarlierTrial], float | None]
    stands_in: bool


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

    def settle(self, asked: _Asked, known: Sequence[optuna.trial.FrozenTrial]) -> bool:
        """Writes anew what earlier trials had of a parameter.

        Args:
            asked: The parameter, as Optuna will be asked for it.
            known: The study's trials as this process knows them.

        Returns:
            Whether this process knows something else than the database by now.

        Raises:
            DefinitionError: An earlier trial has a choice that is no longer there.
        """
        earlier = [trial for trial in known if trial.number < self._num_earlier]
        had = [t.distributions[asked.name] for t in earlier if asked.name in t.distributions]
        is_stale = any(one != asked.distribution for one in had)
        # The indices of two ranges may be the same numbers for other values.
        if is_stale or asked.stands_in or not had:
            with self._database.exclusive():
                is_stale |= self._rewrite(asked)
        self._seen.add(asked.name)
        return is_stale

    def _rewrite(self, asked: _Asked) -> bool:
        name, as_json = asked.name, distribution_to_json(asked.distribution)
        values, gone = dict[int, float](), list[tuple[int, str]]()
        earlier = earlier_trials(
            self._database, self._study, name, plain=asked.plain, before=self._num_earlier
        )
        for trial in earlier:
            if trial.distribution == as_json and not asked.stands_in:
                continue
            value = asked.convert(trial)
            if value is not None:
                if (value, as_json) != (trial.value, trial.distribution):
                    values[trial.id] = value
                # It has one value: what it had under conditions that nobody asks by is this one.
                others = (other for other in trial.other_names if other not in self._seen)
                gone.extend((trial.id, other) for other in others)
            elif trial.distribution is not None:
                _check_may_stay(name, trial, asked.distribution)
                if asked.stands_in:
                    gone.append((trial.id, name))
        write_parameter(self._database, name, values, as_json, gone=gone)
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
        asked, name = parameter.range, parameter.trial_name
        if isinstance(asked, Constant):
            return
        if not self._engine.growth.is_settled(name):
            distribution = distribution_of(asked)
            self._settle(
                _Asked(
                    name=name,
                    plain=parameter.name,
                    distribution=distribution,
                    convert=partial(_value, parameter, asked, distribution),
                    stands_in=is_stand_in(asked),
                )
            )
        # At last, since it is another one once the trials were read anew.
        sampler = self._trial.study.sampler
        if isinstance(sampler, StartingSampler):
            sampler.prepare(parameter)

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
        self._settle(
            _Asked(
                name=name,
                plain=name,
                distribution=distribution,
                convert=partial(_same_value, distribution),
                stands_in=False,
            )
        )

    def _settle(self, asked: _Asked) -> None:
        if self._engine.growth.settle(asked, self._engine.known_trials()):
            self._trial = self._engine.reopened(self._trial)


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
        if not is_stand_in(asked):
            return _same_value(distribution, trial)
        return trial.value if trial.distribution == distribution_to_json(distribution) else None
    if not all(c.name in config and config[c.name] in c.values for c in parameter.conditions):
        return None
    return _internal(distribution, held(asked, config[parameter.name]))


def _same_value(distribution: BaseDistribution, trial: EarlierTrial) -> float | None:
    if trial.distribution is None or trial.value is None:
        return None
    value = json_to_distribution(trial.distribution).to_external_repr(trial.value)
    return _internal(distribution, held_by(distribution, value))


def _internal(distribution: BaseDistribution, found: tuple[Any] | None) -> float | None:
    return None if found is None else float(distribution.to_internal_repr(found[0]))


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
