"""What the file of a candidate is made of, and where it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from autosearch.errors import AutosearchError
from autosearch.store.predictions import Predictions
from autosearch.store.view import StudyView
from autosearch.values import Estimate
from autosearch.visualization.architecture import (
    Layer,
    architecture_svg,
    layer_times_ms,
    plot_layers,
)
from autosearch.visualization.mistakes import mistakes_frame, plot_reliability, validation_images
from autosearch.visualization.training import plot_group_accuracy
from dashboard import source
from dashboard.charts import chart, picture
from dashboard.links import markdown_text
from dashboard.views.common import enlarged

__all__ = ["show_calibration", "show_groups", "show_layers", "show_mistakes", "show_network"]


def show_network(layers: tuple[Layer, ...]) -> None:
    """Draws the network from top to bottom."""
    st.subheader("The network")
    if not layers:
        st.caption("It has no file to read a network from.")
        return
    with st.container(height=660 if len(layers) > 13 else "content", border=False):
        picture(architecture_svg(layers), key="network")


def show_layers(study: StudyView, sha256: str, layers: tuple[Layer, ...]) -> None:
    """Draws the bytes of each layer, and on request its time."""
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("Bytes by layer")
        kilobytes = [layer.weight_bytes / 1000 for layer in layers]
        chart(
            lambda: plot_layers(layers, kilobytes, unit="weights (kB)"),
            key="bytes_by_layer",
            name="bytes by layer",
        )
    with right:
        st.subheader("Time by layer")
        key = f"times of {sha256}"
        if st.button("Measure it here", help="Takes about a second of this machine."):
            file = source.artifact(study, sha256)
            try:
                st.session_state[key] = layer_times_ms(file or b"")
            except AutosearchError as error:
                st.caption(markdown_text(error))
        times = st.session_state.get(key)
        if times is None:
            macs = [layer.macs / 1000 for layer in layers]
            chart(
                lambda: plot_layers(layers, macs, unit="multiply-accumulates (thousands)"),
                key="macs_by_layer",
                name="multiply-accumulates by layer",
            )
            st.caption("Arithmetic, which stands for time until it is measured.")
            return
        microseconds = [1000 * time for time in times]
        chart(
            lambda: plot_layers(layers, microseconds, unit="time (µs)"),
            key="time_by_layer",
            name="time by layer",
        )
        st.caption(
            "Measured just now on the dashboard's machine, by cutting the file after each layer: "
            "about right for the shares, not a latency."
        )


def show_calibration(name: str, predictions: Predictions | None) -> None:
    """Draws how far the probabilities can be trusted."""
    st.subheader("Calibration")
    chart(
        lambda: plot_reliability({} if predictions is None else {name: predictions}),
        key="reliability",
        name="calibration",
    )
    if predictions is not None:
        st.caption(
            "Above the dotted line it is better than it says, below it is surer than it should be. "
            "The larger a marker, the more images."
        )


def show_groups(conditions: Mapping[str, Any]) -> None:
    """Draws the accuracy of each group of images, a chart for each column that names groups."""
    for column, groups in (conditions.get("per_group") or {}).items():
        st.subheader(f"Accuracy by {markdown_text(column)}")
        chart(partial(plot_group_accuracy, groups), key=f"groups {column}", name="the groups")


def show_mistakes(
    study: StudyView, row: pd.Series[Any], classes: list[str], predictions: Predictions | None
) -> None:
    """Lists the images that it is surest of and wrong about, and on request shows them."""
    st.subheader("Worst mistakes")
    if predictions is None or len(classes) != predictions.probabilities.shape[1]:
        st.caption("They are found in the predictions, which were not kept.")
        return
    worst = mistakes_frame(predictions, classes)
    if worst.empty:
        st.caption(f"None: all {len(predictions.labels):,} images are right.")
        return
    num_wrong = int((~predictions.right).sum())
    kind = "validation images"
    if row["estimate"] == Estimate.CROSS_VALIDATION:
        kind = "images of all folds"
    st.caption(
        f"{num_wrong:,} of {len(predictions.labels):,} {kind} are wrong; those first of which it "
        "is surest."
    )
    if row["estimate"] == Estimate.VALIDATION and st.toggle(
        "Show the images", help="Loads the study's dataset."
    ):
        try:
            images = validation_images(study, predictions.labels, worst["image"].tolist())
        except (AutosearchError, OSError) as error:
            st.caption(f"The images cannot be shown: {markdown_text(error)}")
        else:
            _gallery(worst, images)
            return
    columns = st.column_config
    st.dataframe(
        worst,
        hide_index=True,
        height=min(320, 38 + 35 * len(worst)),
        column_config={
            "confidence": columns.NumberColumn("probability", format="percent"),
            "true_probability": columns.NumberColumn("of the true class", format="percent"),
        },
    )


def _gallery(worst: pd.DataFrame, images: list[npt.NDArray[np.uint8]]) -> None:
    with st.container(horizontal=True, gap="small"):
        for (_, mistake), image in zip(worst.iterrows(), images, strict=True):
            with st.container(width=124):
                st.image(enlarged(image), width=110)
                st.markdown(
                    f":small[**{markdown_text(mistake['true'])}** taken for "
                    f"**{markdown_text(mistake['predicted'])}**, {mistake['confidence']:.0%}]"
                )
