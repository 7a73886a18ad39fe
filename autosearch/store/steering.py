"""What a person says to a study that is searched: stop, and leave that trial out."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from autosearch.errors import DefinitionError, NotFoundError
from autosearch.store.database import Database
from autosearch.store.tables import StudyRow, TrialRow
from autosearch.values import TrialState

__all__ = ["discard_trial", "request_stop"]

# Optuna refuses to change a finished trial. A failed one teaches no sampler, whichever it is, ...
_FORGET = text(
    "UPDATE trials SET state = 'FAIL' WHERE number = :number AND study_id = "
    "(SELECT study_id FROM studies WHERE study_name = :study)"
)
# ... once it breaks no constraint either: "pareto" learns from what failed by one.
_FORGIVE = text(
    "DELETE FROM trial_system_attributes WHERE key LIKE 'constraints:%' AND trial_id = "
    "(SELECT t.trial_id FROM trials t JOIN studies s ON s.study_id = t.study_id "
    "WHERE s.study_name = :study AND t.number = :number)"
)


# A genetic sampler keeps the keys of a generation's parents, and chooses them anew without.
_FORGET_PARENTS = text(
    "DELETE FROM study_system_attributes WHERE key LIKE '%:parent:%' AND study_id = "
    "(SELECT study_id FROM studies WHERE study_name = :study)"
)


def request_stop(database: Database, study_id: int) -> None:
    """Asks all workers of a study, those of other machines too, to end after their trial.

    Requests are counted: whoever begins later knows those before, so no clocks are compared.
    """
    with database.session() as session:
        session.execute(
            update(StudyRow).where(StudyRow.id == study_id).values(num_stops=StudyRow.num_stops + 1)
        )


def discard_trial(database: Database, study: str, number: int, *, reason: str) -> None:
    """Keeps a finished trial's rows and files, but shows and teaches it no more.

    It does not count towards the budget any longer, as a failed one does not. Nor do the trials
    that took over its figures since they would have done the same: they go with it.

    Args:
        database: Opened to write.
        study: The study's name.
        number: The trial's number.
        reason: Kept with the trial.

    Raises:
        NotFoundError: There is no such trial.
        DefinitionError: It is not finished, or was discarded before.
    """
    with database.exclusive(), database.session() as session:
        row = session.scalar(
            select(TrialRow)
            .join(StudyRow, StudyRow.id == TrialRow.study_id)
            .where(StudyRow.name == study, TrialRow.number == number)
        )
        if row is None:
            raise NotFoundError(
                f'study "{study}" has no trial {number}; list them with: autosearch trials {study}'
            )
        state = TrialState(row.state)
        if state is TrialState.DISCARDED:
            raise DefinitionError(f'trial {number} of "{study}" was discarded already: {row.error}')
        if not state.is_finished:
            raise DefinitionError(
                f'trial {number} of "{study}" is {state}, and only a finished one can be '
                "discarded; wait for its end"
            )
        repeats = _repeats(session, row)
        row.error = reason
        for repeat in repeats:
            repeat.error = f"it has the figures of trial {number}, which was discarded: {reason}"
        for one in (row, *repeats):
            one.state = TrialState.DISCARDED
            session.execute(_FORGET, {"study": study, "number": one.number})
            session.execute(_FORGIVE, {"study": study, "number": one.number})
        session.execute(_FORGET_PARENTS, {"study": study})


def _repeats(session: Session, row: TrialRow) -> Sequence[TrialRow]:
    """The trials that have no figures but those of this one."""
    return session.scalars(
        select(TrialRow).where(
            TrialRow.study_id == row.study_id,
            TrialRow.state == TrialState.COMPLETE,
            TrialRow.facts["repeats"]["trial"].as_integer() == row.number,
        )
    ).all()
