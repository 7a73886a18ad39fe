"""Frames for something that watches: only rows that are new are read, and only what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import SelectBase, case, func, select, union_all

from autosearch.store.database import Database
from autosearch.store.recorder import lease_clock
from autosearch.store.study_frames import (
    FIGURES,
    class_names,
    read_candidates,
    read_frame,
    select_candidates,
)
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
from autosearch.values import TrialState

__all__ = [
    "LiveCandidates",
    "candidate_details",
    "epochs_of",
    "epochs_reached",
    "studies_frame",
    "trials_of",
    "workers_frame",
]


class LiveCandidates:
    """The candidates of a study, kept in memory; a refresh reads what was added since.

    Those that are held can change all the same: they are judged by other bounds, measured on
    another machine, fitted again, discarded, or deleted with their study, whose key SQLite then
    gives to the next one. Then all are read anew. One instance serves several threads.

    Args:
        database: Opened to read or to write.
        study_id: The study's row.
    """

    def __init__(self, database: Database, study_id: int) -> None:
        self._database = database
        self._study_id = study_id
        self._last_id = 0
        self._seen: tuple[Any, ...] = ()
        self._lock = Lock()
        self._frame = pd.DataFrame()

    def frame(self) -> pd.DataFrame:
        """One row a candidate and target, in the order in which they were written.

        The columns of ``StudyView.candidates_frame()`` that can be filtered or drawn, and
        ``candidate_key``, ``finished_at`` (UTC) and the further metrics. It must not be changed
        in place: every caller is handed the same frame until something has changed. Figures of
        two kinds (``estimate``) are in it, which never meet in one front.
        """
        with self._lock:
            newest, seen = self._look(self._last_id)
            if seen != self._seen:
                self._frame, self._last_id, self._seen = self._read(0, 0), 0, seen
            if newest > self._last_id:
                # Before they are read: what changes in between is noticed the next time.
                _, self._seen = self._look(newest)
                added = self._read(self._last_id, newest)
                kept = [self._frame, added] if len(self._frame) else [added]
                self._frame = pd.concat(kept, ignore_index=True)
                self._last_id = newest
            return self._frame

    def _look(self, up_to_id: int) -> tuple[int, tuple[Any, ...]]:
        """The newest candidate's key, and what differs once those up to a key have changed."""
        newest = select(func.max(CandidateRow.id)).where(CandidateRow.study_id == self._study_id)
        num_discarded = select(func.count()).where(
            TrialRow.study_id == self._study_id, TrialRow.state == TrialState.DISCARDED
        )
        study = select(
            newest.scalar_subquery(),
            num_discarded.scalar_subquery(),
            StudyRow.created_at,
            StudyRow.definition_sha256,
        ).where(StudyRow.id == self._study_id)
        held = (
            select(
                func.count(),
                func.sum(case((CandidateRow.is_feasible, CandidateRow.id), else_=0)),
                func.max(MeasurementRow.id),
                # Where a candidate is replaced, SQLite gives its key and its measurement's again.
                func.max(MeasurementRow.measured_at),
            )
            .select_from(CandidateRow)
            .outerjoin(MeasurementRow, MeasurementRow.candidate_id == CandidateRow.id)
            .where(CandidateRow.study_id == self._study_id, CandidateRow.id <= up_to_id)
        )
        with self._database.session() as session:
            last_id, *of_study = session.execute(study).one_or_none() or (None,)
            return last_id or 0, (*of_study, *session.execute(held).one())

    def _read(self, after_id: int, up_to_id: int) -> pd.DataFrame:
        statement = (
            select_candidates(
                self._study_id, CandidateRow.id.label("candidate_key"), TrialRow.finished_at
            )
            .where(CandidateRow.id > after_id, CandidateRow.id <= up_to_id)
            .order_by(CandidateRow.id, MeasurementRow.id)
        )
        frame, others = read_candidates(self._database, statement)
        for name in others.columns:
            # A user's function may not take the place of a name, a key or a time.
            if name in FIGURES or name not in frame:
                frame[name] = others[name]
        return frame


def studies_frame(database: Database) -> pd.DataFrame:
    """One row a study, the newest first, in a few queries however many there are.

    Columns: ``study``, ``study_id``, ``definition``, ``created_at``, ``run_seconds``, a column
    of counts for every ``TrialState``, ``num_candidates``, ``last_activity`` (UTC),
    ``num_workers`` (those that hold a lease), ``num_lost`` (those that hold none any more, and
    whose work nobody has taken over yet), ``is_running`` (there are workers).
    """
    with database.session() as session:
        rows = session.execute(
            select(
                StudyRow.id,
                StudyRow.name,
                StudyRow.definition,
                StudyRow.created_at,
                StudyRow.run_seconds,
            ).order_by(StudyRow.id.desc())
        ).all()
        counts: dict[int, dict[str, int]] = {}
        activity: dict[int, datetime] = {}
        for study_id, state, count, started, finished in session.execute(
            select(
                TrialRow.study_id,
                TrialRow.state,
                func.count(),
                func.max(TrialRow.started_at),
                func.max(TrialRow.finished_at),
            ).group_by(TrialRow.study_id, TrialRow.state)
        ).all():
            counts.setdefault(study_id, {})[state] = count
            for moment in (started, finished):
                if moment is not None:
                    activity[study_id] = max(moment, activity.get(study_id, moment))
        num_candidates = dict(
            session.execute(
                select(CandidateRow.study_id, func.count()).group_by(CandidateRow.study_id)
            ).all()
        )
        # Who was killed has not ended, and never will.
        holds_lease = WorkerRow.lease_until >= lease_clock(session)
        workers = (
            select(WorkerRow.study_id, func.count(WorkerRow.id.distinct()))
            .where(WorkerRow.ended_at.is_(None))
            .group_by(WorkerRow.study_id)
        )
        num_workers = dict(session.execute(workers.where(holds_lease)).all())
        num_lost = dict(
            session.execute(
                workers.where(~holds_lease, WorkerRow.id.in_(_who_is_about_something()))
            ).all()
        )
    records: list[dict[str, Any]] = []
    for study_id, name, definition, created_at, run_seconds in rows:
        found = counts.get(study_id, {})
        records.append(
            {
                "study": name,
                "study_id": study_id,
                "definition": definition,
                "created_at": created_at,
                "run_seconds": run_seconds,
                **{str(state): found.get(str(state), 0) for state in TrialState},
                "num_candidates": num_candidates.get(study_id, 0),
                "last_activity": activity.get(study_id),
                "num_workers": num_workers.get(study_id, 0),
                "num_lost": num_lost.get(study_id, 0),
                "is_running": study_id in num_workers,
            }
        )
    return pd.DataFrame(records)


def workers_frame(database: Database, study_id: int) -> pd.DataFrame:
    """One row a worker process of a study, in the order in which they began.

    Columns: ``worker``, ``host``, ``pid``, ``started_at``, ``lease_until`` (UTC) and ``state``:
    alive, ended, or gone, which is one that was lost and whose work nobody has taken over yet.
    """
    statement = (
        select(
            WorkerRow.id.label("worker"),
            WorkerRow.host,
            WorkerRow.pid,
            WorkerRow.started_at,
            WorkerRow.lease_until,
            WorkerRow.ended_at.is_(None).label("is_open"),
            WorkerRow.id.in_(_who_is_about_something()).label("is_about_something"),
        )
        .where(WorkerRow.study_id == study_id)
        .order_by(WorkerRow.id)
    )
    frame = read_frame(database, statement)
    with database.session() as session:
        holds_lease = frame["lease_until"] >= lease_clock(session)
    is_open, is_at_work = (frame.pop(c).astype(bool) for c in ("is_open", "is_about_something"))
    frame["state"] = np.select(
        [is_open & holds_lease, is_open & is_at_work], ["alive", "gone"], "ended"
    )
    return frame


def _who_is_about_something() -> SelectBase:
    """The workers of trials, baselines and finalists that have not come to their end."""
    held = [
        (TrialRow.worker_id, TrialRow.state == TrialState.RUNNING),
        (BaselineRow.worker_id, ~BaselineRow.is_done),
        (FinalistRow.worker_id, ~FinalistRow.is_done),
    ]
    return union_all(
        *(select(worker).where(is_open, worker.is_not(None)) for worker, is_open in held)
    )


def trials_of(
    database: Database, study_id: int, numbers: Sequence[int] | None = None
) -> pd.DataFrame:
    """One row a trial, with its worker, of all trials or of some.

    Columns: ``number``, ``state``, ``config``, ``started_at``, ``finished_at``, ``duration_s``,
    ``error``, ``stage_seconds``, ``facts``, ``worker``, ``violations``.
    """
    statement = (
        select(
            TrialRow.number,
            TrialRow.state,
            TrialRow.config,
            TrialRow.started_at,
            TrialRow.finished_at,
            TrialRow.duration_s,
            TrialRow.error,
            TrialRow.stage_seconds,
            TrialRow.facts,
            TrialRow.worker_id.label("worker"),
            TrialRow.violations,
        )
        .where(TrialRow.study_id == study_id)
        .order_by(TrialRow.number)
    )
    if numbers is not None:
        statement = statement.where(TrialRow.number.in_([int(number) for number in numbers]))
    return read_frame(database, statement)


def epochs_of(database: Database, study_id: int, numbers: Sequence[int]) -> pd.DataFrame:
    """The epochs of some trials: the columns of ``StudyView.epochs_frame()`` but ``metrics``."""
    statement = (
        select(
            TrialRow.number.label("trial"),
            EpochRow.epoch,
            EpochRow.accuracy,
            EpochRow.train_accuracy,
            EpochRow.train_loss,
            EpochRow.validation_loss,
            EpochRow.learning_rate,
            EpochRow.seconds,
        )
        .join(TrialRow, TrialRow.id == EpochRow.trial_id)
        .where(TrialRow.study_id == study_id, TrialRow.number.in_([int(n) for n in numbers]))
        .order_by(TrialRow.number, EpochRow.epoch)
    )
    return read_frame(database, statement)


def epochs_reached(
    database: Database, study_id: int, numbers: Sequence[int] | None = None
) -> dict[int, int]:
    """The number of each trial, or of some, that reported an epoch to the last one of it."""
    statement = (
        select(TrialRow.number, func.max(EpochRow.epoch))
        .join(TrialRow, TrialRow.id == EpochRow.trial_id)
        .where(TrialRow.study_id == study_id)
        .group_by(TrialRow.number)
    )
    if numbers is not None:
        statement = statement.where(TrialRow.number.in_(numbers))
    with database.session() as session:
        return dict(session.execute(statement).all())


def candidate_details(
    database: Database, candidate_key: int, target_id: int | None
) -> dict[str, Any]:
    """How a candidate's figures were taken: ``conditions``, ``classes``, ``reasons``, ``target``.

    ``classes`` are the names in the order of its outputs and of the confusion matrix. ``target``
    describes the one with that id, None where there is none.
    """
    with database.session() as session:
        row = session.execute(
            select(
                CandidateRow.conditions,
                CandidateRow.reasons,
                TargetRow.description,
                TrialRow.facts,
            )
            .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
            .outerjoin(TargetRow, TargetRow.id == target_id)
            .where(CandidateRow.id == int(candidate_key))
        ).one_or_none()
    if row is None:
        return {"conditions": {}, "classes": [], "reasons": {}, "target": None}
    conditions, reasons, target, facts = row
    return {
        "conditions": conditions,
        "classes": class_names(conditions, facts),
        "reasons": reasons,
        "target": target,
    }
