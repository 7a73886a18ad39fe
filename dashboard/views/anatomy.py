"""What the file of a candidate is made of, and where it goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from dashboard.views.common import enlarged, groups_left_out

__all__ = [
    "measured_us",
    "show_calibration",
    "show_groups",
    "show_layers",
    "show_mistakes",
    "show_network",
]


def show_network(layers: tuple[Layer, ...]) -> None:
    """Draws the network from top to bottom."""
    st.subheader("The network")
    if not layers:
        st.caption("There is no file to read a network from.")
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
        times = measured_us(study, [sha256])
        if times is None:
            macs = [layer.macs / 1000 for layer in layers]
            chart(
                lambda: plot_layers(layers, macs, unit="multiply-accumulates (thousands)"),
                key="macs_by_layer",
                name="multiply-accumulates by layer",
            )
            return
        chart(
            lambda: plot_layers(layers, times[0], unit="time (µs)"),
            key="time_by_layer",
            name="time by layer",
        )


def measured_us(study: StudyView, files: Sequence[str]) -> list[list[float]] | None:
    """Shows a button that has the layers of files timed, and says what is drawn.

    Args:
        study: Whose files they are.
        files: Their SHA-256 sums.

    Returns:
        Of each file the microseconds of each layer; None until all of them were measured.
    """
    keys = [f"times of {sha256}" for sha256 in files]
    many = "a second" if len(files) == 1 else f"{len(files)} seconds"
    if st.button("Measure it here", help=f"Takes about {many} of this machine."):
        for key, sha256 in zip(keys, files, strict=True):
            try:
                st.session_state[key] = layer_times_ms(source.artifact(study, sha256) or b"")
            except AutosearchError as error:
                st.caption(markdown_text(error))
    times = [st.session_state.get(key) for key in keys]
    if any(time is None for time in times):
        st.caption("Multiply-accumulates are shown until the time is measured.")
        return None
    st.caption(
        "Measured on the dashboard's machine, by cutting the file after each layer: about right "
        "for the shares, not a latency."
    )
    return [[1000 * time for time in times_ms] for times_ms in times if times_ms is not None]


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
            "Above the dotted line it is right more often than it says (under-confident), below it "
            "less often (over-confident). "
            "The larger a marker, the more images."
        )


def show_groups(conditions: Mapping[str, Any]) -> None:
    """Draws the accuracy of each group of images, a chart for each column that names groups."""
    for column, groups in (conditions.get("per_group") or {}).items():
        st.subheader(f"Accuracy by {markdown_text(column)}")
        chart(partial(plot_group_accuracy, groups), key=f"groups {column}", name="the groups")
        are_small = any(not found.get("counts", True) for found in groups.values())
        left_out = groups_left_out(conditions, column, len(groups))
        if are_small or left_out:
            st.caption("Hollow: of too few images to count by themselves. " * are_small + left_out)


def show_mistakes(
    study: StudyView, row: pd.Series[Any], classes: list[str], predictions: Predictions | None
) -> None:
    """Lists the images that it is surest of and wrong about, and on request shows them."""
    st.subheader("Worst mistakes")
    if predictions is None:
        st.caption("The mistakes of a candidate are found in its predictions; these were not kept.")
        return
    if len(classes) != predictions.probabilities.shape[1]:
        st.caption("The mistakes cannot be named: the names of the classes were not kept.")
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
        f"{num_wrong:,} of {len(predictions.labels):,} {kind} are wrong, the most confident first."
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
