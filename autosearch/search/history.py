"""The trials that a sampler learns from: a bounded choice, however long a study has become.

A model-based sampler looks at every trial again for every parameter, so that asking takes the
longer the more there are. What it needs are the front and what lies near it, what is new, and a
spread of the rest; that much is shown to it, and no more.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autosearch import pareto

__all__ = [
    "CONTINUES",
    "FAILED",
    "RUNGS",
    "SECONDS",
    "SHOWN_TRIALS",
    "BoundedHistory",
    "choose_trials",
    "expected_values",
    "minimized_values",
    "num_sampled_before",
    "seconds_of",
    "shown_trials",
    "teaching_trials",
]

SHOWN_TRIALS = 250
"""How many finished trials a sampler is shown at most."""

CONTINUES = "autosearch:continues"
"""The user attribute of a trial that trains an earlier one's network on: which."""

SECONDS = "autosearch:seconds"
"""The user attribute of how long a trial took, where its configuration is to answer for that."""

FAILED = "autosearch:failed"
"""The constraint that a failed trial breaks, for whoever learns where not to look."""

RUNGS = "autosearch:rungs"
"""The user attribute of what a trial had reached where it could be pruned: epoch to objectives."""

_FEWEST_ENDED = 5
_SHARE_OF_BEST = 0.4
_SHARE_OF_RECENT = 0.3
_SHARE_OF_INFEASIBLE = 0.15
_TEACHING_STATES = (TrialState.COMPLETE, TrialState.PRUNED)


def choose_trials(
    values: NDArray[np.float64], is_feasible: NDArray[np.bool_], limit: int
) -> NDArray[np.intp]:
    """The trials to show, of all that a study has, in their order.

    Two fifths of them are the best by front after front, three tenths the most recent, the rest
    is spread evenly over the study's time, infeasible trials among it. The choice depends on
    nothing but the arguments, so a resumed study makes the same one.

    Args:
        values: Objectives in the order of the trials, shape ``(n, k)``, minimised; NaN where a
            trial has none.
        is_feasible: Whether each keeps its constraints, shape ``(n,)``.
        limit: How many to choose at most.

    Returns:
        Their positions, ascending.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    chosen = np.zeros(count, dtype=np.bool_)
    remaining = np.flatnonzero(is_feasible & ~np.isnan(values).any(axis=1))
    left = int(_SHARE_OF_BEST * limit)
    while left > 0 and len(remaining):
        on_front = pareto.non_dominated(values[remaining])
        front = remaining[on_front]
        # Along the front by its first objective, so that a part of it is a spread of it.
        kept = _spread(front[np.argsort(values[front, 0], kind="stable")], left)
        chosen[kept] = True
        left -= len(kept)
        remaining = remaining[~on_front]
    chosen[count - int(_SHARE_OF_RECENT * limit) :] = True
    infeasible = np.flatnonzero(~is_feasible & ~chosen)
    chosen[_spread(infeasible, int(_SHARE_OF_INFEASIBLE * limit))] = True
    rest = np.flatnonzero(~chosen)
    chosen[_spread(rest, limit - int(chosen.sum()))] = True
    return np.flatnonzero(chosen)


def minimized_values(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> NDArray[np.float64]:
    """The objectives of trials, lower is better, shape ``(n, k)``; NaN where there are none."""
    unknown = [float("nan")] * len(directions)
    rows = [t.values if t.state is TrialState.COMPLETE else unknown for t in trials]
    signs = [-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions]
    return np.asarray(rows, dtype=np.float64).reshape(len(rows), len(signs)) * signs


def expected_values(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> NDArray[np.float64]:
    """As ``minimized_values``, and of pruned trials what they would have come to.

    That lies on a line through what trials that came to their end had at the same epoch, and had
    at last; where those are few, nothing is expected.
    """
    values = minimized_values(trials, directions)
    signs = np.array([-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions])
    rungs: dict[int, dict[int, NDArray[np.float64]]] = {}
    for row, trial in enumerate(trials):
        for epoch, figures in trial.user_attrs.get(RUNGS, {}).items():
            rungs.setdefault(int(epoch), {})[row] = signs * figures
    # Of several rungs that a trial was on, the last one says most.
    for _, rung in sorted(rungs.items()):
        ended = [row for row in rung if trials[row].state is TrialState.COMPLETE]
        pruned = [row for row in rung if trials[row].state is TrialState.PRUNED]
        if len(ended) >= _FEWEST_ENDED and pruned:
            then = np.array([rung[row] for row in ended])
            now = np.array([rung[row] for row in pruned])
            values[pruned] = _on_a_line(then, values[ended], now)
    return values


def _on_a_line(
    then: NDArray[np.float64], at_last: NDArray[np.float64], now: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What rows come to, by the line of each column from what others had then to their last."""
    apart = then - then.mean(axis=0)
    slope = (apart * at_last).sum(axis=0) / np.maximum((apart**2).sum(axis=0), 1e-12)
    # Trainings come nearer to each other.
    line = at_last.mean(axis=0) + np.clip(slope, 0, 1) * (now - then.mean(axis=0))
    is_cost = (then == at_last).all(axis=0)
    return np.where(is_cost, now, line)


def seconds_of(trials: Sequence[FrozenTrial]) -> NDArray[np.float64]:
    """How long each trial took, shape ``(n,)``; NaN where that says nothing of others."""
    return np.array([t.user_attrs.get(SECONDS, math.nan) for t in trials], dtype=np.float64)


def teaching_trials(study: optuna.Study, *, with_failed: bool = False) -> list[FrozenTrial]:
    """All finished trials of a study that teach something, in their order.

    Not those that were trained on: their configurations are their parents', and what is sampled
    next is trained as briefly as these were. Held against figures of twenty epochs, nothing that
    has had two promises anything but to be smaller.

    Args:
        study: The study.
        with_failed: Failed trials as well, as infeasible ones; Optuna's samplers ignore them.
    """
    states = (*_TEACHING_STATES, TrialState.FAIL) if with_failed else _TEACHING_STATES
    return [
        trial
        for trial in study.get_trials(deepcopy=False, states=states)
        if CONTINUES not in trial.user_attrs
        # One that was discarded failed as well, and teaches nothing.
        and (trial.state is not TrialState.FAIL or (trial.params and FAILED in trial.constraints))
    ]


def num_sampled_before(study: optuna.Study, number: int) -> int:
    """How many trials were sampled before one: those that went on from others do not count."""
    earlier = study.get_trials(deepcopy=False)[:number]
    return sum(CONTINUES not in trial.user_attrs for trial in earlier)


def shown_trials(study: optuna.Study, limit: int = SHOWN_TRIALS) -> list[FrozenTrial]:
    """At most that many finished trials of a study that teach something, in their order."""
    trials = teaching_trials(study)
    if len(trials) <= limit:
        return trials
    is_feasible = np.array([all(c <= 0 for c in t.constraints.values()) for t in trials])
    values = minimized_values(trials, study.directions)
    return [trials[i] for i in choose_trials(values, is_feasible, limit)]


class BoundedHistory(optuna.samplers.BaseSampler):
    """Any sampler, shown a bounded choice of the trials.

    The choice is made once for each trial that is sampled. Made for one trial at a time, as
    ``make_sampler`` does.

    Args:
        sampler: The sampler.
        limit: How many finished trials it is shown at most; those that run come on top.
    """

    def __init__(self, sampler: optuna.samplers.BaseSampler, limit: int = SHOWN_TRIALS) -> None:
        self._sampler = sampler
        self._limit = limit
        self._shown: tuple[int, optuna.Study] | None = None

    @property
    def sampler(self) -> optuna.samplers.BaseSampler:
        """The sampler that is shown the choice."""
        return self._sampler

    def shown(self, study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
        """The study as the sampler sees it while it samples a trial."""
        if self._shown is None or self._shown[0] != trial.number:
            # A trial's number is one study's; a sampler of another is made anew.
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            trials = [*shown_trials(study, self._limit), *running]
            self._shown = trial.number, _ShownStudy(study, trials)
        return self._shown[1]

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What the sampler draws together."""
        return self._sampler.infer_relative_search_space(self.shown(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draws parameters together."""
        return self._sampler.sample_relative(self.shown(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draws one parameter by itself."""
        return self._sampler.sample_independent(
            self.shown(study, trial), trial, param_name, param_distribution
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Passed on with the whole study."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Passed on with the whole study."""
        self._sampler.after_trial(study, trial, state, values)


class _ShownStudy(optuna.Study):
    """A study that holds some of another one's trials, and writes where that one does."""

    def __init__(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        # Not Study.__init__: it would ask the database again for what is known.
        self.__dict__.update(study.__dict__)
        self._some_trials = list(trials)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        # What every sampler of Optuna reads trials through, whichever way.
        return [t for t in self._some_trials if states is None or t.state in states]


def _spread(items: NDArray[np.intp], limit: int) -> NDArray[np.intp]:
    """At most that many of the items, evenly spaced, the first and the last among them."""
    if len(items) <= limit:
        return items
    if limit <= 0:
        return items[:0]
    return items[np.unique(np.linspace(0, len(items) - 1, limit).round().astype(np.intp))]
