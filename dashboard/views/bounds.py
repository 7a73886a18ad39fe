"""The bounds that a reader sets: a field and a slider for each metric, kept in the address."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from autosearch.metrics import BYTES, LOGARITHMIC, METRICS, SHARES
from autosearch.store.view import StudyView
from autosearch.values import Direction
from autosearch.visualization.choice import Bound, with_objectives
from autosearch.visualization.style import metric_label
from dashboard.links import markdown_text

__all__ = ["chosen_bounds", "more_bounds"]

_NUM_STEPS = 40
# What a reader most often bounds stands open, and what the study is after; the rest is a choice
# away.
_FIRST = ("accuracy", "size_bytes", "latency_ms", "memory_bytes")
_IN_KB = {"size_bytes": "size_kb", "memory_bytes": "arena_kb"}
_NOT_FIGURES = ("candidate_key", "trial", "target_id", "accuracy_low", "accuracy_high")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """A bound that can be set: of which metric, in which unit, and which end it is."""

    key: str
    metric: str
    unit: str
    scale: float
    is_least: bool

    @property
    def label(self) -> str:
        unit = f" ({self.unit})" if self.unit else ""
        return f"{markdown_text(metric_label(self.metric))} {'≥' if self.is_least else '≤'}{unit}"


def more_bounds(study: StudyView, frame: pd.DataFrame) -> list[str]:
    """Shows which further figures can be bounded, and answers those that were chosen."""
    first = with_objectives(_FIRST, study.objectives)
    others = [name for name in _varying(frame) if name not in first]
    if not others:
        return []
    return st.multiselect(
        "more bounds",
        others,
        key="more_bounds",
        bind="query-params",
        format_func=metric_label,
        placeholder="on other figures",
        width=220,
    )


def chosen_bounds(study: StudyView, frame: pd.DataFrame, more: Sequence[str]) -> dict[str, Bound]:
    """Shows fields and sliders, and answers the bounds that are set in them.

    Args:
        study: Whose objectives say which end of a metric of its own is bounded.
        frame: Its candidates: what is the same for all of them can be bounded by nothing.
        more: Metrics beside the usual ones and the objectives.
    """
    varying = _varying(frame)
    bounds: dict[str, Bound] = {}
    with st.container(horizontal=True, gap="medium", vertical_alignment="top"):
        first = with_objectives(_FIRST, study.objectives)
        for metric in [*(name for name in first if name in varying), *more]:
            value = _set(_field(study, metric), frame[metric].to_numpy(dtype=float))
            if value is not None:
                bounds[metric] = value
    return bounds


def _varying(frame: pd.DataFrame) -> list[str]:
    return [
        str(name)
        for name in frame.select_dtypes("number")
        if name not in _NOT_FIGURES and np.ptp(_finite(frame[name])) > 0
    ]


def _field(study: StudyView, metric: str) -> _Field:
    is_least = metric in METRICS and METRICS[metric].more_is_better
    for objective in study.objectives:
        if objective.metric == metric:
            is_least = objective.direction is Direction.MAXIMIZE
    if metric in BYTES:
        key = f"max_{_IN_KB[metric]}"
        return _Field(key=key, metric=metric, unit="kB", scale=1000.0, is_least=is_least)
    if metric in SHARES:
        return _Field(key=f"min_{metric}", metric=metric, unit="%", scale=0.01, is_least=is_least)
    unit = METRICS[metric].unit if metric in METRICS else ""
    # A study's own metric may be called as a field of ours is.
    name = f"own_{metric}" if metric in _IN_KB.values() else metric
    key = f"{'min' if is_least else 'max'}_{name}"
    return _Field(key=key, metric=metric, unit=unit, scale=1.0, is_least=is_least)


def _set(field: _Field, values: npt.NDArray[np.float64]) -> Bound | None:
    """One field with its slider; what is typed holds, and the slider follows it."""
    places = _places(values, field)
    slider = f"slide_{field.key}"
    with st.container(width=160, gap="small"):
        typed = st.number_input(
            field.label,
            value=None,
            step=_step(places),
            format="%g",
            key=field.key,
            bind="query-params",
            placeholder="any",
        )
        loosest = places[0] if field.is_least else places[-1]
        wanted = loosest if typed is None else typed
        st.session_state[slider] = min(places, key=lambda place: abs(place - wanted))
        st.select_slider(
            field.label,
            places,
            key=slider,
            label_visibility="collapsed",
            format_func=lambda place: f"{place:g}",
            on_change=partial(_take_from_slider, field.key, slider, loosest),
        )
    if typed is None:
        return None
    # What is typed has few digits: 95 × 0.01 lies above the 0.95 that it means.
    number = float(f"{typed * field.scale:.12g}")
    return Bound(least=number) if field.is_least else Bound(most=number)


def _take_from_slider(key: str, slider: str, loosest: float) -> None:
    place = st.session_state[slider]
    st.session_state[key] = None if place == loosest else float(place)


def _places(values: npt.NDArray[np.float64], field: _Field) -> list[float]:
    """Where the slider can stand: rounded figures from the least to the greatest value."""
    finite = _finite(values) / field.scale
    low, high = float(finite.min()), float(finite.max())
    if field.metric in LOGARITHMIC and low > 0:
        steps = np.geomspace(low, high, _NUM_STEPS)
        digits = 2 if high / low > 1.5 else 4
        rounded = {_rounded(float(step), digits) for step in steps}
    else:
        unit = 10.0 ** math.floor(math.log10((high - low) / _NUM_STEPS))
        rounded = {round(round(s / unit) * unit, 12) for s in np.linspace(low, high, _NUM_STEPS)}
    # Both ends keep every candidate.
    inside = {place for place in rounded if low < place < high}
    least = _rounded(low, 3, math.floor)
    most = _rounded(high, 3, math.ceil)
    return sorted(inside | {least, most})


def _rounded(value: float, digits: int, how: Callable[[float], int] = round) -> float:
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    return round(how(value / unit) * unit, 12)


def _finite(values: Any) -> npt.NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    found: npt.NDArray[np.float64] = numbers[np.isfinite(numbers)]
    return found if len(found) else np.zeros(1)


def _step(places: Sequence[float]) -> float:
    """What the field's buttons add: a fiftieth of the whole, rounded to one digit."""
    return _rounded((places[-1] - places[0]) / 50, 1) or 0.01
