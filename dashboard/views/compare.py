"""Two to four candidates side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.metrics import SHARES
from autosearch.store.view import StudyView
from autosearch.values import QUALITY_METRICS, TARGET_METRICS, Estimate
from autosearch.visualization.architecture import plot_networks
from autosearch.visualization.choice import with_objectives
from autosearch.visualization.style import figure_text, metric_label
from autosearch.visualization.training import (
    plot_class_recall,
    plot_confusion_matrix,
    plot_learning_curves,
)
from dashboard import source
from dashboard.charts import chart
from dashboard.links import link, markdown_text
from dashboard.views.anatomy import measured_us
from dashboard.views.common import (
    FIGURES,
    chosen_study,
    chosen_target,
    kept_of,
    ranked_kinds,
    rerun_when,
)

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    study = chosen_study("Compare")
    if study is None:
        return
    frame = source.all_candidates(study)
    if len(frame) < 2:
        st.info("Comparing needs two candidates: this page waits for them.")
        rerun_when(lambda: len(source.all_candidates(study)) > 1)
        return
    names = frame["candidate"].tolist()
    known = set(names)
    asked = [n for n in st.query_params.get("candidates", "").split(",") if n in known][:4]
    # Two files of one network would differ in little.
    judged, searched = (kind.drop_duplicates("trial") for kind in ranked_kinds(study))
    ranked = judged if len(judged) > 1 else searched
    key, seen = kept_of(study, "compared"), kept_of(study, "compared_asked")
    # Streamlit forgets the picker, not what it showed last, once the page is left.
    if asked and (key not in st.session_state or st.session_state.get(seen) != asked):
        st.session_state[key] = asked
    st.session_state.setdefault(key, ranked["candidate"].head(2).tolist())
    chosen: list[str] = st.multiselect(
        "Candidates", names, key=key, max_selections=4, placeholder="choose two to four"
    )
    st.query_params["candidates"] = ",".join(chosen)
    st.session_state[seen] = chosen
    if len(chosen) < 2:
        st.info("Choose two to four candidates, here or on the Trade-off page.")
        return
    target = chosen_target(study)
    own = (frame[frame["candidate"] == name].iloc[0] for name in chosen)
    rows = [source.on_target(study, row, target) for row in own]
    trials = [int(row["trial"]) for row in rows]
    details = [source.details(row) for row in rows]
    _figures(study, rows)
    with st.container(horizontal=True, gap="small"):
        for name in chosen:
            link("candidate", f"Open {name}", study=study.name, candidate=name)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("What differs in the configuration")
        _differences(
            chosen, [source.trials(study, (number,)).iloc[0]["config"] for number in trials]
        )
    with right:
        st.subheader("Learning curves")
        epochs = source.epochs(study, tuple(dict.fromkeys(trials)))
        chart(lambda: plot_learning_curves(epochs), key="curves", name="learning curves")
    _layers(study, rows)
    per_class = {
        name: found["conditions"].get("per_class") or {}
        for name, found in zip(chosen, details, strict=True)
    }
    if not any(per_class.values()):
        st.caption("No figures of single classes were kept for these candidates.")
        return
    st.subheader("Recall by class, the worst on top")
    chart(lambda: plot_class_recall(per_class), key="recall", name="recall by class")
    st.subheader("Confusion")
    for column, name, found in zip(st.columns(len(chosen)), chosen, details, strict=True):
        with column:
            st.markdown(f"**{markdown_text(name)}**")
            matrix = found["conditions"].get("confusion")
            chart(
                partial(plot_confusion_matrix, matrix, found["classes"]),
                key=f"confusion {name}",
                name="confusion",
            )


def _layers(study: StudyView, rows: list[pd.Series[Any]]) -> None:
    found = [source.layers(study, row["artifact_sha256"]) for row in rows]
    drawn = [(row, layers) for row, layers in zip(rows, found, strict=True) if layers]
    if not drawn:
        return
    networks = {str(row["candidate"]): layers for row, layers in drawn}

    def draw(values: Iterable[Sequence[float]], unit: str) -> None:
        of = dict(zip(networks, values, strict=True))
        chart(partial(plot_networks, networks, of, unit=unit), key=unit, name="layers")

    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Bytes by layer")
        draw(
            ([layer.weight_bytes / 1000 for layer in layers] for layers in networks.values()),
            "weights (kB)",
        )
    with right:
        st.subheader("Time by layer")
        times = measured_us(study, [row["artifact_sha256"] for row, _ in drawn])
        if times is not None:
            draw(times, "time (µs)")
        else:
            draw(
                ([layer.macs / 1000 for layer in layers] for layers in networks.values()),
                "multiply-accumulates (thousands)",
            )


def _figures(study: StudyView, rows: list[pd.Series[Any]]) -> None:
    first, lines = rows[0], []
    for metric in with_objectives(FIGURES, study.objectives):
        values = [
            float(row[metric]) if metric in row and pd.notna(row[metric]) else None for row in rows
        ]
        if all(value is None for value in values):
            continue
        line = {"figure": metric_label(metric)}
        base = values[0]
        for row, value in zip(rows, values, strict=True):
            text = figure_text(metric, value)
            if row is not first and value is not None and base and _meet(metric, row, first):
                text += (
                    f"  ({100 * (value - base):+.1f})"
                    if metric in SHARES
                    else f"  ({(value - base) / abs(base):+.0%})"
                )
            line[_head(row, rows)] = text
        lines.append(line)
    st.dataframe(pd.DataFrame(lines), hide_index=True)
    st.caption(
        "In brackets: against the first one, shares in points. Figures of two kinds, or of two "
        "machines, have none."
    )


def _meet(metric: str, row: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether two candidates' figures of a metric were taken alike."""
    if metric in TARGET_METRICS:
        return source.target_of(row) == source.target_of(other)
    return metric not in QUALITY_METRICS or bool(row["estimate"] == other["estimate"])


def _head(row: pd.Series[Any], rows: list[pd.Series[Any]]) -> str:
    """A candidate with what must be known of its figures beside those of the others."""
    words = [str(row["candidate"])]
    if row["estimate"] == Estimate.CROSS_VALIDATION:
        words.append("cross-validated")
    if pd.notna(row["target"]) and len({source.target_of(other) for other in rows}) > 1:
        words.append(f"on {row['target']}")
    return ", ".join(words)


def _differences(names: list[str], configs: list[dict[str, Any]]) -> None:
    keys = dict.fromkeys(key for config in configs for key in config)
    lines = []
    for key in keys:
        values = [config.get(key) for config in configs]
        if any(value != values[0] for value in values):
            line: dict[str, str] = {"parameter": key}
            line |= {name: _shown(value) for name, value in zip(names, values, strict=True)}
            lines.append(line)
    if not lines:
        st.caption("Nothing: they are files of one trained network, or of equal configurations.")
        return
    st.dataframe(pd.DataFrame(lines), hide_index=True)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
