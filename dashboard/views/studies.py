"""Every study: how far it is, what it found, whether it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.store.view import StudyView
from autosearch.values import TrialState
from autosearch.visualization.choice import Role, best_first, lead_objective, roles
from autosearch.visualization.style import figure_text, metric_label
from dashboard import source
from dashboard.links import code_text, link, markdown_text
from dashboard.views.common import ago, refreshed

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    st.title("Studies")
    st.caption(code_text(source.database().shown_url))
    refreshed(_list, every=5)


def _list() -> None:
    frame = source.studies()
    if frame.empty:
        st.info("No study yet. Start one with: `autosearch run STUDY_FILE`")
        return
    wanted = ""
    if len(frame) > 8:
        wanted = st.text_input("Find a study", placeholder="part of its name")
        frame = frame[frame["study"].str.contains(wanted, case=False, regex=False)]
        if frame.empty:
            st.caption("No study has that in its name.")
    for _, row in frame.head(50).iterrows():
        _card(row)
    if len(frame) > 50:
        st.caption(f"{len(frame) - 50} older ones are not shown: find them by name.")


def _card(row: pd.Series[Any]) -> None:
    is_running = bool(row["is_running"])
    counted = sum(int(row[str(state)]) for state in TrialState if state.counts)
    study = source.view(row["study"])
    with st.container(border=True, key=f"study-{row['study_id']}"):
        head, right = st.columns([3, 1], vertical_alignment="center")
        with head:
            link("trade-off", row["study"], icon=":material/scatter_plot:", study=row["study"])
        state = ":green-badge[running]" if is_running else ":gray-badge[not running]"
        if row["num_lost"] and not is_running:
            state = ":orange-badge[worker gone]"
        right.markdown(state, text_alignment="right")
        _spent(study, row["definition"].get("budget", {}), counted, float(row["run_seconds"]))
        counts = tuple(int(row[str(state)]) for state in TrialState)
        changes = (counts, row["num_candidates"], row["last_activity"])
        num_on_front, metric, best = _found(source.database().url, changes, study)
        with st.container(horizontal=True, gap="medium"):
            _fact(f"best {metric_label(metric)}", figure_text(metric, best))
            _fact("on the front", str(num_on_front))
            _fact("candidates", f"{row['num_candidates']:,}")
            _fact("trials a minute", _rate(row, counted))
            _fact("infeasible", f"{row['infeasible']:,}")
            _fact("failed", f"{row['failed']:,}")
            _fact("last activity", ago(row["last_activity"]))
            _fact("workers", _workers(row))


def _fact(name: str, value: str) -> None:
    with st.container(width="content"):
        st.markdown(f":small[:gray[{markdown_text(name)}]]  \n**{markdown_text(value)}**")


def _spent(
    study: StudyView, budget: Mapping[str, float | None], counted: int, run_seconds: float
) -> None:
    """How much of each limit is used up, with a bar for the one that will end the study."""
    used = {"trials": float(counted), "minutes": run_seconds / 60}
    if budget.get("total_epochs"):
        used["total_epochs"] = float(study.progress().num_epochs)
    shares, texts = [], []
    for name, value in used.items():
        limit = budget.get(name)
        if limit:
            shares.append(value / limit)
            unit = name.removeprefix("total_")
            bound = f"{limit:,.0f}" if limit == int(limit) else f"{limit:,.1f}"
            texts.append(f"{value:,.{int(unit == 'minutes')}f} of {bound} {unit}")
        elif name == "trials":
            texts.append(f"{value:,.0f} trials")
    st.progress(min(1.0, max(shares, default=0.0)), text=" · ".join(texts))


@st.cache_data(
    ttl=60, show_spinner=False, max_entries=256, hash_funcs={StudyView: lambda study: study.name}
)
def _found(url: str, changes: tuple[Any, ...], study: StudyView) -> tuple[int, str, float | None]:
    """The size of the front, and the metric that leads with its best value.

    The candidates of all studies are more than is kept of them: they are read again once a
    minute, or when a study has changed.
    """
    candidates = source.candidates(study)
    num_on_front = int((roles(candidates, study.objectives) == Role.FRONT.value).sum())
    lead = lead_objective(candidates, study.objectives)
    ranked = best_first(candidates[candidates["feasible"].astype(bool)], lead)
    best = ranked[lead.metric].iloc[0] if len(ranked) and lead.metric in ranked else None
    return num_on_front, lead.metric, None if best is None or pd.isna(best) else float(best)


def _rate(row: pd.Series[Any], counted: int) -> str:
    seconds = float(row["run_seconds"])
    return f"{counted / (seconds / 60):.3g}" if counted and seconds else "–"


def _workers(row: pd.Series[Any]) -> str:
    counts = {"alive": row["num_workers"], "gone": row["num_lost"]}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"
