"""What mattered: how much each parameter explains, and which way it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from autosearch.metrics import LOGARITHMIC
from autosearch.values import Direction, Objective
from autosearch.visualization.parameters import codes, is_number
from autosearch.visualization.style import PALETTE, base_figure, escaped, metric_label, not_yet

__all__ = ["effects_frame", "importance_frame", "plot_importance"]

_MIN_TRIALS = 10
_CLEAR = 0.3  # a correlation of ranks below it is no direction to follow
_WORTH_A_WORD = 0.05


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

    inputs = np.stack(
        [codes(parameters.loc[shared, name]) for name in map(str, parameters)], axis=1
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
        result[metric] = forest.fit(inputs[rows], values[rows]).feature_importances_
    return pd.DataFrame(result, index=list(parameters))


def effects_frame(
    parameters: pd.DataFrame, metrics: pd.DataFrame, objectives: Sequence[Objective]
) -> pd.DataFrame:
    """What of each parameter goes with better figures, in words, by parameter and objective.

    Better is higher for what is maximised and lower for what is minimised. Of numbers it says
    whether more or less of them is better, by the correlation of ranks; of choices, which one has
    the best median. Empty where there is no clear direction.
    """
    signs = {o.metric: 1.0 if o.direction is Direction.MAXIMIZE else -1.0 for o in objectives}
    shared = parameters.index.intersection(metrics.index)
    tried = parameters.loc[shared]
    result = {}
    for metric in map(str, metrics):
        good = signs.get(metric, 1.0) * metrics.loc[shared, metric].astype(float)
        result[metric] = [_effect(tried[name], good) for name in parameters]
    return pd.DataFrame(result, index=list(parameters))


def _effect(column: pd.Series[Any], good: pd.Series[float]) -> str:
    known = column.notna() & good.notna()
    column, good = column[known], good[known]
    if len(column) < _MIN_TRIALS or good.nunique() < 2 or column.map(str).nunique() < 2:
        return ""
    if is_number(column):
        ranks = column.astype(float).rank(), good.rank()
        correlation = float(np.corrcoef(*ranks)[0, 1])
        if abs(correlation) < _CLEAR:
            return ""
        return "more is better" if correlation > 0 else "less is better"
    medians = good.groupby(column.map(str)).median()
    return f"best: {medians.idxmax()}" if medians.nunique() > 1 else ""


def plot_importance(
    importance: pd.DataFrame,
    effects: pd.DataFrame | None = None,
    *,
    height: int | None = None,
) -> go.Figure:
    """Draws how much each parameter explains of each objective, the weightiest ten.

    Args:
        importance: As ``importance_frame`` gives it.
        effects: As ``effects_frame`` gives them, written beside the bars.
        height: Pixels.
    """
    if importance.empty:
        return not_yet(f"Importance needs at least {_MIN_TRIALS} finished trials that differ")
    order = importance.mean(axis=1).sort_values(ascending=False).index[:10]
    rows = 34 if len(importance.columns) < 3 else 16 * len(importance.columns)
    figure = base_figure(height=height or 140 + rows * len(order), legend_rows=1)
    places = list(range(len(order)))
    for index, metric in enumerate(map(str, importance)):
        shares = importance.loc[order, metric].to_numpy()
        words = [""] * len(order)
        if effects is not None and metric in effects:
            # What hardly counts needs no direction.
            words = [
                escaped(_short(word)) if share >= _WORTH_A_WORD else ""
                for word, share in zip(effects.loc[order, metric], shares, strict=True)
            ]
        figure.add_bar(
            y=places,
            x=shares,
            orientation="h",
            name=escaped(metric_label(metric)),
            marker={"color": PALETTE[index % len(PALETTE)]},
            text=words,
            textposition="outside",
            textfont={"size": 11},
            cliponaxis=False,
            customdata=[
                [escaped(name), f": {word}" if word else ""]
                for name, word in zip(order, words, strict=True)
            ],
            hovertemplate="%{customdata[0]}: %{x:.0%}%{customdata[1]}<extra></extra>",
        )
    # By place: two parameters may be called the same but for their scope.
    figure.update_yaxes(autorange="reversed", tickvals=places, ticktext=_words(list(order)))
    most = float(np.nanmax(importance.loc[order].to_numpy(), initial=0.0))
    step = 0.2 if most > 0.5 else 0.1 if most > 0.2 else 0.05
    figure.update_xaxes(
        title={"text": "share of what the parameters explain"},
        tickformat=".0%",
        tickvals=[step * count for count in range(round(1 / step) + 1)],
        # Room for the words beside the longest bar.
        range=[0, (most or 1.0) * (1.35 if effects is not None else 1.05)],
    )
    figure.update_layout(barmode="group")
    return figure


def _words(names: Sequence[str]) -> list[str]:
    """What stands beside each parameter's bar: without its scope, unless others are called so."""
    last = [str(name).rpartition("/")[2] for name in names]
    words = [
        own if last.count(own) == 1 else str(name) for own, name in zip(last, names, strict=True)
    ]
    return [escaped(_short(word.replace("_", " ").replace("/", ": "))) for word in words]


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
