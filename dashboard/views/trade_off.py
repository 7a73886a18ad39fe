"""The heart: candidates as accuracy against cost, bounds, and the one to look at first."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from autosearch.store.view import StudyView
from autosearch.values import Direction, Estimate, Objective
from autosearch.visualization.choice import (
    Bound,
    Pick,
    Role,
    best_first,
    lead_objective,
    pick,
    roles,
    with_objectives,
)
from autosearch.visualization.style import figure_text, metric_label
from autosearch.visualization.trade_off import THINNED_ABOVE, costs_of, draw_trade_off
from dashboard import source
from dashboard.charts import as_json, linked_charts
from dashboard.links import code_text, go, markdown_text
from dashboard.views.bounds import chosen_bounds, more_bounds
from dashboard.views.common import (
    bound_text,
    candidate_columns,
    chosen_study,
    chosen_target,
    free_name,
    kept_of,
    refreshed,
    rerun_when,
)

__all__ = ["show"]

_TABLE, _SELECTED, _ROWS = "candidates_table", "selected", "table_rows"
_TOLD = ("accuracy", "size_bytes", "latency_ms", "memory_bytes")
_MAX_ROWS = 2000
_NUM_COMPARED = 150
_OUT = (Role.OUT_OF_BOUNDS.value, Role.INFEASIBLE.value)
_JUDGED = "cross-validated"
_AS_GOOD = "as good, at least cost"


def show() -> None:
    """Draws the page."""
    study = chosen_study("Trade-off")
    if study is None:
        return
    selected_of = kept_of(study, "selection")
    if st.session_state.get("selection_of") != selected_of:
        st.session_state["selection_of"] = selected_of
        st.session_state[_SELECTED] = []
    is_running = _is_running(study)
    refreshed(partial(_body, study), every=4 if is_running else None)
    rerun_when(lambda: _is_running(study) != is_running)


def _is_running(study: StudyView) -> bool:
    return bool(source.overview(study)["is_running"])


def _body(study: StudyView) -> None:
    # An open page must not show what has come by the id of its study since that was deleted.
    source.overview(study)
    version = source.candidates_version(study)
    if source.candidates(study).empty:
        _say_empty(study)
        return
    choices = st.container(horizontal=True, gap="small", vertical_alignment="bottom")
    with choices:
        target = chosen_target(study)
    frame = source.candidates(study, target)
    bounds, quantizations, first = _filters(study, frame, choices)
    if target is not None:
        num_all = len(source.candidates(study))
        st.caption(
            f"{len(frame):,} of {num_all:,} candidates were measured on {markdown_text(target)}: "
            "latency and memory are its, everything else is the search's."
        )
    role = roles(frame, study.objectives, bounds=bounds, quantizations=quantizations)
    judged = source.judged(study, target)
    judged_role = roles(judged, study.objectives, bounds=bounds, quantizations=quantizations)
    by_finalists = first is None and bool((judged_role == Role.FRONT.value).any())
    of, their_role = (judged, judged_role) if by_finalists else (frame, role)
    picked = pick(of, their_role, study.objectives, first=first, tests=source.paired_tests(study))
    _show_pick(study, of, their_role, picked)
    judged = judged[~judged_role.isin(_OUT)]
    lead = lead_objective(frame, study.objectives)
    baselines = source.baselines(study).reindex(columns=["baseline", lead.metric]).dropna()
    levels = dict(zip(baselines["baseline"], baselines[lead.metric], strict=True))
    suggested = picked.candidate if picked else None
    figures = _figures(
        (
            version,
            target,
            study.definition_sha256,
            quantizations,
            suggested,
            repr(bounds),
            repr(levels),
        ),
        study,
        frame,
        role,
        bounds,
        suggested,
        judged,
        levels,
    )
    linked_charts(
        figures,
        # Charts of another study keep neither zoom nor selection for this one.
        key=kept_of(study, "charts"),
        selected=st.session_state.setdefault(_SELECTED, []),
        on_selected=_take_from_charts,
    )
    st.caption(
        "Filled: on the front of all objectives. Hollow: dominated. Grey: infeasible or out of "
        "bounds. "
        + ("Stars: finalists, fitted again and judged by cross-validation. " * bool(len(judged)))
        + ("Of points that lie on each other one is drawn. " * (len(frame) > THINNED_ABOVE))
        + "Click a point, or choose box select in the chart's bar; Shift-click adds one."
        + _without_search(lead, levels)
    )
    _table(study, lead, frame, role, judged)


@st.cache_data(show_spinner=False, max_entries=8)
def _figures(
    shown: tuple[Any, ...],
    _study: StudyView,
    _frame: pd.DataFrame,
    _role: pd.Series[Any],
    _bounds: dict[str, Bound],
    _suggested: str | None,
    _judged: pd.DataFrame,
    _levels: dict[str, float],
) -> list[str]:
    """The charts as JSON. What ``shown`` names decides them."""
    unusual = _unusual(_study, _frame, _role)
    figures = (
        draw_trade_off(
            _frame,
            _study.objectives,
            x=cost,
            role=_role,
            constraints=_study.constraints,
            bounds=_bounds,
            suggested=_suggested,
            baselines=_levels,
            judged=_judged,
            unusual=unusual,
            height=400,
        )
        for cost in costs_of(_frame, _study.objectives)
    )
    return [as_json(figure) for figure in figures]


def _unusual(study: StudyView, frame: pd.DataFrame, role: pd.Series[Any]) -> dict[int, str]:
    """What is unusual in the configurations of trials, where a chart tells it."""
    numbers = frame["trial"].drop_duplicates()
    if len(frame) > THINNED_ABOVE:
        # Of so many only those on the front are told of: they are held against a sample.
        spread = numbers.iloc[:: max(1, len(numbers) // _NUM_COMPARED)]
        numbers = pd.concat([spread, frame["trial"][role == Role.FRONT.value]]).drop_duplicates()
    return source.unusual(study, tuple(numbers.tolist()))


def _without_search(lead: Objective, levels: dict[str, float]) -> str:
    if not levels:
        return ""
    words = ", ".join(f"{name} {figure_text(lead.metric, v)}" for name, v in levels.items())
    return f" Long dashes: baselines, without a search ({markdown_text(words)})."


def _say_empty(study: StudyView) -> None:
    overview = source.overview(study)
    failed, infeasible = overview["failed"], overview["infeasible"]
    if infeasible and not overview["pruned"]:
        others = f" ({failed} more failed: autosearch trials tells why)" if failed else ""
        st.info(
            f"No candidate: {infeasible} trials were found infeasible before they were "
            f"trained{others}. Widen the bounds, or search smaller networks."
        )
    elif failed:
        st.info(
            f"No candidate yet: {failed} trials failed. See why with: "
            + code_text(f"autosearch trials {study.name}")
        )
    else:
        st.info("No candidate yet: the chart waits for the first finished trial.")


def _filters(
    study: StudyView, frame: pd.DataFrame, choices: DeltaGenerator
) -> tuple[dict[str, Bound], list[str] | None, str | None]:
    schemes = sorted(set(frame["quantization"].unique()) - {""})
    with choices:
        chosen: list[str] = []
        if len(schemes) > 1:
            chosen = st.multiselect(
                "quantization",
                schemes,
                key="quantization",
                bind="query-params",
                placeholder="all",
                width=220,
            )
        known = [o for o in study.objectives if o.metric in frame]
        modes = {_AS_GOOD: None} | {_mode(o): o.metric for o in known}
        mode = st.selectbox("suggest", list(modes), key="suggest", bind="query-params", width=220)
        more = more_bounds(study, frame)
    bounds = chosen_bounds(study, frame, more)
    if study.constraints:
        words = "; ".join(bound_text(c) for c in study.constraints)
        st.caption(f"The study itself asks for {markdown_text(words)}.")
    return bounds, chosen or None, modes[mode]


def _mode(objective: Objective) -> str:
    if objective.metric == "accuracy":
        return "most accurate"
    if objective.metric == "size_bytes":
        return "smallest"
    if objective.metric == "latency_ms":
        return "fastest"
    word = "most" if objective.direction is Direction.MAXIMIZE else "least"
    return f"{word} {metric_label(objective.metric)}"


def _show_pick(
    study: StudyView,
    frame: pd.DataFrame,
    role: pd.Series[Any],
    picked: Pick | None,
) -> None:
    if picked is None:
        st.warning(_why_none(study, frame, frame[~role.isin(_OUT)]))
        return
    row = frame[frame["candidate"] == picked.candidate].iloc[0]
    figures = " · ".join(
        f"{markdown_text(metric_label(m))} **{markdown_text(figure_text(m, float(row[m])))}**"
        for m in with_objectives(_TOLD, study.objectives)
        if m in row and pd.notna(row[m])
    )
    how = " (cross-validated)" if row["estimate"] == Estimate.CROSS_VALIDATION else ""
    with st.container(border=True, key="suggestion"):
        left, right = st.columns([8, 1], vertical_alignment="center")
        left.markdown(
            f"Suggested: **{markdown_text(picked.candidate)}**{how} — {figures}  \n"
            f":small[{markdown_text(picked.reason)}]"
        )
        if right.button("Open it", type="primary", help="Everything about it, and its promotion"):
            go("candidate", study=study.name, candidate=picked.candidate)


def _why_none(study: StudyView, frame: pd.DataFrame, remain: pd.DataFrame) -> str:
    """Why there is nothing to suggest, and what to do."""
    if len(remain):
        unknown = [
            metric_label(o.metric)
            for o in study.objectives
            if o.metric not in remain or remain[o.metric].isna().all()
        ]
        what = " or ".join(map(markdown_text, unknown)) or "every objective"
        return f"{len(remain):,} candidates remain, but none has a figure for {what} to rank it by."
    if frame["feasible"].any():
        return f"None of the {len(frame):,} candidates remains. Loosen a bound."
    return (
        f"None of the {len(frame):,} candidates remains. None keeps the study's own bounds: the "
        "grey points show how far they are."
    )


def _table(
    study: StudyView,
    lead: Objective,
    frame: pd.DataFrame,
    role: pd.Series[Any],
    judged: pd.DataFrame,
) -> None:
    own = free_name("role", frame)
    frame, judged = frame.assign(**{own: role}), judged.assign(**{own: _JUDGED})
    order = {name: place for place, name in enumerate((_JUDGED, *Role))}
    remain = best_first(pd.concat([judged, frame[~role.isin(_OUT)]]), lead)
    places = remain[own].map(order).to_numpy(dtype=int)
    remain = remain.iloc[np.argsort(places, kind="stable")]
    selected = st.session_state[_SELECTED]
    gone = frame[frame["candidate"].isin(selected) & role.isin(_OUT)]
    shown = pd.concat([remain.head(_MAX_ROWS), gone]).reset_index(drop=True)
    table, columns = candidate_columns(shown, study.objectives, role=own)
    names = shown["candidate"].tolist()
    st.session_state[_ROWS] = names
    positions = {name: place for place, name in enumerate(names)}
    st.session_state[_TABLE] = {
        "selection": {
            "rows": [positions[name] for name in selected if name in positions],
            "columns": [],
            "cells": [],
        }
    }
    _actions(study, len(frame), remain, remain[own])
    st.dataframe(
        table,
        key=_TABLE,
        hide_index=True,
        column_config=columns,
        on_select=_take_from_table,
        selection_mode="multi-row",
        placeholder="–",
        height=min(420, 38 + 35 * max(1, len(table))),
    )
    if len(remain) > _MAX_ROWS:
        st.caption(f"The first {_MAX_ROWS:,} of {len(remain):,}; the CSV file has them all.")


def _actions(
    study: StudyView, num_candidates: int, remain: pd.DataFrame, role: pd.Series[Any]
) -> None:
    selected: list[str] = st.session_state[_SELECTED]
    num_front = int((role == Role.FRONT.value).sum())
    num_remain = int((role != _JUDGED).sum())
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown(
            f"**{num_remain:,}** of {num_candidates:,} candidates remain, "
            f"**{num_front}** on the front" + (f", {len(selected)} selected" if selected else ""),
            width="content",
        )
        st.space("stretch")
        if selected and st.button("Clear selection", type="tertiary"):
            st.session_state[_SELECTED] = []
            st.rerun(scope="fragment")
        if st.button("Open candidate", disabled=len(selected) != 1, help="Select one candidate"):
            go("candidate", study=study.name, candidate=selected[0])
        if st.button(
            "Compare", disabled=not 2 <= len(selected) <= 4, help="Select two to four candidates"
        ):
            go("compare", study=study.name, candidates=",".join(selected))
        st.download_button(
            "CSV",
            lambda: _csv(remain),
            file_name="candidates.csv",
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def _csv(remain: pd.DataFrame) -> bytes:
    text: str = remain.drop(columns=["candidate_key", "target_id"]).to_csv(index=False)
    return text.encode()


def _take_from_charts(names: list[str]) -> None:
    st.session_state[_SELECTED] = names


def _take_from_table() -> None:
    names: list[str] = st.session_state.get(_ROWS, [])
    rows = st.session_state[_TABLE]["selection"]["rows"]
    st.session_state[_SELECTED] = [names[row] for row in rows if row < len(names)]
