"""Which candidate to take: the smallest that cannot be told apart from the best.

The most accurate of many candidates is seldom the best one, only the luckiest: others that are a
fraction of its size do as well on the same images, but for chance. Whether they do is a paired
question, since both were asked about the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from autosearch import pareto
from autosearch.evaluation.paired import paired_p_value
from autosearch.store.predictions import Predictions
from autosearch.store.study_frames import minimized
from autosearch.values import QUALITY_METRICS, Direction, Estimate, Objective, minimize

if TYPE_CHECKING:
    import pandas as pd

    from autosearch.store.view import StudyView

__all__ = [
    "PairedTests",
    "Suggestion",
    "cost_of",
    "has_cost",
    "smallest_alike",
    "suggest",
    "with_cost",
]

_LEVEL = 0.05
_SIZE = ("smallest", "smaller candidate")
_TIME = ("fastest", "faster candidate")
# What one with little of a cost is called, and one with less.
_COSTS = {
    "size_bytes": _SIZE,
    "memory_bytes": ("one of least memory", "candidate of less memory"),
    "parameters": ("one of fewest weights", "candidate of fewer weights"),
    "macs": ("one of least computing", "candidate of less computing"),
    "latency_ms": _TIME,
    "latency_p90_ms": _TIME,
}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A candidate to take, and why.

    Attributes:
        candidate: Its id.
        best: The id of the candidate with the best figure, often the same.
        metric: What "best" refers to.
        value: The candidate's figure of it.
        accuracy: Its accuracy, in [0, 1].
        accuracy_low: Lower end of its 90 % interval.
        accuracy_high: Upper end of it.
        best_value: The best one.
        p_value: Of the two having the same figure but for chance; None for the best itself.
        estimate: What kind of figures these are, an ``Estimate``.
        num_images: How many images they rest on.
        cost: The metric by which it is small.
        num_tested: How many smaller candidates than the best were held against it.
        num_left_out: Smaller candidates that were judged on other images, before the data grew.
    """

    candidate: str
    best: str
    metric: str
    value: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    best_value: float
    p_value: float | None
    estimate: str
    num_images: int
    cost: str = "size_bytes"
    num_tested: int = 0
    num_left_out: int = 0

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self.reason_with(f"{self.best_value:.3f}")

    def reason_with(self, best_value: str) -> str:
        """The reason with the best one's figure as the reader is used to it, such as 97.1 %."""
        what = self.metric.replace("_", " ")
        smallest, smaller = _COSTS[self.cost]
        left_out = ""
        if self.num_left_out:
            some = smaller.replace("candidate", "candidates") if self.num_left_out > 1 else smaller
            left_out = f"; {self.num_left_out} {some}, judged on other images, left out"
        if self.candidate == self.best:
            if self.num_tested:
                return (
                    f"the best {what}, and every {smaller} is worse by more than chance{left_out}"
                )
            return f"the best {what}{left_out or f', and there is no {smaller}'}"
        return (
            f"the {smallest} whose {what} cannot be told apart from the best one's, "
            f"{best_value} of {self.best} (paired test on the same images: "
            f"p = {self.p_value:.2f}{left_out})"
        )


class PairedTests:
    """Paired tests between candidates of a study, each taken once.

    Args:
        read: SHA-256 of stored predictions to their file.
    """

    def __init__(self, read: Callable[[str], bytes]) -> None:
        # Every candidate is held against the best one, which is thus read once.
        self._predictions = lru_cache(2)(lambda sha256: Predictions.from_bytes(read(sha256)))
        self._p_values: dict[tuple[str, str, str], float] = {}
        self._are_paired: dict[tuple[str, str], bool] = {}
        self._num_images: dict[str, int] = {}

    def p_value(self, one: str, other: str, metric: str) -> float:
        """``paired_p_value`` of two stored predictions, named by their SHA-256."""
        key = (one, other, metric)
        if key not in self._p_values:
            self._p_values[key] = paired_p_value(
                self._predictions(one), self._predictions(other), metric=metric
            )
        return self._p_values[key]

    def are_paired(self, one: str, other: str) -> bool:
        """Whether two stored predictions are of the same images: data may have grown between."""
        key = (one, other)
        if key not in self._are_paired:
            labels = self._predictions(one).labels
            self._are_paired[key] = np.array_equal(labels, self._predictions(other).labels)
        return self._are_paired[key]

    def num_images(self, sha256: str) -> int:
        """How many images stored predictions are of."""
        if sha256 not in self._num_images:
            self._num_images[sha256] = len(self._predictions(sha256).labels)
        return self._num_images[sha256]

    def can_tell(self, sha256: str, metric: str) -> bool:
        """Whether stored predictions have what a test by that metric needs."""
        return metric != "worst_group_accuracy" or self._predictions(sha256).groups is not None


def suggest(
    view: StudyView, *, target: str | None = None, estimate: str | None = None
) -> Suggestion | None:
    """The smallest candidate of the front that cannot be told apart from the best one.

    Where finalists were judged again by cross-validation, it is one of them.

    Args:
        view: The study.
        target: As for ``StudyView.front_frame``.
        estimate: The kind of figure to go by, an ``Estimate``; by default the better one that
            there is.

    Returns:
        None where the study has no figure of how well a file classifies, no front, or no
        predictions to compare.
    """
    if view.definition["evaluator"] is not None:
        return None
    objectives = view.objectives
    better_first = (Estimate.CROSS_VALIDATION, Estimate.VALIDATION)
    for kind in better_first if estimate is None else (estimate,):
        ranked = view.ranked_frame(target, estimate=kind)
        front = ranked[pareto.non_dominated(minimized(ranked, with_cost(objectives)))]
        if len(front):
            return smallest_alike(front, objectives, tests=PairedTests(view.artifact))
    return None


def smallest_alike(
    front: pd.DataFrame, objectives: Sequence[Objective], *, tests: PairedTests
) -> Suggestion | None:
    """The smallest candidate of a front that a paired test cannot tell apart from the best one.

    What was judged on other images than the best one, since the data grew, is left out.

    Args:
        front: Rows of ``StudyView.candidates_frame()`` of one target and one kind of figure, in
            any order: of what is feasible, those that no other dominates in ``with_cost``.
        objectives: What ranks them.
        tests: Of the study's predictions.

    Returns:
        None where nothing says how well a file classifies, or no predictions are kept.
    """
    objective = next((o for o in objectives if o.metric in QUALITY_METRICS), None)
    if objective is None or objective.metric not in front:
        return None
    metric = objective.metric
    front = front[front[metric].notna() & front["predictions_sha256"].notna()]
    if front.empty:
        return None
    cost = cost_of(objectives, front)
    # Of equals the smaller one is the best, and of those the older one.
    front = front.sort_values(["trial", "quantization"]).sort_values(
        [metric, cost], ascending=[objective.direction is Direction.MINIMIZE, True], kind="stable"
    )
    best = front.iloc[0]
    if not tests.can_tell(best["predictions_sha256"], metric):
        return None
    chosen, p_value, num_tested, num_left_out = best, None, 0, 0
    for _, row in front.sort_values(cost, kind="stable").iterrows():
        if row["candidate"] == best["candidate"] or row[cost] > best[cost]:
            break
        if not tests.are_paired(row["predictions_sha256"], best["predictions_sha256"]):
            num_left_out += 1
            continue
        p = tests.p_value(row["predictions_sha256"], best["predictions_sha256"], metric)
        num_tested += 1
        if p >= _LEVEL:
            chosen, p_value = row, p
            break
    return Suggestion(
        candidate=str(chosen["candidate"]),
        best=str(best["candidate"]),
        metric=metric,
        value=float(chosen[metric]),
        accuracy=float(chosen["accuracy"]),
        accuracy_low=float(chosen["accuracy_low"]),
        accuracy_high=float(chosen["accuracy_high"]),
        best_value=float(best[metric]),
        p_value=p_value,
        estimate=str(best["estimate"]),
        num_images=tests.num_images(best["predictions_sha256"]),
        cost=cost,
        num_tested=num_tested,
        num_left_out=num_left_out,
    )


def has_cost(objectives: Sequence[Objective]) -> bool:
    """Whether a study seeks what is small, in any sense."""
    return any(objective.metric in _COSTS for objective in objectives)


def with_cost(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """What a pick is made by: also size, where a study is after accuracy alone.

    Its front is the one most accurate candidate, beside which no smaller one would be seen.
    """
    return (*objectives, *(() if has_cost(objectives) else (minimize("size_bytes"),)))


def cost_of(objectives: Sequence[Objective], front: pd.DataFrame) -> str:
    """What "small" means: the first cost that the study minimises, or else the file's size."""
    sought = [o.metric for o in objectives if o.metric in _COSTS]
    return next((m for m in sought if m in front and front[m].notna().all()), "size_bytes")
