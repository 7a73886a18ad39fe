"""Lines that candidates are held against: bounds, and what comes without a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from autosearch.values import Constraint
from autosearch.visualization.choice import Bound
from autosearch.visualization.style import GREY, escaped, figure_text

__all__ = ["add_baselines", "add_bounds", "add_note"]

_ROW_PX = 13


def add_bounds(
    layout: dict[str, Any],
    x: str,
    y: str,
    constraints: Sequence[Constraint],
    bounds: Mapping[str, Bound],
) -> None:
    """Draws the study's own bounds dotted and the reader's dashed, where an axis shows them.

    Args:
        layout: Of a figure with its axes, as plain data; gains shapes and annotations.
        x: The metric across.
        y: The metric upwards.
        constraints: The study's own.
        bounds: Metric to the reader's bound.
    """
    lines = [(c.metric, c.bound, "dot", "study's bound") for c in constraints]
    for metric, bound in bounds.items():
        lines += [
            (metric, value, "dash", "your bound")
            for value in (bound.least, bound.most)
            if value is not None
        ]
    for metric, value, dash, words in lines:
        if metric not in (x, y):
            continue
        place = _place(layout["xaxis" if metric == x else "yaxis"], value)
        if place is None:
            continue
        text = f"{words} {figure_text(metric, value)}"
        line = {"dash": dash, "width": 1.3, "color": GREY}
        if metric == x:
            ends = {"x0": value, "x1": value, "y0": 0, "y1": 1}
            _add(layout, "shapes", type="line", **ends, yref="paper", line=line)
            # Above the chart, where no baseline is named; the reader's above the study's.
            up = _ROW_PX if dash == "dash" else 0
            add_note(layout, text, x=place, y=1, yref="paper", yanchor="bottom", yshift=up)
        else:
            _add_level(layout, value, line)
            add_note(layout, text, x=1, xref="paper", y=place, yanchor="top")


def add_baselines(layout: dict[str, Any], y: str, baselines: Mapping[str, float]) -> None:
    """Draws each baseline as a level line with its name and figure.

    Args:
        layout: Of a figure with its axes, as plain data; gains shapes and annotations.
        y: The metric.
        baselines: Name to value, those that the upward axis has room for.
    """
    ranked = sorted(baselines.items(), key=lambda item: item[1])
    for place, (name, value) in enumerate(ranked):
        # The names of two that lie close stand on either side of their lines.
        is_above = place == len(ranked) - 1 and place > 0
        line = {"dash": "10px,4px", "width": 1.2, "color": GREY}
        _add_level(layout, value, line, layer="below")
        # On the right, where few candidates are: the costly ones.
        add_note(
            layout,
            f"{escaped(name)} {figure_text(y, value)}",
            x=1,
            xref="paper",
            y=_place(layout["yaxis"], value),
            yanchor="bottom" if is_above else "top",
        )


def _place(axis: Mapping[str, Any], value: float) -> float | None:
    """Where Plotly places a note on an axis: on a logarithmic one by the logarithm, if any."""
    if axis.get("type") != "log":
        return value
    return math.log10(value) if value > 0 else None


def _add_level(layout: dict[str, Any], value: float, line: Mapping[str, Any], **more: Any) -> None:
    ends = {"x0": 0, "x1": 1, "y0": value, "y1": value}
    _add(layout, "shapes", type="line", **ends, xref="paper", line=line, **more)


def add_note(layout: dict[str, Any], text: str, **place: Any) -> None:
    """Writes a small note that ends at a place, as Plotly's annotations name it."""
    how = {"xanchor": "right", "showarrow": False, "font": {"size": 11}}
    _add(layout, "annotations", text=text, **how, **place)


def _add(layout: dict[str, Any], kind: str, **item: Any) -> None:
    layout.setdefault(kind, []).append(item)
