"""What several pages share: the study's picker, words for figures, the table of candidates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from autosearch.errors import AutosearchError
from autosearch.metrics import SHARES
from autosearch.store.view import StudyView
from autosearch.values import Constraint, Objective
from autosearch.visualization.choice import best_first, lead_objective, with_objectives
from autosearch.visualization.style import figure_text, metric_label, metric_title
from autosearch.visualization.training import MAX_GROUPS
from dashboard import source
from dashboard.links import markdown_text

__all__ = [
    "FIGURES",
    "ago",
    "bound_text",
    "candidate_columns",
    "chosen_candidate",
    "chosen_study",
    "chosen_target",
    "enlarged",
    "free_name",
    "groups_left_out",
    "kept_of",
    "ranked_kinds",
    "refreshed",
    "rerun_when",
    "say_error",
]

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "worst_class_recall",
    "expected_calibration_error",
    "size_bytes",
    "latency_ms",
    "latency_p90_ms",
    "memory_bytes",
    "parameters",
    "macs",
)
"""What is told of a candidate where there is room; the study's other objectives come after."""

_STUDY_KEY = "autosearch_study"
_LEAST_PIXELS = 96


def chosen_study(title: str) -> StudyView | None:
    """Shows title and picker; the study of the address, else the last one seen, else the newest.

    Returns:
        None where the database holds no study; the page has then said so.
    """
    names = source.studies()["study"].tolist() if len(source.studies()) else []
    if not names:
        st.title(title)
        st.info("No study yet. Start one with: `autosearch run STUDY_FILE`")
        return None
    asked = named = st.query_params.get("study")
    if asked is not None and asked not in names:
        st.warning("There is no study of the name in the address; showing another one.")
        asked = None
    remembered = st.session_state.get(_STUDY_KEY)
    current = asked or (remembered if remembered in names else names[0])
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    left.title(title)
    widget = f"study_of_{title}"
    if st.session_state.get(widget) not in names or asked not in (None, remembered):
        st.session_state[widget] = current
    chosen: str = right.selectbox("Study", names, key=widget)
    if chosen != st.query_params.get("study"):
        st.query_params["study"] = chosen
        if named is not None:
            # What else it names are candidates of the study that was left, or is gone.
            for name in ("candidate", "candidates", "sha256"):
                st.query_params.pop(name, None)
    st.session_state[_STUDY_KEY] = chosen
    return source.view(chosen)


def chosen_candidate(study: StudyView) -> str:
    """Shows a picker; the candidate of the address, else the feasible one that ranks first.

    The study must have a candidate.
    """
    frame = source.all_candidates(study)
    names = frame["candidate"].tolist()
    asked = st.query_params.get("candidate")
    ranked = next((kind for kind in ranked_kinds(study) if len(kind)), None)
    if ranked is None:
        ranked = best_first(frame, lead_objective(frame, study.objectives))
    key, seen = kept_of(study, "candidate"), kept_of(study, "candidate_asked")
    if asked is not None and asked not in set(names):
        st.warning("This study has no candidate of the name in the address; showing another one.")
    elif asked is not None and (key not in st.session_state or st.session_state.get(seen) != asked):
        # Streamlit forgets the picker, not what it showed last, once the page is left.
        st.session_state[key] = asked
    if st.session_state.get(key) not in set(names):
        st.session_state[key] = str(ranked["candidate"].iloc[0])
    chosen: str = st.selectbox("Candidate", names, key=key)
    st.query_params["candidate"] = st.session_state[seen] = chosen
    if chosen != asked:
        # The file that the address speaks of is another one's.
        st.query_params.pop("sha256", None)
    return chosen


def chosen_target(study: StudyView) -> str | None:
    """Where files were measured on several machines, the one to look at; None: the main one."""
    main, *others = source.targets(study)
    if not others:
        return None
    names = {main or "the search's": None} | {name: name for name in others}
    return names[
        st.selectbox("measured on", list(names), key="target", bind="query-params", width=220)
    ]


def ranked_kinds(study: StudyView) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Feasible candidates, the best first, by kind of figure: finalists, and the search's own."""
    judged, searched = (
        best_first(kind[kind["feasible"].astype(bool)], lead_objective(kind, study.objectives))
        for kind in (source.judged(study), source.candidates(study))
    )
    return judged, searched


def kept_of(study: StudyView, what: str) -> str:
    """The name under which the browser's session keeps something of one study."""
    return f"{what}_of_{study.id}_{study.created_at:%Y%m%dT%H%M%S%f}"


def say_error(error: AutosearchError) -> None:
    """Shows what is wrong."""
    st.error(markdown_text(" ".join(str(error).split())), icon=":material/error:")


def refreshed(draw: Callable[[], None], *, every: float | None) -> None:
    """Draws a part of a page that later runs by itself, where nobody else tells of an error.

    Args:
        draw: Draws it.
        every: Seconds from one run to the next; with None only a change in it makes it run.
    """

    def drawn() -> None:
        try:
            draw()
        except AutosearchError as error:
            say_error(error)

    st.fragment(drawn, run_every=every)()


def rerun_when(has_come: Callable[[], bool], *, every: float = 5.0) -> None:
    """Runs the whole page anew once something has come about that decides how it is drawn.

    Args:
        has_come: Whether it has.
        every: Seconds from one look to the next.
    """

    def look() -> None:
        if has_come():
            st.rerun()

    refreshed(look, every=every)


def bound_text(constraint: Constraint) -> str:
    """A constraint in words."""
    return f"{metric_label(constraint.metric)} ≤ {figure_text(constraint.metric, constraint.bound)}"


def ago(moment: datetime | None) -> str:
    """How long ago a time of the database was."""
    if moment is None or pd.isna(moment):
        return "–"
    seconds = max(0.0, (source.now() - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def free_name(name: str, frame: pd.DataFrame) -> str:
    """A name for a column of a page's own, which no metric of the user's goes by.

    Example:
        >>> [free_name(name, pd.DataFrame({"loss": []})) for name in ("role", "loss")]
        ['role', 'loss_']
    """
    while name in frame:
        name += "_"
    return name


def candidate_columns(
    frame: pd.DataFrame, objectives: Sequence[Objective], *, role: str | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The columns of a table of candidates that a person reads, and how they are shown.

    Args:
        frame: The candidates.
        objectives: Of their study: each has a column besides the usual ones.
        role: The column that says what a candidate is in a choice, if there is one.
    """
    config = st.column_config
    shown = pd.DataFrame({"candidate": frame["candidate"]})
    columns: dict[str, Any] = {"candidate": config.TextColumn("candidate", pinned=True)}
    if role is not None:
        shown[role] = frame[role]
        columns[role] = config.TextColumn("role", width="small")
    usual = {
        "accuracy": (100.0, "accuracy %", "%.1f"),
        "size_bytes": (1e-3, "size kB", "%.1f"),
        "latency_ms": (1.0, "p50 ms", "%.3g"),
        "memory_bytes": (1e-3, "arena kB", "%.1f"),
        "balanced_accuracy": (100.0, "balanced %", "%.1f"),
        "worst_class_recall": (100.0, "worst class %", "%.1f"),
        "parameters": (1.0, "parameters", "%d"),
    }
    for metric in with_objectives(usual, objectives):
        if metric in frame and frame[metric].notna().any():
            if metric in usual:
                scale, label, form = usual[metric]
            elif metric in SHARES:
                scale, label, form = 100.0, f"{metric_label(metric)} %", "%.1f"
            else:
                scale, label, form = 1.0, metric_title(metric), "%.4g"
            shown[metric] = frame[metric] * scale
            columns[metric] = config.NumberColumn(label, format=form)
    return shown, columns


def groups_left_out(conditions: Mapping[str, Any], column: str, num_known: int) -> str:
    """How many groups a chart of a column leaves out, in words; nothing if none.

    Args:
        conditions: Of the candidate.
        column: The column that names the groups.
        num_known: How many of them there are figures of.
    """
    num_not_kept = (conditions.get("num_groups_not_shown") or {}).get(column, 0)
    count = max(0, num_known - MAX_GROUPS) + num_not_kept
    return f"{count:,} more groups are not drawn." if count else ""


def enlarged(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A small image with its pixels made large, rather than blurred by the browser."""
    times = max(1, _LEAST_PIXELS // max(1, min(image.shape[:2])))
    large = image.repeat(times, axis=0).repeat(times, axis=1)
    return large[..., 0] if large.shape[-1] == 1 else large
