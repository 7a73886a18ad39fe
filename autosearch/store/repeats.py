"""Trials that would do what an earlier one of the study did, and what that one came to."""

from __future__ import annotations

from sqlalchemy import func, select

from autosearch.store.database import Database
from autosearch.store.recorder import metrics_when_found
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
            if found is None:
                return None
            metrics = metrics_when_found(*found)
            return CandidateResult(quantization=quantization, metrics=metrics)
