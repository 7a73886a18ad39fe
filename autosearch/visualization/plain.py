"""The charts of a study that Optuna ran without us."""

from __future__ import annotations

import plotly.graph_objects as go

from autosearch import pareto
from autosearch.search.plain import PlainStudy, plain_study, plain_study_names
from autosearch.store.study_frames import minimized
from autosearch.visualization.style import (
    GREY,
    PALETTE,
    axis_title,
    base_figure,
    in_axis_unit,
    not_yet,
)

# What reads it stands here too, for pages that see the library through its charts alone.
__all__ = ["PlainStudy", "plain_study", "plain_study_names", "plot_values"]


def plot_values(study: PlainStudy, *, height: int = 380) -> go.Figure:
    """Draws what the trials reached: over their numbers, or the first two values as one another.

    The front is filled, what another trial dominates hollow.

    Args:
        study: As ``plain_study`` reads it.
        height: Pixels.
    """
    metrics = [objective.metric for objective in study.objectives]
    done = study.trials[study.trials["state"] == "complete"].dropna(subset=metrics)
    if done.empty:
        return not_yet("The chart waits for the first complete trial", height=height)
    on_front = pareto.non_dominated(minimized(done, study.objectives))
    x, y = ("number", metrics[0]) if len(metrics) == 1 else (metrics[1], metrics[0])
    figure = base_figure(height=height, legend_rows=1)
    front = set(done["number"].to_numpy()[on_front])
    for name, wanted, colour in (("trial", False, GREY), ("on the front", True, PALETTE[0])):
        rows = done[done["number"].isin(front) == wanted]
        figure.add_scatter(
            x=in_axis_unit(x, rows[x].to_numpy(dtype=float)),
            y=in_axis_unit(y, rows[y].to_numpy(dtype=float)),
            mode="markers",
            name=name,
            marker={"color": colour, "size": 9 if wanted else 7, "opacity": 1 if wanted else 0.6},
            customdata=rows["number"].to_numpy(),
            hovertemplate="trial %{customdata}: %{y:.4~g} at %{x:.4~g}<extra></extra>",
        )
    figure.update_xaxes(title={"text": "trial" if x == "number" else axis_title(x)})
    figure.update_yaxes(title={"text": axis_title(y)})
    return figure
