"""Where trials were pruned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from autosearch.visualization.style import PALETTE, base_figure, not_yet

__all__ = ["plot_rungs", "rungs_frame"]


def rungs_frame(trials: pd.DataFrame, reached: Mapping[int, int]) -> pd.DataFrame:
    """How many trials each rung let go on, and how many were pruned there.

    Args:
        trials: Columns ``number``, ``state`` and ``facts``.
        reached: Trial to the last epoch that it reported.

    Returns:
        Columns ``epoch``, ``went_on`` and ``pruned``, a row for each epoch at which one was.
    """
    ended = trials[trials["state"] == "pruned"]
    pruned_at = {
        int(number): int((facts or {}).get("pruned", {}).get("epoch", reached.get(number, 0)))
        for number, facts in zip(ended["number"], ended["facts"], strict=True)
        if "needed_s" not in (facts or {}).get("pruned", {})  # No rung ended it: time was short.
    }
    rungs = sorted({epoch for epoch in pruned_at.values() if epoch > 0})
    rows = [
        {
            "epoch": rung,
            "went_on": sum(
                epoch >= rung and pruned_at.get(number, math.inf) > rung
                for number, epoch in reached.items()
            ),
            "pruned": sum(epoch == rung for epoch in pruned_at.values()),
        }
        for rung in rungs
    ]
    return pd.DataFrame(rows, columns=["epoch", "went_on", "pruned"])


def plot_rungs(rungs: pd.DataFrame, *, height: int = 260) -> go.Figure:
    """Draws how many trials each rung let go on, and how many were pruned there.

    Args:
        rungs: As ``rungs_frame`` gives them.
        height: Pixels.
    """
    if rungs.empty:
        return not_yet("No trial was pruned", height=height)
    figure = base_figure(height=height, legend_rows=1)
    epochs = [f"epoch {epoch}" for epoch in rungs["epoch"]]
    for column, name, colour in (
        ("went_on", "went on", PALETTE[0]),
        ("pruned", "pruned", PALETTE[5]),
    ):
        figure.add_bar(
            x=epochs,
            y=rungs[column].to_numpy(),
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{x}}: %{{y:,}} {name}<extra></extra>",
        )
    figure.update_xaxes(type="category", title={"text": "rung"})
    figure.update_yaxes(title={"text": "trials"}, rangemode="tozero")
    figure.update_layout(barmode="stack", bargap=0.4)
    return figure
