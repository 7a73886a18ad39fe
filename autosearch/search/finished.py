"""Finished trials and what a sampler reads of them, each trial once.

A worker asks again and again, and of ten thousand trials all but the last few were there the time
before: to read every one of them anew took a third of the time of a proposal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, TypeAlias

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = [
    "CONTINUES",
    "FAILED",
    "RUNGS",
    "SECONDS",
    "FinishedTrials",
    "num_sampled_before",
    "number_of",
    "teaching_trials",
]

_Array: TypeAlias = NDArray[np.float64]

CONTINUES = "autosearch:continues"
"""The user attribute of a trial that trains an earlier one's network on: which."""

SECONDS = "autosearch:seconds"
"""The user attribute of how long a trial took, where its configuration is to answer for that."""

FAILED = "autosearch:failed"
"""The constraint that a failed trial breaks, for whoever learns where not to look."""

RUNGS = "autosearch:rungs"
"""The user attribute of what a trial had reached where it could be pruned: epoch to objectives."""

_FEWEST_ENDED = 5
_COLUMNS = (
    "values", "violations", "seconds", "configurations", "is_failed", "is_on_rungs", "teaches",
)  # fmt: skip
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True, slots=True)
class FinishedTrials:
    """Finished trials in their order, and figures with a row for each.

    Attributes:
        trials: ``n`` of them.
        signs: What makes each of ``k`` objectives one that is minimised, 1 or -1.
        values: The objectives, minimised, shape ``(n, k)``; NaN where a trial has none.
        violations: By how much each breaks a constraint, shape ``(n,)``; feasible up to 0.
        seconds: How long each took, shape ``(n,)``; NaN where that says nothing of others.
        configurations: A number for each configuration, shape ``(n,)``, by ``number_of``.
        is_failed: Which have failed, shape ``(n,)``.
        is_on_rungs: Which could have been pruned, shape ``(n,)``.
        teaches: From which there is something to learn, if only where not to look, shape ``(n,)``.
    """

    trials: list[FrozenTrial]
    signs: _Array
    values: _Array
    violations: _Array
    seconds: _Array
    configurations: NDArray[np.int64]
    is_failed: NDArray[np.bool_]
    is_on_rungs: NDArray[np.bool_]
    teaches: NDArray[np.bool_]

    @classmethod
    def of(
        cls, trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
    ) -> FinishedTrials:
        """Reads trials of a study with these directions."""
        signs = np.array([-1.0 if d is StudyDirection.MAXIMIZE else 1.0 for d in directions])
        unknown = [math.nan] * len(signs)
        rows = [t.values if t.state is TrialState.COMPLETE else unknown for t in trials]
        # Only of trials that say anything of the kind: the look itself takes its time.
        violations = [
            max(t.constraints.values(), default=0.0) if t.system_attrs else 0.0 for t in trials
        ]
        return cls(
            list(trials),
            signs,
            np.asarray(rows, dtype=np.float64).reshape(len(rows), len(signs)) * signs,
            np.asarray(violations, dtype=np.float64),
            np.array([t.user_attrs.get(SECONDS, math.nan) for t in trials], dtype=np.float64),
            np.array([number_of(t.params) for t in trials], dtype=np.int64),
            np.array([t.state is TrialState.FAIL for t in trials], dtype=np.bool_),
            np.array([RUNGS in t.user_attrs for t in trials], dtype=np.bool_),
            np.array([_teaches(t) for t in trials], dtype=np.bool_),
        )

    def only(self, is_wanted: NDArray[np.bool_]) -> FinishedTrials:
        """Some of them."""
        columns = {name: getattr(self, name)[is_wanted] for name in _COLUMNS}
        return replace(self, trials=list(compress(self.trials, is_wanted)), **columns)

    def followed_by(self, others: FinishedTrials) -> FinishedTrials:
        """These, and others of the same study after them."""
        columns = {
            name: np.concatenate([getattr(self, name), getattr(others, name)]) for name in _COLUMNS
        }
        return replace(self, trials=self.trials + others.trials, **columns)

    def expected_values(self) -> _Array:
        """As ``values``, and of pruned trials what they would have come to.

        That lies on a line through what trials that came to their end had at the same epoch, and
        had at last; where those are few, nothing is expected.
        """
        values = self.values.copy()
        rungs: dict[int, dict[int, _Array]] = {}
        for row in np.flatnonzero(self.is_on_rungs).tolist():
            for epoch, figures in self.trials[row].user_attrs[RUNGS].items():
                rungs.setdefault(int(epoch), {})[row] = self.signs * figures
        # Of several rungs that a trial was on, the last one says most.
        for _, rung in sorted(rungs.items()):
            ended = [row for row in rung if self.trials[row].state is TrialState.COMPLETE]
            pruned = [row for row in rung if self.trials[row].state is TrialState.PRUNED]
            if len(ended) >= _FEWEST_ENDED and pruned:
                then = np.array([rung[row] for row in ended])
                now = np.array([rung[row] for row in pruned])
                values[pruned] = _on_a_line(then, values[ended], now)
        return values


def teaching_trials(study: optuna.Study, *, with_failed: bool = False) -> FinishedTrials:
    """All finished trials of a study that teach something.

    Not those that were trained on: their configurations are their parents', and what is sampled
    next is trained as briefly as these were. Held against figures of twenty epochs, nothing that
    has had two promises anything but to be smaller.

    Args:
        study: The study.
        with_failed: Failed trials as well, as infeasible ones; Optuna's samplers ignore them.
    """
    read = _read(study)
    teaches = read.teaches if with_failed else read.teaches & ~read.is_failed
    return read if teaches.all() else read.only(teaches)


def _read(study: optuna.Study) -> FinishedTrials:
    finished = study.get_trials(deepcopy=False, states=_FINISHED)
    known = _last_read[0] if _last_read else None
    # Finished trials do not change. Those of another study are other objects, and so are all of
    # one that was opened anew.
    num_known = _num_alike(known.trials, finished) if known else 0
    read = FinishedTrials.of(finished[num_known:], study.directions)
    if known is not None and num_known:
        read = known.only(np.arange(len(known.trials)) < num_known).followed_by(read)
    _last_read[:] = [read]
    return read


_last_read: list[FinishedTrials] = []


def _num_alike(known: list[FrozenTrial], trials: list[FrozenTrial]) -> int:
    """How many trials at the beginning of two lists are the same objects."""
    both = enumerate(zip(known, trials, strict=False))
    return next((i for i, (a, b) in both if a is not b), min(len(known), len(trials)))


def number_of(params: Mapping[str, Any]) -> int:
    """The same number for the same configuration, as long as this process lives."""
    return hash(repr(sorted(params.items(), key=lambda pair: pair[0])))


def _teaches(trial: FrozenTrial) -> bool:
    # One that was discarded failed as well, and teaches nothing.
    is_failed = trial.state is TrialState.FAIL
    is_known = not is_failed or (bool(trial.params) and FAILED in trial.constraints)
    return is_known and CONTINUES not in trial.user_attrs


def num_sampled_before(study: optuna.Study, number: int) -> int:
    """How many trials were sampled before one: those that went on from others do not count."""
    earlier = study.get_trials(deepcopy=False)[:number]
    return sum(CONTINUES not in trial.user_attrs for trial in earlier)


def _on_a_line(then: _Array, at_last: _Array, now: _Array) -> _Array:
    """What rows come to, by the line of each column from what others had then to their last."""
    apart = then - then.mean(axis=0)
    slope = (apart * at_last).sum(axis=0) / np.maximum((apart**2).sum(axis=0), 1e-12)
    # Trainings come nearer to each other.
    line = at_last.mean(axis=0) + np.clip(slope, 0, 1) * (now - then.mean(axis=0))
    is_cost = (then == at_last).all(axis=0)
    return np.where(is_cost, now, line)
