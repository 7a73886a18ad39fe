"""How a search went: what it tried, how its front grew, when its workers worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch import pareto
from autosearch.values import Constraint, Objective
from autosearch.visualization.choice import minimized
from autosearch.visualization.style import (
    GREY,
    LOGARITHMIC,
    PALETTE,
    axis_title,
    base_figure,
    escaped,
    log_ticks,
    metric_label,
    not_yet,
)

__all__ = [
    "hypervolume_frame",
    "importance_frame",
    "parameters_frame",
    "plot_hypervolume",
    "plot_importance",
    "plot_parallel_coordinates",
    "plot_slice",
    "plot_timeline",
]

_MAX_POINTS = 60
_MAX_DIMENSIONS = 10
_MIN_TRIALS = 10
_STATE_COLOURS = {
    "complete": PALETTE[0],
    "infeasible": PALETTE[1],
    "pruned": PALETTE[5],
    "failed": PALETTE[4],
    "running": PALETTE[2],
}


def parameters_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """The parameters of trials as columns, by trial number, without those that never varied."""
    configs = [config if isinstance(config, Mapping) else {} for config in trials["config"]]
    frame = pd.DataFrame(configs, index=trials["number"].to_numpy())
    varied = [
        name
        for name in frame
        if frame[name].map(lambda v: v if np.isscalar(v) else str(v)).nunique(dropna=True) > 1
    ]
    return frame[varied]


def hypervolume_frame(
    candidates: pd.DataFrame,
    objectives: Sequence[Objective],
    *,
    constraints: Sequence[Constraint] = (),
) -> pd.DataFrame:
    """The share of the objectives' box that the front covers, over trials.

    The box reaches from the best to the worst feasible figure of each objective, or to the
    study's bound on it; sizes and times count by their logarithm. So 0 is nothing and 1 would be
    one candidate that is best in everything. It is worked out at 60 trials at most.

    Returns:
        Columns ``trial``, ``hypervolume`` and, if the candidates have it, ``finished_at``.
    """
    columns = ["trial", "hypervolume", "finished_at"]
    feasible = candidates[candidates["feasible"].astype(bool)]
    if feasible.empty or not objectives:
        return pd.DataFrame(columns=columns)
    values = minimized(feasible, objectives)
    bounds = {constraint.metric: constraint.bound for constraint in constraints}
    for place, objective in enumerate(objectives):
        column = values[:, place]
        worst = (
            objective.minimized(bounds[objective.metric]) if objective.metric in bounds else None
        )
        if objective.metric in LOGARITHMIC and np.nanmin(column, initial=np.inf) > 0:
            column = np.log(column)
            worst = float(np.log(worst)) if worst is not None and worst > 0 else None
        low, high = _least(column), _most(column) if worst is None else worst
        values[:, place] = (column - low) / (high - low) if high > low else column * 0
    known = np.isfinite(values).all(axis=1)
    values, feasible = values[known], pd.DataFrame(feasible[known])
    if not len(values):
        return pd.DataFrame(columns=columns)
    numbers = feasible["trial"].to_numpy()
    distinct = np.unique(numbers)
    places = np.unique(np.linspace(0, len(distinct) - 1, _MAX_POINTS).round().astype(int))
    reference = np.full(len(objectives), 1.0 + 1e-9)
    rows = []
    front = values[:0]
    before = -np.inf
    for number in distinct[places]:
        front = np.concatenate([front, values[(numbers > before) & (numbers <= number)]])
        front = front[pareto.non_dominated(front)]
        before = number
        finished = (
            feasible["finished_at"][feasible["trial"] <= number].max()
            if "finished_at" in feasible
            else None
        )
        volume = pareto.hypervolume(front, reference)
        rows.append({"trial": number, "hypervolume": volume, "finished_at": finished})
    return pd.DataFrame(rows, columns=columns)


def plot_hypervolume(
    frames: Mapping[str, pd.DataFrame], *, by: str = "trial", height: int = 320
) -> go.Figure:
    """Draws how the fronts of studies grew, over trials or minutes since the first candidate.

    Args:
        frames: Study to its ``hypervolume_frame``.
        by: ``trial`` or ``time``.
        height: Pixels.
    """
    known = {name: frame for name, frame in frames.items() if len(frame)}
    if not known:
        return not_yet("The hypervolume needs a feasible candidate", height=height)
    figure = base_figure(height=height, legend_rows=int(len(known) > 1))
    for index, (name, frame) in enumerate(known.items()):
        across: Any = frame["trial"].to_numpy()
        if by == "time":
            finished = pd.to_datetime(frame["finished_at"])
            across = ((finished - finished.min()).dt.total_seconds() / 60).to_numpy()
        figure.add_scatter(
            x=across,
            y=frame["hypervolume"].to_numpy(dtype=float),
            mode="lines+markers" if len(frame) < 4 else "lines",
            name=escaped(name),
            line={"shape": "hv", "width": 2, "color": PALETTE[index % len(PALETTE)]},
            hovertemplate="%{x:.4g}: %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(title={"text": "trial" if by == "trial" else "minutes"})
    figure.update_yaxes(title={"text": "hypervolume (share of the box)"}, rangemode="tozero")
    return figure


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
    if len(shared) < 2 or parameters.empty:
        return not_yet("Parallel coordinates need two finished trials that differ", height=height)
    weights = importance or {}
    chosen = sorted(map(str, parameters), key=lambda name: -weights.get(name, 0.0))[
        :_MAX_DIMENSIONS
    ]
    dimensions = [_dimension(name, parameters.loc[shared, name]) for name in chosen]
    for metric in map(str, metrics):
        values = metrics.loc[shared, metric].to_numpy(dtype=float)
        is_log = metric in LOGARITHMIC and bool((values > 0).all())
        dimension = {"label": axis_title(metric), "values": values}
        if is_log:
            dimension |= _logarithmic(values, is_bytes="bytes" in metric)
        elif "bytes" in metric:
            dimension["values"] = values / 1000
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
    figure.update_layout(margin={"l": 70, "r": 50, "t": 110, "b": 24})
    return figure


def importance_frame(
    parameters: pd.DataFrame, metrics: pd.DataFrame, *, seed: int = 0
) -> pd.DataFrame:
    """How much each parameter explains of each figure: shares by parameter (rows), summing to 1.

    The mean decrease of impurity in a forest of 64 random trees, as Optuna's evaluator of that
    name takes it. Empty below ten finished trials.
    """
    shared = parameters.index.intersection(metrics.index)
    if len(shared) < _MIN_TRIALS or parameters.empty:
        return pd.DataFrame()
    from sklearn.ensemble import RandomForestRegressor

    codes = np.stack(
        [_codes(parameters.loc[shared, name]) for name in map(str, parameters)], axis=1
    )
    result = {}
    for metric in map(str, metrics):
        values = metrics.loc[shared, metric].to_numpy(dtype=float)
        if metric in LOGARITHMIC and (values[np.isfinite(values)] > 0).all():
            values = np.log(values)
        known = np.isfinite(values)
        if known.sum() < _MIN_TRIALS or np.ptp(values[known]) == 0:
            continue
        rows = np.flatnonzero(known)[-2000:]
        forest = RandomForestRegressor(n_estimators=64, random_state=seed, max_depth=12)
        result[metric] = forest.fit(codes[rows], values[rows]).feature_importances_
    return pd.DataFrame(result, index=list(parameters))


def plot_importance(importance: pd.DataFrame, *, height: int | None = None) -> go.Figure:
    """Draws how much each parameter explains of each objective, the weightiest ten."""
    if importance.empty:
        return not_yet(f"Importance needs at least {_MIN_TRIALS} finished trials that differ")
    order = importance.mean(axis=1).sort_values(ascending=False).index[:10]
    figure = base_figure(height=height or 140 + 34 * len(order), legend_rows=1)
    for index, metric in enumerate(map(str, importance)):
        figure.add_bar(
            y=[escaped(str(name)) for name in order],
            x=importance.loc[order, metric].to_numpy(),
            orientation="h",
            name=escaped(metric_label(metric)),
            marker={"color": PALETTE[index % len(PALETTE)]},
            hovertemplate="%{y}: %{x:.0%}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title={"text": "share of what the parameters explain"}, tickformat=".0%")
    figure.update_layout(barmode="group")
    return figure


def plot_slice(
    parameters: pd.DataFrame, metrics: pd.DataFrame, *, parameter: str, metric: str
) -> go.Figure:
    """Draws one figure of the trials over one parameter."""
    if parameter not in parameters or metric not in metrics:
        return not_yet("A slice needs two finished trials that differ in the parameter")
    shared = parameters.index[parameters[parameter].notna()].intersection(metrics.index)
    figure = base_figure(height=340)
    values, column = metrics.loc[shared, metric], parameters.loc[shared, parameter]
    is_number = _is_number(column)
    figure.add_scatter(
        x=column.to_numpy() if is_number else [escaped(v) for v in column],
        y=values.to_numpy(dtype=float),
        mode="markers",
        marker={"color": PALETTE[0], "opacity": 0.6, "size": 8},
        customdata=list(shared),
        hovertemplate="trial %{customdata}: %{y:.4g} at %{x}<extra></extra>",
    )
    figure.update_xaxes(title={"text": escaped(parameter)}, type=None if is_number else "category")
    if is_number and (column > 0).all() and column.max() / column.min() > 30:
        figure.update_xaxes(type="log")
    figure.update_yaxes(title={"text": axis_title(metric)})
    if metric in LOGARITHMIC and (values > 0).all():
        ticks = log_ticks(values.tolist(), is_bytes="bytes" in metric)
        figure.update_yaxes(type="log", **ticks)
    elif metric == "accuracy":
        figure.update_yaxes(tickformat=".0%")
    return figure


def plot_timeline(trials: pd.DataFrame, *, now: Any = None, height: int | None = None) -> go.Figure:
    """Draws when each worker worked on which trial, the last 300 trials.

    Args:
        trials: Columns ``number``, ``state``, ``started_at``, ``finished_at``, ``worker``.
        now: Where the bar of a running trial ends (naive UTC).
        height: Pixels.
    """
    started = trials[trials["started_at"].notna()].tail(300)
    if started.empty:
        return not_yet("The timeline needs a started trial")
    workers = {w: i for i, w in enumerate(dict.fromkeys(started["worker"].fillna(-1)))}
    figure = base_figure(height=height or 160 + 46 * len(workers), legend_rows=1)
    for state, rows in started.groupby("state", sort=False):
        begin = pd.to_datetime(rows["started_at"])
        end = pd.to_datetime(rows["finished_at"]).fillna(now if now is not None else begin.max())
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


def _is_number(column: pd.Series[Any]) -> bool:
    return all(
        isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_))
        for v in column.dropna()
    )


def _codes(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """A parameter as numbers; one that was not sampled lies below all others."""
    if _is_number(column):
        values = column.to_numpy(dtype=float)
        low = _least(values)
        return np.where(np.isfinite(values), values, low - 1.0)
    words = column.map(lambda v: None if v is None or v != v else str(v))
    codes: npt.NDArray[np.float64] = pd.Categorical(words).codes.astype(float)
    return codes


def _dimension(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    label = escaped(name.rpartition("/")[2].replace("_", " "))
    if _is_number(column):
        values = column.to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        if len(finite) and finite.min() > 0 and finite.max() / finite.min() > 30:
            return {
                "label": label,
                **_logarithmic(np.where(np.isfinite(values), values, finite.min())),
            }
        distinct = sorted(set(finite.tolist()))
        if len(distinct) <= 8:
            return {
                "label": label,
                "values": _codes(column),
                "tickvals": distinct,
                "ticktext": [f"{value:g}" for value in distinct],
            }
        return {"label": label, "values": _codes(column)}
    words = column.map(lambda v: "–" if v is None or v != v else str(v))
    categories = sorted(set(words))
    places = {word: place for place, word in enumerate(categories)}
    return {
        "label": label,
        "values": [places[word] for word in words],
        "tickvals": list(places.values()),
        "ticktext": [escaped(word) for word in categories],
    }


def _logarithmic(values: npt.NDArray[np.float64], *, is_bytes: bool = False) -> dict[str, Any]:
    """Logarithms for an axis that knows none, with the ticks that lie between its ends."""
    ticks = log_ticks(values.tolist(), is_bytes=is_bytes)
    inside = [
        (float(np.log10(place)), text)
        for place, text in zip(ticks["tickvals"], ticks["ticktext"], strict=True)
        if values.min() <= place <= values.max()
    ]
    return {
        "values": np.log10(values),
        "tickvals": [place for place, _ in inside],
        "ticktext": [text for _, text in inside],
    }


def _least(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if len(finite) else 0.0


def _most(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if len(finite) else 0.0
