"""Starting from another study's best: its configurations, by parameter name, come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from autosearch.errors import NotFoundError
from autosearch.space import SearchSpace
from autosearch.space.hyperparameters import HyperParameters

__all__ = ["ORIGIN", "StartingPoint", "StartingSampler", "WarmStart", "best_of", "plan_warm_start"]

ORIGIN = "autosearch:warm_start"
"""The user attribute of a trial that starts from another study's."""

_MOST_TRIALS = 10
_SHARE_OF_BUDGET = 4


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """A trial of another study.

    Attributes:
        study: That study's name.
        trial: The trial's number there.
        params: Parameter name to value, as Optuna knows them.
    """

    study: str
    trial: int
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """What a study starts from.

    Attributes:
        study: The other study's name.
        points: Its best, the first objective's best first.
        misfits: Names of theirs that no parameter here has, or not with such a value; None where
            only running the study's code would tell.
    """

    study: str
    points: tuple[StartingPoint, ...]
    misfits: tuple[str, ...] | None

    def line(self, num_taken: int) -> str:
        """What was taken, in a sentence.

        Args:
            num_taken: How many of the points were put first; the others were before.
        """
        noun = "configuration" if num_taken == 1 else "configurations"
        taken = f'Starting from {num_taken} {noun} of "{self.study}"'
        if self.misfits is None:
            return f"{taken}; what does not fit by name and range is sampled"
        if not self.misfits:
            return f"{taken}; all of their parameters fit"
        return f"{taken}; not taken, since they do not fit here: {', '.join(self.misfits)}"


def best_of(storage: optuna.storages.BaseStorage, name: str) -> list[FrozenTrial]:
    """The best trials of any Optuna study: its front, or by value where it has one objective.

    Raises:
        NotFoundError: There is no study of that name, or it has no finished trial.
    """
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none"
        raise NotFoundError(
            f'there is no study "{name}" to start from; expected one of: {known}'
        ) from None
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    feasible = [t for t in complete if all(v <= 0 for v in t.constraints.values())]
    if not feasible:
        raise NotFoundError(f'study "{name}" has no complete, feasible trial to start from')
    sign = -1 if study.directions[0] is optuna.study.StudyDirection.MAXIMIZE else 1
    best = feasible if len(study.directions) == 1 else study.best_trials
    return sorted(best, key=lambda trial: (sign * trial.values[0], trial.number))


def plan_warm_start(
    name: str,
    best: Sequence[FrozenTrial],
    *,
    space: SearchSpace | None,
    trials_in_budget: int | None,
    is_front: bool,
) -> WarmStart:
    """Which of another study's best to start from.

    At most ten, and at most a quarter of the budget, since each is evaluated here. Of a front
    they are spread along the first objective; of one objective they are the first ones.

    Args:
        name: The other study.
        best: Its best trials, in their order.
        space: What may be sampled here; None where code of the user's decides.
        trials_in_budget: Of the study here, if its budget counts trials.
        is_front: Whether none of the best is better than another.
    """
    distinct = list({repr(sorted(t.params.items())): t for t in reversed(best)}.values())[::-1]
    limit = _MOST_TRIALS
    if trials_in_budget is not None:
        limit = min(limit, max(1, trials_in_budget // _SHARE_OF_BUDGET))
    if is_front and len(distinct) > limit:
        last = len(distinct) - 1
        distinct = [distinct[round(i * last / max(limit - 1, 1))] for i in range(limit)]
    points = tuple(StartingPoint(name, t.number, dict(t.params)) for t in distinct[:limit])
    return WarmStart(name, points, _misfits(points, space))


def _misfits(points: Sequence[StartingPoint], space: SearchSpace | None) -> tuple[str, ...] | None:
    if space is None or not space.is_declarative:
        return None
    fitting: set[str] = set()
    for point in points:
        probe = _Probe(point.params)
        space.sample_declared(HyperParameters(probe))
        fitting |= probe.fitting
    names = dict.fromkeys(name for point in points for name in point.params)
    return tuple(name for name in names if name not in fitting)


def _fitting(
    params: Mapping[str, Any], name: str, distribution: BaseDistribution
) -> tuple[str, Any] | None:
    """The parameter of another study that fits one here: its name there and its value.

    A parameter under conditions is known by them too; where they do not stand in the other
    study's name, the bare name will do.
    """
    for known in (name, name.partition("[")[0]):
        if known not in params:
            continue
        try:
            internal = distribution.to_internal_repr(params[known])
            if distribution._contains(internal):
                # A whole number from the other study may be a float here, and the other way.
                return known, distribution.to_external_repr(internal)
        except (TypeError, ValueError):
            continue
    return None


class _Probe:
    """A trial that takes what fits of another study's parameters, and the first value elsewhere."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self.fitting: set[str] = set()

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
        found = _fitting(self._params, name, distribution)
        if found is None:
            return otherwise
        self.fitting.add(found[0])
        return found[1]


class StartingSampler(optuna.samplers.BaseSampler):
    """Takes the parameters of a starting point that fit, and asks another sampler for the rest.

    Args:
        params: Parameter name to value.
        sampler: Draws what is not among them or does not fit.
    """

    def __init__(self, params: Mapping[str, Any], sampler: optuna.samplers.BaseSampler) -> None:
        self._params = params
        self._sampler = sampler

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: each parameter is looked at by itself."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The starting point's value, if it fits."""
        found = _fitting(self._params, param_name, param_distribution)
        if found is not None:
            return found[1]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: optuna.trial.TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Passed on."""
        self._sampler.after_trial(study, trial, state, values)
