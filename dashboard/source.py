"""What the pages read: the one module that touches the store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from autosearch.errors import AutosearchError, NotFoundError
from autosearch.store import frames
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database, is_plain_optuna, storage_url
from autosearch.store.notes import Note
from autosearch.store.notes import add_note as _add_note
from autosearch.store.notes import notes as _notes
from autosearch.store.predictions import Predictions
from autosearch.store.promotions import Promotion, promotions
from autosearch.store.study_frames import by_estimate
from autosearch.store.view import StudyView
from autosearch.suggestion import PairedTests
from autosearch.values import Estimate
from autosearch.visualization.architecture import Layer, layers_of
from autosearch.visualization.unusual import unusual_parameters
from dashboard.server import NOTES_VARIABLE, PROMOTE_VARIABLE

if TYPE_CHECKING:
    from autosearch.visualization.plain import PlainStudy

__all__ = [
    "add_note",
    "all_candidates",
    "all_promotions",
    "are_notes_allowed",
    "artifact",
    "baselines",
    "candidates",
    "candidates_version",
    "database",
    "details",
    "elsewhere",
    "epochs",
    "epochs_reached",
    "has_artifact",
    "is_plain",
    "is_promotion_allowed",
    "judged",
    "layers",
    "notes",
    "now",
    "on_target",
    "overview",
    "paired_tests",
    "plain_study",
    "plain_study_names",
    "predictions",
    "studies",
    "target_of",
    "targets",
    "trials",
    "unusual",
    "view",
    "workers",
]

_FRESH_S = 2.0
_RESTING_S = 10.0
_VERSIONS = count()


@st.cache_resource(show_spinner=False)
def _opened(storage: str) -> tuple[Database, tuple[Any, ...] | None]:
    found = Database.open_to_read(storage or None)
    return found, found.state_of_file()


def database() -> Database:
    """The database that ``AUTOSEARCH_STORAGE`` names, opened to read.

    Raises:
        AutosearchError: It is missing, cannot be read, or is of another version.
    """
    storage = os.environ.get("AUTOSEARCH_STORAGE", "")
    found, state = _opened(storage)
    if found.state_of_file() != state:
        # It was deleted, or another file put into its place: connections hold on to the old one,
        # and what was read is of that.
        found.close()
        st.cache_resource.clear()
        st.cache_data.clear()
        found, _ = _opened(storage)
    return found


@st.cache_data(ttl=_FRESH_S, show_spinner=False, max_entries=2)
def _is_plain(storage: str) -> bool:
    return is_plain_optuna(storage or None)


def is_plain() -> bool:
    """Whether Optuna alone wrote the database: then only the two functions below can read it."""
    return _is_plain(os.environ.get("AUTOSEARCH_STORAGE", ""))


def plain_study_names() -> list[str]:
    """The names of Optuna's own studies."""
    from autosearch.visualization import plain

    return plain.plain_study_names(storage_url())


def plain_study(name: str) -> PlainStudy:
    """A study of Optuna's own, read anew."""
    from autosearch.visualization import plain

    return plain.plain_study(storage_url(), name)


def is_promotion_allowed() -> bool:
    """Whether the dashboard was started with ``--allow-promote``."""
    return os.environ.get(PROMOTE_VARIABLE) == "1"


def are_notes_allowed() -> bool:
    """Whether the dashboard was started with ``--allow-notes``."""
    return os.environ.get(NOTES_VARIABLE) == "1"


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
    """The row of a study in ``studies()``.

    Raises:
        NotFoundError: It was deleted since the page was opened.
    """
    rows = _rows_of(study)
    if rows.empty:
        # It may be newer than what was read a moment ago.
        _studies.clear()
        rows = _rows_of(study)
    if rows.empty:
        raise NotFoundError(f'there is no study "{study.name}" any more: it was deleted')
    row: pd.Series[Any] = rows.iloc[0]
    return row


def _rows_of(study: StudyView) -> pd.DataFrame:
    frame = studies()
    # Without any study there are no columns either.
    if frame.empty:
        return frame
    # SQLite gives the id of a deleted one to the next.
    is_it = (frame["study_id"] == study.id) & (frame["created_at"] == study.created_at)
    found: pd.DataFrame = frame[is_it]
    return found


def view(name: str) -> StudyView:
    """A study by name.

    Raises:
        NotFoundError: There is none.
    """
    return StudyView(database(), ArtifactStore.beside(database()), name)


@st.cache_data(ttl=5 * _FRESH_S, show_spinner=False, max_entries=8)
def _baselines(url: str, name: str) -> pd.DataFrame:
    return view(name).baselines_frame()


def baselines(study: StudyView) -> pd.DataFrame:
    """What the images of a study give without a search; empty if that was not tried."""
    return _baselines(database().url, study.name)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Candidates on one target, by kind of figure.

    Attributes:
        both: All of them.
        searched: Those with the search's own figures.
        judged: Those judged by cross-validation.
    """

    both: pd.DataFrame
    searched: pd.DataFrame
    judged: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _State:
    """The candidates of a study at one moment.

    Attributes:
        version: A number that no other state of any study has.
        whole: One row a candidate and target.
        kinds: What was parted of it so far, by target; None is the study's main one.
    """

    version: int
    whole: pd.DataFrame
    kinds: dict[str | None, _Kinds]


class _Candidates:
    """The candidates of a study, parted by target and kind once for all who look."""

    def __init__(self, study_id: int) -> None:
        self._live = frames.LiveCandidates(database(), study_id)
        self._state: _State | None = None
        self._fresh_until = 0.0

    def _now(self) -> _State:
        state = self._state
        # A page asks several times.
        if state is not None and time.monotonic() < self._fresh_until:
            return state
        whole = self._live.frame()
        # A look costs as much as drawing half a chart; where nothing was new, the next can wait.
        fresh_s = _RESTING_S
        if state is None or whole is not state.whole:
            state = self._state = _State(next(_VERSIONS), whole, {})
            fresh_s = _FRESH_S
        self._fresh_until = time.monotonic() + fresh_s
        return state

    def version(self) -> int:
        """A number for the state."""
        return self._now().version

    def kinds(self, target: str | None = None) -> _Kinds:
        """The candidates on a target; None is the study's main one."""
        state = self._now()
        if target not in state.kinds:
            whole = state.whole
            rows = whole if target is None else whole[whole["target"] == target]
            searched, judged = by_estimate(rows)
            both = pd.concat([searched, judged], ignore_index=True) if len(judged) else searched
            state.kinds[target] = _Kinds(both, searched, judged)
        return state.kinds[target]

    def targets(self) -> list[str]:
        """The name of the main target, "" where the search had none, then those of the others.

        Targets on which finalists alone were judged are not among them.
        """
        whole, searched = self._now().whole, self.kinds().searched
        if searched.empty:
            return [""]
        main = searched["target"].iloc[0]
        of_search = whole["estimate"] != Estimate.CROSS_VALIDATION
        others = whole.loc[of_search, "target"].dropna()
        return list(dict.fromkeys([main if isinstance(main, str) else "", *others]))

    def elsewhere(self, row: pd.Series[Any]) -> pd.DataFrame:
        """What other machines measured of the same file."""
        whole = self._now().whole
        is_same = whole["candidate_key"] == row["candidate_key"]
        is_other = whole["target_id"].notna() & (whole["target_id"] != row["target_id"])
        found: pd.DataFrame = whole[is_same & is_other]
        return found


@st.cache_resource(show_spinner=False, max_entries=8)
def _candidates(url: str, study_id: int, created_at: datetime) -> _Candidates:
    return _Candidates(study_id)


def _key(study: StudyView) -> tuple[str, int, datetime]:
    """What a cache keeps a study by: SQLite gives the id of a deleted one to the next."""
    return database().url, study.id, study.created_at


def candidates_version(study: StudyView) -> int:
    """A number that no other state of any study's candidates has, for the keys of caches.

    It is to be asked for before the candidates: they are then as new as it says, or newer, and
    what is kept under it is never older.
    """
    return _candidates(*_key(study)).version()


def all_candidates(study: StudyView, target: str | None = None) -> pd.DataFrame:
    """The candidates of a study, of both kinds of figure.

    This frame and those of the two functions below must not be changed in place.

    Args:
        study: Whose they are.
        target: The name of the target whose figures are wanted; None for the main one, of which
            each kind has its own.
    """
    return _candidates(*_key(study)).kinds(target).both


def candidates(study: StudyView, target: str | None = None) -> pd.DataFrame:
    """Those with the search's own figures, from the validation images."""
    return _candidates(*_key(study)).kinds(target).searched


def judged(study: StudyView, target: str | None = None) -> pd.DataFrame:
    """Those of finalists, which were fitted again and judged by cross-validation."""
    return _candidates(*_key(study)).kinds(target).judged


def targets(study: StudyView) -> list[str]:
    """The name of a study's main target, "" where it has none, then those of other machines."""
    return _candidates(*_key(study)).targets()


def on_target(study: StudyView, row: pd.Series[Any], target: str | None) -> pd.Series[Any]:
    """The row of the same candidate with the figures of a target; itself if there is none."""
    rows = all_candidates(study, target)
    found = rows[rows["candidate_key"] == row["candidate_key"]]
    return found.iloc[0] if len(found) else row


def elsewhere(study: StudyView, row: pd.Series[Any]) -> pd.DataFrame:
    """The rows of a candidate that hold what other machines than its row's measured of it."""
    return _candidates(*_key(study)).elsewhere(row)


@st.cache_resource(show_spinner=False, max_entries=8)
def _tests(url: str, name: str) -> PairedTests:
    return PairedTests(view(name).artifact)


def paired_tests(study: StudyView) -> PairedTests:
    """Tests between candidates of a study; those taken once are kept."""
    return _tests(database().url, study.name)


@st.cache_data(ttl=_FRESH_S, show_spinner=False, max_entries=8)
def _trials(
    url: str, study_id: int, created_at: datetime, numbers: tuple[int, ...] | None
) -> pd.DataFrame:
    return frames.trials_of(database(), study_id, numbers)


def trials(study: StudyView, numbers: tuple[int, ...] | None = None) -> pd.DataFrame:
    """The trials of a study, all or some."""
    return _trials(*_key(study), numbers)


@st.cache_data(show_spinner=False, max_entries=8)
def _unusual(
    url: str, study_id: int, created_at: datetime, numbers: tuple[int, ...]
) -> dict[int, str]:
    some = frames.trials_of(database(), study_id, numbers)
    return unusual_parameters(dict(zip(some["number"], some["config"], strict=True)))


def unusual(study: StudyView, numbers: tuple[int, ...]) -> dict[int, str]:
    """What is unusual in the configurations of some finished trials, against one another."""
    return _unusual(*_key(study), numbers)


def epochs(study: StudyView, numbers: tuple[int, ...]) -> pd.DataFrame:
    """The epochs of some trials."""
    return frames.epochs_of(database(), study.id, numbers)


@st.cache_data(ttl=_FRESH_S, show_spinner=False, max_entries=8)
def _epochs_reached(url: str, study_id: int, created_at: datetime) -> dict[int, int]:
    return frames.epochs_reached(database(), study_id)


def epochs_reached(study: StudyView) -> dict[int, int]:
    """Trial to the last epoch that it reported."""
    return _epochs_reached(*_key(study))


def details(row: pd.Series[Any]) -> dict[str, Any]:
    """Conditions, reasons and target of a row of candidates."""
    return frames.candidate_details(database(), int(row["candidate_key"]), target_of(row))


def target_of(row: pd.Series[Any]) -> int | None:
    """The key of the target that a row of candidates has figures of; None where there is none."""
    return None if pd.isna(row["target_id"]) else int(row["target_id"])


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


@st.cache_data(show_spinner=False, max_entries=256, ttl=60)
def has_artifact(sha256: str, _study: StudyView) -> bool:
    """Whether a file is in the store, whole; asked once a minute."""
    return artifact(_study, sha256) is not None


@st.cache_data(show_spinner=False, max_entries=64)
def _layers(sha256: str, _study: StudyView) -> tuple[Layer, ...]:
    # What is raised is not kept: a file may be missing for a moment.
    return layers_of(_study.artifact(sha256))


def layers(study: StudyView, sha256: str | None) -> tuple[Layer, ...]:
    """The layers of a file; none where it is not in the store, or is no network."""
    try:
        return _layers(sha256, study) if isinstance(sha256, str) else ()
    except AutosearchError:
        return ()


def predictions(study: StudyView, sha256: str | None) -> Predictions | None:
    """What a candidate predicted for each image, or None where that was not kept."""
    if not isinstance(sha256, str):
        return None
    try:
        return Predictions.from_bytes(study.artifact(sha256))
    except AutosearchError:
        return None


def notes(study: StudyView, candidate: str) -> list[Note]:
    """The notes on a candidate, the oldest first.

    Raises:
        NotFoundError: The study was deleted since the page was opened.
    """
    overview(study)
    return _notes(database(), study.id, candidate)


def add_note(study: StudyView, candidate: str, *, author: str, text: str) -> None:
    """Leaves a note on a candidate.

    Raises:
        AutosearchError: The note is empty or too long, the study was deleted since the page was
            opened, or the database refused.
    """
    overview(study)
    writable = Database.open_to_write(database().url)
    try:
        _add_note(writable, study.id, candidate, author=author, text=text)
    finally:
        writable.close()
