"""Which images a candidate gets wrong, and how far its probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch.errors import StudyError
from autosearch.evaluation.metrics import calibration_gaps, normalised
from autosearch.store.predictions import Predictions
from autosearch.store.view import StudyView
from autosearch.visualization.samples import study_dataset
from autosearch.visualization.style import GREY, PALETTE, base_figure, escaped, not_yet

__all__ = ["mistakes_frame", "plot_reliability", "validation_images"]


def mistakes_frame(
    predictions: Predictions, classes: Sequence[str], *, limit: int = 24
) -> pd.DataFrame:
    """The images that a candidate is surest of and wrong about, the worst first.

    Args:
        predictions: Of the images, in their order.
        classes: The class names.
        limit: At most so many.

    Returns:
        Columns ``image`` (its place), ``true``, ``predicted`` (class names), ``confidence`` (the
        probability of the predicted class) and ``true_probability``.
    """
    rows = normalised(predictions.probabilities)
    guessed = predictions.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(guessed != predictions.labels)
    order = wrong[np.argsort(-rows[wrong, guessed[wrong]], kind="stable")][:limit]
    return pd.DataFrame(
        {
            "image": order,
            "true": [classes[label] for label in predictions.labels[order]],
            "predicted": [classes[label] for label in guessed[order]],
            "confidence": rows[order, guessed[order]],
            "true_probability": rows[order, predictions.labels[order]],
        }
    )


def validation_images(
    view: StudyView, labels: npt.NDArray[np.int64], places: Sequence[int]
) -> list[npt.NDArray[np.uint8]]:
    """Some validation images of a study, as its dataset gives them.

    Args:
        view: The study.
        labels: Of all validation images, as they were stored.
        places: Which of them.

    Returns:
        uint8 images (height, width, channels).

    Raises:
        DefinitionError: The dataset is a class of the user's, or its files are gone.
        StudyError: The images are not those that the labels belong to.
    """
    images, found = study_dataset(view).load("validation")
    if not np.array_equal(found, labels):
        raise StudyError(
            "the images of the dataset are not the ones that were predicted: it has changed since"
        )
    return [images[int(place)] for place in places]


def plot_reliability(predictions: Mapping[str, Predictions], *, height: int = 340) -> go.Figure:
    """Draws how often a candidate is right when it is so sure: on the diagonal it is honest.

    The bins are those of the calibration error; a marker's area is the share of the images in it.

    Args:
        predictions: Candidate to what it predicts.
        height: Pixels.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, figure 1.
    """
    if not predictions:
        return not_yet("Calibration needs the predictions, which were not kept")
    figure = base_figure(height=height, legend_rows=int(len(predictions) > 1))
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    for index, (name, seen) in enumerate(predictions.items()):
        confidences = normalised(seen.probabilities).max(axis=1)
        bins, gaps, num_bins = calibration_gaps(confidences, seen.right)
        counts = np.bincount(bins, minlength=num_bins)
        filled = counts > 0
        mean = np.bincount(bins, weights=confidences, minlength=num_bins)[filled] / counts[filled]
        off = np.bincount(bins, weights=gaps, minlength=num_bins)[filled] / counts[filled]
        colour = PALETTE[index % len(PALETTE)]
        figure.add_scatter(
            x=mean,
            y=mean - off,
            mode="lines+markers",
            name=escaped(name),
            line={"color": colour, "width": 1.5},
            marker={
                "color": colour,
                "size": 6 + 22 * np.sqrt(counts[filled] / counts.sum()),
                "opacity": 0.75,
                "line": {"width": 0},
            },
            customdata=counts[filled],
            hovertemplate="%{customdata} images at %{x:.1%}: %{y:.1%} right<extra></extra>",
        )
    figure.update_xaxes(
        title={"text": "probability of the predicted class"}, tickformat=".0%", range=[0, 1.03]
    )
    figure.update_yaxes(title={"text": "share that is right"}, tickformat=".0%", range=[0, 1.05])
    return figure
