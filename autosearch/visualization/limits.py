"""Lines that candidates are held against: bounds, and what comes without a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from autosearch.values import Constraint
from autosearch.visualization.choice import Bound
from autosearch.visualization.style import GREY, LOGARITHMIC, escaped, figure_text

__all__ = ["add_baselines", "add_bounds"]


def add_bounds(
    figure: go.Figure,
    x: str,
    y: str,
    constraints: Sequence[Constraint],
    bounds: Mapping[str, Bound],
) -> None:
    """Draws the study's own bounds dotted and the reader's dashed, where an axis shows them."""
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
            figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=1, yref="paper", line=line)
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
            figure.add_shape(type="line", x0=0, x1=1, xref="paper", y0=value, y1=value, line=line)
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


def add_baselines(figure: go.Figure, y: str, baselines: Mapping[str, float]) -> None:
    """Draws each baseline as a level line with its name and figure.

    Args:
        figure: Whose upward axis shows ``y``.
        y: The metric.
        baselines: Name to value, those that the axis has room for.
    """
    ranked = sorted(baselines.items(), key=lambda item: item[1])
    for place, (name, value) in enumerate(ranked):
        # The names of two that lie close stand on either side of their lines.
        is_above = place == len(ranked) - 1 and place > 0
        figure.add_shape(
            type="line",
            x0=0,
            x1=1,
            xref="paper",
            y0=value,
            y1=value,
            line={"dash": "10px,4px", "width": 1.2, "color": GREY},
            layer="below",
        )
        figure.add_annotation(
            text=f"{escaped(name)} {figure_text(y, value)}",
            font={"size": 11},
            # On the right, where few candidates are: the costly ones.
            x=1,
            xref="paper",
            xanchor="right",
            y=value,
            yanchor="bottom" if is_above else "top",
            showarrow=False,
        )
