"""Where the points of a chart of candidates lie, and what is said when one is pointed at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from autosearch.metrics import BYTES, LOGARITHMIC, SHARES
from autosearch.visualization.style import escaped, figure_text, metric_label

__all__ = ["COSTS", "HOVER_COLUMNS", "marks"]

COSTS = ("size_bytes", "latency_ms", "memory_bytes")
"""What charts set against quality, whatever a study is after."""

HOVER_COLUMNS = ("candidate", "trial", "accuracy", "accuracy_low", "accuracy_high", *COSTS)
"""The columns of candidates that are told where a point is pointed at."""


def marks(
    rows: pd.DataFrame,
    x: str,
    y: str,
    unusual: Mapping[int, str],
    *,
    is_many: bool,
    note: str = "",
) -> dict[str, Any]:
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
    texts = np.array(_hover_texts(rows, (y, x), unusual), dtype=object)
    return {
        "x": rows[x].to_numpy(),
        "y": rows[y].to_numpy(),
        "customdata": np.stack([names, texts], axis=1),
        "hovertemplate": f"%{{customdata[1]}}{note}<extra></extra>",
    }


def _hover_figure(metric: str, axis: str) -> str:
    """The figure of an axis with its unit, written by the browser."""
    how, unit = ".4~g", ""
    if metric in BYTES:
        how, unit = ".3s", "B"
    elif metric in SHARES:
        how = ".1%"
    elif metric in ("latency_ms", "latency_p90_ms"):
        how, unit = ".3~g", " ms"
    elif metric in LOGARITHMIC:
        how = ",.0f"
    return f"{escaped(metric_label(metric))} %{{{axis}:{how}}}{unit}"


def _hover_texts(frame: pd.DataFrame, axes: Sequence[str], unusual: Mapping[int, str]) -> list[str]:
    of_axes = [metric for metric in axes if metric not in ("accuracy", "trial")]
    shown = [m for m in dict.fromkeys([*of_axes, *COSTS]) if m in frame and frame[m].notna().any()]
    is_judged = bool(frame["accuracy"].notna().any())
    lines = [f"<b>{escaped(name)}</b>" for name in frame["candidate"]]
    columns = {metric: frame[metric].tolist() for metric in shown}
    accuracy = frame["accuracy"].tolist()
    low, high = frame["accuracy_low"].tolist(), frame["accuracy_high"].tolist()
    words = [unusual.get(trial, "") for trial in frame["trial"].tolist()]
    texts = []
    for index, line in enumerate(lines):
        interval = (
            f" ({100 * low[index]:.1f}–{100 * high[index]:.1f})"
            if math.isfinite(low[index])
            else ""
        )
        parts = [line]
        if is_judged:
            parts.append(f"accuracy {figure_text('accuracy', accuracy[index])}{interval}")
        parts += [f"{escaped(metric_label(m))} {figure_text(m, columns[m][index])}" for m in shown]
        if words[index]:
            parts.append(f"<i>unusual: {escaped(words[index])}</i>")
        texts.append("<br>".join(parts))
    return texts
