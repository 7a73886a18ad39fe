"""Notes that people leave on a candidate. They are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from autosearch.errors import DefinitionError
from autosearch.store.database import Database
from autosearch.store.recorder import utc_now
from autosearch.store.tables import NoteRow

__all__ = ["Note", "add_note", "notes"]

_MAX_CHARACTERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A note on a candidate.

    Attributes:
        author: Whoever wrote it, as they call themselves; may be empty.
        written_at: UTC.
        text: Markdown, as it was written: whoever shows it makes it safe.
    """

    author: str
    written_at: datetime
    text: str


def add_note(database: Database, study_id: int, candidate: str, *, author: str, text: str) -> None:
    """Leaves a note on a candidate.

    Args:
        database: Opened to write.
        study_id: The study's row.
        candidate: Its id within the study.
        author: As they call themselves.
        text: Markdown.

    Raises:
        DefinitionError: The note is empty or longer than 10,000 characters.
    """
    text, author = text.strip(), author.strip()
    if not 0 < len(text) <= _MAX_CHARACTERS:
        raise DefinitionError(
            f"the note has {len(text):,} characters; write from 1 to {_MAX_CHARACTERS:,}"
        )
    with database.session() as session:
        session.add(
            NoteRow(
                study_id=study_id,
                candidate=candidate,
                author=author[:200],
                written_at=utc_now(),
                text=text,
            )
        )


def notes(database: Database, study_id: int, candidate: str) -> list[Note]:
    """The notes on a candidate, the oldest first."""
    statement = (
        select(NoteRow)
        .where(NoteRow.study_id == study_id, NoteRow.candidate == candidate)
        .order_by(NoteRow.id)
    )
    with database.session() as session:
        return [
            Note(author=row.author, written_at=row.written_at, text=row.text)
            for row in session.scalars(statement)
        ]
