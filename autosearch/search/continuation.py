"""Training on: what is on the front is trained further from its checkpoint, as a new trial.

See ``autosearch.values.TrainOn``. Such a trial has its parent's configuration and begins with its
parent's weights; its candidates are further candidates, and its parent's stay as they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosearch import pareto
from autosearch.search.worth import are_shares, worst_worth_having
from autosearch.values import QUALITY_METRICS, Continuation, Objective, TrainOn, TrialState

if TYPE_CHECKING:
    import pandas as pd

    from autosearch.search.worker import Limits
    from autosearch.store.view import StudyView

__all__ = ["TrainingOn", "promises"]

_ERROR_LEFT = 0.8
"""What training for as long again leaves of the error, about."""


class TrainingOn:
    """Decides whether the next trial goes on from an earlier one, and from which.

    Args:
        rules: What the study's definition says.
        full_epochs: How long a network is trained at most.
        limits: When the run ends.
        view: Reads the study.
    """

    def __init__(
        self,
        rules: TrainOn,
        *,
        full_epochs: int,
        limits: Limits,
        view: StudyView,
    ) -> None:
        self._rules = rules
        self._full_epochs = full_epochs
        self._limits = limits
        self._view = view

    def next(self, started: Sequence[Continuation]) -> Continuation | None:
        """What to go on from; None to sample something new.

        The network of the front whose training promises most hypervolume for its time.

        Args:
            started: What was gone on from already.
        """
        frame = self._view.trials_frame()
        trials = dict(zip(frame["number"], frame.to_dict("records"), strict=True))
        front = self._view.front_frame()
        taken = {continuation.trial for continuation in started}
        left: float = math.inf
        if self._limits.total_epochs is not None:
            left = self._limits.total_epochs - self._view.progress().num_epochs
        ripe: dict[int, int] = {}
        for number in dict.fromkeys(front["trial"].astype(int)):
            parent, length = trials[number], _length(trials[number]["facts"])
            epochs = min(length, self._full_epochs - length, self._epochs_left(parent), left)
            if number not in taken and "keras_sha256" in parent["facts"] and epochs >= 1:
                ripe[number] = int(epochs)
        if not ripe:
            return None
        lasts_s = {
            number: trials[number]["duration_s"] * epochs / trials[number]["facts"]["num_epochs"]
            for number, epochs in ripe.items()
        }
        promised = self._promises(front, list(ripe))
        chosen = max(ripe, key=lambda n: (promised[n] / max(lasts_s[n], 1e-9), -n))
        if not promised[chosen] or not self._is_due(trials.values(), lasts_s[chosen]):
            return None
        facts = trials[chosen]["facts"]
        return Continuation(
            trial=chosen,
            keras_sha256=facts["keras_sha256"],
            epochs_before=_length(facts),
            epochs=ripe[chosen],
        )

    def _promises(self, front: pd.DataFrame, of: Sequence[int]) -> dict[int, float]:
        known = self._view.candidates_frame()
        known = known[known["feasible"].astype(bool)]
        return promises(
            self._view.minimized(front),
            front["trial"].to_numpy(dtype=np.intp),
            self._view.minimized(known),
            self._view.objectives,
            of=of,
        )

    def _is_due(self, trials: Iterable[Mapping[str, Any]], seconds: float) -> bool:
        """Whether training on has not had its share yet, were so many seconds more to go to it."""
        spent = {False: 0.0, True: 0.0}
        for trial in trials:
            if trial["state"] in (TrialState.COMPLETE, TrialState.PRUNED):
                spent["continues" in trial["facts"]] += trial["duration_s"]
        continued_s = spent[True] + seconds
        return continued_s <= self._rules.share * (spent[False] + continued_s)

    def _epochs_left(self, parent: Mapping[str, Any]) -> int:
        """How many of the parent's epochs there is time for, with all that comes after them."""
        if self._limits.deadline is None:
            return self._full_epochs
        training_s = parent["stage_seconds"].get("train", 0.0)
        left_s = self._limits.deadline - time.time() - (parent["duration_s"] - training_s)
        return int(left_s * parent["facts"]["num_epochs"] / max(training_s, 1e-3))


def promises(
    front: NDArray[np.float64],
    trials: NDArray[np.intp],
    known: NDArray[np.float64],
    objectives: Sequence[Objective],
    *,
    of: Sequence[int],
) -> dict[int, float]:
    """The hypervolume that trials of the front would add, were their error a fifth smaller.

    Taken on logarithms of errors and costs, below the worst cost that is known and the worst
    accuracy that is worth having: what is only small, and wrong as often as not, promises nothing
    by being trained on.

    Args:
        front: Objectives of the candidates on the front, shape ``(n, k)``, minimised.
        trials: Whose they are, shape ``(n,)``.
        known: Objectives of all candidates, shape ``(m, k)``, minimised.
        objectives: Their metrics.
        of: The trials that are asked about.
    """
    is_quality = np.array([o.metric in QUALITY_METRICS for o in objectives], dtype=np.bool_)
    shares = are_shares(objectives)
    whole = known[np.isfinite(known).all(axis=1)]
    if not len(whole) or not is_quality.any():
        return dict.fromkeys(of, 0.0)

    def scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.log(np.maximum(values + np.array(shares, dtype=float), 1e-6)))

    worst = np.minimum(whole.max(axis=0), worst_worth_having(whole, shares))
    points, reference = scaled(front), scaled(worst) + 1e-3
    before = pareto.hypervolume(points, reference)
    shift = np.log(_ERROR_LEFT) * is_quality
    found = {}
    for trial in of:
        better = points + shift * (trials == trial)[:, None]
        found[trial] = float(pareto.hypervolume(better, reference)) - before
    return found


def _length(facts: Mapping[str, Any]) -> int:
    """Epochs that a trial's weights were trained."""
    return int(facts.get("continues", {}).get("epochs_before", 0) + facts.get("num_epochs", 0))
