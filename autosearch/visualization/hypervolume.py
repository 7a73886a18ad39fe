"""How fronts grew: the volume that they cover, over trials and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch import pareto
from autosearch.metrics import LOGARITHMIC
from autosearch.store.study_frames import minimized
from autosearch.values import Constraint, Objective
from autosearch.visualization.style import PALETTE, base_figure, escaped, not_yet

__all__ = ["hypervolume_frame", "plot_hypervolume"]

_MAX_POINTS = (60, 60, 60, 15, 5)  # by the number of objectives: from four on each takes long
_FEW = 8


def hypervolume_frame(
    candidates: pd.DataFrame,
    objectives: Sequence[Objective],
    *,
    constraints: Sequence[Constraint] = (),
    among: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The share of the objectives' box that the front covers, over trials.

    The box reaches from the best to the worst feasible figure of each objective, or to the
    study's bound on it; sizes and times count by their logarithm. So 0 is nothing and 1 would be
    one candidate that is best in everything. It is worked out at 60 trials at most, with four
    objectives at 15 and with more at 5.

    Args:
        candidates: Of one study.
        objectives: What ranks them.
        constraints: The study's own bounds.
        among: The candidates whose best and worst make the box; those of several studies give
            them one box, so that their curves can be compared. By default the study's own.

    Returns:
        Columns ``trial``, ``hypervolume`` and, if the candidates have it, ``finished_at``.
    """
    columns = ["trial", "hypervolume", "finished_at"]
    feasible = candidates[candidates["feasible"].astype(bool)]
    if feasible.empty or not objectives:
        return pd.DataFrame(columns=columns)
    values = _in_box(feasible, feasible if among is None else among, objectives, constraints)
    known = np.isfinite(values).all(axis=1)
    values, feasible = values[known], pd.DataFrame(feasible[known])
    if not len(values):
        return pd.DataFrame(columns=columns)
    numbers = feasible["trial"].to_numpy()
    distinct = np.unique(numbers)
    most = _MAX_POINTS[min(len(objectives), len(_MAX_POINTS)) - 1]
    places = np.unique(np.linspace(0, len(distinct) - 1, most).round().astype(int))
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
    title = "trial" if by == "trial" else "minutes since the first candidate"
    figure.update_xaxes(title={"text": title}, rangemode="tozero")
    if by == "trial" and max(frame["trial"].max() for frame in known.values()) < _FEW:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title={"text": "hypervolume (share of the box)"})
    return figure


def _in_box(
    frame: pd.DataFrame,
    among: pd.DataFrame,
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint],
) -> npt.NDArray[np.float64]:
    """The objectives of a frame, 0 for the best figure among the candidates, 1 for the worst."""
    values = minimized(frame, objectives)
    all_values = minimized(among[among["feasible"].astype(bool)], objectives)
    bounds = {constraint.metric: constraint.bound for constraint in constraints}
    for place, objective in enumerate(objectives):
        column, everything = values[:, place], all_values[:, place]
        worst = (
            objective.minimized(bounds[objective.metric]) if objective.metric in bounds else None
        )
        if objective.metric in LOGARITHMIC and np.nanmin(everything, initial=np.inf) > 0:
            column, everything = np.log(column), np.log(everything)
            worst = float(np.log(worst)) if worst is not None and worst > 0 else None
        known = everything[np.isfinite(everything)]
        if not len(known):
            continue
        low, high = float(known.min()), float(known.max()) if worst is None else worst
        values[:, place] = (column - low) / (high - low) if high > low else column * 0
    return values
