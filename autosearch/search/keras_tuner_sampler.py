"""Keras Tuner's oracles as samplers of Optuna's.

An oracle keeps its trials to itself; here it is made anew for every trial from those that Optuna
holds, so several workers can ask, and a resumed study goes on as if it had not stopped.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from autosearch.search.vectors import Vectors

__all__ = ["ORACLES", "KerasTunerSampler", "OracleName"]

OracleName = Literal["random", "bayesian", "grid"]
ORACLES: tuple[OracleName, ...] = ("random", "bayesian", "grid")

_PROPOSAL = "autosearch:keras_tuner_proposal"
_STARTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


class KerasTunerSampler(optuna.samplers.BaseSampler):
    """Samples as Keras Tuner 1.4 does: ``RandomSearch``, ``BayesianOptimization``, ``GridSearch``.

    Keras Tuner is loaded, and TensorFlow with it, when the first parameter is sampled. As there, a
    parameter is unknown until a trial asks for it: the first trial of a grid takes every low end
    and first choice, that of the others is drawn at random. Which parameters hang on which choice
    is read off the trials.

    Args:
        oracle: ``"random"``, ``"bayesian"`` or ``"grid"``.
        seed: Makes it repeatable; a trial's own seed is drawn from it and the trial's number.
        words: Further arguments of Keras Tuner's oracle, such as ``num_initial_points``.

    Attributes:
        is_exhausted: Whether every combination of a grid was tried. ``Study.stop`` is not called:
            whoever goes on is given combinations at random.

    Raises:
        ValueError: When sampling for several objectives, which Keras Tuner would add up.

    Example:
        >>> study = optuna.create_study(sampler=KerasTunerSampler("bayesian", seed=1))
    """

    def __init__(self, oracle: OracleName, *, seed: int = 0, **words: Any) -> None:
        if oracle not in ORACLES:
            raise ValueError(f"oracle {oracle!r} is unknown; expected one of {', '.join(ORACLES)}")
        self._oracle = oracle
        self._seed = seed
        self._words = words
        self._has_sampled = False
        self.is_exhausted = False

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every parameter that any trial has asked for, the newest range of each."""
        _refuse_several_objectives(study)
        return _space(_others(study, trial))

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the oracle proposes; parameters that the trial does not ask for go unused."""
        _refuse_several_objectives(study)
        self._has_sampled = True
        if not search_space:
            return {}
        trials = _others(study, trial)
        space, parameters = _declare(search_space, Vectors.of(trials))
        values = self._propose(study, trial, space, parameters, trials)
        if values is None:
            rng = self._rng(trial)
            return {p.name: p.decode(p.drawn(rng)) for p in parameters}
        if self._oracle == "grid":
            study._storage.set_trial_system_attr(trial._trial_id, _PROPOSAL, values)
        return {p.name: p.decode(values[p.name]) for p in parameters if p.name in values}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that no earlier trial had: at random, of a grid its first value."""
        _refuse_several_objectives(study)
        self._has_sampled = True
        _, (parameter,) = _declare({param_name: param_distribution}, Vectors({}, None))
        if self._oracle == "grid":
            return parameter.decode(parameter.hyperparameter.default)
        return parameter.decode(parameter.drawn(self._rng(trial, param_name)))

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Finds out whether a grid is used up."""
        # Only where it sampled: who merely tells how a trial ended need not load Keras Tuner.
        if self._oracle != "grid" or not self._has_sampled or not trial.params:
            return
        others = _others(study, trial)
        if any(other.state is TrialState.RUNNING for other in others):
            return  # They may bring parameters that nobody knows of yet.
        trials = [*others, trial]
        space, parameters = _declare(_space(trials), Vectors.of(trials))
        self.is_exhausted = self._propose(study, trial, space, parameters, trials) is None

    def _propose(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        space: Any,
        parameters: Sequence[_Parameter],
        trials: Sequence[FrozenTrial],
    ) -> dict[str, Any] | None:
        """The oracle's values by name, as it holds them; None if it has nothing left."""
        import keras_tuner

        direction = "max" if study.direction is optuna.study.StudyDirection.MAXIMIZE else "min"
        oracle_class = {
            "random": keras_tuner.oracles.RandomSearchOracle,
            "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
            "grid": keras_tuner.oracles.GridSearchOracle,
        }[self._oracle]
        oracle = oracle_class(
            objective=keras_tuner.Objective("value", direction),
            max_trials=None,
            hyperparameters=space,
            # A seed of 0 counts as none there.
            seed=int(self._rng(trial).integers(1, 2**31)),
            **self._words,
        )
        worst = _worst_value(study, trials)
        for past in trials:
            told = copy.copy(space)
            told.values = _active_values(past, parameters)
            _tell(oracle, past, told, worst)
        if self._oracle == "grid":
            _queue(oracle, parameters)
        values: dict[str, Any] | None = oracle.populate_space(str(trial.number))["values"]
        return values

    def _rng(self, trial: FrozenTrial, name: str = "") -> np.random.Generator:
        return np.random.default_rng([self._seed, trial.number, zlib.crc32(name.encode())])


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of Optuna's and what stands for it in Keras Tuner.

    A choice stands there by its index, since Keras Tuner's are of one type, and so does a number
    with a step, since its count of steps errs by the rounding of decimals.
    """

    name: str
    distribution: BaseDistribution
    hyperparameter: Any

    def encode(self, value: Any) -> Any:
        """A value of Optuna's as Keras Tuner holds it; None if it is out of today's range."""
        d = self.distribution
        try:
            internal = d.to_internal_repr(value)
        except ValueError:
            return None
        if not d._contains(internal):
            return None
        if isinstance(d, CategoricalDistribution):
            return int(internal)
        assert isinstance(d, (FloatDistribution, IntDistribution))
        return value if _num_steps(d) is None else round((value - d.low) / (d.step or 1))

    def decode(self, value: Any) -> Any:
        """A value of Keras Tuner's as Optuna's."""
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices[int(value)]
        assert isinstance(d, (FloatDistribution, IntDistribution))
        if _num_steps(d) is not None:
            value = d.low + int(value) * (d.step or 1)
        value = min(max(value, d.low), d.high)
        return int(value) if isinstance(d, IntDistribution) else float(value)

    def drawn(self, rng: np.random.Generator) -> Any:
        """A value at random, as Keras Tuner holds it."""
        return self.hyperparameter.prob_to_value(float(rng.random()))


def _refuse_several_objectives(study: optuna.Study) -> None:
    if len(study.directions) > 1:
        raise ValueError(
            f"Keras Tuner's oracles work towards one objective, and the study has "
            f"{len(study.directions)}; use TPESampler, NSGAIISampler or GPSampler"
        )


def _others(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """All that was started but this trial: what it has already must not sway what it gets."""
    trials = study.get_trials(deepcopy=False, states=_STARTED)
    return [t for t in trials if t.number != trial.number and t.params]


def _space(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    space: dict[str, BaseDistribution] = {}
    for trial in trials:
        space.update(trial.distributions)
    return space


def _declare(
    space: Mapping[str, BaseDistribution], vectors: Vectors
) -> tuple[Any, list[_Parameter]]:
    """The space as Keras Tuner's ``HyperParameters``, and its parameters one by one."""
    import keras_tuner

    hp = keras_tuner.HyperParameters()
    known: dict[str, _Parameter] = {}
    # Keras Tuner knows a parent by its own conditions, so scopes are opened from the outermost.
    scopes: dict[str, list[tuple[str, list[Any]]]] = {}
    conditions = vectors.conditions()
    for name, distribution in space.items():
        scopes[name] = []
        parent, values = conditions.get(name, ("", ()))
        # A parent that is sampled later is none: with few trials one can look like it.
        if parent in known:
            encoded = [known[parent].encode(value) for value in values]
            if None not in encoded:
                scopes[name] = [*scopes[parent], (parent, encoded)]
        with ExitStack() as stack:
            for scope in scopes[name]:
                stack.enter_context(hp.conditional_scope(*scope))
            known[name] = _Parameter(name, distribution, _ask(hp, name, distribution))
    return hp, list(known.values())


def _ask(hp: Any, name: str, distribution: BaseDistribution) -> Any:
    """Asks Keras Tuner for a parameter of that range, and answers what it made of it."""
    if isinstance(distribution, CategoricalDistribution):
        hp.Choice(name, list(range(len(distribution.choices))), ordered=False)
        return hp.space[-1]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    count = _num_steps(distribution)
    if count is not None:
        hp.Int(name, 0, count - 1)
        return hp.space[-1]
    ask = hp.Int if isinstance(distribution, IntDistribution) else hp.Float
    spread = "log" if distribution.log else "linear"
    ask(name, distribution.low, distribution.high, sampling=spread)
    return hp.space[-1]


def _num_steps(distribution: FloatDistribution | IntDistribution) -> int | None:
    """How many values a range with a step has; None without one."""
    if distribution.step is None or distribution.log:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def _active_values(trial: FrozenTrial, parameters: Sequence[_Parameter]) -> dict[str, Any]:
    """A trial's values as an oracle would hold them: one for each parameter that is active.

    One that the trial did not ask for, though nothing tells why, has the value that the oracle
    proposed: a grid that took another would propose the same again.
    """
    proposed = trial.system_attrs.get(_PROPOSAL, {})
    values: dict[str, Any] = {}
    for p in parameters:
        if not all(condition.is_active(values) for condition in p.hyperparameter.conditions):
            continue
        value = p.encode(trial.params[p.name]) if p.name in trial.params else proposed.get(p.name)
        values[p.name] = p.hyperparameter.default if value is None else value
    return values


def _worst_value(study: optuna.Study, trials: Sequence[FrozenTrial]) -> float | None:
    values = [t.value for t in trials if _is_feasible(t) and t.value is not None]
    is_maximized = study.direction is optuna.study.StudyDirection.MAXIMIZE
    return min(values, default=None) if is_maximized else max(values, default=None)


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(violation <= 0 for violation in trial.constraints.values())


def _tell(oracle: Any, past: FrozenTrial, space: Any, worst: float | None) -> None:
    """Adds a trial to what an oracle knows, as its own bookkeeping would."""
    from keras_tuner.engine.trial import Trial, TrialStatus

    trial = Trial(space, trial_id=str(past.number), status=TrialStatus.FAILED)
    if past.state is TrialState.RUNNING:
        trial.status = TrialStatus.RUNNING
        oracle.ongoing_trials[trial.trial_id] = trial
    elif past.state is not TrialState.FAIL:
        # Keras Tuner knows no constraint, and of a trial without a score it learns nothing: it
        # would propose the like of what broke a bound again and again.
        score = past.value if past.value is not None and _is_feasible(past) else worst
        if score is not None:
            trial.status, trial.score = TrialStatus.COMPLETED, score
    oracle.trials[trial.trial_id] = trial
    oracle.start_order.append(trial.trial_id)
    oracle._record_values(trial)


def _queue(oracle: Any, parameters: Sequence[_Parameter]) -> None:
    """Puts a grid's trials in order, and the newest first into the queue for its next one.

    Keras Tuner looks at the oldest first and skips those whose next combination was tried, which
    from here would be nearly all of them for every proposal.
    """
    positions = {p.name: _positions(p.hyperparameter) for p in parameters}
    ordered = []
    for trial_id, trial in oracle.trials.items():
        values = trial.hyperparameters.values
        # What a user enqueued beside the grid has no place in its order.
        if all(value in positions[name] for name, value in values.items()):
            key = [positions[n][values[n]] if n in values else -1 for n in positions]
            ordered.append((key, trial_id))
    for _, trial_id in sorted(ordered, key=lambda item: item[0]):
        oracle._ordered_ids.insert(trial_id)
    oracle._populate_next = sorted((i for _, i in ordered), key=int, reverse=True)
    if not any(max(key, default=0) <= 0 for key, _ in ordered):
        # A grid begins with all its first values, and takes them when no trial has started.
        oracle.start_order.clear()


def _positions(hyperparameter: Any) -> dict[Any, int]:
    """Value to its place in the order in which a grid tries them: the default comes first."""
    values = dict.fromkeys([hyperparameter.default, *hyperparameter.values])
    return {value: position for position, value in enumerate(values)}
