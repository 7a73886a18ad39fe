"""How the search went."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from autosearch.store.rungs import why_pruned
from autosearch.store.view import StudyView
from autosearch.visualization import search
from autosearch.visualization.hypervolume import hypervolume_frame, plot_hypervolume
from autosearch.visualization.importance import effects_frame, importance_frame, plot_importance
from autosearch.visualization.parameters import parameters_frame
from autosearch.visualization.rungs import plot_rungs, rungs_frame
from autosearch.visualization.style import metric_label
from dashboard import source
from dashboard.charts import chart
from dashboard.links import markdown_text
from dashboard.views.common import ago, chosen_study, refreshed, rerun_when

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    study = chosen_study("Search")
    if study is None:
        return
    overview = source.overview(study)
    refreshed(partial(_news, study, int(overview["complete"])), every=5)
    trials = source.trials(study)
    if trials.empty:
        st.info("No trial yet: this page waits for the first.")
        rerun_when(lambda: not source.trials(study).empty)
        return
    version = source.candidates_version(study)
    frame = source.candidates(study)
    parameters = parameters_frame(trials)
    told = frame[frame["representative"].astype(bool)].drop_duplicates("trial").set_index("trial")
    metrics = told[[o.metric for o in study.objectives if o.metric in told]]
    metrics = metrics.dropna(axis=1, how="all")
    importance = _importance((version, study.definition_sha256), parameters, metrics)
    st.subheader("What was tried")
    weights = {str(k): float(v) for k, v in importance.mean(axis=1).items()}
    with st.container(key="wide_parallel"):
        chart(
            lambda: search.plot_parallel_coordinates(parameters, metrics, importance=weights),
            key="parallel",
            name="parallel coordinates",
        )
    coloured_by = metric_label(str(metrics.columns[0])) if len(metrics.columns) else "figure"
    st.caption(
        "A line is a trial. Drag along an axis to keep only the lines through that stretch; "
        f"the bluer, the higher its {markdown_text(coloured_by)}."
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("What mattered")
        effects = effects_frame(parameters, metrics, study.objectives)
        chart(lambda: plot_importance(importance, effects), key="importance", name="importance")
        if not importance.empty:
            st.caption(
                "The words beside a bar say which values go with better results for that objective."
            )
    with right:
        st.subheader("One parameter")
        _slice(parameters, metrics, weights)
    st.subheader("How the front grew")
    _hypervolume(study)
    if (trials["state"] == "pruned").any():
        st.subheader("Pruned by rung")
        rungs = rungs_frame(trials, source.epochs_reached(study))
        chart(lambda: plot_rungs(rungs), key="rungs", name="the rungs")
    st.subheader("Who worked when")
    workers = source.workers(study)
    leases = dict(zip(workers["worker"], workers["lease_until"], strict=True))
    chart(
        lambda: search.plot_timeline(trials, now=source.now(), leases=leases),
        key="timeline",
        name="the timeline",
    )
    _workers(workers)
    st.subheader("What went wrong")
    _failures(trials)


@st.cache_data(show_spinner="Finding out what mattered …", max_entries=8)
def _importance(
    told: tuple[int, str], _parameters: pd.DataFrame, _metrics: pd.DataFrame
) -> pd.DataFrame:
    # Growing the forest takes seconds; what is told of candidates and study decides it.
    return importance_frame(_parameters, _metrics)


def _news(study: StudyView, num_shown: int) -> None:
    overview = source.overview(study)
    new = int(overview["complete"]) - num_shown
    if new > 0 and st.button(f"{new} new: show", icon=":material/refresh:"):
        st.rerun()
    if overview["is_running"]:
        st.caption("The study is running; the charts below stay as they are until you ask.")


def _slice(parameters: pd.DataFrame, metrics: pd.DataFrame, weights: dict[str, float]) -> None:
    names = sorted(map(str, parameters), key=lambda name: -weights.get(name, 0.0))
    if not names or not len(metrics.columns):
        st.caption("A slice needs two finished trials that differ.")
        return
    left, right = st.columns(2)
    parameter = left.selectbox("parameter", names, key="parameter", bind="query-params")
    metric = right.selectbox(
        "figure",
        list(map(str, metrics)),
        key="figure",
        bind="query-params",
        format_func=metric_label,
    )
    chart(
        lambda: search.plot_slice(parameters, metrics, parameter=parameter, metric=metric),
        key="slice",
        name="the slice",
    )


def _hypervolume(study: StudyView) -> None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    others = left.multiselect(
        "beside other studies",
        _alike(study),
        key="beside",
        bind="query-params",
        max_selections=5,
        help="Those with the same objectives.",
    )
    by = right.segmented_control(
        "over",
        ["trial", "time"],
        default="trial",
        key="over",
        bind="query-params",
        required=True,
    )
    drawn = [study, *map(source.view, others)]
    told = tuple((s.name, source.candidates_version(s), s.definition_sha256) for s in drawn)
    volumes = _volumes(told, study, {s.name: source.candidates(s) for s in drawn})
    chart(
        lambda: plot_hypervolume(volumes, by=by or "trial"),
        key="hypervolume",
        name="the hypervolume",
    )
    st.caption(
        "0 is nothing, 1 one candidate that is best in everything"
        + (" of all these studies, which share the scale." if others else ".")
    )


@st.cache_data(show_spinner="Finding out how the front grew …", max_entries=8)
def _volumes(
    told: tuple[tuple[str, int, str], ...], _study: StudyView, _found: dict[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    # With four objectives it takes seconds; what is told of candidates and studies decides it.
    among = pd.concat(list(_found.values()))
    return {
        name: hypervolume_frame(
            frame, _study.objectives, constraints=_study.constraints, among=among
        )
        for name, frame in _found.items()
    }


def _alike(study: StudyView) -> list[str]:
    """The other studies that seek the same, whose volumes can be compared."""
    known = source.studies()
    wanted = study.definition["objectives"]
    return [
        str(name)
        for name, definition in zip(known["study"], known["definition"], strict=True)
        if name != study.name and definition.get("objectives") == wanted
    ]


def _workers(workers: pd.DataFrame) -> None:
    if workers.empty:
        st.caption("No worker has registered.")
        return
    table = pd.DataFrame(
        {
            "worker": workers["worker"],
            "host": workers["host"],
            "process": workers["pid"],
            "state": workers["state"],
            "started": [ago(moment) for moment in workers["started_at"]],
        }
    )
    st.dataframe(table.tail(50), hide_index=True)


def _failures(trials: pd.DataFrame) -> None:
    failed = trials[trials["state"].isin(["failed", "infeasible", "pruned"])]
    if failed.empty:
        st.caption("Nothing: no trial failed, was infeasible or pruned.")
        return
    table = pd.DataFrame(
        {
            "trial": failed["number"],
            "state": failed["state"],
            "reason": [
                why_pruned(facts or {})
                or (error if isinstance(error, str) else _broken(violations))
                for error, violations, facts in zip(
                    failed["error"], failed["violations"], failed["facts"], strict=True
                )
            ],
        }
    )
    st.dataframe(table.tail(200).iloc[::-1], hide_index=True, placeholder="–")


def _broken(violations: object) -> str:
    if not isinstance(violations, dict):
        return "–"
    over = {name: value for name, value in violations.items() if value and value > 0}
    # 1 also stands for a figure that is not to be had.
    reasons = [
        f"breaks {name}" if value == 1 else f"{name}: {value:.0%} over its bound"
        for name, value in over.items()
    ]
    return "; ".join(reasons) or "–"
