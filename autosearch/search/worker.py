"""A worker: asks, evaluates, tells, until nothing is left to do.

Workers know nothing of each other; all that they share is the database.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
import psutil

from autosearch.errors import AutosearchError, NothingTrainedError, StorageError, StudyError
from autosearch.evaluation.latency_gate import give_way, machine_gate
from autosearch.search.answers import check_candidates, evaluate, named
from autosearch.search.baselines import are_wanted, run_baselines
from autosearch.search.continuation import TrainingOn
from autosearch.search.engine import Engine, continuation_of
from autosearch.search.finals import Finals, run_finals
from autosearch.search.growth import GrownTrial
from autosearch.search.pruning import Pruning, make_pruning
from autosearch.search.samplers import trial_seed
from autosearch.search.trial import (
    InfeasibleTrial,
    InterruptedTrial,
    RepeatedTrial,
    SearchTrial,
)
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import Baselines
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.store.repeats import Repeats
from autosearch.store.view import Progress, StudyView
from autosearch.study import Study
from autosearch.values import CandidateResult, TrialState, feasible_schemes, violations

__all__ = [
    "MAX_FAILURES_AT_START",
    "MAX_FAILURES_IN_A_ROW",
    "MAX_TRIALS_WITHOUT_EPOCHS",
    "Limits",
    "Outcome",
    "Worker",
    "own_memory_bytes",
]

MAX_FAILURES_AT_START = 5
"""If that many trials fail before any succeeds, the rest would too."""

MAX_FAILURES_IN_A_ROW = 20
"""A study that once worked and then fails that often in a row has broken on its way."""

MAX_TRIALS_WITHOUT_EPOCHS = 50
"""If a study is to end after so many epochs, and that many trials in a row cost none, it never
would: all that is left is repeated or infeasible, or reports nothing."""

_LEASE_S = 60.0
_GRACE = 0.05
"""By how much of its minutes a study may be late: what is nearly done is better ended."""

_LONGEST_LOOK = 1 / 12
"""Of a study's minutes: the most that a first, brief training takes, where it may be trained on."""

_TIMES_THE_USUAL = 4
"""And so many times the usual one, where all take longer than that."""

_WAIT_S = 0.25
_RECOVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a worker is done; None is no limit.

    Attributes:
        counted_trials: Trials of the study that count, those of earlier runs included.
        total_epochs: Epochs of the study, those of earlier runs included.
        deadline: ``time.time()`` after which no trial is started.
        memory_bytes: Of this process; past it the worker ends, to be replaced.
        further_trials: How many of the trials that count are this run's, where it was told.
    """

    counted_trials: int | None = None
    total_epochs: int | None = None
    deadline: float | None = None
    memory_bytes: int | None = None
    further_trials: int | None = None

    def have_room(self, progress: Progress) -> bool:
        """Whether one more trial may be started beside those that run.

        One that runs may fail and then counts for nothing, so that without room a worker waits.
        It is taken to need as many epochs as those before it on average.
        """
        if self.are_reached(progress):
            return False
        running = progress.counts.get(TrialState.RUNNING, 0)
        epochs = progress.num_epochs * (1 + running / max(1, progress.num_counted))
        return (
            self.counted_trials is None or progress.num_counted + running < self.counted_trials
        ) and (self.total_epochs is None or epochs < self.total_epochs)

    def are_reached(self, progress: Progress) -> bool:
        """Whether a study that is so far has nothing left to do."""
        trials, epochs, deadline = self.counted_trials, self.total_epochs, self.deadline
        return (
            (trials is not None and progress.num_counted >= trials)
            or (epochs is not None and progress.num_epochs >= epochs)
            or (deadline is not None and time.time() >= deadline)
        )

    def used(self, progress: Progress, minutes: float | None) -> float:
        """How much of what the study may spend is spent, from 0 to 1, by the first limit to come.

        Args:
            progress: How far the study is.
            minutes: What the study may take until the deadline, earlier runs included.
        """
        shares = [0.0]
        if self.counted_trials is not None:
            # Who asks for so many more wants them searched as a whole, not as the end of all.
            of = self.further_trials or self.counted_trials
            shares.append(1 - (self.counted_trials - progress.num_counted) / of)
        if self.total_epochs is not None:
            shares.append(progress.num_epochs / self.total_epochs)
        if self.deadline is not None and minutes is not None:
            shares.append(1 - (self.deadline - time.time()) / (60 * minutes))
        return min(1.0, max(shares))


class Outcome:
    """Why a worker ended."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    OUTGROWN = "outgrown"
    STOPPED = "stopped"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a trial ended.

    Attributes:
        state: A finished one.
        candidates: Of a complete trial, but of one that repeats another.
        repeated: What came of the trial that it repeats.
        error: Why it failed, in a sentence.
        trace: Where.
        had_cost: Whether it failed only after its cost was checked.
    """

    state: TrialState
    candidates: Sequence[CandidateResult] = ()
    repeated: CandidateResult | None = None
    error: str | None = None
    trace: str | None = None
    had_cost: bool = False

    @property
    def representative(self) -> CandidateResult | None:
        """Whose figures the sampler is told."""
        return next((c for c in self.candidates if c.is_representative), self.repeated)


class Worker:
    """Evaluates trials of one study in this process.

    Args:
        study: What is searched.
        database: Opened to write.
        artifacts: Where files go.
        study_id: The study's row.
        seed: The study's seed.
        evaluator: Turns a trial into candidates.
        limits: When to end.
        finals: Which trials to judge again once the limits are reached.
        num_stops: How often the study's workers had been asked to stop before this one was
            wanted; once they are asked again, it ends after its trial.
        should_stop: Asked at every checkpoint of a trial; a trial that is cut off is put back.
    """

    def __init__(
        self,
        study: Study,
        database: Database,
        artifacts: ArtifactStore,
        *,
        study_id: int,
        seed: int,
        evaluator: Any,
        limits: Limits,
        finals: Finals | None = None,
        num_stops: int | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._study = study
        self._database = database
        self._artifacts = artifacts
        self._seed = seed
        self._evaluator = evaluator
        self._limits = limits
        self._finals = finals
        self._should_stop = should_stop
        self._recorder = Recorder(database, study_id)
        self._view = StudyView(database, artifacts, study.name)
        self._engine = Engine(study, database, seed=seed)
        self._repeats = Repeats(database, study_id)
        self._baselines = Baselines(database, study_id, self._view.data_fingerprint)
        self._pruning = make_pruning(study, database, study_id)
        self._training_on = None
        if study.train_on is not None and study.space is not None:
            self._training_on = TrainingOn(
                study.train_on,
                full_epochs=study.space.training.epochs,
                limits=limits,
                minutes=study.budget.minutes,
                view=self._view,
            )
        self._progress = self._view.progress()
        self._num_stops = self._progress.num_stops if num_stops is None else num_stops
        self._num_discarded = self._progress.counts.get(TrialState.DISCARDED, 0)
        self._next_recovery = 0.0
        self._worker_id: int | None = None
        self._num_evaluated = 0
        self._num_without_epochs = 0
        self._looks_s: list[float] = []

    def run(self) -> str:
        """Evaluates trials until a limit is reached.

        Returns:
            One of ``Outcome``.

        Raises:
            StudyError: The study is at fault, or nothing could be trained.
            StorageError: The database or the artifact store refused.
            KeyboardInterrupt: Its trial is left for ``Engine.recover``.
        """
        with machine_gate().at_work(), self._lease() as worker_id:
            self._worker_id = worker_id
            try:
                outcome = self._run_baselines(worker_id) or self._run_trials(worker_id)
                return self._run_finals() if outcome == Outcome.DONE else outcome
            except KeyboardInterrupt:
                self._engine.roll_back()
                raise

    def _run_baselines(self, worker_id: int) -> str | None:
        if not are_wanted(self._study) or self._reason_to_end() is not None:
            return None
        came_to_their_end = run_baselines(
            self._study,
            self._baselines,
            worker_id=worker_id,
            artifacts=self._artifacts,
            should_stop=self._should_stop,
            should_end=self._was_asked_to_stop,
        )
        return None if came_to_their_end else self._why_cut_short()

    def _run_trials(self, worker_id: int) -> str:
        num_early = num_late = 0
        while (outcome := self._reason_to_end()) is None:
            asked = self._engine.start_trial(
                self._recorder,
                worker_id,
                may_start=self._has_room,
                is_out_of_date=self._misses_discarded,
                continue_from=self._training_on.next if self._training_on is not None else None,
                impatience=self._impatience(),
            )
            if asked is None:
                if self._progress.num_stops != self._num_stops:
                    return Outcome.STOPPED
                if self._limits.are_reached(self._progress):
                    return Outcome.DONE
                self._wait_for_others()
                continue
            ending = self._run_trial(asked)
            if ending is None:
                return Outcome.INTERRUPTED
            self._num_evaluated += 1
            if ending.state is TrialState.FAILED:
                num_late += ending.had_cost
                num_early += not ending.had_cost
            elif ending.state is TrialState.INFEASIBLE:
                # It came through all that those failed in which never had a cost.
                num_early = 0
            elif ending.state.was_evaluated:
                num_early = num_late = 0
            self._stop_hopeless_study(num_early + num_late, ending.error)
            if self._spends_nothing():
                return Outcome.DONE
        return outcome

    def _has_room(self) -> bool:
        self._progress = self._view.progress()
        is_wanted = self._progress.num_stops == self._num_stops
        return is_wanted and self._limits.have_room(self._progress)

    def _spends_nothing(self) -> bool:
        """Whether epochs alone are to end the study, and its trials have long cost none.

        Raises:
            NothingTrainedError: No trial has ever cost one.
        """
        limits = self._limits
        if limits.counted_trials is not None or limits.deadline is not None:
            return False
        earlier, self._progress = self._progress.num_epochs, self._view.progress()
        has_spent = self._progress.num_epochs > earlier
        self._num_without_epochs = 0 if has_spent else self._num_without_epochs + 1
        if self._num_without_epochs < MAX_TRIALS_WITHOUT_EPOCHS:
            return False
        if self._progress.num_epochs:
            # Such as a small space, of which everything was trained.
            return True
        raise NothingTrainedError(
            f"{self._num_without_epochs} trials in a row cost no epoch, so that a budget of "
            f"{limits.total_epochs} epochs never ends; say Budget(trials=...) as well, loosen the "
            "constraints, or have the evaluator call trial.report(epoch, ...)"
        )

    def _impatience(self) -> float:
        """How much time counts in what is sampled next: all at first, and nothing at last."""
        minutes = self._study.budget.minutes
        return 0.0 if minutes is None else 1 - self._limits.used(self._progress, minutes)

    def _why_too_long(self, seconds: float) -> str | None:
        """Why what takes so much longer is to be given up for the study's time, if it is."""
        deadline, minutes = self._limits.deadline, self._study.budget.minutes
        if deadline is None or minutes is None:
            return None
        # A study whose every trial takes too long still gets the first ones.
        has_result = self._progress.counts.get(TrialState.COMPLETE, 0) > 0
        if has_result and time.time() + seconds > deadline + _GRACE * 60 * minutes:
            return "past the end of the budget"
        # A brief look must not take what a dozen others would.
        usual_s = statistics.median(self._looks_s) if self._looks_s else math.inf
        longest_s = max(_LONGEST_LOOK * 60 * minutes, _TIMES_THE_USUAL * usual_s)
        if self._training_on is None or seconds <= longest_s:
            return None
        return f"more than the {longest_s:.0f} s that a first look may take"

    def _misses_discarded(self) -> bool:
        """Whether a trial was discarded since the last look."""
        before, now = self._num_discarded, self._progress.counts.get(TrialState.DISCARDED, 0)
        self._num_discarded = now
        return now != before

    def _wait_for_others(self) -> None:
        """While others evaluate what is left; a trial whose worker is gone is put back to wait."""
        time.sleep(_WAIT_S)
        give_way()
        if time.monotonic() >= self._next_recovery:
            self._next_recovery = time.monotonic() + _RECOVERY_S
            self._engine.recover(self._recorder, self._view, reason="its worker was lost")

    def _run_finals(self) -> str:
        if self._finals is None:
            return Outcome.DONE
        # Finalists are chosen of all trials, those that others still evaluate among them.
        while self._view.progress().counts.get(TrialState.RUNNING):
            if self._should_stop() or self._was_asked_to_stop():
                return self._why_cut_short()
            self._wait_for_others()
        all_came_to_their_end = run_finals(
            self._finals,
            self._study,
            self._view,
            worker_id=self._worker_id,
            evaluator=self._evaluator,
            recorder=self._recorder,
            artifacts=self._artifacts,
            seed=self._seed,
            should_stop=self._should_stop,
            should_end=self._was_asked_to_stop,
        )
        return Outcome.DONE if all_came_to_their_end else self._why_cut_short()

    def _was_asked_to_stop(self) -> bool:
        """Whether the study was asked to stop since this worker was wanted."""
        return self._view.progress().num_stops != self._num_stops

    def _why_cut_short(self) -> str:
        return Outcome.STOPPED if self._was_asked_to_stop() else Outcome.INTERRUPTED

    def _reason_to_end(self) -> str | None:
        if self._should_stop():
            return Outcome.INTERRUPTED
        if self._engine.is_exhausted:
            return Outcome.DONE
        bound = self._limits.memory_bytes
        # One that is too large from the start would only be replaced by another such.
        if bound is None or not self._num_evaluated:
            return None
        return Outcome.OUTGROWN if own_memory_bytes(psutil.Process()) > bound else None

    def _run_trial(self, asked: optuna.Trial) -> _Ending | None:
        """One trial from ask to tell; None if it was cut off and put back."""
        trial = self._search_trial(asked)
        started = time.perf_counter()
        try:
            ending = self._evaluate(trial)
        except InterruptedTrial:
            self._engine.put_back(self._recorder, trial.number)
            return None
        except StorageError:
            # What was trained could not be kept: the place is at fault, and the trial waits.
            with contextlib.suppress(StorageError):
                self._engine.put_back(self._recorder, trial.number)
            raise
        except StudyError as fault:
            trace = traceback.format_exc()
            self._finish(trial, asked, _Ending(TrialState.FAILED, error=str(fault), trace=trace))
            raise
        seconds = self._seconds_to_tell(trial, ending, time.perf_counter() - started)
        self._finish(trial, asked, ending, seconds)
        return ending

    def _search_trial(self, asked: optuna.Trial) -> SearchTrial:
        continues = continuation_of(asked)
        if continues is not None and self._training_on is not None:
            continues = self._training_on.cut(continues)
        return SearchTrial(
            GrownTrial(asked, self._engine),
            continues=continues,
            seed=trial_seed(self._seed, asked.number),
            objectives=self._study.objectives,
            constraints=self._study.constraints,
            # What is trained on has no peers of its length.
            pruning=self._pruning if continues is None else Pruning(),
            recorder=self._recorder,
            artifacts=self._artifacts,
            should_stop=self._should_stop,
            # How long what is trained on may be trained was chosen by the time that is left.
            why_too_long=self._why_too_long if continues is None else lambda seconds: None,
            repeats=self._repeats,
            common={
                "data": self._view.data_fingerprint,
                "evaluator": self._view.definition["evaluator"],
            },
        )

    def _evaluate(self, trial: SearchTrial) -> _Ending:
        """How a trial ends.

        Raises:
            InterruptedTrial: It is to be put back.
            StorageError: Likewise, and its worker is to end.
            StudyError: The study is at fault.
        """
        try:
            candidates = check_candidates(
                evaluate(self._evaluator, trial, self._study.objectives),
                objectives=self._study.objectives,
                constraints=self._study.constraints,
                costs=trial.costs,
            )
            ending = _Ending(TrialState.COMPLETE, candidates)
        except InfeasibleTrial:
            ending = _Ending(TrialState.INFEASIBLE)
        except RepeatedTrial as earlier:
            ending = _Ending(TrialState.COMPLETE, repeated=earlier.result)
            scheme = earlier.result.quantization
            trial.describe(repeats={"trial": earlier.number, "quantization": scheme})
        except optuna.TrialPruned:
            ending = _Ending(TrialState.PRUNED)
        except (StorageError, StudyError):
            raise
        except (Exception, SystemExit) as fault:
            error = str(fault) if isinstance(fault, AutosearchError) else named(fault)
            trace, had_cost = traceback.format_exc(), bool(trial.costs)
            return _Ending(TrialState.FAILED, error=error, trace=trace, had_cost=had_cost)
        # An evaluator may have caught what was to end its trial.
        if trial.is_pruned:
            return _Ending(TrialState.PRUNED)
        if trial.is_infeasible:
            return _Ending(TrialState.INFEASIBLE)
        return ending

    def _seconds_to_tell(
        self, trial: SearchTrial, ending: _Ending, elapsed_s: float
    ) -> float | None:
        """How long a trial took, where the sampler is to learn from it."""
        has_minutes = self._study.budget.minutes is not None
        if not has_minutes or ending.repeated is not None or trial.continues is not None:
            return None
        if ending.state is TrialState.COMPLETE:
            self._looks_s.append(elapsed_s)
            return elapsed_s
        # Given up for its time: that is what is to be learned of it.
        return None if trial.needed_s is None else elapsed_s + trial.needed_s

    def _finish(
        self,
        trial: SearchTrial,
        asked: optuna.Trial,
        ending: _Ending,
        seconds: float | None = None,
    ) -> None:
        representative = ending.representative
        exceeded = trial.violations
        if representative is not None:
            exceeded = violations(self._study.constraints, representative.metrics)
        facts = dict(trial.facts)
        target = facts.pop("target", None)
        is_ours = self._recorder.finish_trial(
            trial.number,
            ending.state,
            worker_id=self._worker_id,
            config=trial.config,
            stage_seconds=trial.stage_seconds,
            facts=facts,
            candidates=ending.candidates,
            feasible=feasible_schemes(
                ending.candidates, self._study.objectives, self._study.constraints
            ),
            target=target,
            violations=exceeded,
            # Of a repeated trial the result is the earlier one's: there it is looked for.
            identity=trial.identity if ending.repeated is None else None,
            error=ending.error,
            traceback=ending.trace,
        )
        if not is_ours:
            return
        self._engine.tell(
            asked,
            ending.state,
            representative=representative,
            violations=exceeded,
            seconds=seconds,
            rungs=trial.rungs,
        )

    def _stop_hopeless_study(self, failures_in_a_row: int, error: str | None) -> None:
        if failures_in_a_row < MAX_FAILURES_AT_START:
            return
        never = self._view.progress().num_evaluated == 0
        if never or failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise NothingTrainedError(
                f"{failures_in_a_row} trials failed and none between them came to its end, the "
                f"last one with: {error}; see them all with: autosearch trials {self._study.name}"
            )

    @contextlib.contextmanager
    def _lease(self) -> Iterator[int]:
        """Keeps a lease for as long as the process lives, evaluation of a trial included."""
        worker_id = self._recorder.start_worker(_LEASE_S)
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(_LEASE_S / 3):
                with contextlib.suppress(AutosearchError):
                    self._recorder.renew_lease(worker_id, _LEASE_S)

        thread = threading.Thread(target=renew, name="autosearch-lease", daemon=True)
        thread.start()
        try:
            yield worker_id
        finally:
            ended.set()
            thread.join()
            self._recorder.end_worker(worker_id)


def own_memory_bytes(process: psutil.Process) -> int:
    """What a process holds in memory that no file holds too.

    A mapped image cache is in its resident memory as far as it was read, and costs nothing: the
    system drops those pages when memory runs short.
    """
    memory = process.memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))  # Linux alone tells them apart.
