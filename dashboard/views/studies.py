"""Every study: how far it is, what it found, whether it runs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from autosearch.values import Objective, TrialState
from autosearch.visualization.choice import Role, roles
from autosearch.visualization.style import figure_text
from dashboard import source
from dashboard.links import link, markdown_text
from dashboard.views.common import ago, refreshed

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    st.title("Studies")
    st.caption(f"`{source.database().shown_url}`")
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
    is_running = source.is_running(row)
    counted = sum(int(row[str(state)]) for state in TrialState if state.counts)
    budget = row["definition"].get("budget", {})
    with st.container(border=True, key=f"study-{row['study_id']}"):
        head, right = st.columns([3, 1], vertical_alignment="center")
        with head:
            link("trade-off", row["study"], icon=":material/scatter_plot:", study=row["study"])
        state = ":green-badge[running]" if is_running else ":gray-badge[not running]"
        if row["num_workers"] and not is_running:
            state = ":orange-badge[worker gone]"
        right.markdown(state, text_alignment="right")
        trials = budget.get("trials")
        if trials:
            text = f"{counted} of {trials} trials"
            st.progress(min(1.0, counted / trials), text=text)
        else:
            st.markdown(f"{counted} trials")
        with st.container(horizontal=True, gap="medium"):
            _fact("best accuracy", figure_text("accuracy", _number(row["best_accuracy"])))
            _fact("on the front", str(_front_size(row)))
            _fact("candidates", f"{row['num_candidates']:,}")
            _fact("trials a minute", _rate(row, counted))
            _fact("infeasible", f"{row['infeasible']:,}")
            _fact("failed", f"{row['failed']:,}")
            _fact("last activity", ago(row["last_activity"]))
            _fact("workers", _workers(row, is_running))


def _fact(name: str, value: str) -> None:
    with st.container(width="content"):
        st.markdown(f":small[:gray[{name}]]  \n**{markdown_text(value)}**")


def _front_size(row: pd.Series[Any]) -> int:
    study = source.view(row["study"])
    objectives = [Objective.model_validate(o) for o in row["definition"]["objectives"]]
    return int((roles(source.candidates(study), objectives) == Role.FRONT.value).sum())


def _rate(row: pd.Series[Any], counted: int) -> str:
    seconds = float(row["run_seconds"])
    return f"{counted / (seconds / 60):.3g}" if counted and seconds else "–"


def _workers(row: pd.Series[Any], is_running: bool) -> str:
    if not row["num_workers"]:
        return "none"
    return f"{row['num_workers']} alive" if is_running else f"{row['num_workers']} gone"


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
