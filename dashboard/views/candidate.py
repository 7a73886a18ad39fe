"""Everything about one candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from autosearch.store.view import StudyView
from autosearch.values import TARGET_METRICS, Estimate
from autosearch.visualization.choice import is_known, with_objectives
from autosearch.visualization.style import figure_text, metric_label
from autosearch.visualization.training import (
    plot_class_recall,
    plot_confusion_matrix,
    plot_learning_curves,
)
from dashboard import source
from dashboard.charts import chart
from dashboard.links import link, markdown_text
from dashboard.views.anatomy import (
    show_calibration,
    show_groups,
    show_layers,
    show_mistakes,
    show_network,
)
from dashboard.views.common import (
    FIGURES,
    candidate_columns,
    chosen_candidate,
    chosen_study,
    chosen_target,
    free_name,
    rerun_when,
)
from dashboard.views.notes import show_notes
from dashboard.views.promote import promote_button

__all__ = ["show"]


def show() -> None:
    """Draws the page."""
    study = chosen_study("Candidate")
    if study is None:
        return
    frame = source.all_candidates(study)
    if frame.empty:
        st.info("No candidate yet: this page waits for the first finished trial.")
        rerun_when(lambda: not source.all_candidates(study).empty)
        return
    name = chosen_candidate(study)
    target = chosen_target(study)
    own = frame[frame["candidate"] == name].iloc[0]
    row = source.on_target(study, own, target)
    if target is not None and row["target"] != target:
        st.caption(f"It was not measured on {markdown_text(target)}.")
        target = None
    promoted = st.query_params.get("sha256")
    if promoted not in (None, row["artifact_sha256"]):
        st.warning(
            f"This is not the file that was promoted: {markdown_text(name)} of the study is "
            "another one by now. The registry still exports the promoted file."
        )
    details = source.details(row)
    trial = source.trials(study, (int(row["trial"]),)).iloc[0]
    _figures(study, row, details)
    _actions(study, name, own)
    file = row["artifact_sha256"]
    layers = source.layers(study, file)
    predictions = source.predictions(study, row["predictions_sha256"])
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Learning curves")
        epochs = source.epochs(study, (int(row["trial"]),))
        chart(lambda: plot_learning_curves(epochs), key="curves", name="learning curves")
        st.subheader("What quantization costs")
        _siblings(study, source.all_candidates(study, target), row)
        show_calibration(name, predictions)
        st.subheader("How it was measured")
        _conditions(row, details, trial)
        _elsewhere(study, row)
    with right:
        st.subheader("Configuration")
        _configuration(trial["config"])
        show_network(layers)
    if layers:
        show_layers(study, file, layers)
    per_class = details["conditions"].get("per_class")
    if per_class:
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader("Recall by class")
            chart(
                lambda: plot_class_recall({name: per_class}), key="recall", name="recall by class"
            )
        with right:
            st.subheader("Confusion")
            matrix = details["conditions"].get("confusion")
            chart(
                lambda: plot_confusion_matrix(matrix, details["classes"]),
                key="confusion",
                name="confusion",
            )
    else:
        st.caption("No figures of single classes were kept for this candidate.")
    show_groups(details["conditions"])
    show_mistakes(study, row, details["classes"], predictions)
    show_notes(study, name)


def _figures(study: StudyView, row: pd.Series[Any], details: Mapping[str, Any]) -> None:
    if not row["feasible"]:
        unknown = [o.metric for o in study.objectives if pd.isna(row.get(o.metric))]
        why = (
            f"it has no {markdown_text(metric_label(unknown[0]))}, which the study seeks"
            if unknown
            else "it breaks a bound of the study"
        )
        st.warning(f"Infeasible: {why}.", icon=":material/block:")
    with st.container(horizontal=True, gap="medium"):
        for metric in with_objectives(FIGURES, study.objectives):
            if metric not in row:
                continue
            reason = details["reasons"].get(metric)
            if pd.isna(row[metric]) and reason is None:
                continue
            value = figure_text(metric, None if pd.isna(row[metric]) else float(row[metric]))
            with st.container(width="content"):
                st.markdown(
                    f":small[:gray[{markdown_text(metric_label(metric))}]]  \n"
                    f"**{markdown_text(value)}**",
                    help=markdown_text(reason) if reason else None,
                )
    if pd.notna(row["accuracy_low"]):
        conditions = details["conditions"]
        how = "validation images"
        if row["estimate"] == Estimate.CROSS_VALIDATION:
            how = (
                f"{conditions.get('num_folds')}-fold cross-validation"
                + _of_folds(conditions)
                + f"; the file itself is fitted on the {conditions.get('fitted_on')}"
            )
        st.caption(
            f"The accuracy of {markdown_text(row['candidate'])} lies between "
            f"{100 * row['accuracy_low']:.1f} and {100 * row['accuracy_high']:.1f} % "
            f"(90 % interval, {markdown_text(how)})."
        )


def _of_folds(conditions: Mapping[str, Any]) -> str:
    """What the folds' own networks had right, which the figures by class are taken from."""
    share = conditions.get("accuracy_of_folds")
    return "" if share is None else f", whose networks have {100 * share:.1f} % right"


def _actions(study: StudyView, name: str, row: pd.Series[Any]) -> None:
    sha256 = row["artifact_sha256"]
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        if isinstance(sha256, str):
            if source.has_artifact(sha256, study):
                st.download_button(
                    "Download .tflite",
                    lambda: source.artifact(study, sha256) or b"",
                    file_name=f"{row['trial']}-{row['quantization'] or 'model'}.tflite",
                    mime="application/octet-stream",
                    on_click="ignore",
                    icon=":material/download:",
                    help=f"SHA-256 {sha256}",
                )
            else:
                st.caption(
                    "Its file is not in the artifact store, or damaged there: start the dashboard "
                    "with --artifacts and the folder of the files."
                )
            promote_button(study, name, row)
        else:
            st.caption("It has no file: it comes from a function, or could not be converted.")
        link("trade-off", "Back to the trade-off", study=study.name)


def _siblings(study: StudyView, frame: pd.DataFrame, row: pd.Series[Any]) -> None:
    siblings = frame[(frame["trial"] == row["trial"]) & (frame["estimate"] == row["estimate"])]
    if len(siblings) < 2:
        st.caption("This trial has no other candidate to compare with.")
        return
    table, columns = candidate_columns(siblings, study.objectives)
    # The same for all of them, or said above: the rest has room on a page's half.
    table = table.drop(
        columns=["parameters", "balanced_accuracy", "worst_class_recall"], errors="ignore"
    )
    floats = siblings[siblings["quantization"] == "float32"]
    if len(floats) and pd.notna(floats["accuracy"].iloc[0]):
        loss = 100 * (siblings["accuracy"] - float(floats["accuracy"].iloc[0]))
        name = free_name("loss", table)
        table.insert(1, name, loss)
        columns[name] = st.column_config.NumberColumn("Δ points", format="%+.2f")
        changed = _changed(study, siblings, floats.iloc[0])
        if changed is not None:
            name = free_name("changed", table)
            table.insert(2, name, changed)
            columns[name] = st.column_config.TextColumn(
                "images", help="Fixed and broken against float32, of those that it was judged on"
            )
    st.dataframe(table, hide_index=True, column_config=columns, placeholder="–")


def _changed(
    study: StudyView, siblings: pd.DataFrame, floats: pd.Series[Any]
) -> list[str | None] | None:
    """Of each sibling how many images it fixes and breaks against the float32 file."""
    plain = source.predictions(study, floats["predictions_sha256"])
    if plain is None:
        return None
    texts: list[str | None] = []
    for _, sibling in siblings.iterrows():
        own = source.predictions(study, sibling["predictions_sha256"])
        if sibling["candidate"] == floats["candidate"] or own is None:
            texts.append(None)
            continue
        fixed, broken = int((own.right & ~plain.right).sum()), int((plain.right & ~own.right).sum())
        texts.append(f"+{fixed} −{broken}")
    return texts


def _conditions(row: pd.Series[Any], details: Mapping[str, Any], trial: pd.Series[Any]) -> None:
    facts: dict[str, Any] = {"target": row["target"], **(details["target"] or {})}
    facts |= {
        key: value
        for key, value in details["conditions"].items()
        if key not in ("per_class", "confusion") and not isinstance(value, (dict, list))
    }
    facts |= {f"{stage} (s)": round(s, 2) for stage, s in (trial["stage_seconds"] or {}).items()}
    facts |= {f"no {metric_label(k)}": reason for k, reason in details["reasons"].items()}
    facts["sha-256"] = row["artifact_sha256"]
    _facts_table(facts)


def _elsewhere(study: StudyView, row: pd.Series[Any]) -> None:
    """What ``autosearch worker --measure-only`` took of the file on other machines."""
    rows = source.elsewhere(study, row)
    if rows.empty:
        return
    known = [metric for metric in TARGET_METRICS if is_known(rows, metric)]
    figures = {
        metric_label(metric): [
            figure_text(metric, None if pd.isna(value) else float(value)) for value in rows[metric]
        ]
        for metric in known
    }
    st.caption("On other machines:")
    st.dataframe(pd.DataFrame({"target": rows["target"].tolist(), **figures}), hide_index=True)


def _configuration(config: Mapping[str, Any]) -> None:
    if not config:
        st.caption("The trial has no parameters.")
        return
    _facts_table(config)


def _facts_table(facts: Mapping[str, Any]) -> None:
    known = {name: value for name, value in facts.items() if value is not None and value == value}
    frame = pd.DataFrame(
        {"what": list(map(str, known)), "value": [_shown(value) for value in known.values()]}
    )
    st.dataframe(frame, hide_index=True, height=min(420, 38 + 35 * max(1, len(frame))))


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
