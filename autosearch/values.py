"""The values that every other part speaks of: what a study asks for and what a trial answers.

Nothing here computes, stores or trains. A user's words are frozen pydantic models that refuse
what makes no sense, all faults at once; what travels inside is a frozen dataclass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import Field, model_validator

from autosearch.declared import Declared
from autosearch.metrics import METRICS

if TYPE_CHECKING:
    from autosearch.space.hyperparameters import HyperParameters

__all__ = [
    "MEASURED_METRICS",
    "QUALITY_METRICS",
    "TARGET_METRICS",
    "Budget",
    "CandidateResult",
    "Constraint",
    "Continuation",
    "CrossValidation",
    "Direction",
    "Estimate",
    "Evaluator",
    "EvaluatorTrial",
    "NoPruner",
    "Objective",
    "ParetoPruner",
    "TrainOn",
    "TrialState",
    "at_most",
    "feasible_schemes",
    "is_feasible",
    "keeps",
    "maximize",
    "minimize",
    "violations",
]

TARGET_METRICS = tuple(name for name, metric in METRICS.items() if metric.is_of_target)
"""What a machine measures of a file: figures of two machines never meet."""

QUALITY_METRICS = tuple(name for name, metric in METRICS.items() if metric.is_quality)
"""What tells how well a file classifies."""

MEASURED_METRICS = tuple(METRICS)
"""What the built-in evaluator reads off every candidate, and so what an objective may name."""


class Direction(StrEnum):
    """Which way an objective is better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Estimate(StrEnum):
    """How the accuracy of a candidate was come by. Figures of two kinds are never ranked together.

    A ``VALIDATION`` figure is that of the file itself on the validation split, on which the search
    has chosen: the fewer images, the more it flatters the best. A ``CROSS_VALIDATION`` figure is
    that of networks which were trained alike, each judged on images that it has not seen; the
    file itself was then fitted on training and validation split together, and the accuracy is
    corrected for the images that those networks lacked and the file has seen.
    """

    VALIDATION = "validation"
    CROSS_VALIDATION = "cross_validation"


class TrialState(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    DISCARDED = "discarded"

    @property
    def counts(self) -> bool:
        """Whether it counts towards the budget: a trial that failed or was discarded does not."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.INFEASIBLE)

    @property
    def was_evaluated(self) -> bool:
        """Whether evaluating it worked, at least for a while: what is infeasible says nothing."""
        return self in (TrialState.COMPLETE, TrialState.PRUNED)

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self.counts or self in (TrialState.FAILED, TrialState.DISCARDED)


class Objective(Declared):
    """A metric and the direction in which it is better. Use ``maximize`` and ``minimize``."""

    metric: str = Field(min_length=1)
    direction: Direction

    def minimized(self, value: float) -> float:
        """The value as everything inside compares it: lower is better."""
        return -value if self.direction is Direction.MAXIMIZE else value

    def __str__(self) -> str:
        return f"{self.direction} {self.metric}"


class Constraint(Declared):
    """An upper bound on a metric. A candidate is feasible when value ≤ bound."""

    metric: str = Field(min_length=1)
    bound: float = Field(allow_inf_nan=False)

    def violation(self, value: float | None) -> float:
        """How far over the bound, relative to it unless that is 0; at most 0 is feasible.

        A figure that is not to be had (None, NaN, infinite) breaks the bound.
        """
        if value is None or not math.isfinite(value):
            return 1.0
        return (value - self.bound) / (abs(self.bound) or 1.0)

    def __str__(self) -> str:
        return f"{self.metric} ≤ {self.bound:.12g}"


def maximize(metric: str) -> Objective:
    """An objective of which more is better, such as ``maximize("accuracy")``."""
    return Objective(metric=metric, direction=Direction.MAXIMIZE)


def minimize(metric: str) -> Objective:
    """An objective of which less is better, such as ``minimize("size_bytes")``."""
    return Objective(metric=metric, direction=Direction.MINIMIZE)


def at_most(metric: str, bound: float) -> Constraint:
    """A bound that a candidate must keep, such as ``at_most("size_bytes", 64_000)``."""
    return Constraint(metric=metric, bound=bound)


def violations(
    constraints: Sequence[Constraint], metrics: Mapping[str, float | None]
) -> dict[str, float]:
    """How far figures exceed those constraints that are on one of them, by constraint.

    Example:
        >>> violations([at_most("size_bytes", 100), at_most("macs", 5)], {"size_bytes": 150})
        {'size_bytes ≤ 100': 0.5}
    """
    return {
        # What a user's code computed may be a number of NumPy's.
        str(constraint): float(constraint.violation(metrics[constraint.metric]))
        for constraint in constraints
        if constraint.metric in metrics
    }


def keeps(constraints: Sequence[Constraint], metrics: Mapping[str, float | None]) -> bool:
    """Whether figures exceed none of the constraints that are on one of them."""
    return all(exceeded <= 0 for exceeded in violations(constraints, metrics).values())


def is_feasible(
    metrics: Mapping[str, float | None],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> bool:
    """Whether a candidate has a figure for every objective and keeps every constraint."""
    if any(metrics.get(objective.metric) is None for objective in objectives):
        return False
    return keeps(constraints, {c.metric: metrics.get(c.metric) for c in constraints})


class Budget(Declared):
    """What a study may spend; it ends at whichever limit comes first.

    Attributes:
        trials: Trials that end complete, pruned or infeasible; failed ones do not count.
        minutes: Wall-clock minutes of the search, summed over all runs; finalists are judged after
            them.
        total_epochs: Epochs trained, summed over all trials.
    """

    trials: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    total_epochs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_a_limit(self) -> Budget:
        if self.trials is None and self.minutes is None and self.total_epochs is None:
            raise ValueError(
                "a budget needs a limit; write Budget(trials=30) or Budget(minutes=60)"
            )
        return self


class CrossValidation(Declared):
    """How the best trials of a study are judged again where its validation split is small.

    Each finalist is trained ``folds`` times on the training and validation split together without
    one fold, judged on that fold, and once more on all of it: ``folds + 1`` trainings. There is
    one finalist for as many trials that the search has trained, at least one from six trials on.

    Attributes:
        finalists: How many trials, at most.
        folds: Into how many parts the images are divided, by class and with groups kept whole;
            into fewer where no class has as many images, or there are fewer groups. With few of
            them each network misses much of the data that the final one has, and the
            figure comes out too low.
        below: Validation images from which on a figure is taken as it is.
    """

    finalists: int = Field(default=2, ge=1, le=20)
    folds: int = Field(default=10, ge=2, le=20)
    below: int = Field(default=1000, ge=1)


class NoPruner(Declared):
    """Every trial is trained to its end."""


class ParetoPruner(Declared):
    """Multi-objective asynchronous successive halving (MO-ASHA).

    At a rung, after ``min_epochs``, ``min_epochs`` × ``eta``, ``min_epochs`` × ``eta``² and so on
    epochs, a trial goes on if non-dominated sorting puts it among the best 1/``eta`` of all that
    have come there, ties broken by spread; otherwise it is pruned. Nobody waits: a trial is
    compared with those before it. (Schmucker et al., 2021, "Multi-objective Asynchronous
    Successive Halving", arXiv:2106.12639; a trial that is compared once and then stopped instead
    of paused is the stopping variant of Li et al., 2020, arXiv:1810.05934.)

    Attributes:
        eta: How many times as many epochs the next rung takes, and of how many trials one goes on.
        min_epochs: The first rung.
    """

    eta: int = Field(default=3, ge=2, le=10, strict=True)
    min_epochs: int = Field(default=1, ge=1, strict=True)

    def is_rung(self, epoch: int) -> bool:
        """Whether trials are compared after that epoch.

        Example:
            >>> [epoch for epoch in range(1, 30) if ParetoPruner().is_rung(epoch)]
            [1, 3, 9, 27]
        """
        rung = self.min_epochs
        while rung < epoch:
            rung *= self.eta
        return rung == epoch


class TrainOn(Declared):
    """The search trains briefly, and what promises most is trained on from its checkpoint.

    A trial of the search is trained for ``first_epochs``, with its learning rate's schedule over
    that length. One that would come to the front by it is trained on for as long again, as a
    further trial with its configuration, its weights and a schedule of its own; that one may be
    trained on in turn, until a network has had the ``epochs`` of the space's ``Training``.

    Attributes:
        first_epochs: How long a trial of the search is trained; fewer than the space says.
        share: Of the time that trials take, how much goes to training on. Of the last quarter of
            the budget all does, as long as it promises anything; of up to the last half, where
            the network that promises most takes so long to be trained to its end.
    """

    first_epochs: int = Field(ge=1, strict=True)
    share: float = Field(default=0.5, gt=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateResult:
    """One deployable file, or one point of a user's own function, as an evaluator answers it.

    Attributes:
        quantization: The quantization scheme; for a user's function any label, "" by default.
        metrics: Metric name to figure, in the unit of its name. None means not to be had.
        accuracy_low: Lower end of the 90 % interval of the accuracy, if it has one.
        accuracy_high: Upper end of it.
        artifact: SHA-256 of the file in the artifact store, if there is a file.
        conditions: How the figures were taken; JSON-friendly.
        reasons: Metric name to why its figure is None.
        estimate: How its accuracy was come by.
        keras: SHA-256 of the trained ``.keras`` file, if it is not the trial's own.
        predictions: SHA-256 of a file of what it predicts for each image; see
            ``store.predictions``.
        is_representative: Whether the sampler learns from this one; if none of a trial's
            candidates says so, it is the first.
    """

    metrics: Mapping[str, float | None]
    quantization: str = ""
    is_representative: bool = False
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    artifact: str | None = None
    estimate: Estimate = Estimate.VALIDATION
    keras: str | None = None
    predictions: str | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def feasible_schemes(
    candidates: Sequence[CandidateResult],
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> list[str]:
    """The quantizations of those candidates that are feasible."""
    return [c.quantization for c in candidates if is_feasible(c.metrics, objectives, constraints)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """What a trial goes on from.

    Attributes:
        trial: The number of its parent.
        keras_sha256: The parent's ``.keras`` file.
        epochs_before: Epochs that those weights were trained, the parent's own parents included.
        epochs: How many more.
    """

    trial: int
    keras_sha256: str
    epochs_before: int
    epochs: int


class EvaluatorTrial(Protocol):
    """What an evaluator sees of its trial."""

    @property
    def number(self) -> int:
        """The trial's number within its study, from 0."""
        ...

    @property
    def seed(self) -> int:
        """A seed of this trial alone, derived from the study's seed and the number."""
        ...

    @property
    def hp(self) -> HyperParameters:
        """Samples parameters, with Keras Tuner's names and meaning."""
        ...

    @property
    def continues(self) -> Continuation | None:
        """The earlier trial whose network this one trains on; None for a new one."""
        ...

    @property
    def num_epochs(self) -> int | None:
        """How long to train, where that is settled; None for as long as the study says."""
        ...

    def check_cost(self, **metrics: float | None) -> None:
        """Ends the trial as infeasible if one of these figures breaks a constraint."""
        ...

    def check_costs(self, costs: Mapping[str, Mapping[str, float | None]]) -> list[str]:
        """The names whose figures keep all constraints; ends the trial if there are none."""
        ...

    def identify(self, what: Mapping[str, Any], *, quantization: str = "") -> None:
        """Says what is going to be trained; ends the trial if an earlier one did the same.

        The result of that one, its candidate of the sampled quantization, is then this one's too.
        """
        ...

    def report(self, epoch: float, step: int | None = None, **metrics: float | None) -> None:
        """Records the figures of an epoch (from 1), and ends the trial if it is pruned.

        MO-ASHA compares all objectives: give those that do not change with training to
        ``check_cost``, or here. A trial that has described its length, as in
        ``describe(num_epochs=30)``, is not pruned at its very end.

        Optuna's ``report(value, step)`` is taken as the first objective's figure.
        """
        ...

    def check_time(self, seconds: float) -> None:
        """Ends the trial if, taking so much longer, it would outlast the study's minutes."""
        ...

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Times what is done inside under that name."""
        ...

    def describe(self, **facts: Any) -> None:
        """Adds facts to the trial's record, such as ``parameters`` and ``macs``."""
        ...

    def store_artifact(self, content: bytes) -> str:
        """Puts a file into the artifact store and answers its SHA-256."""
        ...

    def load_artifact(self, sha256: str) -> bytes:
        """The content of a file in the artifact store."""
        ...


@runtime_checkable
class Evaluator(Protocol):
    """Turns a trial's configuration into candidates."""

    def evaluate(self, trial: EvaluatorTrial) -> Sequence[CandidateResult]:
        """Evaluates one trial.

        Args:
            trial: Where to sample, report and record.

        Returns:
            The trial's candidates, at least one. A user's function may answer a mapping of
            metrics, a list of mappings, or Optuna's one value per objective instead.

        Raises:
            TrialError: The trial failed; it is recorded and the study goes on.
            StudyError: The study is at fault; it stops.
        """
        ...
