"""Configurations that are put first, by parameter name: another study's best, or a person's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from autosearch.errors import NotFoundError
from autosearch.search.held import (
    distribution_of,
    held,
    held_by,
    is_same,
    is_stand_in,
    value_of,
)
from autosearch.space import SearchSpace
from autosearch.space.architecture import architecture_names
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Choices, Constant, Numbers, Parameter, Scalar

__all__ = [
    "GIVEN",
    "ORIGIN",
    "StartingPoint",
    "StartingSampler",
    "WarmStart",
    "best_of",
    "plan_warm_start",
]

GIVEN = "autosearch:given"
"""The user attribute of a trial whose configuration a person has given."""

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
        params: Parameter name to value: as its own study shows them, or as Optuna knows them.
        is_ours: Whether it is the former: what Optuna knows may stand for another value.
    """

    study: str
    trial: int
    params: Mapping[str, Any]
    is_ours: bool


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
    read_configs: Callable[[Sequence[int]], Mapping[int, Mapping[str, Any]]] = lambda numbers: {},
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
        read_configs: Answers what trials of that study were sampled as, by number, if it is one
            of ours.
    """
    first_of_its_kind: dict[str, FrozenTrial] = {}
    for trial in best:
        first_of_its_kind.setdefault(repr(sorted(trial.params.items())), trial)
    distinct = list(first_of_its_kind.values())
    limit = _MOST_TRIALS
    if trials_in_budget is not None:
        limit = min(limit, max(1, trials_in_budget // _SHARE_OF_BUDGET))
    if is_front and len(distinct) > limit:
        last = len(distinct) - 1
        distinct = [distinct[round(i * last / max(limit - 1, 1))] for i in range(limit)]
    configs = read_configs([trial.number for trial in distinct[:limit]])
    points = tuple(
        StartingPoint(
            name, t.number, dict(configs.get(t.number, t.params)), is_ours=t.number in configs
        )
        for t in distinct[:limit]
    )
    return WarmStart(name, points, _misfits(points, space))


def _misfits(points: Sequence[StartingPoint], space: SearchSpace | None) -> tuple[str, ...] | None:
    if space is None or not space.is_declarative:
        return None
    fitting = {name for point in points for name in _fitting_names(point, space)}
    names = dict.fromkeys(name for point in points for name in point.params)
    return tuple(name for name in names if name not in fitting)


def _fitting_names(point: StartingPoint, space: SearchSpace) -> set[str]:
    fitting: set[str] = set()

    def answer(parameter: Parameter) -> tuple[Scalar] | None:
        asked = parameter.range
        assert not isinstance(asked, Constant)
        for known in (parameter.trial_name, parameter.name):
            found = _fitting(point.params, known, asked, are_values=point.is_ours)
            if found is not None:
                fitting.add(known)
                return (value_of(asked, found[0]),)
        return None

    hp = HyperParameters(answer=answer)
    space.sample_declared(hp)
    # What is fixed here is not asked for, and the same there all the same.
    fixed = {"architecture": architecture_names(space.architectures)[0], **hp.values}
    return fitting | {n for n, v in point.params.items() if n in fixed and is_same(fixed[n], v)}


def _fitting(
    params: Mapping[str, Any], name: str, asked: Choices | Numbers, *, are_values: bool
) -> tuple[Any] | None:
    """What Optuna holds of a parameter that is asked for, if what is known by a name fits."""
    if name not in params:
        return None
    if are_values:
        return held(asked, params[name])
    return None if is_stand_in(asked) else held_by(distribution_of(asked), params[name])


class StartingSampler(optuna.samplers.BaseSampler):
    """Takes the parameters of a configuration that fit, and asks another sampler for the rest.

    Args:
        params: Parameter name to value. A parameter under conditions is known by them too; where
            they do not stand here, the bare name will do.
        sampler: Draws what is not among them or does not fit.
        are_values: Whether they are values, as a trial shows them, and not what Optuna holds in
            their place.
        is_counted: Whether the other sampler is to count the trial among its own.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        sampler: optuna.samplers.BaseSampler,
        *,
        are_values: bool = True,
        is_counted: bool = True,
    ) -> None:
        self._params = params
        self._sampler = sampler
        self._are_values = are_values
        self._is_counted = is_counted
        self._asked: Parameter | None = None
        self._drawn_together: Mapping[str, Any] = {}

    def prepare(self, parameter: Parameter) -> None:
        """Takes note of the parameter that is about to be asked for.

        Without it a parameter is known by Optuna's distribution alone, as one that an Optuna
        objective asks for.
        """
        self._asked = parameter

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The other sampler's: where it is not asked, a genetic one never learns of the trial."""
        if not self._is_counted:
            return {}
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing yet: what is drawn together is for what the configuration leaves out."""
        if self._is_counted:
            self._drawn_together = self._sampler.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The configuration's value, if it fits."""
        found = self._given(param_name, param_distribution)
        if found is None and param_name in self._drawn_together:
            found = held_by(param_distribution, self._drawn_together[param_name])
        if found is not None:
            return found[0]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def _given(self, name: str, distribution: BaseDistribution) -> tuple[Any] | None:
        asked = self._asked
        if asked is None or asked.trial_name != name:
            return held_by(distribution, self._params[name]) if name in self._params else None
        assert not isinstance(asked.range, Constant)
        for known in (name, asked.name):
            found = _fitting(self._params, known, asked.range, are_values=self._are_values)
            if found is not None:
                return found
        return None

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Passed on: the next trial is asked for while this is still the study's sampler."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: optuna.trial.TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Passed on."""
        self._sampler.after_trial(study, trial, state, values)
