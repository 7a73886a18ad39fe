"""How often a test split was read: each reading that a choice rests on wears it out a little."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from autosearch.store.database import Database
from autosearch.store.recorder import utc_now
from autosearch.store.tables import ReadingRow

__all__ = ["Reading", "add_reading", "readings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of a test split.

    Attributes:
        data_fingerprint: Of the dataset with its split.
        study: The study whose images they are.
        read_at: UTC.
        what: What was judged.
        why: What for.
    """

    data_fingerprint: str
    study: str
    read_at: datetime
    what: str
    why: str


def add_reading(
    database: Database, *, data_fingerprint: str, study: str, what: str, why: str
) -> int:
    """Records a reading, and answers how many there are of that split now."""
    with database.session() as session:
        session.add(
            ReadingRow(
                data_fingerprint=data_fingerprint,
                study=study,
                read_at=utc_now(),
                what=what[:400],
                why=why,
            )
        )
    return len(readings(database, data_fingerprint))


def readings(database: Database, data_fingerprint: str) -> list[Reading]:
    """Every reading of the test split of a dataset, by any study, the earliest first."""
    statement = (
        select(ReadingRow)
        .where(ReadingRow.data_fingerprint == data_fingerprint)
        .order_by(ReadingRow.id)
    )
    with database.session() as session:
        return [
            Reading(
                data_fingerprint=row.data_fingerprint,
                study=row.study,
                read_at=row.read_at,
                what=row.what,
                why=row.why,
            )
            for row in session.scalars(statement)
        ]
