"""Accuracy against what it costs: the chart in which a model is chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch import pareto
from autosearch.metrics import BYTES, LOGARITHMIC, SHARES
from autosearch.store.study_frames import figures_of, minimized
from autosearch.values import TARGET_METRICS, Constraint, Direction, Objective
from autosearch.visualization.choice import (
    Bound,
    Role,
    is_known,
    lead_objective,
    roles,
)
from autosearch.visualization.limits import add_baselines, add_bounds, add_note
from autosearch.visualization.marks import COSTS, HOVER_COLUMNS, marks
from autosearch.visualization.style import (
    GREY,
    axis_title,
    base_layout,
    empty_layout,
    escaped,
    log_ticks,
    metric_label,
    scheme_colours,
    scheme_symbols,
)

__all__ = [
    "THINNED_ABOVE",
    "costs_of",
    "draw_trade_off",
    "plot_trade_off",
]

THINNED_ABOVE = 1500
"""So many points are all drawn. Of more, those that would lie under another one are not,
and of those off the front the browser is told no more than place and name. A few thousand shapes
then remain, which it draws sooner than it makes ready to draw with the graphics card."""
_GRID = (54, 31)  # cells of about nine pixels over what the axes show: a marker
_GRID_OUT = (32, 18)  # and of sixteen for what is out, of which the cloud is looked at
_NAMED_A_ROW = 4  # of a legend, in a chart that has half of a small screen
_OUT = (Role.OUT_OF_BOUNDS.value, Role.INFEASIBLE.value)


def costs_of(frame: pd.DataFrame, objectives: Sequence[Objective]) -> list[str]:
    """The one or two metrics to draw the leading one against, the study's own before others."""
    lead = lead_objective(frame, objectives).metric
    known = [
        metric
        for metric in dict.fromkeys([*(o.metric for o in objectives), *COSTS])
        if metric != lead and is_known(frame, metric)
    ]
    # Who seeks one figure and answers no other sees it over the course of the search.
    return known[:2] or ["trial"]


def draw_trade_off(
    frame: pd.DataFrame,
    objectives: Sequence[Objective],
    *,
    x: str | None = None,
    y: str | None = None,
    role: pd.Series[Any] | None = None,
    constraints: Sequence[Constraint] = (),
    bounds: Mapping[str, Bound] | None = None,
    suggested: str | None = None,
    baselines: Mapping[str, float] | None = None,
    judged: pd.DataFrame | None = None,
    unusual: Mapping[int, str] | None = None,
    height: int = 420,
) -> dict[str, Any]:
    """Draws candidates as one metric against another, with the front as a line of steps.

    Colour and shape tell the quantization scheme. Filled markers are on the front of all
    objectives, hollow ones dominated, small grey ones infeasible or out of bounds. The line is
    the front of the two metrics shown. Sizes and times have logarithmic axes, unless one of them
    has no logarithm.

    It is plain data, as a page needs it that draws it anew with every bound: Plotly's own objects,
    which look at every property, take longer than everything else. ``plot_trade_off`` gives one.

    Args:
        frame: Candidates of one target, as ``candidates_frame()`` gives them.
        objectives: What ranks them.
        x: Metric across; by default size, or the first of ``costs_of`` if no candidate has one.
        y: Metric upwards; by default accuracy, or the first objective if no candidate has one.
        role: What ``roles`` says of each row; worked out if not given.
        constraints: The study's own bounds, drawn dotted.
        bounds: The reader's bounds, drawn dashed.
        suggested: A candidate to ring.
        baselines: Name to value of ``y``, drawn as level lines. One far below all candidates is
            left out: it would press them into a corner.
        judged: Candidates with cross-validated figures, drawn beside the others as what they are.
        unusual: Trial to what is unusual in its configuration, told where a point is pointed at.
        height: Pixels.

    Returns:
        A figure's ``data`` and ``layout``; its points carry the candidate's id as first custom
        datum.
    """
    x = _usual_cost(frame, objectives) if x is None else x
    y = lead_objective(frame, objectives).metric if y is None else y
    role = roles(frame, objectives, bounds=bounds) if role is None else role
    usable = {metric: _is_usable(frame, metric) for metric in (x, y)}
    missing = [metric for metric in (x, y) if not usable[metric].any()]
    if missing:
        words = " and ".join(metric_label(metric) for metric in missing)
        return _empty(f"No candidate has a figure for {words} yet", height)
    known = usable[x] & usable[y]
    if not known.any():
        return _empty("No candidate has both figures yet", height)
    again = _drawable(judged, frame, x, y)
    # Rows are chosen from it many times, and most columns are of no use any more.
    used = {*HOVER_COLUMNS, "quantization", x, y, *(o.metric for o in objectives)}
    frame = frame[[name for name in frame if name in used]]
    if not known.all():
        frame, role = frame[known], role[known]
    told = unusual or {}
    # Before anything is thinned: line, axes and counts speak of all candidates.
    is_out = role.isin(_OUT).to_numpy(dtype=bool)
    upwards = frame[y].to_numpy(dtype=float)
    least_y = _least_shown(upwards, upwards[~is_out], y)
    line = _front_line(frame, role, x, y, objectives)
    ends = {m: np.concatenate([part[m].to_numpy(float) for part in (frame, again)]) for m in (x, y)}
    logarithmic = {m for m, values in ends.items() if m in LOGARITHMIC and values.min() > 0}
    seen = _seen(baselines or {}, upwards, y, least_y, logarithmic)
    is_many = len(frame) > THINNED_ABOVE
    if is_many:
        rows = _thinned(frame, role, x, y, least_y, logarithmic)
        frame, role = frame.iloc[rows], role.iloc[rows]
    data = [
        *_greyed(frame, role, x, y, told, is_many=is_many),
        *_front_steps(line, x, y, objectives),
        *_schemes(frame, role, x, y, told, is_many=is_many),
        *_finalists(again, x, y, told),
        *_ring((frame, again), suggested, x, y),
    ]
    # Room for legend and ticks from the start: where they lack it, Plotly draws all points again.
    named = sum(trace.get("showlegend", True) for trace in data)
    layout = base_layout(height=height, legend_rows=math.ceil(named / _NAMED_A_ROW))
    layout["margin"]["l"] = 78
    layout |= {"hovermode": "closest", "dragmode": "zoom", "clickmode": "event"}
    _set_axes(layout, ends, x, y, least_y, list(seen.values()), logarithmic)
    add_bounds(layout, x, y, constraints, bounds or {})
    add_baselines(layout, y, seen)
    return {"data": [{"type": "scatter", **trace} for trace in data], "layout": layout}


def plot_trade_off(*args: Any, **kwargs: Any) -> go.Figure:
    """``draw_trade_off`` as a figure of Plotly's, with the same arguments."""
    return go.Figure(draw_trade_off(*args, **kwargs))


def _empty(reason: str, height: int) -> dict[str, Any]:
    return {"data": [], "layout": empty_layout(reason, height=height)}


def _usual_cost(frame: pd.DataFrame, objectives: Sequence[Objective]) -> str:
    if frame.empty or is_known(frame, "size_bytes"):
        return "size_bytes"
    return costs_of(frame, objectives)[0]


def _is_usable(frame: pd.DataFrame, metric: str) -> npt.NDArray[np.bool_]:
    """Which rows have a figure that an axis can show."""
    return np.isfinite(figures_of(frame, metric))


def _drawable(judged: pd.DataFrame | None, frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """The finalists that can stand beside a frame's candidates."""
    is_elsewhere = (
        judged is not None
        and "target_id" in judged
        and not judged["target_id"].isin(frame["target_id"].unique()).any()
    )
    if judged is None or (is_elsewhere and not {x, y}.isdisjoint(TARGET_METRICS)):
        return pd.DataFrame({"candidate": [], x: [], y: []})
    return judged[_is_usable(judged, x) & _is_usable(judged, y)]


def _least_shown(
    values: npt.NDArray[np.float64], remain: npt.NDArray[np.float64], y: str
) -> float | None:
    """Where the upward axis begins, if not below all that there is."""
    # A handful of networks at chance must not press all others into one line.
    if y not in SHARES or not len(remain):
        return None
    best = float(remain.max())
    low = best - 4 * (best - float(np.median(remain)))
    return low if best > low > values.min() else None


def _seen(
    baselines: Mapping[str, float],
    values: npt.NDArray[np.float64],
    y: str,
    least_y: float | None,
    logarithmic: Set[str],
) -> dict[str, float]:
    """The baselines that lie among the candidates, or no further away than those are apart."""
    on_axis = math.log10 if y in logarithmic else float
    high, low = float(values.max()), float(values.min() if least_y is None else least_y)
    high, low = on_axis(high), on_axis(low)
    # With one candidate, or with equals, a tenth of the whole is near.
    room = max(high - low, 0.1 if y in SHARES else 0.0)
    near = low if least_y is not None else low - room
    drawn = {
        name: value
        for name, value in baselines.items()
        if math.isfinite(value) and (value > 0 or y not in logarithmic)
    }
    return {n: v for n, v in drawn.items() if near <= on_axis(v) <= high + room}


def _thinned(
    frame: pd.DataFrame,
    role: pd.Series[Any],
    x: str,
    y: str,
    least_y: float | None,
    logarithmic: Set[str],
) -> npt.NDArray[np.intp]:
    """The rows without the points that lie under another one; never without one on the front."""
    # Of what is dominated and what is out one is seen beneath the other, but none beneath its like.
    is_out = np.asarray(role.isin(_OUT), dtype=np.bool_)
    cell = is_out.astype(np.int64)
    for metric, count, count_out in zip((x, y), _GRID, _GRID_OUT, strict=True):
        values = frame[metric].to_numpy(dtype=float)
        if metric in logarithmic:
            values = np.log(values)
        low, high = float(values.min()), float(values.max())
        if metric == y and least_y is not None:
            values, low = np.maximum(values, least_y), least_y
        share = (values - low) / ((high - low) or 1.0)
        place = (share * np.where(is_out, count_out, count)).astype(np.int64)
        cell = cell * (count + 1) + place
    kept = (role == Role.FRONT.value).to_numpy(copy=True)
    # Which one is left to chance: the first of each place would mostly be of one scheme.
    shuffled = np.random.default_rng(0).permutation(len(frame))
    kept[shuffled[np.unique(cell[shuffled], return_index=True)[1]]] = True
    return np.flatnonzero(kept)


def _greyed(
    frame: pd.DataFrame,
    role: pd.Series[Any],
    x: str,
    y: str,
    unusual: Mapping[int, str],
    *,
    is_many: bool,
) -> Iterator[dict[str, Any]]:
    # Of a colour for the inside and one for the outline a browser reads both for every point, so
    # one of them is left out: what is hollow has an open symbol.
    for name, symbol, size, opacity in (
        (Role.INFEASIBLE.value, "x-thin-open", 6, 0.6),
        (Role.OUT_OF_BOUNDS.value, "circle", 7.2, 0.25),
    ):
        rows = frame[role == name]
        if rows.empty:
            continue
        yield {
            **marks(rows, x, y, unusual, is_many=is_many, note=f"<br><i>{name}</i>"),
            "mode": "markers",
            "name": name,
            "marker": {
                "color": GREY,
                "size": size,
                "opacity": opacity,
                "symbol": symbol,
                "line": {"width": 1.2 if symbol.endswith("open") else 0},
            },
        }


def _schemes(
    frame: pd.DataFrame,
    role: pd.Series[Any],
    x: str,
    y: str,
    unusual: Mapping[int, str],
    *,
    is_many: bool,
) -> Iterator[dict[str, Any]]:
    numbers, schemes = pd.factorize(frame["quantization"])
    colours, symbols = scheme_colours(schemes), scheme_symbols(schemes)
    kinds = {name: (role == name).to_numpy() for name in (Role.DOMINATED.value, Role.FRONT.value)}
    on_front = set(schemes[np.unique(numbers[kinds[Role.FRONT.value]])])
    for kind, mask in kinds.items():
        is_front = kind == Role.FRONT.value
        for scheme, colour in colours.items():
            rows = frame[mask & (numbers == schemes.get_loc(scheme))]
            if rows.empty:
                continue
            symbol = symbols[scheme]
            name = escaped(scheme or "candidates")
            yield {
                **marks(rows, x, y, unusual, is_many=is_many and not is_front),
                "mode": "markers",
                "name": name,
                "showlegend": is_front or scheme not in on_front,
                "legendgroup": name,
                "marker": {
                    "color": colour,
                    "symbol": symbol if is_front else f"{symbol}-open",
                    "size": 11 if is_front else 7,
                    "opacity": 1.0 if is_front else 0.55,
                    "line": {"width": 1 if is_front else 1.2, "color": colour},
                },
            }


def _front_line(
    frame: pd.DataFrame, role: pd.Series[Any], x: str, y: str, objectives: Sequence[Objective]
) -> pd.DataFrame:
    """The candidates with the best ``y`` that can be had at every ``x``."""
    shown = _objectives_shown(x, y, objectives)
    if len(shown) != 2:
        return frame.iloc[:0]
    # What is on the front of two objectives is on that of all, or one with the same two figures
    # is; unless a further figure is not known, without which it is on none.
    is_unknown = np.any(np.isnan(minimized(frame, objectives)), axis=1)
    remain = frame[(~role.isin(_OUT) & is_unknown) | (role == Role.FRONT.value)]
    line: pd.DataFrame = remain[pareto.non_dominated(minimized(remain, shown))]
    return line


def _objectives_shown(x: str, y: str, objectives: Sequence[Objective]) -> list[Objective]:
    return [o for name in (x, y) for o in objectives if o.metric == name]


def _front_steps(
    front: pd.DataFrame, x: str, y: str, objectives: Sequence[Objective]
) -> Iterator[dict[str, Any]]:
    """Draws what ``_front_line`` answers as steps."""
    front = front.sort_values([x, y]).drop_duplicates([x, y])
    if len(front) < 2:
        return
    shown = _objectives_shown(x, y, objectives)
    ascending = shown[0].direction is Direction.MINIMIZE
    yield {
        "x": front[x].to_numpy(),
        "y": front[y].to_numpy(),
        "mode": "lines",
        "name": "front",
        "line": {"shape": "hv" if ascending else "vh", "color": GREY, "width": 2},
        "hoverinfo": "skip",
    }


def _finalists(
    judged: pd.DataFrame, x: str, y: str, unusual: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    if judged.empty:
        return
    yield {
        **marks(judged, x, y, unusual, is_many=False, note="<br><i>cross-validated</i>"),
        "mode": "markers",
        "name": "cross-validated",
        "marker": {
            "size": 12,
            "symbol": "hexagram",
            "color": "#D55E00",
            "line": {"width": 1, "color": "#D55E00"},
        },
    }


def _ring(
    parts: Sequence[pd.DataFrame], suggested: str | None, x: str, y: str
) -> Iterator[dict[str, Any]]:
    if suggested is None:
        return
    rows = pd.concat([part[[x, y]][(part["candidate"] == suggested).to_numpy()] for part in parts])
    if rows.empty:
        return
    yield {
        "x": rows[x].to_numpy(),
        "y": rows[y].to_numpy(),
        "mode": "markers",
        "name": "suggested",
        "hoverinfo": "skip",
        "marker": {
            "size": 22,
            "symbol": "circle-open",
            "color": "#D55E00",
            "line": {"width": 2.5, "color": "#D55E00"},
        },
    }


def _set_axes(
    layout: dict[str, Any],
    shown: Mapping[str, npt.NDArray[np.float64]],
    x: str,
    y: str,
    least_y: float | None,
    lines: Sequence[float],
    logarithmic: Set[str],
) -> None:
    for metric, axis in ((x, layout["xaxis"]), (y, layout["yaxis"])):
        values = shown[metric]
        axis["title"] = {**axis["title"], "text": axis_title(metric)}
        drawn = np.append(values, lines if metric == y else [])
        # Said rather than found from the points: a browser then knows the axes before it has them.
        if metric in logarithmic:
            ends = [float(drawn.min()), float(drawn.max())]
            axis |= {"type": "log", **log_ticks(ends, is_bytes=metric in BYTES)}
            axis["range"] = _padded(np.log10(drawn))
        else:
            axis["range"] = _padded(drawn)
            if metric in BYTES:
                # A linear axis writes its own ticks, of what the points are: bytes.
                axis["title"]["text"] = f"{metric_label(metric)} (B)"
                axis["tickformat"] = "~s"
        if metric in SHARES:
            axis["tickformat"] = ".1%" if np.ptp(values) < 0.05 else ".0%"
    if least_y is None:
        return
    layout["yaxis"]["range"] = _padded(np.array([least_y, float(shown[y].max()), *lines]))
    below = int((shown[y] < least_y).sum())
    text = f"{below} below: double-click shows all"
    add_note(layout, text, x=1, xref="paper", y=0, yref="paper", yanchor="bottom")


def _padded(values: npt.NDArray[np.float64]) -> list[float]:
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    room = (high - low) * 0.06 or 0.05
    return [low - room, high + room]
