"""Deleting a study, and only what nothing else refers to."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.tables import (
    BaselineRow,
    CandidateRow,
    FinalistRow,
    PromotionRow,
    StudyRow,
    TrialRow,
)

__all__ = ["delete_study_rows"]


def delete_study_rows(database: Database, artifacts: ArtifactStore, study_id: int) -> int:
    """Removes a study's rows here, and its files.

    A file that another study or a promotion refers to stays: what was ever promoted is never
    deleted. In a store that is not the folder by the database all of them stay, since studies and
    promotions of other databases may refer to the same files, which cannot be known here.

    Args:
        database: Opened to write.
        artifacts: Where the study's files are.
        study_id: The study's row.

    Returns:
        How many files were removed.
    """
    with database.session() as session:
        mine = _files(session, study_id, of_others=False)
        kept = _files(session, study_id, of_others=True)
        promoted = session.execute(select(PromotionRow.artifact_sha256, PromotionRow.keras_sha256))
        kept.update(sha256 for row in promoted for sha256 in row if sha256 is not None)
        session.execute(delete(StudyRow).where(StudyRow.id == study_id))
    if not artifacts.is_beside(database):
        return 0
    # Only once the rows are gone: a row must never name a file that is not there.
    return artifacts.delete(mine - kept)


def _files(session: Session, study_id: int, *, of_others: bool) -> set[str]:
    columns_of_study = (CandidateRow.study_id, TrialRow.study_id, BaselineRow.study_id)
    candidate_filter, trial_filter, baseline_filter = (
        column != study_id if of_others else column == study_id for column in columns_of_study
    )
    columns = (
        CandidateRow.artifact_sha256,
        CandidateRow.keras_sha256,
        CandidateRow.predictions_sha256,
    )
    files = {
        sha256
        for row in session.execute(select(*columns).where(candidate_filter))
        for sha256 in row
    }
    folds = session.scalars(
        select(FinalistRow.folds)
        .join(TrialRow, TrialRow.id == FinalistRow.trial_id)
        .where(trial_filter)
    )
    files.update(sha256 for of in folds for files_of in of.values() for sha256 in files_of.values())
    of_baseline = (
        BaselineRow.artifact_sha256,
        BaselineRow.keras_sha256,
        BaselineRow.predictions_sha256,
    )
    baselines = session.execute(select(*of_baseline).where(baseline_filter))
    files.update(sha256 for row in baselines for sha256 in row)
    facts = session.scalars(select(TrialRow.facts).where(trial_filter))
    files.update(fact["keras_sha256"] for fact in facts if "keras_sha256" in fact)
    return {sha256 for sha256 in files if sha256 is not None}
