"""The trials that a sampler learns from: a bounded choice, however long a study has become.

A model-based sampler looks at every trial again for every parameter, so that asking takes the
longer the more there are. What it needs are the front and what lies near it, what is new, and a
spread of the rest; that much is shown to it, and no more.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from autosearch import pareto
from autosearch.search.finished import teaching_trials

__all__ = ["SHOWN_TRIALS", "BoundedHistory", "choose_trials", "shown_trials"]

SHOWN_TRIALS = 250
"""How many finished trials a sampler is shown at most."""

_SHARE_OF_BEST = 0.4
_SHARE_OF_RECENT = 0.3
_SHARE_OF_INFEASIBLE = 0.15


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


def shown_trials(study: optuna.Study, limit: int = SHOWN_TRIALS) -> list[FrozenTrial]:
    """At most that many finished trials of a study that teach something, in their order."""
    found = teaching_trials(study)
    chosen = choose_trials(found.values, found.violations <= 0, limit)
    return [found.trials[i] for i in chosen]


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
