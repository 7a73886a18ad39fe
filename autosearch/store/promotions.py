"""Named models, their aliases, and the promotions that moved them. Rows are only ever added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from autosearch.errors import NotFoundError
from autosearch.store.database import Database
from autosearch.store.recorder import utc_now
from autosearch.store.tables import ModelRow, PromotionRow

__all__ = ["Promotion", "add_promotion", "current_promotion", "promotions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A candidate that was promoted, with all that an export needs.

    Attributes:
        model: The named line of candidates that it belongs to.
        alias: What it was promoted to, such as ``champion``.
        candidate: Its id within its study.
        artifact_sha256: The ``.tflite`` file.
        keras_sha256: The trained ``.keras`` file, if there is one.
        promoted_at: UTC.
        note: What the person who promoted it wrote.
        test_metrics: Figures of that file on the test split, read once for this promotion.
        record: The candidate, its trial, study and data as they stood.
    """

    model: str
    alias: str
    candidate: str
    artifact_sha256: str
    keras_sha256: str | None
    promoted_at: datetime
    note: str
    test_metrics: Mapping[str, Any]
    record: Mapping[str, Any]


def add_promotion(
    database: Database,
    *,
    model: str,
    alias: str,
    candidate: str,
    artifact_sha256: str,
    keras_sha256: str | None,
    note: str,
    test_metrics: Mapping[str, Any],
    record: Mapping[str, Any],
) -> Promotion:
    """Points an alias of a model to a candidate; what it pointed to stays in the history."""
    with database.session() as session:
        row = session.scalar(select(ModelRow).where(ModelRow.name == model))
        if row is None:
            row = ModelRow(name=model, created_at=utc_now())
            session.add(row)
            session.flush()
        session.add(
            PromotionRow(
                model_id=row.id,
                alias=alias,
                candidate=candidate,
                artifact_sha256=artifact_sha256,
                keras_sha256=keras_sha256,
                promoted_at=utc_now(),
                note=note,
                test_metrics=dict(test_metrics),
                record=dict(record),
            )
        )
    return current_promotion(database, model, alias)


def promotions(database: Database, model: str | None = None) -> list[Promotion]:
    """Every promotion, of one model or of all, the newest first."""
    statement = (
        select(PromotionRow, ModelRow.name)
        .join(ModelRow, ModelRow.id == PromotionRow.model_id)
        .order_by(PromotionRow.id.desc())
    )
    if model is not None:
        statement = statement.where(ModelRow.name == model)
    with database.session() as session:
        return [_promotion(row, name) for row, name in session.execute(statement).all()]


def current_promotion(database: Database, model: str, alias: str) -> Promotion:
    """What an alias of a model points to.

    Raises:
        NotFoundError: There is no such model, or nothing was promoted to that alias.
    """
    history = promotions(database, model)
    for promotion in history:
        if promotion.alias == alias:
            return promotion
    if history:
        known = ", ".join(sorted({promotion.alias for promotion in history}))
        raise NotFoundError(f'model "{model}" has no alias "{alias}"; expected one of: {known}')
    known = ", ".join(sorted({promotion.model for promotion in promotions(database)})) or "none"
    raise NotFoundError(
        f'there is no model "{model}"; expected one of: {known}. '
        "Make one with: autosearch promote STUDY CANDIDATE"
    )


def _promotion(row: PromotionRow, model: str) -> Promotion:
    return Promotion(
        model=model,
        alias=row.alias,
        candidate=row.candidate,
        artifact_sha256=row.artifact_sha256,
        keras_sha256=row.keras_sha256,
        promoted_at=row.promoted_at,
        note=row.note,
        test_metrics=row.test_metrics,
        record=row.record,
    )
