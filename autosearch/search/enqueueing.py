"""A configuration that a person wants evaluated, checked against what may be sampled."""

from __future__ import annotations

import difflib
import math
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
from autosearch.space.parameters import Numbers, Parameter, to_distribution
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
    """The parameters as Optuna knows them, of a configuration that fits a declared space.

    Raises:
        DefinitionError: With everything that does not fit.
    """
    given = _Given(config)
    hp = HyperParameters(given, before_asking=given.prepare)
    space.sample_declared(hp)
    # What the space fixes is no parameter, but stands in the configurations of its trials.
    unknown = [n for n, value in config.items() if n not in given.used and not _holds(hp, n, value)]
    _refuse(given.faults + [_unknown(name, list(hp.values)) for name in unknown])
    return given.params


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
    params, faults = dict[str, Any](), list[str]()
    for name, value in config.items():
        # Under several conditions a name has several parameters; whichever is active takes it.
        matching = {n: d for n, d in known.items() if name in _names(n)}
        stands_for = {n: _stands_for(n, trials, configs) for n in matching}
        fitting = {
            n: found
            for n, d in matching.items()
            if (found := _known_as(stands_for[n], value) if stands_for[n] else _as_held(d, value))
        }
        params |= {n: found[0] for n, found in fitting.items()}
        if not matching:
            faults.append(_unknown(name, [n.partition("[")[0] for n in known]))
        elif not fitting:
            first, distribution = next(iter(matching.items()))
            tried = sorted({shown for shown, _ in stands_for[first]})
            faults.append(
                f'"{name}" is {value!r}; expected one of {", ".join(map(repr, tried))}, which '
                "trials have had: what else its steps have, only the study's code knows"
                if tried
                else _outside(name, value, _expected(distribution))
            )
    _refuse(faults)
    return params


def _stands_for(
    name: str, trials: Sequence[FrozenTrial], configs: Mapping[int, Mapping[str, Any]]
) -> list[tuple[Any, Any]]:
    """Value and what Optuna holds in its place, of each trial; none where the two are the same."""
    plain = name.partition("[")[0]
    pairs = [
        (configs[trial.number][plain], trial.params[name])
        for trial in trials
        if name in trial.params and plain in (configs.get(trial.number) or {})
    ]
    return pairs if any(shown != held for shown, held in pairs) else []


def _known_as(pairs: Sequence[tuple[Any, Any]], value: Any) -> tuple[Any] | None:
    return next(((held,) for shown, held in pairs if _is_same(shown, value)), None)


def _names(name: str) -> tuple[str, str, str]:
    """What a parameter may be called: as Optuna knows it, without conditions, without its part.

    Example:
        >>> _names("architecture/width[kind=cnn]")
        ('architecture/width[kind=cnn]', 'architecture/width', 'width')
    """
    plain = name.partition("[")[0]
    return name, plain, plain.rpartition("/")[2]


def _holds(hp: HyperParameters, name: str, value: Any) -> bool:
    return any(name in _names(known) and _is_same(v, value) for known, v in hp.values.items())


def _is_same(value: Any, other: Any) -> bool:
    """Whether two values are one: 2 is 2.0, which JSON does not tell apart, but no True is 1."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)


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
        self._asked: Parameter | None = None

    def prepare(self, parameter: Parameter) -> None:
        """Takes note of the parameter that is about to be asked for."""
        self._asked = parameter

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
        for known in dict.fromkeys(_names(name)):
            if known not in self._config:
                continue
            self.used.add(known)
            value, numbers = self._config[known], self._stood_for()
            found = _as_held(distribution, value) if numbers is None else _drawn(numbers, value)
            if found is None:
                expected = _expected(distribution) if numbers is None else f"one of {numbers}"
                self.faults.append(_outside(known, value, expected))
                continue
            self.params[name] = found[0]
            return found[0]
        return otherwise

    def _stood_for(self) -> Numbers | None:
        """The range that is asked for, if Optuna holds something else in place of its values."""
        asked = self._asked.range if self._asked is not None else None
        if not isinstance(asked, Numbers) or to_distribution(asked).stands_for == "value":
            return None
        return asked


def _as_held(distribution: BaseDistribution, value: Any) -> tuple[Any] | None:
    """The value as the distribution holds it, which may be None; nothing if it does not fit."""
    if isinstance(distribution, CategoricalDistribution):
        return next(((c,) for c in distribution.choices if _is_same(c, value)), None)
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


def _drawn(numbers: Numbers, value: Any) -> tuple[Any] | None:
    """What Optuna holds in place of a value; nothing if it is not one of the range."""
    if not _is_number(value) or not numbers.low <= value <= numbers.high:
        return None
    drawn = numbers.drawn(value)
    return (drawn,) if math.isclose(numbers.value(drawn), value, rel_tol=1e-9) else None


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _outside(name: str, value: Any, expected: str) -> str:
    return f'"{name}" is {value!r}; expected {expected}'


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
