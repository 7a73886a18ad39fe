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
import numpy.typing as npt

from autosearch.evaluation.metrics import mcnemar_p_value, normalised
from autosearch.store.predictions import Predictions
from autosearch.values import QUALITY_METRICS, Direction, Estimate, Objective

if TYPE_CHECKING:
    import pandas as pd

    from autosearch.store.view import StudyView

__all__ = ["PairedTests", "Suggestion", "paired_p_value", "smallest_alike", "suggest"]

_LEVEL = 0.05
_NUM_SIGN_FLIPS = 10_000
_BY_LOG_LOSS = ("log_loss", "expected_calibration_error")
_COSTS = ("size_bytes", "memory_bytes", "parameters", "macs", "latency_ms", "latency_p90_ms")


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
    num_left_out: int = 0

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self.reason_with(f"{self.best_value:.3f}")

    def reason_with(self, best_value: str) -> str:
        """The reason with the best one's figure as the reader is used to it, such as 97.1 %."""
        what = self.metric.replace("_", " ")
        left_out = (
            f"; {self.num_left_out} smaller, judged on other images, left out"
            if self.num_left_out
            else ""
        )
        if self.candidate == self.best:
            return (
                f"the best {what}, and every smaller candidate is worse by more than chance"
                f"{left_out}"
            )
        return (
            f"the smallest whose {what} cannot be told apart from the best one's, "
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
        labels = self._predictions(one).labels
        return np.array_equal(labels, self._predictions(other).labels)

    def num_images(self, sha256: str) -> int:
        """How many images stored predictions are of."""
        return len(self._predictions(sha256).labels)


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
    if estimate is None:
        front = view.front_frame(target, estimate=Estimate.CROSS_VALIDATION)
        estimate = Estimate.VALIDATION if front.empty else Estimate.CROSS_VALIDATION
    front = view.front_frame(target, estimate=estimate)
    return smallest_alike(front, view.objectives, tests=PairedTests(view.artifact))


def smallest_alike(
    front: pd.DataFrame, objectives: Sequence[Objective], *, tests: PairedTests
) -> Suggestion | None:
    """The smallest candidate of a front that a paired test cannot tell apart from the best one.

    What was judged on other images than the best one, since the data grew, is left out.

    Args:
        front: Rows of ``StudyView.candidates_frame()`` of one target and one kind of figure, in
            any order.
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
    cost = _cost_of_size(objectives, front)
    # Of equals the smaller one is the best, and of those the older one.
    front = front.sort_values(["trial", "quantization"]).sort_values(
        [metric, cost], ascending=[objective.direction is Direction.MINIMIZE, True], kind="stable"
    )
    best = front.iloc[0]
    chosen, p_value, num_left_out = best, None, 0
    for _, row in front.sort_values(cost, kind="stable").iterrows():
        if row["candidate"] == best["candidate"] or row[cost] > best[cost]:
            break
        if not tests.are_paired(row["predictions_sha256"], best["predictions_sha256"]):
            num_left_out += 1
            continue
        p = tests.p_value(row["predictions_sha256"], best["predictions_sha256"], metric)
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
        num_left_out=num_left_out,
    )


def paired_p_value(one: Predictions, other: Predictions, *, metric: str = "accuracy") -> float:
    """How likely chance alone parts two sets of predictions of the same images that far.

    For accuracy this is McNemar's exact test: of the images that only one of the two got right,
    each is as likely to be the one's as the other's. For the other figures each image's
    contribution is what may be exchanged: whether it is right, weighted so that every class
    counts the same (``balanced_accuracy``, ``macro_f1``, ``worst_class_recall``), or the
    logarithm of the true class's probability (``log_loss``, ``expected_calibration_error``). Of
    groups nothing is known here: ``worst_group_accuracy`` is tested as accuracy is.

    Args:
        one: Predictions of n images.
        other: Those of the same images, in the same order.
        metric: One of ``QUALITY_METRICS``.

    Returns:
        The two-sided p-value, above 0 and at most 1.

    Raises:
        ValueError: The labels of the two are not the same.

    References:
        ``mcnemar_p_value``; exchanging signs: Fisher (1935), The Design of Experiments, §21.
    """
    if not np.array_equal(one.labels, other.labels):
        raise ValueError(
            f"Got predictions of {len(one.labels)} and {len(other.labels)} images that differ in "
            "their labels; expected two of the same images."
        )
    if metric in ("accuracy", "worst_group_accuracy"):
        only_one = int(np.sum(one.right & ~other.right))
        only_other = int(np.sum(other.right & ~one.right))
        return mcnemar_p_value(only_one, only_other)
    differences = _contributions(one, metric) - _contributions(other, metric)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    rng = np.random.default_rng(0)
    observed = abs(differences.sum())
    as_far = 0
    for _ in range(_NUM_SIGN_FLIPS // 100):
        signs = rng.choice((-1.0, 1.0), size=(100, len(differences)))
        as_far += int(np.sum(np.abs(signs @ differences) >= observed * (1 - 1e-12)))
    return (as_far + 1) / (_NUM_SIGN_FLIPS + 1)


def _contributions(predictions: Predictions, metric: str) -> npt.NDArray[np.float64]:
    labels = predictions.labels
    if metric in _BY_LOG_LOSS:
        # What the metric itself is taken from.
        true = normalised(predictions.probabilities)[np.arange(len(labels)), labels]
        contributions: npt.NDArray[np.float64] = np.log(true)
        return contributions
    weighted: npt.NDArray[np.float64] = predictions.right / np.bincount(labels)[labels]
    return weighted


def _cost_of_size(objectives: Sequence[Objective], front: pd.DataFrame) -> str:
    """What "small" means: the first cost that the study minimises, or else the file's size."""
    minimized = [o.metric for o in objectives if o.metric in _COSTS]
    return next((m for m in minimized if front[m].notna().all()), "size_bytes")
