"""Rungs: what the trials of a study had reached after a number of epochs.

A rung is no table of its own but the rows of one epoch, so it survives a restart, and every
worker sees the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, text

from autosearch.store.database import Database
from autosearch.store.tables import EpochRow, TrialRow
from autosearch.values import TrialState

__all__ = ["forget_reports", "read_rung", "why_pruned"]

_TRIAL = (
    "trial_id = (SELECT t.trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id "
    "WHERE s.study_name = :study AND t.number = :number)"
)
# Optuna keeps the first value of a step, and counts from the last step that it knows.
_FORGET_REPORTS = (
    text(f"DELETE FROM trial_intermediate_values WHERE {_TRIAL}"),
    text(f"DELETE FROM trial_system_attributes WHERE key LIKE 'completed_rung_%' AND {_TRIAL}"),
)


def read_rung(
    database: Database, study_id: int, epoch: int, metrics: Sequence[str]
) -> dict[int, tuple[float | None, ...]]:
    """The figures of all trials that reported that epoch, whatever became of them.

    Of those that were discarded, nothing.

    Args:
        database: Opened to read or to write.
        study_id: The study's row.
        epoch: From 1.
        metrics: Which figures, in this order.

    Returns:
        Number of the trial to its figures; None where it told none.
    """
    columns = [EpochRow.__table__.columns.get(metric) for metric in metrics]
    statement = (
        select(TrialRow.number, EpochRow.metrics, *(c for c in columns if c is not None))
        .join(TrialRow, TrialRow.id == EpochRow.trial_id)
        .where(
            TrialRow.study_id == study_id,
            TrialRow.state != TrialState.DISCARDED,
            EpochRow.epoch == epoch,
        )
        .order_by(TrialRow.number)
    )
    rung = {}
    with database.session() as session:
        for number, others, *known in session.execute(statement):
            left = iter(known)
            rung[number] = tuple(
                others.get(metric) if column is None else next(left)
                for metric, column in zip(metrics, columns, strict=True)
            )
    return rung


def forget_reports(database: Database, study: str, number: int) -> None:
    """Takes from Optuna's rows what a trial has reported, so that it can begin again.

    Args:
        database: Opened to write.
        study: The study's name.
        number: The trial's.
    """
    with database.session() as session:
        for statement in _FORGET_REPORTS:
            session.execute(statement, {"study": study, "number": number})


def why_pruned(facts: Mapping[str, Any]) -> str | None:
    """Why a trial was pruned, from its facts; None if it was not, or ended itself.

    Example:
        >>> why_pruned({"pruned": {"epoch": 4, "place": 12, "num_trials": 20}})
        'pruned at epoch 4: 12th of 20 on the rung'
    """
    pruned = facts.get("pruned")
    if pruned is None:
        return None
    if "needed_s" in pruned:
        why = pruned.get("why", "past the end of the budget")
        return f"given up: it needed {pruned['needed_s']} s more, {why}"
    if "place" not in pruned:
        return f"pruned at epoch {pruned['epoch']} by {pruned['by']}"
    place = _ordinal(pruned["place"])
    return f"pruned at epoch {pruned['epoch']}: {place} of {pruned['num_trials']} on the rung"


def _ordinal(number: int) -> str:
    is_teen = 10 < number % 100 < 14
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
