"""What all charts share: colours that colour-blind people tell apart, units, digits, layout.

The colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color/), and every scheme
has a shape of its own besides, so that nothing hangs on colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from autosearch.metrics import BYTES, METRICS, SHARES

__all__ = [
    "CHART_CONFIG",
    "GREY",
    "PALETTE",
    "axis_title",
    "base_figure",
    "base_layout",
    "empty_layout",
    "escaped",
    "figure_text",
    "in_axis_unit",
    "log_ticks",
    "metric_label",
    "metric_title",
    "not_yet",
    "number_text",
    "scheme_colours",
    "scheme_symbols",
]

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#999999")
GREY = "#8c8c8c"

CHART_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    # Plotly offers by default to upload a chart to its maker's servers.
    "showSendToCloud": False,
    "plotlyServerURL": "",
}
"""How Plotly behaves wherever a figure is shown in a browser."""

_SCHEMES = ("int8", "float32", "int16x8", "dynamic_int8", "float16", "mixed")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "star", "pentagon", "x")


def metric_label(metric: str) -> str:
    """The words for a metric, without its unit.

    Example:
        >>> metric_label("size_bytes"), metric_label("lines_of_code")
        ('size', 'lines of code')
    """
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def axis_title(metric: str) -> str:
    """The words for a metric with its unit, as an axis bears them.

    Example:
        >>> axis_title("latency_ms")
        'latency p50 (ms)'
    """
    return escaped(metric_title(metric))


def in_axis_unit(metric: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Figures in the unit that ``axis_title`` names."""
    return values / 1000 if metric in BYTES else values


def metric_title(metric: str) -> str:
    """The same for what takes text as it stands, as the head of a table does."""
    label, unit = metric_label(metric), _unit(metric)
    return f"{label} ({unit})" if unit else label


def figure_text(metric: str, value: Any) -> str:
    """A figure with its unit and sensible digits; a dash where there is none.

    Example:
        >>> figure_text("size_bytes", 21_772.0), figure_text("latency_ms", 0.0089)
        ('21.8 kB', '0.0089 ms')
        >>> figure_text("accuracy", 0.96935), figure_text("accuracy", None)
        ('96.9 %', '–')
    """
    if value is None or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–"
    if metric in BYTES:
        if 0 < value < 1000:
            return f"{value:.3g} B"
        return f"{value / 1000:,.1f} kB" if value < 1e6 else f"{value / 1e6:,.2f} MB"
    if metric in SHARES:
        return f"{100 * value:.1f} %"
    unit = _unit(metric)
    if metric in ("parameters", "macs"):
        return f"{value:,.0f}"
    return f"{number_text(value)} {unit}".strip()


def _unit(metric: str) -> str:
    return METRICS[metric].unit if metric in METRICS else ""


def escaped(text: Any) -> str:
    """Text that Plotly shows as it stands: it takes some HTML for markup."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def scheme_colours(schemes: Iterable[str]) -> dict[str, str]:
    """A colour for every quantization scheme, the same in every chart of any study."""
    return {name: PALETTE[i % len(PALETTE)] for name, i in _numbered(schemes).items()}


def scheme_symbols(schemes: Iterable[str]) -> dict[str, str]:
    """A marker for every quantization scheme."""
    return {name: _SYMBOLS[i % len(_SYMBOLS)] for name, i in _numbered(schemes).items()}


def log_ticks(values: Sequence[float], *, is_bytes: bool = False) -> Mapping[str, Any]:
    """Ticks of a logarithmic axis at 1, 2 and 5 of each decade, written out in full.

    Where fewer than two of them lie among the values, there are evenly spaced ones instead.

    Args:
        values: What the axis shows; only positive figures count.
        is_bytes: Write thousands, since the axis says kB.
    """
    shown = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    if not shown:
        return {}
    least, most = min(shown), max(shown)
    low, high = math.floor(math.log10(least)), math.ceil(math.log10(most))
    steps = (1,) if high - low > 3 else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    digits = 6
    outside = [tick for tick in ticks if not least <= tick <= most]
    if len(ticks) - len(outside) < 2:
        among = _even_ticks(least, most)
        ticks = sorted([*outside, *among])
        if len(among) > 1:
            digits = max(digits, math.ceil(math.log10(most / (among[1] - among[0]))) + 1)
    scale = 1000 if is_bytes else 1
    texts = [number_text(round(tick / scale, 12), digits) for tick in ticks]
    return {"tickvals": ticks, "ticktext": texts}


def number_text(value: float, digits: int = 3) -> str:
    """A number with so many digits, or with all before the point: no power of ten to a billion."""
    text = f"{value:,.{digits}g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e9 else text


def _even_ticks(least: float, most: float) -> list[float]:
    """At least three multiples of 1, 2 or 5 times a power of ten; the value itself of equals."""
    third = (most - least) / 3
    if third <= 0:
        return [least]
    unit = 10.0 ** math.floor(math.log10(third))
    step = max((s * unit for s in (2, 5) if s * unit <= third), default=unit)
    places = range(math.ceil(least / step), math.floor(most / step) + 1)
    return [place * step for place in places]


def base_layout(*, height: int = 420, legend_rows: int = 0) -> dict[str, Any]:
    """The layout that all charts share, transparent on light and dark.

    Args:
        height: Pixels.
        legend_rows: Room to leave below for a legend.
    """
    axis = {
        "gridcolor": "rgba(128,128,128,0.18)",
        "zeroline": False,
        "linecolor": "rgba(128,128,128,0.5)",
        "ticks": "outside",
        "tickcolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        "title": {"standoff": 8},
    }
    below = 68 + 24 * legend_rows if legend_rows else 52
    return {
        "template": "none",
        "height": height,
        "margin": {"l": 62, "r": 12, "t": 30, "b": below},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {
            "family": "Source Sans, Source Sans Pro, sans-serif",
            "size": 13,
            "color": GREY,
        },
        "hoverlabel": {"align": "left"},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "font": {"size": 12},
        },
        "showlegend": legend_rows > 0,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": PALETTE[0]},
        "uirevision": "kept",
        "colorway": list(PALETTE),
        "xaxis": axis,
        "yaxis": dict(axis),
    }


def base_figure(*, height: int = 420, legend_rows: int = 0) -> go.Figure:
    """An empty figure in the layout that all charts share.

    Args:
        height: Pixels.
        legend_rows: Room to leave below for a legend.
    """
    # All at once: what is updated afterwards takes Plotly ten times as long.
    return go.Figure(layout=base_layout(height=height, legend_rows=legend_rows))


def empty_layout(reason: str, *, height: int = 240) -> dict[str, Any]:
    """A layout that says what a chart waits for, in place of an empty pair of axes."""
    layout = base_layout(height=height)
    layout["xaxis"]["visible"] = layout["yaxis"]["visible"] = False
    place = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    layout["annotations"] = [{"text": escaped(reason), "showarrow": False, **place}]
    return layout


def not_yet(reason: str, *, height: int = 240) -> go.Figure:
    """A figure that says what it waits for."""
    return go.Figure(layout=empty_layout(reason, height=height))


def _numbered(schemes: Iterable[str]) -> dict[str, int]:
    """Built-in schemes keep their number whatever else there is; others follow by name."""
    names = sorted({str(name) for name in schemes if not pd.isna(name)})
    others = [name for name in names if name not in _SCHEMES]
    order = [*_SCHEMES, *others]
    # A study without schemes has one nameless kind: it takes the first colour.
    return {name: 0 if name == "" else order.index(name) for name in names}
