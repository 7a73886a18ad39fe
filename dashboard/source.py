"""What the pages read: the one module that touches the store."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.errors import AutosearchError, NotFoundError
from autosearch.store import frames
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import Promotion, promotions
from autosearch.store.view import StudyView
from autosearch.suggestion import PairedTests
from autosearch.values import Estimate
from dashboard.server import PROMOTE_VARIABLE

__all__ = [
    "all_candidates",
    "all_promotions",
    "artifact",
    "artifacts_root",
    "candidates",
    "database",
    "details",
    "epochs",
    "is_promotion_allowed",
    "is_running",
    "judged",
    "now",
    "overview",
    "paired_tests",
    "studies",
    "trials",
    "view",
    "workers",
]

_FRESH_S = 2.0


@st.cache_resource(show_spinner=False)
def _opened(storage: str) -> Database:
    return Database.open_to_read(storage or None)


def database() -> Database:
    """The database that ``AUTOSEARCH_STORAGE`` names, opened to read.

    Raises:
        AutosearchError: It is missing, cannot be read, or is of another version.
    """
    found = _opened(os.environ.get("AUTOSEARCH_STORAGE", ""))
    if found.path is not None and not found.path.exists():
        _opened.clear()
        raise NotFoundError(
            f'the database "{found.path}" is gone; start a study with: autosearch run STUDY_FILE'
        )
    return found


def artifacts_root() -> str:
    """Where the files of the studies are."""
    return ArtifactStore.beside(database()).root


def is_promotion_allowed() -> bool:
    """Whether the dashboard was started with ``--allow-promote``."""
    return os.environ.get(PROMOTE_VARIABLE) == "1"


def now() -> datetime:
    """The time as the database writes it: naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)


@st.cache_data(ttl=_FRESH_S, show_spinner=False, max_entries=4)
def _studies(storage: str) -> pd.DataFrame:
    return frames.studies_frame(database())


def studies() -> pd.DataFrame:
    """Every study with its counts, the newest first."""
    return _studies(database().url)


def overview(study: StudyView) -> pd.Series[Any]:
    """The row of a study in ``studies()``."""
    frame = studies()
    row: pd.Series[Any] = frame[frame["study_id"] == study.id].iloc[0]
    return row


def is_running(row: pd.Series[Any]) -> bool:
    """Whether a worker of that study (a row of ``studies()``) holds a lease."""
    lease = row["lease_until"]
    return bool(row["num_workers"]) and pd.notna(lease) and lease >= now()


def view(name: str) -> StudyView:
    """A study by name.

    Raises:
        NotFoundError: There is none.
    """
    return StudyView(database(), ArtifactStore.beside(database()), name)


@st.cache_resource(show_spinner=False, max_entries=8)
def _live(url: str, study_id: int) -> frames.LiveCandidates:
    return frames.LiveCandidates(database(), study_id)


def all_candidates(study: StudyView) -> pd.DataFrame:
    """The candidates of a study on its main target, of both kinds of figure. Not to be changed."""
    return frames.on_target(_live(database().url, study.id).frame()).reset_index(drop=True)


def candidates(study: StudyView) -> pd.DataFrame:
    """Those with the search's own figures, from the validation images."""
    frame = all_candidates(study)
    return frame[frame["estimate"] == Estimate.VALIDATION].reset_index(drop=True)


def judged(study: StudyView) -> pd.DataFrame:
    """Those of finalists, which were fitted again and judged by cross-validation."""
    frame = all_candidates(study)
    return frame[frame["estimate"] == Estimate.CROSS_VALIDATION].reset_index(drop=True)


@st.cache_resource(show_spinner=False, max_entries=8)
def _tests(url: str, name: str) -> PairedTests:
    return PairedTests(view(name).artifact)


def paired_tests(study: StudyView) -> PairedTests:
    """Tests between candidates of a study; those taken once are kept."""
    return _tests(database().url, study.name)


@st.cache_data(ttl=_FRESH_S, show_spinner=False, max_entries=8)
def _trials(url: str, study_id: int, numbers: tuple[int, ...] | None) -> pd.DataFrame:
    return frames.trials_of(database(), study_id, numbers)


def trials(study: StudyView, numbers: tuple[int, ...] | None = None) -> pd.DataFrame:
    """The trials of a study, all or some."""
    return _trials(database().url, study.id, numbers)


def epochs(study: StudyView, numbers: tuple[int, ...]) -> pd.DataFrame:
    """The epochs of some trials."""
    return frames.epochs_of(database(), study.id, numbers)


def details(candidate_key: int) -> dict[str, Any]:
    """Conditions, reasons and target of a candidate."""
    return frames.candidate_details(database(), candidate_key)


def workers(study: StudyView) -> pd.DataFrame:
    """The workers of a study."""
    return frames.workers_frame(database(), study.id)


def all_promotions() -> list[Promotion]:
    """Every promotion, the newest first."""
    return promotions(database())


def artifact(study: StudyView, sha256: str) -> bytes | None:
    """A file by content, or None if it is not in the store any more."""
    try:
        return study.artifact(sha256)
    except AutosearchError:
        return None
