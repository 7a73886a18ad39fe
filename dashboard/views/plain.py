"""A database that Optuna alone wrote: trials, values and parameters."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from autosearch.visualization import search
from autosearch.visualization.importance import effects_frame, importance_frame, plot_importance
from autosearch.visualization.parameters import parameters_frame
from autosearch.visualization.plain import plot_values
from dashboard import source
from dashboard.charts import chart
from dashboard.views.common import rerun_when

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    names = source.plain_study_names()
    if not names:
        st.title("Optuna")
        st.info("No study yet. Start one with: `autosearch run STUDY_FILE`")
        return
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    left.title("Optuna")
    chosen = right.selectbox("Study", names, key="study", bind="query-params")
    study = source.plain_study(chosen)
    st.caption(
        "Optuna wrote this database without autosearch: there are trials, values and parameters, "
        "but no files to measure, compare or promote."
    )
    trials = study.trials
    if trials.empty:
        st.info("No trial yet: this page waits for the first.")
        rerun_when(lambda: not source.plain_study(study.name).trials.empty)
        return
    counts = trials["state"].value_counts()
    st.markdown(", ".join(f"**{count:,}** {state}" for state, count in counts.items()))
    chart(lambda: plot_values(study), key="values", name="the values")
    parameters = parameters_frame(trials)
    # Of a trial that was pruned Optuna keeps what it had by then.
    complete = trials[trials["state"] == "complete"]
    metrics = complete.set_index("number")[[o.metric for o in study.objectives]].astype(float)
    metrics = metrics.dropna()
    importance = importance_frame(parameters, metrics)
    weights = {str(name): float(value) for name, value in importance.mean(axis=1).items()}
    st.subheader("What was tried")
    with st.container(key="wide_parallel"):
        chart(
            lambda: search.plot_parallel_coordinates(parameters, metrics, importance=weights),
            key="parallel",
            name="parallel coordinates",
        )
    st.subheader("What mattered")
    effects = effects_frame(parameters, metrics, study.objectives)
    chart(lambda: plot_importance(importance, effects), key="importance", name="importance")
    st.subheader("Trials")
    table = trials.drop(columns="config").set_index("number")
    configs = pd.DataFrame(list(trials["config"]), index=table.index)
    mixed = [name for name in configs if configs[name].map(type).nunique() > 1]
    configs = configs.astype(dict.fromkeys(mixed, str))
    configs = configs.rename(columns=lambda name: f"{name} (parameter)" if name in table else name)
    st.dataframe(table.join(configs), placeholder="–")
