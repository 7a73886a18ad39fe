"""A configuration that a person wants evaluated, checked against what may be sampled."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
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
from autosearch.space import SearchSpace
from autosearch.space.hyperparameters import HyperParameters
from autosearch.store.database import Database
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
        return check_config_by_trials(config, trials)

    return enqueue(database, view.name, choose)


def check_config(config: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """The parameters as Optuna knows them, of a configuration that fits a declared space.

    Raises:
        DefinitionError: With everything that does not fit.
    """
    given = _Given(config)
    hp = HyperParameters(given)
    space.sample_declared(hp)
    # What the space fixes is no parameter, but stands in the configurations of its trials.
    unknown = [n for n, value in config.items() if n not in given.used and not _holds(hp, n, value)]
    _refuse(given.faults + [_unknown(name, list(hp.values)) for name in unknown])
    return given.params


def check_config_by_trials(
    config: Mapping[str, Any], trials: Sequence[FrozenTrial]
) -> dict[str, Any]:
    """Likewise where code decides what is sampled: by what the trials so far have sampled.

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
    params, faults = dict[str, Any](), list[str]()
    for name, value in config.items():
        # Under several conditions a name has several parameters; whichever is active takes it.
        matching = {n: d for n, d in known.items() if name in _names(n)}
        fitting = {n: found for n, d in matching.items() if (found := _as_held(d, value))}
        params |= {n: found[0] for n, found in fitting.items()}
        if not matching:
            faults.append(_unknown(name, [n.partition("[")[0] for n in known]))
        elif not fitting:
            faults.append(_outside(name, value, next(iter(matching.values()))))
    _refuse(faults)
    return params


def _names(name: str) -> tuple[str, str, str]:
    """What a parameter may be called: as Optuna knows it, without conditions, without its part.

    Example:
        >>> _names("architecture/width[kind=cnn]")
        ('architecture/width[kind=cnn]', 'architecture/width', 'width')
    """
    plain = name.partition("[")[0]
    return name, plain, plain.rpartition("/")[2]


def _holds(hp: HyperParameters, name: str, value: Any) -> bool:
    return name in hp.values and hp.values[name] == value


def _is_declared(definition: Mapping[str, Any] | None) -> bool:
    if definition is None:
        return False
    try:
        return SearchSpace.from_definition(dict(definition)).is_declarative
    except DefinitionError:
        return False


class _Given:
    """A trial that takes what a configuration says, and elsewhere whatever comes first.

    Attributes:
        used: The names of the configuration that were asked for.
        params: Optuna's name to value, of those.
        faults: What does not fit.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self.used: set[str] = set()
        self.params: dict[str, Any] = {}
        self.faults: list[str] = []

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        value: int = self._suggest(name, IntDistribution(low, high, log=log, step=step), low)
        return value

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value: float = self._suggest(name, FloatDistribution(low, high, log=log, step=step), low)
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._suggest(name, CategoricalDistribution(choices), choices[0])

    def _suggest(self, name: str, distribution: BaseDistribution, otherwise: Any) -> Any:
        for known in _names(name):
            if known not in self._config:
                continue
            self.used.add(known)
            found = _as_held(distribution, self._config[known])
            if found is None:
                self.faults.append(_outside(known, self._config[known], distribution))
                continue
            self.params[name] = found[0]
            return found[0]
        return otherwise


def _as_held(distribution: BaseDistribution, value: Any) -> tuple[Any] | None:
    """The value as the distribution holds it, which may be None; nothing if it does not fit."""
    if isinstance(distribution, CategoricalDistribution):
        same = [c for c in distribution.choices if c == value and type(c) is type(value)]
        return (same[0],) if same else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(distribution, IntDistribution) and value != int(value):
        return None
    try:
        internal = distribution.to_internal_repr(value)
    except ValueError:
        return None
    if not distribution._contains(internal):
        return None
    return (distribution.to_external_repr(internal),)


def _outside(name: str, value: Any, distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        expected = f"one of {', '.join(map(repr, distribution.choices))}"
    elif isinstance(distribution, (IntDistribution, FloatDistribution)):
        expected = f"{distribution.low:g} to {distribution.high:g}"
        if isinstance(distribution, IntDistribution):
            expected = f"a whole number from {expected}"
        if distribution.step not in (None, 1):
            expected += f" in steps of {distribution.step:g}"
    else:
        expected = str(distribution)
    return f'"{name}" is {value!r}; expected {expected}'


def _unknown(name: str, known: Sequence[str]) -> str:
    by_last_part = {_names(k)[2]: k for k in known}
    close = difflib.get_close_matches(_names(name)[2], by_last_part, n=3)
    shown = [by_last_part[k] for k in close] or sorted(set(known))[:_NUM_NAMES_SHOWN]
    return (
        f'"{name}" is no parameter of such a configuration, or its conditions do not hold; '
        f"there are such as: {', '.join(shown)}"
    )


def _refuse(faults: Sequence[str]) -> None:
    if faults:
        raise DefinitionError(f"the configuration does not fit: {'; '.join(faults)}")
