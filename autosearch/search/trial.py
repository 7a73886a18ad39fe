"""The trial as its evaluator sees it: samples, checks costs, reports, records."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna

from autosearch.evaluation.latency_gate import give_way
from autosearch.search.facts import as_json
from autosearch.search.growth import GrownTrial
from autosearch.search.pruning import Pruning
from autosearch.space.hyperparameters import HyperParameters
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.recorder import Recorder
from autosearch.store.repeats import Repeats
from autosearch.values import (
    CandidateResult,
    Constraint,
    Continuation,
    Objective,
    keeps,
    violations,
)

__all__ = ["InfeasibleTrial", "InterruptedTrial", "RepeatedTrial", "SearchTrial"]


class InfeasibleTrial(Exception):  # noqa: N818 (an ending like optuna.TrialPruned, no error)
    """Ends a trial that breaks a constraint before it costs anything."""


class RepeatedTrial(Exception):  # noqa: N818 (likewise an ending)
    """Ends a trial that would do what an earlier one did.

    Attributes:
        number: The earlier trial's.
        result: What came of that one, in the quantization that was sampled.
    """

    def __init__(self, number: int, result: CandidateResult) -> None:
        super().__init__(number)
        self.number = number
        self.result = result


class InterruptedTrial(BaseException):
    """Ends a trial that is to be put back, since the run was asked to stop.

    Not an ``Exception``, so that a user's ``except Exception`` does not swallow it.
    """


class SearchTrial:
    """One trial of a study, over Optuna's.

    ``trial.suggest_*`` and whatever else an Optuna objective calls are Optuna's own, so that such
    an objective runs as it is.

    Args:
        trial: Optuna's.
        seed: See below.
        objectives: The study's.
        constraints: The study's.
        recorder: Writes the study's rows.
        artifacts: Where files go.
        should_stop: Asked at every checkpoint.
        why_too_long: Told how many seconds the trial still needs, why to give it up, or None.
        repeats: Finds trials that did the same; None to do everything again.
        common: What decides the results of all trials alike, such as the images.

    Attributes:
        number: The trial's number within its study, from 0.
        seed: A seed of this trial alone.
        continues: The earlier trial whose network this one trains on; None for a new one.
        num_epochs: How long that is trained on; None of a new one, whose study says how long.
        stage_seconds: How long each stage took so far.
        facts: What the evaluator described.
        violations: Constraint to how far it was exceeded, once a cost was checked.
        costs: The metrics that ``check_cost`` was told, or ``check_costs`` of the sampled one.
        rungs: Epoch to the objectives then, in their order, where it could have been pruned.
        identity: SHA-256 of what it does, once it was identified.
        is_pruned: Whether a report ended the trial, even if the evaluator hid that.
    """

    def __init__(
        self,
        trial: GrownTrial,
        *,
        seed: int,
        continues: Continuation | None,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint],
        pruning: Pruning,
        recorder: Recorder,
        artifacts: ArtifactStore,
        should_stop: Callable[[], bool],
        why_too_long: Callable[[float], str | None] = lambda seconds: None,
        repeats: Repeats | None = None,
        common: Mapping[str, Any] | None = None,
    ) -> None:
        self._trial = trial
        self._repeats = repeats
        self._common = dict(common or {})
        self._objectives = objectives
        self._constraints = constraints
        self._pruning = pruning
        self._recorder = recorder
        self._artifacts = artifacts
        self._should_stop = should_stop
        self._why_too_long = why_too_long
        self._hp: HyperParameters | None = None
        self._is_infeasible = False
        self.number: int = trial.number
        self.seed = seed
        self.continues = continues
        self.num_epochs = None if continues is None else continues.epochs
        self.stage_seconds: dict[str, float] = {}
        self.facts: dict[str, Any] = {}
        self.violations: dict[str, float] | None = None
        self.costs: dict[str, float | None] = {}
        self.rungs: dict[int, list[float]] = {}
        self.identity: str | None = None
        self.is_pruned = False
        self.needed_s: float | None = None
        self._reported = time.perf_counter()

    @property
    def hp(self) -> HyperParameters:
        """Samples parameters, with Keras Tuner's names and meaning."""
        if self._hp is None:
            self._hp = HyperParameters(self._trial, before_asking=self._trial.prepare)
        return self._hp

    @property
    def config(self) -> dict[str, Any]:
        """Parameter name to value, of all that was sampled so far."""
        sampled = self._hp.values if self._hp is not None else {}
        # What hp asked for is there by its own name and value, whatever stands for it in Optuna.
        asked = self._hp.trial_params if self._hp is not None else {}
        own = {n: v for n, v in self._trial.params.items() if n not in asked}
        return {**own, **sampled}

    @property
    def is_infeasible(self) -> bool:
        """Whether a cost check ended the trial, even if the evaluator hid that."""
        return self._is_infeasible

    def check_cost(self, **metrics: float | None) -> None:
        """Ends the trial as infeasible if one of these figures breaks a constraint.

        Raises:
            InfeasibleTrial: One does; let it pass.
        """
        self._stop_if_asked()
        self.costs.update(metrics)
        self.violations = {**(self.violations or {}), **violations(self._constraints, metrics)}
        if not keeps(self._constraints, metrics):
            self._is_infeasible = True
            raise InfeasibleTrial

    def check_costs(self, costs: Mapping[str, Mapping[str, float | None]]) -> list[str]:
        """The names whose figures keep all constraints.

        Args:
            costs: For each candidate to be, its figures; the sampled one first.

        Raises:
            InfeasibleTrial: None does; let it pass.
        """
        self._stop_if_asked()
        sampled = next(iter(costs.values()))
        self.costs.update(sampled)
        self.violations = violations(self._constraints, sampled)
        feasible = [name for name, metrics in costs.items() if keeps(self._constraints, metrics)]
        if not feasible:
            self._is_infeasible = True
            raise InfeasibleTrial
        return feasible

    def identify(self, what: Mapping[str, Any], *, quantization: str = "") -> None:
        """Ends the trial if an earlier one of the study did the same.

        Args:
            what: All that decides its result but chance, in JSON's terms, such as
                ``trial.config``.
            quantization: The scheme that was sampled: whose figures are taken over.

        Raises:
            RepeatedTrial: One did; let it pass.
        """
        self._stop_if_asked()
        text = json.dumps([self._common, what], sort_keys=True, default=str)
        self.identity = hashlib.sha256(text.encode()).hexdigest()
        number = self._repeats.find(self.identity) if self._repeats is not None else None
        if self._repeats is None or number is None:
            return
        result = self._repeats.result(number, quantization)
        # A scheme that the study has got since then needs the training once more.
        if result is not None:
            raise RepeatedTrial(number, result)

    def report(
        self, epoch: float | None = None, step: int | None = None, **metrics: float | None
    ) -> None:
        """Records the figures of an epoch, and ends the trial if it is pruned.

        ``trial.report(epoch, accuracy=0.9)`` is the form here; Optuna's ``report(value, step)``
        is taken as the first objective's figure.

        Raises:
            optuna.TrialPruned: The trial is pruned; let it pass.
            TypeError: There is neither an epoch nor a step.
        """
        if step is not None:
            value = metrics.pop("value", None) if epoch is None else epoch
            metrics = {self._objectives[0].metric: value, **metrics}
            epoch = step
        if epoch is None:
            raise TypeError("report needs the epoch; write trial.report(epoch, accuracy=…)")
        epoch = int(epoch)
        since, self._reported = self._reported, time.perf_counter()
        metrics = {"seconds": round(self._reported - since, 3), **metrics}
        figures = self._pruning.figures(epoch, metrics, self.costs)
        reached = self._pruning.reached(epoch, figures)
        if reached is not None:
            self.rungs[epoch] = reached
        self._recorder.add_epoch(self.number, epoch, figures)
        self._stop_if_asked()
        if epoch == self.facts.get("num_epochs"):
            return
        why = self._pruning.why(self._trial.optuna_trial, epoch, figures)
        if why is not None:
            self.is_pruned = True
            self.describe(pruned=why)
            raise optuna.TrialPruned

    def check_time(self, seconds: float) -> None:
        """Ends the trial if it takes longer than the study has time for.

        Args:
            seconds: How much longer it takes.

        Raises:
            optuna.TrialPruned: It would; let it pass.
        """
        why = self._why_too_long(seconds)
        if why is not None:
            self.is_pruned = True
            self.needed_s = seconds
            self.describe(pruned={"needed_s": round(seconds), "why": why})
            raise optuna.TrialPruned

    def should_prune(self) -> bool:
        """Whether an Optuna objective should end: ``report`` itself ends a pruned trial."""
        return False

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is done inside under that name; a name used again adds up."""
        self._stop_if_asked()
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.stage_seconds[name] = self.stage_seconds.get(name, 0.0) + elapsed

    def describe(self, **facts: Any) -> None:
        """Adds facts to the trial's record, as JSON has them.

        Raises:
            TrialError: One has no such form.
        """
        self.facts.update({name: as_json(fact, name) for name, fact in facts.items()})

    def store_artifact(self, content: bytes) -> str:
        """Puts a file into the artifact store and answers its SHA-256."""
        return self._artifacts.put(content)

    def load_artifact(self, sha256: str) -> bytes:
        """The content of a file in the artifact store."""
        return self._artifacts.get(sha256)

    def __getattr__(self, name: str) -> Any:
        # What is not ours is Optuna's: suggest_float, set_user_attr, params and so on.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._trial, name)

    def _stop_if_asked(self) -> None:
        give_way()
        if self._should_stop():
            raise InterruptedTrial
