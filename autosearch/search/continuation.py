"""Training on: what is on the front is trained further from its checkpoint, as a new trial.

See ``autosearch.values.TrainOn``. Such a trial has its parent's configuration and begins with its
parent's weights; its candidates are further candidates, and its parent's stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from autosearch.search.pruning import spread_order
from autosearch.values import Continuation, TrainOn, TrialState

if TYPE_CHECKING:
    from autosearch.search.worker import Limits
    from autosearch.store.view import Progress, StudyView

__all__ = ["TrainingOn"]


class TrainingOn:
    """Decides whether the next trial goes on from an earlier one, and from which.

    Args:
        rules: What the study's definition says.
        full_epochs: How long a network is trained at most.
        minutes: The study's budget of wall-clock time, if it has one.
        limits: When the run ends.
        view: Reads the study.
    """

    def __init__(
        self,
        rules: TrainOn,
        *,
        full_epochs: int,
        minutes: float | None,
        limits: Limits,
        view: StudyView,
    ) -> None:
        self._rules = rules
        self._full_epochs = full_epochs
        self._minutes = minutes
        self._limits = limits
        self._view = view

    def next(self, started: Sequence[Continuation]) -> Continuation | None:
        """What to go on from; None to sample something new.

        The shortest trained of the front first, of those in an order that spreads over it.

        Args:
            started: What was gone on from already.
        """
        frame = self._view.trials_frame()
        trials = dict(zip(frame["number"], frame.to_dict("records"), strict=True))
        progress = self._view.progress()
        front = self._view.front_frame()
        taken = {continuation.trial for continuation in started}
        ripe = []
        for place, row in enumerate(spread_order(self._view.minimized(front))):
            number = int(front["trial"].iloc[row])
            facts = trials[number]["facts"]
            length = _length(facts)
            if number not in taken and "keras_sha256" in facts and length < self._full_epochs:
                ripe.append((length, place, number))
        for length, _, number in sorted(ripe):
            epochs = min(length, self._full_epochs - length, self._epochs_left(trials[number]))
            if self._limits.total_epochs is not None:
                epochs = min(epochs, self._limits.total_epochs - progress.num_epochs)
            if epochs >= 1:
                parent = trials[number]
                lasts_s = parent["duration_s"] * epochs / parent["facts"]["num_epochs"]
                if not self._is_due(trials.values(), progress, lasts_s):
                    return None
                return Continuation(
                    trial=number,
                    keras_sha256=parent["facts"]["keras_sha256"],
                    epochs_before=length,
                    epochs=epochs,
                )
        return None

    def _is_due(
        self, trials: Iterable[Mapping[str, Any]], progress: Progress, seconds: float
    ) -> bool:
        """Whether training on has not had its share yet, were so many seconds more to go to it."""
        spent = {False: 0.0, True: 0.0}
        for trial in trials:
            if trial["state"] in (TrialState.COMPLETE, TrialState.PRUNED):
                spent["continues" in trial["facts"]] += trial["duration_s"]
        used = self._limits.used(progress, self._minutes)
        continued_s = spent[True] + seconds
        return continued_s <= self._rules.share * used * (spent[False] + continued_s)

    def _epochs_left(self, parent: Mapping[str, Any]) -> int:
        """How many of the parent's epochs there is time for, with all that comes after them."""
        if self._limits.deadline is None:
            return self._full_epochs
        training_s = parent["stage_seconds"].get("train", 0.0)
        left_s = self._limits.deadline - time.time() - (parent["duration_s"] - training_s)
        return int(left_s * parent["facts"]["num_epochs"] / max(training_s, 1e-3))


def _length(facts: Mapping[str, Any]) -> int:
    """Epochs that a trial's weights were trained."""
    return int(facts.get("continues", {}).get("epochs_before", 0) + facts.get("num_epochs", 0))
