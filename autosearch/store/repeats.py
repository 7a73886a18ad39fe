"""Trials that would do what an earlier one of the study did, and what that one came to."""

from __future__ import annotations

from sqlalchemy import func, select

from autosearch.store.database import Database
from autosearch.store.tables import CandidateRow, MeasurementRow, TrialRow
from autosearch.values import CandidateResult, Estimate, TrialState

__all__ = ["Repeats"]


class Repeats:
    """Finds the trials of a study by what they did.

    Args:
        database: Opened to read or to write.
        study_id: The row of the study.
    """

    def __init__(self, database: Database, study_id: int) -> None:
        self._database = database
        self._study_id = study_id

    def find(self, identity: str) -> int | None:
        """The number of the first complete trial of that identity; None if there is none."""
        with self._database.session() as session:
            return session.scalar(
                select(func.min(TrialRow.number)).where(
                    TrialRow.study_id == self._study_id,
                    TrialRow.identity == identity,
                    TrialRow.state == TrialState.COMPLETE,
                )
            )

    def result(self, number: int, quantization: str) -> CandidateResult | None:
        """A candidate of a trial, with its figures alone; None if the trial has none such.

        Of latency and memory those that were taken first, on the machine that trained it.
        """
        statement = (
            select(CandidateRow, MeasurementRow)
            .join(TrialRow, TrialRow.id == CandidateRow.trial_id)
            .outerjoin(MeasurementRow, MeasurementRow.candidate_id == CandidateRow.id)
            .where(
                TrialRow.study_id == self._study_id,
                TrialRow.number == number,
                CandidateRow.quantization == quantization,
                CandidateRow.estimate == Estimate.VALIDATION,
            )
            .order_by(MeasurementRow.id)
        )
        with self._database.session() as session:
            found = session.execute(statement).first()
            return None if found is None else _candidate(*found)


def _candidate(row: CandidateRow, measured: MeasurementRow | None) -> CandidateResult:
    # A search without a target kept them among the metrics: then what was measured is another
    # machine's.
    metrics = {
        "latency_ms": None if measured is None else measured.latency_ms,
        "latency_p90_ms": None if measured is None else measured.latency_p90_ms,
        "memory_bytes": None if measured is None else measured.memory_bytes,
        **row.metrics,
        "accuracy": row.accuracy,
        "size_bytes": row.size_bytes,
        "parameters": row.parameters,
        "macs": row.macs,
    }
    return CandidateResult(quantization=row.quantization, metrics=metrics)
