"""Accuracy against what it costs: the chart in which a model is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch import pareto
from autosearch.values import Constraint, Direction, Objective
from autosearch.visualization.choice import Bound, Role, minimized, roles
from autosearch.visualization.style import (
    GREY,
    LOGARITHMIC,
    axis_title,
    base_figure,
    escaped,
    figure_text,
    log_ticks,
    metric_label,
    not_yet,
    scheme_colours,
    scheme_symbols,
)

__all__ = ["THINNED_ABOVE", "plot_trade_off"]

_BYTES = ("size_bytes", "memory_bytes")
_SHARES = ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall")
THINNED_ABOVE = 1500
"""So many points are all drawn. Of more, those that would lie under another of their kind are not,
and of those off the front the browser is told no more than place and name. A few thousand shapes
then remain, which it draws sooner than it makes ready to draw with the graphics card."""
_GRID = (72, 40)  # cells of about seven pixels over what the axes show: a marker
_OUT = (Role.OUT_OF_BOUNDS.value, Role.INFEASIBLE.value)


def plot_trade_off(
    frame: pd.DataFrame,
    objectives: Sequence[Objective],
    *,
    x: str = "size_bytes",
    y: str = "accuracy",
    role: pd.Series[str] | None = None,
    constraints: Sequence[Constraint] = (),
    bounds: Mapping[str, Bound] | None = None,
    suggested: str | None = None,
    baselines: Mapping[str, float] | None = None,
    judged: pd.DataFrame | None = None,
    height: int = 420,
) -> go.Figure:
    """Draws candidates as one metric against another, with the front as a line of steps.

    Colour and shape tell the quantization scheme. Filled markers are on the front of all
    objectives, hollow ones dominated, small grey ones infeasible or out of bounds. The line is
    the front of the two metrics shown. Sizes and times have logarithmic axes.

    Args:
        frame: Candidates of one target, as ``candidates_frame()`` gives them.
        objectives: What ranks them.
        x: Metric across.
        y: Metric upwards.
        role: What ``roles`` says of each row; worked out if not given.
        constraints: The study's own bounds, drawn dotted.
        bounds: The reader's bounds, drawn dashed.
        suggested: A candidate to ring.
        baselines: Name to value of ``y``, drawn as horizontal lines.
        judged: Candidates with cross-validated figures, drawn beside the others as what they are.
        height: Pixels.

    Returns:
        A figure whose points carry the candidate's id as first custom datum.
    """
    role = roles(frame, objectives, bounds=bounds) if role is None else role
    usable = {metric: _is_usable(frame, metric) for metric in (x, y)}
    missing = [metric for metric in (x, y) if not usable[metric].any()]
    if missing:
        words = " and ".join(metric_label(metric) for metric in missing)
        return not_yet(f"No candidate has a figure for {words} yet", height=height)
    known = usable[x] & usable[y]
    if not known.any():
        return not_yet("No candidate has both figures yet", height=height)
    frame, role = frame[known], role[known]
    figure = base_figure(height=height, legend_rows=2)
    # Before anything is thinned: line, axes and counts speak of all candidates.
    remain = frame[~role.isin(_OUT)]
    everything = frame
    least_y = _least_shown(frame, remain, y)
    frame, role = _thinned(frame, role, x, y, least_y)
    is_many = len(frame) > THINNED_ABOVE
    _add_greyed(figure, frame, role, x, y, is_many=is_many)
    _add_front_line(figure, remain, x, y, objectives)
    _add_schemes(figure, frame, role, x, y, is_many=is_many)
    again = _drawable(judged, x, y)
    _add_judged(figure, again, x, y)
    _add_suggested(figure, pd.concat([frame, again]), suggested, x, y)
    _add_limits(figure, x, y, constraints, bounds or {}, baselines or {})
    _set_axes(figure, everything, x, y, least_y)
    figure.update_layout(hovermode="closest", dragmode="zoom", clickmode="event")
    return figure


def _is_usable(frame: pd.DataFrame, metric: str) -> npt.NDArray[np.bool_]:
    """Which rows have a figure that the metric's axis can show."""
    if metric not in frame:
        return np.zeros(len(frame), dtype=np.bool_)
    values = frame[metric].to_numpy(dtype=float)
    least = 0.0 if metric in LOGARITHMIC else -np.inf
    usable: npt.NDArray[np.bool_] = np.isfinite(values) & (values > least)
    return usable


def _drawable(judged: pd.DataFrame | None, x: str, y: str) -> pd.DataFrame:
    if judged is None:
        return pd.DataFrame({"candidate": []})
    return judged[_is_usable(judged, x) & _is_usable(judged, y)]


def _least_shown(frame: pd.DataFrame, remain: pd.DataFrame, y: str) -> float | None:
    """Where the upward axis begins, if not below all that there is."""
    # A handful of networks at chance must not press all others into one line.
    if y not in _SHARES or remain.empty:
        return None
    values = remain[y].to_numpy(dtype=float)
    best = float(values.max())
    low = best - 4 * (best - float(np.median(values)))
    return low if best > low > frame[y].min() else None


def _thinned(
    frame: pd.DataFrame, role: pd.Series[str], x: str, y: str, least_y: float | None
) -> tuple[pd.DataFrame, pd.Series[str]]:
    """Leaves out points that lie under another of their kind; never one on the front."""
    if len(frame) <= THINNED_ABOVE:
        return frame, role
    # What is out looks the same whatever its scheme.
    kinds, _ = pd.factorize(role.where(role.isin(_OUT), role + "\n" + frame["quantization"]))
    cell = kinds.astype(np.int64)
    for metric, count in ((x, _GRID[0]), (y, _GRID[1])):
        values = frame[metric].to_numpy(dtype=float)
        if metric in LOGARITHMIC:
            values = np.log(values)
        low, high = float(values.min()), float(values.max())
        if metric == y and least_y is not None:
            values, low = np.maximum(values, least_y), least_y
        place = ((values - low) / ((high - low) or 1.0) * count).astype(np.int64)
        cell = cell * (count + 1) + place
    kept = (role == Role.FRONT.value).to_numpy(copy=True)
    kept[np.unique(cell, return_index=True)[1]] = True
    return frame[kept], role[kept]


def _marks(rows: pd.DataFrame, x: str, y: str, *, is_many: bool, note: str = "") -> dict[str, Any]:
    """Where points lie, whose they are, and what is said of them; little of each if many."""
    if is_many:
        return {
            "x": rows[x].to_numpy(np.float32),
            "y": rows[y].to_numpy(np.float32),
            "customdata": rows["candidate"].to_numpy(dtype=object),
            "hovertemplate": f"<b>%{{customdata}}</b><br>{_hover_figure(y, 'y')}<br>"
            f"{_hover_figure(x, 'x')}{note}<extra></extra>",
        }
    names = rows["candidate"].to_numpy(dtype=object)
    texts = np.array(_hover_texts(rows), dtype=object)
    return {
        "x": rows[x].to_numpy(),
        "y": rows[y].to_numpy(),
        "customdata": np.stack([names, texts], axis=1),
        "hovertemplate": f"%{{customdata[1]}}{note}<extra></extra>",
    }


def _hover_figure(metric: str, axis: str) -> str:
    """The figure of an axis with its unit, written by the browser."""
    how, unit = ".4~g", ""
    if metric in _BYTES:
        how, unit = ".3s", "B"
    elif metric in _SHARES:
        how = ".1%"
    elif metric in ("latency_ms", "latency_p90_ms"):
        how, unit = ".3~g", " ms"
    elif metric in LOGARITHMIC:
        how = ",.0f"
    return f"{escaped(metric_label(metric))} %{{{axis}:{how}}}{unit}"


def _add_greyed(
    figure: go.Figure,
    frame: pd.DataFrame,
    role: pd.Series[str],
    x: str,
    y: str,
    *,
    is_many: bool,
) -> None:
    for name, symbol, opacity in (
        (Role.INFEASIBLE.value, "x-thin", 0.6),
        (Role.OUT_OF_BOUNDS.value, "circle", 0.25),
    ):
        rows = frame[role == name]
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                **_marks(rows, x, y, is_many=is_many, note=f"<br><i>{name}</i>"),
                mode="markers",
                name=name,
                marker={
                    "color": GREY,
                    "size": 6,
                    "opacity": opacity,
                    "symbol": symbol,
                    "line": {"width": 1.2, "color": GREY},
                },
            )
        )


def _add_schemes(
    figure: go.Figure,
    frame: pd.DataFrame,
    role: pd.Series[str],
    x: str,
    y: str,
    *,
    is_many: bool,
) -> None:
    schemes = frame["quantization"].unique().tolist()
    colours, symbols = scheme_colours(schemes), scheme_symbols(schemes)
    on_front = set(frame["quantization"][role == Role.FRONT.value])
    for is_front in (False, True):
        wanted = Role.FRONT.value if is_front else Role.DOMINATED.value
        for scheme, colour in colours.items():
            rows = frame[(role == wanted) & (frame["quantization"] == scheme)]
            if rows.empty:
                continue
            symbol = symbols[scheme]
            name = escaped(scheme or "candidates")
            figure.add_trace(
                go.Scatter(
                    **_marks(rows, x, y, is_many=is_many and not is_front),
                    mode="markers",
                    name=name,
                    showlegend=is_front or scheme not in on_front,
                    legendgroup=name,
                    marker={
                        "color": colour if is_front else "rgba(0,0,0,0)",
                        "symbol": symbol,
                        "size": 11 if is_front else 7,
                        "opacity": 1.0 if is_front else 0.55,
                        "line": {"width": 1 if is_front else 1.2, "color": colour},
                    },
                )
            )


def _add_front_line(
    figure: go.Figure, remain: pd.DataFrame, x: str, y: str, objectives: Sequence[Objective]
) -> None:
    """The best ``y`` that can be had at every ``x``, as steps."""
    shown = [o for name in (x, y) for o in objectives if o.metric == name]
    if len(shown) != 2 or remain.empty:
        return
    front = remain[pareto.non_dominated(minimized(remain, shown))]
    front = front.sort_values([x, y]).drop_duplicates([x, y])
    if len(front) < 2:
        return
    ascending = shown[0].direction is Direction.MINIMIZE
    figure.add_trace(
        go.Scatter(
            x=front[x].to_numpy(),
            y=front[y].to_numpy(),
            mode="lines",
            name="front",
            line={"shape": "hv" if ascending else "vh", "color": GREY, "width": 2},
            hoverinfo="skip",
        )
    )


def _add_judged(figure: go.Figure, judged: pd.DataFrame, x: str, y: str) -> None:
    if judged.empty:
        return
    figure.add_trace(
        go.Scatter(
            **_marks(judged, x, y, is_many=False, note="<br><i>cross-validated</i>"),
            mode="markers",
            name="cross-validated",
            marker={
                "size": 12,
                "symbol": "hexagram",
                "color": "#D55E00",
                "line": {"width": 1, "color": "#D55E00"},
            },
        )
    )


def _add_suggested(
    figure: go.Figure, frame: pd.DataFrame, suggested: str | None, x: str, y: str
) -> None:
    rows = frame[frame["candidate"] == suggested]
    if suggested is None or rows.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=rows[x].to_numpy(),
            y=rows[y].to_numpy(),
            mode="markers",
            name="suggested",
            hoverinfo="skip",
            marker={
                "size": 22,
                "symbol": "circle-open",
                "color": "#D55E00",
                "line": {"width": 2.5, "color": "#D55E00"},
            },
        )
    )


def _add_limits(
    figure: go.Figure,
    x: str,
    y: str,
    constraints: Sequence[Constraint],
    bounds: Mapping[str, Bound],
    baselines: Mapping[str, float],
) -> None:
    lines = [(c.metric, c.bound, "dot", "study's bound") for c in constraints]
    for metric, bound in bounds.items():
        lines += [
            (metric, value, "dash", "your bound")
            for value in (bound.least, bound.most)
            if value is not None
        ]
    for metric, value, dash, words in lines:
        if metric not in (x, y) or (metric in LOGARITHMIC and value <= 0):
            continue
        text = f"{words} {figure_text(metric, value)}"
        line = {"dash": dash, "width": 1.3, "color": GREY}
        if metric == x:
            figure.add_vline(value, line=line)
            # Plotly places notes on a logarithmic axis by the logarithm.
            place = math.log10(value) if metric in LOGARITHMIC else value
            figure.add_annotation(
                x=place,
                y=0.5,
                yref="paper",
                text=text,
                textangle=-90,
                xanchor="right",
                showarrow=False,
                font={"size": 11},
            )
        else:
            figure.add_hline(value, line=line)
            figure.add_annotation(
                x=1,
                xref="paper",
                y=value,
                text=text,
                xanchor="right",
                yanchor="top",
                showarrow=False,
                font={"size": 11},
            )
    for name, value in baselines.items():
        figure.add_hline(
            value,
            line={"dash": "longdash", "width": 1, "color": GREY},
            annotation={"text": escaped(name), "font": {"size": 11}},
            annotation_position="bottom right",
        )


def _set_axes(
    figure: go.Figure, frame: pd.DataFrame, x: str, y: str, least_y: float | None
) -> None:
    for metric, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        values = frame[metric].to_numpy(dtype=float)
        update(title={"text": axis_title(metric)})
        if metric in LOGARITHMIC:
            update(type="log", **log_ticks(values.tolist(), is_bytes=metric in _BYTES))
            update(range=_padded(np.log10(values)))
        elif metric in _SHARES:
            update(tickformat=".1%" if np.ptp(values) < 0.05 else ".0%")
    if least_y is None:
        return
    figure.update_yaxes(range=_padded(np.array([least_y, float(frame[y].max())])))
    figure.add_annotation(
        text=f"{int((frame[y] < least_y).sum())} below: double-click shows all",
        x=1,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )


def _padded(values: npt.NDArray[np.float64]) -> list[float]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    room = (high - low) * 0.06 or 0.05
    return [low - room, high + room]


def _hover_texts(frame: pd.DataFrame) -> list[str]:
    shown = [
        metric
        for metric in ("size_bytes", "latency_ms", "memory_bytes")
        if metric in frame and frame[metric].notna().any()
    ]
    lines = [f"<b>{escaped(name)}</b>" for name in frame["candidate"]]
    columns = {metric: frame[metric].tolist() for metric in shown}
    accuracy = frame["accuracy"].tolist()
    low, high = frame["accuracy_low"].tolist(), frame["accuracy_high"].tolist()
    texts = []
    for index, line in enumerate(lines):
        interval = (
            f" ({100 * low[index]:.1f}–{100 * high[index]:.1f})"
            if math.isfinite(low[index])
            else ""
        )
        parts = [line, f"accuracy {figure_text('accuracy', accuracy[index])}{interval}"]
        parts += [f"{metric_label(m)} {figure_text(m, columns[m][index])}" for m in shown]
        texts.append("<br>".join(parts))
    return texts
