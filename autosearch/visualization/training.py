"""How trials learned, and what becomes of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch.evaluation.groups import SMALL_GROUPS
from autosearch.visualization.style import GREY, PALETTE, base_figure, escaped, not_yet

__all__ = [
    "MAX_GROUPS",
    "SMALL_GROUPS",
    "plot_class_balance",
    "plot_class_recall",
    "plot_confusion_matrix",
    "plot_group_accuracy",
    "plot_learning_curves",
]

MAX_GROUPS = 40
"""Of more groups or classes than that a chart draws the first."""

_MAX_COUNTED = 20  # with more classes the counts have no room
_DASHES = ("solid", "dash", "dot", "dashdot")


def plot_learning_curves(
    epochs: pd.DataFrame, *, names: Mapping[int, str] | None = None, height: int = 340
) -> go.Figure:
    """Draws validation accuracy over epochs, a line a trial; with one trial, training's too.

    Args:
        epochs: As ``StudyView.epochs_frame()`` gives them, of a few trials.
        names: Trial to what the legend calls it; ``trial 12`` by default.
        height: Pixels.
    """
    if epochs.empty or epochs["accuracy"].isna().all():
        return not_yet("Learning curves need a trained epoch")
    figure = base_figure(height=height, legend_rows=1)
    trials = list(dict.fromkeys(epochs["trial"]))
    for index, trial in enumerate(trials):
        rows = epochs[epochs["trial"] == trial]
        name = escaped((names or {}).get(trial, f"trial {trial}"))
        figure.add_scatter(
            x=rows["epoch"].to_numpy(),
            y=rows["accuracy"].to_numpy(dtype=float),
            mode="lines+markers" if len(rows) < 3 else "lines",
            name="validation" if len(trials) == 1 else name,
            line={
                "color": PALETTE[index % len(PALETTE)],
                "width": 2,
                "dash": _DASHES[index % len(_DASHES)],
            },
            hovertemplate=f"{name}, epoch %{{x}}: %{{y:.1%}}<extra></extra>",
        )
        if len(trials) == 1 and rows["train_accuracy"].notna().any():
            figure.add_scatter(
                x=rows["epoch"].to_numpy(),
                y=rows["train_accuracy"].to_numpy(dtype=float),
                mode="lines",
                name="training",
                line={"color": PALETTE[1], "width": 1.5, "dash": "dash"},
                hovertemplate="training, epoch %{x}: %{y:.1%}<extra></extra>",
            )
    figure.update_xaxes(title={"text": "epoch"}, rangemode="tozero")
    figure.update_yaxes(title={"text": "accuracy"}, tickformat=".0%")
    figure.update_layout(hovermode="closest")
    return figure


def plot_confusion_matrix(
    matrix: Sequence[Sequence[int]] | None, classes: Sequence[str], *, height: int | None = None
) -> go.Figure:
    """Draws images by true (rows) and predicted class (columns), coloured by share of the row.

    Args:
        matrix: Counts; None where they were not kept.
        classes: Their names, in order.
        height: Pixels; by the number of classes if not given.
    """
    if matrix is None or not len(classes) or np.shape(matrix) != (len(classes), len(classes)):
        return not_yet("No confusion matrix was kept for this candidate")
    counts = np.asarray(matrix, dtype=float)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    places = list(range(len(classes)))
    figure = base_figure(height=height or min(760, 150 + 30 * len(classes)))
    figure.add_heatmap(
        z=shares,
        x=places,
        y=places,
        customdata=np.stack(
            [
                counts.astype(int),
                np.broadcast_to(np.array([list(map(escaped, classes))]).T, counts.shape),
                np.broadcast_to(np.array([list(map(escaped, classes))]), counts.shape),
            ],
            axis=-1,
        ),
        zmin=0,
        zmax=1,
        # Of one colour that lets the page through, on a light one and on a dark one.
        colorscale=[
            [0, "rgba(0,114,178,0.05)"],
            [0.02, "rgba(0,114,178,0.25)"],
            [1, "rgba(0,114,178,1)"],
        ],
        hovertemplate="%{customdata[1]} taken for %{customdata[2]}: %{customdata[0]} images, "
        "%{z:.1%} of the class<extra></extra>",
        showscale=False,
        xgap=1,
        ygap=1,
    )
    if len(classes) <= _MAX_COUNTED:
        _add_counts(figure, counts, shares >= 0.5, colour="#ffffff")
        _add_counts(figure, counts, (shares < 0.5) & (counts > 0), colour=None)
    ticks = {"tickvals": places, "ticktext": [escaped(_short(name)) for name in classes]}
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title={"text": "predicted"}, showgrid=False, **ticks)
    figure.update_yaxes(title={"text": "true"}, showgrid=False, autorange="reversed", **ticks)
    return figure


def _add_counts(
    figure: go.Figure,
    counts: npt.NDArray[np.float64],
    where: npt.NDArray[np.bool_],
    *,
    colour: str | None,
) -> None:
    """Writes counts into cells; without a colour in that of the page's text."""
    rows, columns = np.nonzero(where)
    figure.add_scatter(
        x=columns,
        y=rows,
        mode="text",
        text=[f"{count:.0f}" for count in counts[rows, columns]],
        textfont={"size": 12} | ({"color": colour} if colour else {}),
        hoverinfo="skip",
    )


def plot_group_accuracy(
    per_group: Mapping[str, Mapping[str, Any]], *, height: int | None = None
) -> go.Figure:
    """Draws the accuracy of each group with its interval, the worst on top, forty at most.

    Those of too few images to count, of which the worst is worst by chance, are hollow and come
    after the others.

    Args:
        per_group: Group to its ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``support`` and
            ``counts``.
        height: Pixels; by the number of groups if not given.
    """
    known = {name: figures for name, figures in per_group.items() if figures.get("support")}
    if not known:
        return not_yet("No figures of single groups were kept")
    counts = {name: bool(figures.get("counts", True)) for name, figures in known.items()}
    ranked = sorted(known, key=lambda name: (not counts[name], float(known[name]["accuracy"])))
    names = ranked[:MAX_GROUPS]
    places = list(range(len(names)))
    shares = np.array([known[name]["accuracy"] for name in names], dtype=float)
    ends = [
        np.array([known[name].get(end, known[name]["accuracy"]) for name in names], dtype=float)
        for end in ("accuracy_low", "accuracy_high")
    ]
    figure = base_figure(height=height or 110 + 26 * len(names))
    figure.add_scatter(
        x=shares,
        y=places,
        mode="markers",
        marker={
            "color": PALETTE[0],
            "size": 9,
            "symbol": ["circle" if counts[name] else "circle-open" for name in names],
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": np.maximum(0, ends[1] - shares),
            "arrayminus": np.maximum(0, shares - ends[0]),
            "color": GREY,
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[[escaped(name), known[name]["support"]] for name in names],
        hovertemplate="%{customdata[0]}: %{x:.1%} of %{customdata[1]} images<extra></extra>",
    )
    ticks = [escaped(_short(name)) for name in names]
    figure.update_yaxes(tickvals=places, ticktext=ticks, autorange="reversed")
    figure.update_xaxes(title={"text": "accuracy, with its 90 % interval"}, tickformat=".0%")
    return figure


def plot_class_recall(
    per_class: Mapping[str, Mapping[str, Mapping[str, Any]]], *, height: int | None = None
) -> go.Figure:
    """Draws the recall of each class, of one candidate or several, the worst class on top.

    Args:
        per_class: Candidate to class to its ``recall`` and ``support``.
        height: Pixels; by the number of classes if not given.
    """
    known = {name: classes for name, classes in per_class.items() if classes}
    if not known:
        return not_yet("No figures of single classes were kept")
    first = next(iter(known.values()))
    worst = {
        label: min(
            (
                float(classes[label]["recall"])
                for classes in known.values()
                if label in classes and classes[label].get("recall") is not None
            ),
            default=2.0,
        )
        for label in first
    }
    labels = sorted(first, key=lambda label: worst[label])[:MAX_GROUPS]
    rows = int(len(known) > 1)
    figure = base_figure(
        height=height or 110 + 24 * rows + (14 + 10 * len(known)) * len(labels), legend_rows=rows
    )
    places = list(range(len(labels)))
    for index, (name, classes) in enumerate(known.items()):
        figure.add_bar(
            y=places,
            x=[classes.get(label, {}).get("recall") for label in labels],
            orientation="h",
            name=escaped(name),
            marker={"color": PALETTE[index % len(PALETTE)]},
            customdata=[
                [escaped(label), classes.get(label, {}).get("support", 0)] for label in labels
            ],
            hovertemplate="%{customdata[0]}: %{x:.1%} of %{customdata[1]} images<extra></extra>",
        )
    figure.update_yaxes(
        tickvals=places, ticktext=[escaped(_short(x)) for x in labels], autorange="reversed"
    )
    figure.update_xaxes(title={"text": "recall"}, tickformat=".0%", range=[0, 1.01])
    figure.update_layout(barmode="group", bargap=0.25)
    return figure


def plot_class_balance(support: Mapping[str, int], *, height: int | None = None) -> go.Figure:
    """Draws how many images each class has, the most frequent on top, forty at most."""
    if not support:
        return not_yet("No images of single classes were counted")
    labels = sorted(support, key=lambda label: -support[label])[:MAX_GROUPS]
    places = list(range(len(labels)))
    figure = base_figure(height=height or 90 + 26 * len(labels))
    figure.add_bar(
        y=places,
        x=[support[label] for label in labels],
        orientation="h",
        marker={"color": PALETTE[0]},
        customdata=[escaped(label) for label in labels],
        hovertemplate="%{customdata}: %{x:,} images<extra></extra>",
    )
    ticks = [escaped(_short(label)) for label in labels]
    figure.update_yaxes(tickvals=places, ticktext=ticks, autorange="reversed")
    figure.update_xaxes(title={"text": "images"}, rangemode="tozero")
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
