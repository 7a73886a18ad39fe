"""Writes what happens in a study, each event in one transaction."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from sqlalchemy import DateTime, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from autosearch.store.database import Database
from autosearch.store.tables import (
    BaselineRow,
    CandidateRow,
    EpochRow,
    FinalistRow,
    MeasurementRow,
    StudyRow,
    TargetRow,
    TrialRow,
    WorkerRow,
)
from autosearch.values import TARGET_METRICS, CandidateResult, Estimate, TrialState

__all__ = [
    "Recorder",
    "candidates_when_found",
    "find_target",
    "finite",
    "is_alive",
    "is_held",
    "lease_clock",
    "metrics_when_found",
    "utc_now",
]

_NOT_DESCRIBED = ("key", "name", "is_measured")
_CLOCK_S = 2.0
"""How exactly a system says when a process began."""

_CANDIDATE_COLUMNS = ("accuracy", "size_bytes", "parameters", "macs")
_EPOCH_COLUMNS = (
    "accuracy",
    "train_accuracy",
    "train_loss",
    "validation_loss",
    "learning_rate",
    "seconds",
)


def utc_now() -> datetime:
    """The time as the tables hold it: UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def lease_clock(session: Session) -> datetime:
    """The time that leases go by: a server's own, for the clocks of its clients may differ."""
    if session.get_bind().dialect.name == "postgresql":
        now: datetime = session.execute(
            select(func.timezone("UTC", func.clock_timestamp(), type_=DateTime()))
        ).scalar_one()
        return now
    # All who have the file are on one machine.
    return utc_now()


def metrics_when_found(row: CandidateRow, first: MeasurementRow | None) -> dict[str, float | None]:
    """The metrics that a search gave a candidate, from the tables that they were parted into.

    Args:
        row: The candidate.
        first: What was measured of it first, on the machine that searched.
    """
    metrics = {name: getattr(first, name, None) for name in TARGET_METRICS}
    # A search without a target kept them among the metrics: then what was measured is another
    # machine's, and does not take their place.
    return metrics | row.metrics | {name: getattr(row, name) for name in _CANDIDATE_COLUMNS}


def candidates_when_found(
    session: Session, study_id: int
) -> Iterator[tuple[CandidateRow, dict[str, float | None]]]:
    """The candidates of a study with their metrics.

    Of latency and memory those that were taken first, on the machine that searched.
    """
    first = select(func.min(MeasurementRow.id)).group_by(MeasurementRow.candidate_id)
    rows = session.execute(
        select(CandidateRow, MeasurementRow)
        .outerjoin(
            MeasurementRow,
            and_(MeasurementRow.candidate_id == CandidateRow.id, MeasurementRow.id.in_(first)),
        )
        .where(CandidateRow.study_id == study_id)
    )
    for row, measured in rows:
        yield row, metrics_when_found(row, measured)


class Recorder:
    """Writes into one study's rows. Safe to use from several processes at once.

    Args:
        database: Opened to write.
        study_id: The row of the study, from ``save_study``.
    """

    def __init__(self, database: Database, study_id: int) -> None:
        self._database = database
        self._study_id = study_id
        self._trial_ids: dict[int, int] = {}
        self._worker_ids: dict[int, int | None] = {}

    @staticmethod
    def save_study(
        database: Database,
        *,
        name: str,
        seed: int,
        definition: Mapping[str, Any],
        definition_sha256: str,
        data_fingerprint: str | None,
        environment: Mapping[str, Any],
        data_sides: Mapping[str, Any] | None = None,
        judge: Callable[[Session, StudyRow], None] | None = None,
    ) -> int:
        """Makes the study's row, or brings it up to date, and answers its id.

        Args:
            database: Opened to write.
            name: The study's.
            seed: Likewise, of a new study.
            definition: What is searched, as JSON has it.
            definition_sha256: By which it is known again.
            data_fingerprint: Of its images, if it has any.
            environment: Versions and the machine.
            data_sides: Its classes, and SHA-256 of each file to its split.
            judge: Writes what follows from the definition for the trials so far: both hold, or
                neither.
        """
        with database.session() as session:
            row = session.scalar(select(StudyRow).where(StudyRow.name == name))
            if row is None:
                row = StudyRow(name=name, seed=seed, created_at=utc_now())
                session.add(row)
            row.definition = dict(definition)
            row.definition_sha256 = definition_sha256
            row.data_fingerprint = data_fingerprint
            row.data_sides = dict(data_sides) if data_sides is not None else None
            row.environment = dict(environment)
            session.flush()
            if judge is not None:
                judge(session, row)
            return row.id

    def add_run_seconds(self, seconds: float) -> None:
        """Adds wall-clock time until now to what the study has used of its budget.

        Whoever runs it, on whichever machine, adds the same time: what another one has counted of
        it is left out.
        """
        with self._database.session() as session:
            row = session.get(StudyRow, self._study_id, with_for_update=True)
            if row is None:  # It was deleted meanwhile.
                return
            now, counted_until = lease_clock(session), row.counted_until
            if counted_until is not None:
                seconds = min(seconds, max((now - counted_until).total_seconds(), 0.0))
            row.run_seconds, row.counted_until = row.run_seconds + seconds, now

    def start_worker(self, lease_s: float) -> int:
        """Records this process as a worker with a lease, and answers the worker's id."""
        with self._database.session() as session:
            row = WorkerRow(
                study_id=self._study_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=utc_now(),
                lease_until=lease_clock(session) + timedelta(seconds=lease_s),
            )
            session.add(row)
            session.flush()
            return row.id

    def renew_lease(self, worker_id: int, lease_s: float) -> None:
        """Says that the worker is alive for that long."""
        with self._database.session() as session:
            session.execute(
                update(WorkerRow)
                .where(WorkerRow.id == worker_id)
                .values(lease_until=lease_clock(session) + timedelta(seconds=lease_s))
            )

    def end_worker(self, worker_id: int) -> None:
        """Says that the worker has ended."""
        with self._database.session() as session:
            session.execute(
                update(WorkerRow).where(WorkerRow.id == worker_id).values(ended_at=utc_now())
            )

    def release_lost(self, *, counts: bool) -> None:
        """Lets go of the baselines and finalists of workers that are gone.

        Args:
            counts: Whether the attempt counts: not if the worker was only asked to end.
        """
        finalists = (
            select(FinalistRow)
            .join(TrialRow, TrialRow.id == FinalistRow.trial_id)
            .where(TrialRow.study_id == self._study_id)
        )
        baselines = select(BaselineRow).where(BaselineRow.study_id == self._study_id)
        with self._database.session() as session:
            for row in [*session.scalars(finalists), *session.scalars(baselines)]:
                if not row.is_done and row.worker_id is not None and not is_held(session, row):
                    row.worker_id, row.attempt = None, row.attempt - (not counts)

    def orphaned_trials(self) -> dict[int, int]:
        """Running trials that no living worker evaluates: number to attempt.

        A worker is gone once it has ended, its process of this machine is there no more, or on
        another machine its lease has run out.
        """
        with self._database.session() as session:
            rows = session.execute(
                select(TrialRow.number, TrialRow.attempt, WorkerRow)
                .outerjoin(WorkerRow, WorkerRow.id == TrialRow.worker_id)
                .where(TrialRow.study_id == self._study_id, TrialRow.state == TrialState.RUNNING)
            ).all()
            return {
                number: attempt for number, attempt, worker in rows if not is_alive(session, worker)
            }

    def num_living_workers(self) -> int:
        """How many workers of the study are alive."""
        with self._database.session() as session:
            return len(self._living(session))

    def trials_of_living_workers(self) -> set[int]:
        """The trials that a worker which is alive has started, finished ones among them."""
        with self._database.session() as session:
            alive = [worker.id for worker in self._living(session)]
            numbers = session.scalars(
                select(TrialRow.number).where(
                    TrialRow.study_id == self._study_id, TrialRow.worker_id.in_(alive)
                )
            )
            return set(numbers)

    def start_trial(self, number: int, worker_id: int | None) -> None:
        """Records that the trial runs; what an interrupted attempt left is cleared."""
        with self._database.session() as session:
            row = _find_trial(session, self._study_id, number)
            if row is None:
                row = TrialRow(study_id=self._study_id, number=number, attempt=1)
                session.add(row)
            else:
                row.attempt += 1
                session.execute(delete(EpochRow).where(EpochRow.trial_id == row.id))
                session.execute(delete(CandidateRow).where(CandidateRow.trial_id == row.id))
            row.state = TrialState.RUNNING
            row.worker_id = worker_id
            row.started_at = utc_now()
            row.finished_at = row.duration_s = row.error = row.traceback = None
            row.parameters = row.macs = row.violations = row.identity = None
            row.config, row.stage_seconds, row.facts = {}, {}, {}
            session.flush()
            self._trial_ids[number] = row.id
            self._worker_ids[number] = worker_id

    def add_waiting_trial(self, number: int, config: Mapping[str, Any]) -> None:
        """Records a trial that nobody has begun, with what it was given."""
        with self._database.session() as session:
            session.add(
                TrialRow(
                    study_id=self._study_id,
                    number=number,
                    state=TrialState.WAITING,
                    attempt=0,
                    config=dict(config),
                    stage_seconds={},
                    facts={},
                )
            )

    def put_back_trial(self, number: int, *, counts: bool) -> None:
        """Records that the trial was cut off and waits to be evaluated from its start.

        Args:
            number: The trial.
            counts: Whether the attempt counts: not if it was only asked to end.
        """
        with self._database.session() as session:
            row = _find_trial(session, self._study_id, number)
            if row is None or row.state != TrialState.RUNNING:
                return
            session.execute(delete(EpochRow).where(EpochRow.trial_id == row.id))
            row.state, row.started_at, row.worker_id = TrialState.WAITING, None, None
            row.attempt -= not counts

    def add_epoch(self, number: int, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """Records what the trial, which was started here, reported after an epoch.

        Nothing, once another worker has taken the trial over.
        """
        figures = {name: finite(value) for name, value in metrics.items()}
        with self._database.session() as session:
            row = session.get_one(TrialRow, self._trial_ids[number])
            if row.worker_id != self._worker_ids[number]:
                return
            session.merge(
                EpochRow(
                    trial_id=self._trial_ids[number],
                    epoch=epoch,
                    **{name: figures.get(name) for name in _EPOCH_COLUMNS},
                    metrics={k: v for k, v in figures.items() if k not in _EPOCH_COLUMNS},
                )
            )

    def finish_trial(
        self,
        number: int,
        state: TrialState,
        *,
        worker_id: int | None = None,
        config: Mapping[str, Any],
        stage_seconds: Mapping[str, float],
        facts: Mapping[str, Any],
        candidates: Sequence[CandidateResult] = (),
        feasible: Sequence[str] = (),
        target: Mapping[str, Any] | None = None,
        violations: Mapping[str, float] | None = None,
        identity: str | None = None,
        error: str | None = None,
        traceback: str | None = None,
    ) -> bool:
        """Records the end of a trial with its candidates, all or nothing.

        Args:
            number: The trial.
            state: A finished state.
            worker_id: Who evaluated it; None for whoever cleans up after another.
            config: Parameter name to value.
            stage_seconds: Stage name to its duration in seconds.
            facts: What the evaluator described; ``parameters`` and ``macs`` become columns.
            candidates: The trial's candidates.
            feasible: The quantizations that keep every constraint.
            target: What latency and memory hold for; ``name``, ``key`` and the rest, with
                ``is_measured`` False where they are an estimate.
            violations: Constraint to how far it was exceeded, relative to its bound.
            identity: SHA-256 of what it did, by which a trial that would do the same finds it.
            error: Why it failed, in a sentence.
            traceback: The traceback, if it failed.

        Returns:
            Whether it was recorded: not if the worker was taken for lost, and the trial is
            another's by now.
        """
        with self._database.session() as session:
            row = _get_trial(session, self._study_id, number)
            if worker_id is not None and row.worker_id != worker_id:
                return False
            now = utc_now()
            row.state, row.finished_at = state, now
            row.duration_s = (now - (row.started_at or now)).total_seconds()
            row.config = dict(config)
            row.stage_seconds = {name: round(s, 4) for name, s in stage_seconds.items()}
            row.facts = dict(facts)
            row.parameters, row.macs = facts.get("parameters"), facts.get("macs")
            row.violations = dict(violations) if violations is not None else None
            row.identity, row.error, row.traceback = identity, error, traceback
            for candidate in candidates:
                self._add_candidate(
                    session,
                    row,
                    candidate,
                    is_representative=candidate.is_representative,
                    is_feasible=candidate.quantization in feasible,
                    target=target,
                )
            return True

    def start_finalist(
        self, number: int, worker_id: int | None, *, num_folds: int, data_fingerprint: str
    ) -> int | None:
        """Records that a worker judges a trial by cross-validation.

        In one turn, so that no two do.

        Returns:
            How often that was started, this time included; None if it is done, or another worker
            is at it.
        """
        with self._database.exclusive(), self._database.session() as session:
            trial = _get_trial(session, self._study_id, number)
            key = (trial.id, num_folds, data_fingerprint)
            row = session.get(FinalistRow, key)
            if row is None:
                row = FinalistRow(
                    trial_id=trial.id,
                    num_folds=num_folds,
                    data_fingerprint=data_fingerprint,
                    folds={},
                    attempt=0,
                    is_done=False,
                )
                session.add(row)
            elif row.is_done or is_held(session, row):
                return None
            row.worker_id, row.attempt = worker_id, row.attempt + 1
            return row.attempt

    def add_fold(
        self,
        number: int,
        fold: int,
        predictions: Mapping[str, str],
        *,
        num_folds: int,
        data_fingerprint: str,
    ) -> None:
        """Records what was predicted in one fold: by quantization, the SHA-256 of its file."""
        with self._database.session() as session:
            trial = _get_trial(session, self._study_id, number)
            row = session.get_one(FinalistRow, (trial.id, num_folds, data_fingerprint))
            row.folds = {**row.folds, str(fold): dict(predictions)}

    def interrupt_finalist(self, number: int, *, num_folds: int, data_fingerprint: str) -> None:
        """Records that the attempt was only asked to end, and so does not count."""
        with self._database.session() as session:
            trial = _get_trial(session, self._study_id, number)
            row = session.get_one(FinalistRow, (trial.id, num_folds, data_fingerprint))
            row.worker_id, row.attempt = None, row.attempt - 1

    def finish_finalist(
        self,
        number: int,
        *,
        num_folds: int,
        data_fingerprint: str,
        candidates: Sequence[CandidateResult] = (),
        feasible: Sequence[str] = (),
        target: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Records a finalist's candidates, in place of earlier ones of the same trial and kind.

        Args:
            number: The trial.
            num_folds: As it was started with.
            data_fingerprint: Likewise.
            candidates: What was fitted again.
            feasible: The quantizations that keep every constraint.
            target: Where latency and memory were taken.
            error: Why it failed, in a sentence.
        """
        with self._database.session() as session:
            trial = _get_trial(session, self._study_id, number)
            row = session.get_one(FinalistRow, (trial.id, num_folds, data_fingerprint))
            row.is_done, row.error = True, error
            if not candidates:
                return
            session.execute(
                delete(CandidateRow).where(
                    CandidateRow.trial_id == trial.id,
                    CandidateRow.estimate == Estimate.CROSS_VALIDATION,
                )
            )
            for candidate in candidates:
                self._add_candidate(
                    session,
                    trial,
                    candidate,
                    is_representative=False,
                    is_feasible=candidate.quantization in feasible,
                    target=target,
                )

    def _living(self, session: Session) -> list[WorkerRow]:
        workers = session.scalars(
            select(WorkerRow).where(
                WorkerRow.study_id == self._study_id, WorkerRow.ended_at.is_(None)
            )
        )
        return [worker for worker in workers if is_alive(session, worker)]

    def _add_candidate(
        self,
        session: Session,
        trial: TrialRow,
        candidate: CandidateResult,
        *,
        is_representative: bool,
        is_feasible: bool,
        target: Mapping[str, Any] | None,
    ) -> None:
        metrics = {name: finite(value) for name, value in candidate.metrics.items()}
        elsewhere = _CANDIDATE_COLUMNS + (TARGET_METRICS if target is not None else ())
        row = CandidateRow(
            study_id=self._study_id,
            trial_id=trial.id,
            quantization=candidate.quantization,
            is_representative=is_representative,
            is_feasible=is_feasible,
            accuracy_low=candidate.accuracy_low,
            accuracy_high=candidate.accuracy_high,
            artifact_sha256=candidate.artifact,
            estimate=candidate.estimate,
            keras_sha256=candidate.keras,
            predictions_sha256=candidate.predictions,
            **{name: metrics.get(name) for name in _CANDIDATE_COLUMNS},
            metrics={name: value for name, value in metrics.items() if name not in elsewhere},
            conditions=dict(candidate.conditions),
            reasons=dict(candidate.reasons),
        )
        session.add(row)
        if target is None:
            return
        session.flush()
        session.add(
            MeasurementRow(
                candidate_id=row.id,
                target_id=find_target(session, target),
                is_measured=target.get("is_measured", True),
                reference_latency_ms=candidate.conditions.get("reference_latency_ms"),
                measured_at=utc_now(),
                **{name: metrics.get(name) for name in TARGET_METRICS},
            )
        )


def is_alive(session: Session, worker: WorkerRow | None) -> bool:
    """Whether a worker still is at work, as far as can be told from here."""
    if worker is None or worker.ended_at is not None:
        return False
    if worker.host != socket.gethostname():
        return worker.lease_until >= lease_clock(session)
    # A lease tells nothing here that is better known: a process that is kept from renewing it
    # lives. One of the same number that is younger than the worker is another one.
    try:
        process = psutil.Process(worker.pid)
        created_s = process.create_time()
        # A process that nobody waits for stays in the table after its end.
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return False
    return created_s <= worker.started_at.replace(tzinfo=UTC).timestamp() + _CLOCK_S


def is_held(session: Session, row: BaselineRow | FinalistRow) -> bool:
    """Whether a worker that is alive is at a baseline or a finalist."""
    holder = None if row.worker_id is None else session.get(WorkerRow, row.worker_id)
    return is_alive(session, holder)


def _find_trial(session: Session, study_id: int, number: int) -> TrialRow | None:
    return session.scalar(
        select(TrialRow).where(TrialRow.study_id == study_id, TrialRow.number == number)
    )


def _get_trial(session: Session, study_id: int, number: int) -> TrialRow:
    row = _find_trial(session, study_id, number)
    if row is None:
        raise LookupError(f"trial {number} was never started")
    return row


def find_target(session: Session, target: Mapping[str, Any]) -> int:
    """The id of a target's row, which is made if there is none of that key."""
    by_key = select(TargetRow.id).where(TargetRow.key == target["key"])
    known = session.scalar(by_key)
    if known is not None:
        return known
    description = {k: v for k, v in target.items() if k not in _NOT_DESCRIBED}
    row = TargetRow(key=target["key"], name=target["name"], description=description)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        # On a server another worker has made it meanwhile.
        return session.execute(by_key).scalar_one()
    return row.id


def finite(value: float | None) -> float | None:
    """The value, or None where SQL and JSON have no word for it."""
    return None if value is None or not math.isfinite(value) else float(value)
