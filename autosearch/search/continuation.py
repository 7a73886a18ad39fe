"""Training on: what promises most is trained further from its checkpoint, as a new trial.

See ``autosearch.values.TrainOn``. Such a trial has its parent's configuration and begins with its
parent's weights; its candidates are further candidates, and its parent's stay as they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autosearch import pareto
from autosearch.search.worth import are_shares, worst_worth_having
from autosearch.values import QUALITY_METRICS, Continuation, Objective, TrainOn, TrialState

if TYPE_CHECKING:
    import pandas as pd

    from autosearch.search.worker import Limits
    from autosearch.store.view import Progress, StudyView

__all__ = ["Promise", "TrainingOn", "epochs_trained", "first_of"]

_ERROR_LEFT = 0.87
"""What training for as long again leaves of the error, about."""
_LAST = 0.25
"""Of the budget: what is sampled then would stay a brief training."""
_AT_MOST = 0.5
"""Of the budget that is kept to train a network to its end, where that takes more than the last."""


class TrainingOn:
    """Decides whether the next trial goes on from an earlier one, and from which.

    Args:
        rules: What the study's definition says.
        full_epochs: How long a network is trained at most.
        limits: When the run ends.
        minutes: What the study may take until then, if its budget says so.
        view: Reads the study.
    """

    def __init__(
        self,
        rules: TrainOn,
        *,
        full_epochs: int,
        limits: Limits,
        minutes: float | None,
        view: StudyView,
    ) -> None:
        self._rules = rules
        self._full_epochs = full_epochs
        self._limits = limits
        self._minutes = minutes
        self._view = view

    def next(
        self, started: Sequence[Continuation], running: Mapping[int, Continuation] | None = None
    ) -> Continuation | None:
        """What to go on from; None to sample something new.

        The network whose training promises most hypervolume for its time, were it trained for as
        long again or as long as can be.

        Args:
            started: What was gone on from already.
            running: What has not ended of it, by number: its epochs are still to come.
        """
        # The trials last: another worker may end one between the two, and whose candidates are
        # known is then known as it ended.
        ranked = self._view.ranked_frame()
        frame = self._view.trials_frame()
        trials = dict(zip(frame["number"], frame.to_dict("records"), strict=True))
        progress = self._view.progress()
        taken = {continuation.trial for continuation in started}
        num_free = self._epochs_of_budget(progress) - self._epochs_to_come(running or {})
        ways = [way for way in self._ways_on(ranked, trials, taken, num_free) if way.rate > 0]
        if not ways:
            return None
        best = max(ways, key=lambda way: (way.rate, -way.continuation.trial))
        left = 1 - self._limits.used(progress, self._minutes)
        is_last = left <= max(_LAST, min(self._share_to_its_end(best), _AT_MOST))
        is_wanted = is_last or self._is_due(trials.values(), best.seconds)
        return best.continuation if is_wanted else None

    def _ways_on(
        self,
        ranked: pd.DataFrame,
        trials: Mapping[int, Mapping[str, Any]],
        taken: set[int],
        num_free: float,
    ) -> Iterator[_Way]:
        """What can be trained on."""
        values = self._view.minimized(ranked)
        whose = ranked["trial"].to_numpy(dtype=np.intp)
        promise = Promise(values, self._view.objectives)
        for number in sorted(set(whose.tolist()) - taken):
            facts = trials[number]["facts"]
            length, left = epochs_trained(facts), self._epochs_left(trials[number], num_free)
            if "keras_sha256" not in facts or left < 1:
                continue
            epoch_s = max(trials[number]["duration_s"] / facts["num_epochs"], 1e-9)
            epochs = min(length, left)
            rate = max(
                promise.of(values[whose == number], times=1 + more / length) / (more * epoch_s)
                for more in {epochs, left}
            )
            continuation = Continuation(
                trial=number,
                keras_sha256=facts["keras_sha256"],
                epochs_before=length,
                epochs=epochs,
            )
            yield _Way(rate=rate, epoch_s=epoch_s, continuation=continuation)

    def _share_to_its_end(self, way: _Way) -> float:
        """Of the budget, how much it takes to train a network to its end after one more look."""
        limits, length = self._limits, way.continuation.epochs_before
        epochs = self._full_epochs - length + self._rules.first_epochs
        shares = [0.0]
        if limits.deadline is not None and self._minutes is not None:
            shares.append(epochs * way.epoch_s / (60 * self._minutes))
        if limits.total_epochs is not None:
            shares.append(epochs / limits.total_epochs)
        return max(shares)

    def _is_due(self, trials: Iterable[Mapping[str, Any]], seconds: float) -> bool:
        """Whether training on has not had its share yet, were so many seconds more to go to it."""
        spent = {False: 0.0, True: 0.0}
        for trial in trials:
            if trial["state"] in (TrialState.COMPLETE, TrialState.PRUNED):
                spent["continues" in trial["facts"]] += trial["duration_s"]
        continued_s = spent[True] + seconds
        return continued_s <= self._rules.share * (spent[False] + continued_s)

    def cut(self, again: Continuation) -> Continuation:
        """The same for fewer epochs, where the budget has less left than when it was chosen.

        As of one that was interrupted, or whose worker was lost; it gets one epoch at least.
        """
        frame = self._view.trials_frame()
        parent: pd.Series[Any] = frame[frame["number"] == again.trial].iloc[0]
        left = self._epochs_left(dict(parent), self._epochs_of_budget(self._view.progress()))
        return replace(again, epochs=max(1, min(again.epochs, left)))

    def _epochs_to_come(self, running: Mapping[int, Continuation]) -> int:
        """How many epochs trials that run have still before them."""
        last = self._view.last_epochs(list(running))
        return sum(
            max(0, c.epochs_before + c.epochs - last.get(number, c.epochs_before))
            for number, c in running.items()
        )

    def _epochs_of_budget(self, progress: Progress) -> float:
        """How many epochs the study may still cost."""
        total = self._limits.total_epochs
        return math.inf if total is None else total - progress.num_epochs

    def _epochs_left(self, trial: Mapping[str, Any], num_free: float) -> int:
        """For how many epochs a trial's network can be trained on, with all that comes after."""
        left = int(min(self._full_epochs - epochs_trained(trial["facts"]), num_free))
        if self._limits.deadline is not None:
            training_s = trial["stage_seconds"].get("train", 0.0)
            left_s = self._limits.deadline - time.time() - (trial["duration_s"] - training_s)
            left = min(left, int(left_s * trial["facts"]["num_epochs"] / max(training_s, 1e-3)))
        return left


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A way on from a network.

    Attributes:
        rate: What it promises for a second.
        epoch_s: Seconds that an epoch takes, with what comes after it.
        continuation: What is done.
    """

    rate: float
    epoch_s: float
    continuation: Continuation

    @property
    def seconds(self) -> float:
        return self.continuation.epochs * self.epoch_s


class Promise:
    """What training a network on would add to the hypervolume.

    Networks are trained for different lengths, so the front of their figures is not the front of
    what they can be: one that was trained briefly is held against it as it would be in the end.

    Taken on logarithms of errors and costs, below twice the worst cost that is known, since that
    network may be the most accurate one, and the worst accuracy that is worth having: what is only
    small, and wrong as often as not, promises nothing by being trained on.

    Args:
        known: Objectives of all feasible candidates, shape ``(n, k)``, minimised.
        objectives: Their metrics.
    """

    def __init__(self, known: NDArray[np.float64], objectives: Sequence[Objective]) -> None:
        self._is_quality = np.array([o.metric in QUALITY_METRICS for o in objectives], np.bool_)
        self._shares = are_shares(objectives)
        whole = known[np.isfinite(known).all(axis=1)]
        self._promises_any = bool(len(whole) and self._is_quality.any())
        if self._promises_any:
            worst = np.minimum(whole.max(axis=0), worst_worth_having(whole, self._shares))
            self._reference = self._scaled(worst) + np.where(self._is_quality, 1e-3, np.log(2))
            self._front = self._scaled(whole[pareto.non_dominated(whole)])
            self._volume = pareto.hypervolume(self._front, self._reference)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.log(np.maximum(values + np.array(self._shares, dtype=float), 1e-6)))

    def of(self, own: NDArray[np.float64], *, times: float) -> float:
        """The hypervolume that a network's candidates would add.

        Args:
            own: Their objectives as they are, shape ``(m, k)``, minimised.
            times: As how many times as long they would have been trained.
        """
        if not self._promises_any:
            return 0.0
        better = self._scaled(own) + np.log(_ERROR_LEFT) * np.log2(times) * self._is_quality
        # Most are beaten even so, and a look is cheaper than a volume.
        beaten = (self._front[None] <= better[:, None]).all(axis=2).any(axis=1)
        better = better[~beaten & (better < self._reference).all(axis=1)]
        if not len(better):
            return 0.0
        return pareto.hypervolume(np.vstack([self._front, better]), self._reference) - self._volume


def epochs_trained(facts: Mapping[str, Any]) -> int:
    """Epochs that a trial's weights were trained, by what it described; its parents' included."""
    return int(facts.get("continues", {}).get("epochs_before", 0) + facts.get("num_epochs", 0))


def first_of(number: int, facts: Mapping[int, Mapping[str, Any]]) -> int:
    """The trial that sampled what a trial is: itself, or the one that its training began with.

    Args:
        number: The trial's.
        facts: Of all trials, by number.
    """
    while "continues" in facts[number]:
        number = int(facts[number]["continues"]["trial"])
    return number
