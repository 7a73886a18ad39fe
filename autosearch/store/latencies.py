"""Latencies that were taken after a search: again, or on another machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from autosearch.store.database import Database
from autosearch.store.recorder import find_target, utc_now
from autosearch.store.study_frames import candidate_id, read_frame
from autosearch.store.tables import (
    CandidateRow,
    LatencyRow,
    MeasurementRow,
    TargetRow,
    TrialRow,
)
from autosearch.values import TARGET_METRICS

__all__ = ["Reading", "add_measurements", "add_readings", "latencies_frame", "unmeasured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A latency of one candidate.

    Attributes:
        latency_ms: Median of one inference, in milliseconds.
        latency_p90_ms: 90th percentile.
        reference_latency_ms: Median of the reference file, from the same minute.
        num_runs: Inferences that were timed.
        is_quiet: Whether no other worker of the machine computed meanwhile.
    """

    latency_ms: float
    latency_p90_ms: float
    reference_latency_ms: float
    num_runs: int
    is_quiet: bool


def add_readings(
    database: Database,
    study_id: int,
    readings: Mapping[str, Reading],
    *,
    target: Mapping[str, Any],
) -> None:
    """Records latencies beside those that are known, which stay as they are.

    Args:
        database: Opened to write.
        study_id: The study's row.
        readings: By the id of the candidate.
        target: Where they were taken.
    """
    with database.session() as session:
        now = utc_now()
        for name, candidate in _rows(session, study_id, readings).items():
            session.add(
                LatencyRow(
                    candidate_id=candidate.id,
                    target_id=find_target(session, target),
                    measured_at=now,
                    **asdict(readings[name]),
                )
            )


def add_measurements(
    database: Database,
    study_id: int,
    readings: Mapping[str, Reading],
    *,
    target: Mapping[str, Any],
) -> None:
    """Records latencies as a target's own, by which ``front --target`` then ranks.

    What depends on no machine, as the arena does not, is taken over from another target.
    """
    with database.session() as session:
        now = utc_now()
        for name, candidate in _rows(session, study_id, readings).items():
            reading = readings[name]
            first = session.scalars(
                select(MeasurementRow)
                .where(MeasurementRow.candidate_id == candidate.id)
                .order_by(MeasurementRow.id)
                .limit(1)
            ).one_or_none()
            if first is None:
                # Its search had no target: what it answered, or did not, stays its own.
                candidate.metrics = dict.fromkeys(TARGET_METRICS) | candidate.metrics
            memory = candidate.metrics["memory_bytes"] if first is None else first.memory_bytes
            session.add(
                MeasurementRow(
                    candidate_id=candidate.id,
                    target_id=find_target(session, target),
                    is_measured=True,
                    latency_ms=reading.latency_ms,
                    latency_p90_ms=reading.latency_p90_ms,
                    reference_latency_ms=reading.reference_latency_ms,
                    memory_bytes=memory,
                    measured_at=now,
                )
            )


def unmeasured(database: Database, study_id: int, *, target_key: str) -> set[str]:
    """The ids of the candidates that have a file and no figures on that target."""
    measured = (
        select(MeasurementRow.candidate_id)
        .join(TargetRow, TargetRow.id == MeasurementRow.target_id)
        .where(TargetRow.key == target_key)
    )
    statement = (
        select(TrialRow.number, CandidateRow.quantization, CandidateRow.estimate)
        .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
        .where(
            CandidateRow.study_id == study_id,
            CandidateRow.artifact_sha256.is_not(None),
            CandidateRow.id.not_in(measured),
        )
    )
    with database.session() as session:
        return {candidate_id(*row) for row in session.execute(statement)}


def latencies_frame(database: Database, study_id: int) -> pd.DataFrame:
    """One row a latency that was taken again, the earliest first.

    Columns: ``candidate``, ``target``, ``target_description``, ``latency_ms`` (p50),
    ``latency_p90_ms``, ``reference_latency_ms``, ``num_runs``, ``is_quiet``, ``measured_at``
    (UTC).
    """
    statement = (
        select(
            TrialRow.number.label("trial"),
            CandidateRow.quantization,
            CandidateRow.estimate,
            TargetRow.name.label("target"),
            TargetRow.description.label("target_description"),
            LatencyRow.latency_ms,
            LatencyRow.latency_p90_ms,
            LatencyRow.reference_latency_ms,
            LatencyRow.num_runs,
            LatencyRow.is_quiet,
            LatencyRow.measured_at,
        )
        .join(CandidateRow, CandidateRow.id == LatencyRow.candidate_id)
        .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
        .join(TargetRow, TargetRow.id == LatencyRow.target_id)
        .where(CandidateRow.study_id == study_id)
        .order_by(LatencyRow.id)
    )
    frame = read_frame(database, statement)
    names = list(map(candidate_id, frame["trial"], frame["quantization"], frame["estimate"]))
    frame = frame.drop(columns=["trial", "quantization", "estimate"])
    frame.insert(0, "candidate", names)
    return frame


def _rows(
    session: Session, study_id: int, readings: Mapping[str, Reading]
) -> dict[str, CandidateRow]:
    """The rows of those candidates, by id."""
    found = session.execute(
        select(TrialRow.number, CandidateRow)
        .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
        .where(CandidateRow.study_id == study_id)
    )
    named = {candidate_id(n, row.quantization, row.estimate): row for n, row in found}
    return {name: named[name] for name in readings}
