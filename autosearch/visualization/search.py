"""How a search went: what it tried, and when its workers worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch.metrics import BYTES, LOGARITHMIC, SHARES
from autosearch.visualization.parameters import is_number
from autosearch.visualization.style import (
    GREY,
    PALETTE,
    axis_title,
    base_figure,
    escaped,
    figure_text,
    in_axis_unit,
    log_ticks,
    not_yet,
    number_text,
)

__all__ = [
    "plot_parallel_coordinates",
    "plot_slice",
    "plot_timeline",
]

_MAX_DIMENSIONS = 10
_MAX_WORD = 18
_STATE_COLOURS = {
    "complete": PALETTE[0],
    "infeasible": PALETTE[1],
    "pruned": PALETTE[5],
    "failed": PALETTE[4],
    "running": PALETTE[2],
}


def plot_parallel_coordinates(
    parameters: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    importance: Mapping[str, float] | None = None,
    height: int = 420,
) -> go.Figure:
    """Draws each trial as a line through its parameters and figures, coloured by the first figure.

    Args:
        parameters: As ``parameters_frame`` gives them.
        metrics: Figures by trial number, the first of which gives the colour.
        importance: Parameter to weight; of many parameters the weightiest ten are drawn.
        height: Pixels.
    """
    shared = parameters.index.intersection(metrics.dropna().index)
    # An axis of which no line has a value would take all lines away.
    parameters = parameters.loc[shared].dropna(axis=1, how="all")
    if len(shared) < 2 or parameters.empty:
        return not_yet("Parallel coordinates need two finished trials that differ", height=height)
    weights = importance or {}
    chosen = sorted(map(str, parameters), key=lambda name: -weights.get(name, 0.0))[
        :_MAX_DIMENSIONS
    ]
    dimensions = [_dimension(name, parameters[name]) for name in chosen]
    for metric in map(str, metrics):
        values = metrics.loc[shared, metric].to_numpy(dtype=float)
        is_log = metric in LOGARITHMIC and bool((values > 0).all())
        dimension = {"label": axis_title(metric), "values": in_axis_unit(metric, values)}
        if is_log:
            dimension |= _logarithmic(values, is_bytes=metric in BYTES)
        elif metric in SHARES:
            dimension["tickformat"] = ".0%" if np.ptp(values) >= 0.1 else ".1%"
        dimensions.append(dimension)
    figure = base_figure(height=height)
    figure.add_parcoords(
        dimensions=dimensions,
        line={
            # By rank: one network at chance must not leave all others in one colour.
            "color": metrics.loc[shared].iloc[:, 0].rank(pct=True).to_numpy(dtype=float),
            "colorscale": [[0, "#c9c9c9"], [0.5, "#56B4E9"], [1, "#0072B2"]],
            "showscale": False,
        },
        labelangle=-20,
        labelside="top",
        labelfont={"color": GREY, "size": 12, "shadow": "none"},
        tickfont={"color": GREY, "size": 11, "shadow": "none"},
        rangefont={"color": "rgba(0,0,0,0)", "size": 1},
        unselected={"line": {"opacity": 0.05}},
    )
    # The texts of the first axis stand to its left, where only the margin is.
    longest = max((len(text) for text in dimensions[0].get("ticktext", ())), default=6)
    figure.update_layout(margin={"l": 26 + 6 * longest, "r": 60, "t": 84, "b": 24})
    return figure


def plot_slice(
    parameters: pd.DataFrame, metrics: pd.DataFrame, *, parameter: str, metric: str
) -> go.Figure:
    """Draws one figure of the trials over one parameter."""
    if parameter not in parameters or metric not in metrics:
        return not_yet("A slice needs two finished trials that differ in the parameter")
    shared = parameters.index[parameters[parameter].notna()].intersection(metrics.index)
    figure = base_figure(height=340)
    values = metrics.loc[shared, metric].to_numpy(dtype=float)
    column = parameters.loc[shared, parameter]
    has_numbers = is_number(column)
    known = values[np.isfinite(values)]
    is_log = metric in LOGARITHMIC and bool((known > 0).all())
    figure.add_scatter(
        x=column.to_numpy() if has_numbers else [escaped(v) for v in column],
        # A logarithmic axis has ticks in its unit; a linear one writes its own.
        y=values if is_log else in_axis_unit(metric, values),
        mode="markers",
        marker={"color": PALETTE[0], "opacity": 0.6, "size": 8},
        customdata=[
            [number, figure_text(metric, value)]
            for number, value in zip(shared, values.tolist(), strict=True)
        ],
        hovertemplate="trial %{customdata[0]}: %{customdata[1]} at %{x}<extra></extra>",
    )
    figure.update_xaxes(
        title={"text": escaped(parameter)}, type=None if has_numbers else "category"
    )
    if has_numbers and (column > 0).all() and column.max() / column.min() > 30:
        figure.update_xaxes(type="log", **log_ticks(column.tolist()))
    figure.update_yaxes(title={"text": axis_title(metric)})
    if is_log:
        figure.update_yaxes(type="log", **log_ticks(known.tolist(), is_bytes=metric in BYTES))
    elif metric in SHARES:
        figure.update_yaxes(tickformat=".0%")
    return figure


def plot_timeline(
    trials: pd.DataFrame,
    *,
    now: Any = None,
    leases: Mapping[int, Any] | None = None,
    height: int | None = None,
) -> go.Figure:
    """Draws when each worker worked on which trial, the last 300 trials.

    Args:
        trials: Columns ``number``, ``state``, ``started_at``, ``finished_at``, ``worker``.
        now: Where the bar of a running trial ends (naive UTC).
        leases: Worker to the time until which it was known to live (naive UTC): past it, the bar
            of its running trial ends there.
        height: Pixels.
    """
    started = trials[trials["started_at"].notna()].tail(300)
    if started.empty:
        return not_yet("The timeline needs a started trial")
    workers = {w: i for i, w in enumerate(dict.fromkeys(started["worker"].fillna(-1)))}
    figure = base_figure(height=height or 160 + 46 * len(workers), legend_rows=1)
    for state, rows in started.groupby("state", sort=False):
        begin = pd.to_datetime(rows["started_at"])
        last = now if now is not None else begin.max()
        seen = pd.to_datetime(rows["worker"].map(leases or {}))
        seen = seen.where(seen < last, last)
        end = pd.to_datetime(rows["finished_at"]).fillna(seen.where(seen > begin, begin))
        figure.add_bar(
            base=begin.to_list(),
            x=((end - begin).dt.total_seconds() * 1000).to_list(),
            y=[workers[w] for w in rows["worker"].fillna(-1)],
            orientation="h",
            name=str(state),
            marker={
                "color": _STATE_COLOURS.get(str(state), GREY),
                "line": {"width": 0.5, "color": "rgba(128,128,128,0.6)"},
            },
            customdata=[
                [number, f"{seconds:.1f}"]
                for number, seconds in zip(
                    rows["number"], (end - begin).dt.total_seconds(), strict=True
                )
            ],
            hovertemplate=f"trial %{{customdata[0]}}, {state}, %{{customdata[1]}} s<extra></extra>",
        )
    figure.update_xaxes(type="date", title={"text": "time (UTC)"})
    names = [f"worker {int(w)}" if w >= 0 else "unknown" for w in workers]
    figure.update_yaxes(tickvals=list(workers.values()), ticktext=names)
    figure.update_layout(barmode="overlay")
    return figure


def _dimension(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    label = escaped(name.rpartition("/")[2].replace("_", " "))
    if is_number(column):
        values = column.to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        distinct = sorted(set(finite.tolist()))
        axis: dict[str, Any]
        if len(finite) and finite.min() > 0 and finite.max() / finite.min() > 30:
            axis = _logarithmic(values)
        elif len(distinct) <= 8:
            ticks = _apart(distinct)
            axis = {
                "values": values,
                "tickvals": ticks,
                "ticktext": [number_text(value) for value in ticks],
            }
        elif len(finite) < len(values):
            ticks = np.linspace(finite.min(), finite.max(), 5).tolist()
            axis = {
                "values": values,
                "tickvals": ticks,
                "ticktext": [number_text(value) for value in ticks],
            }
        else:
            axis = {"values": values}
        return {"label": label, **_with_absent(axis)}
    words = column.map(lambda v: "–" if v is None or v != v else str(v))
    categories = sorted(set(words))
    places = {word: place for place, word in enumerate(categories)}
    return {
        "label": label,
        "values": [places[word] for word in words],
        "tickvals": list(places.values()),
        # Unlike all other texts, Plotly takes these for no markup.
        "ticktext": [
            word if len(word) <= _MAX_WORD else f"{word[: _MAX_WORD - 1]}…" for word in categories
        ],
    }


def _apart(places: Sequence[float]) -> list[float]:
    """Those of sorted places that have room for a text between each other, both ends included."""
    room = (places[-1] - places[0]) / 20 if places else 0.0
    kept = list(places[:1])
    for place in places[1:-1]:
        if place - kept[-1] >= room and places[-1] - place >= room:
            kept.append(place)
    return [*kept, *places[1:][-1:]]


def _with_absent(axis: dict[str, Any]) -> dict[str, Any]:
    """Trials that did not sample a parameter a little below its axis, at a tick of their own."""
    values = axis["values"]
    is_known = np.isfinite(values)
    if is_known.all() or not is_known.any():
        return axis
    low, high = float(values[is_known].min()), float(values[is_known].max())
    place = low - 0.1 * ((high - low) or 1.0)
    return axis | {
        "values": np.where(is_known, values, place),
        "tickvals": [place, *axis["tickvals"]],
        "ticktext": ["–", *axis["ticktext"]],
    }


def _logarithmic(values: npt.NDArray[np.float64], *, is_bytes: bool = False) -> dict[str, Any]:
    """Logarithms for an axis that knows none, with the ticks that lie between its ends."""
    finite = values[np.isfinite(values)]
    ticks = log_ticks(finite.tolist(), is_bytes=is_bytes)
    inside = [
        (float(np.log10(place)), text)
        for place, text in zip(ticks["tickvals"], ticks["ticktext"], strict=True)
        if finite.min() <= place <= finite.max()
    ]
    return {
        "values": np.log10(values),
        "tickvals": [place for place, _ in inside],
        "ticktext": [text for _, text in inside],
    }
