"""Which candidates remain under bounds, and which of them to look at first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from autosearch import pareto
from autosearch.errors import AutosearchError
from autosearch.metrics import LOGARITHMIC, SHARES
from autosearch.store.study_frames import figures_of, minimized
from autosearch.suggestion import PairedTests, has_cost, smallest_alike, with_cost
from autosearch.values import Direction, Objective, maximize
from autosearch.visualization.style import figure_text, metric_label

__all__ = [
    "Bound",
    "Pick",
    "Role",
    "best_first",
    "is_known",
    "lead_objective",
    "pick",
    "roles",
    "with_objectives",
]


class Role(StrEnum):
    """What a candidate is in a choice."""

    FRONT = "front"
    DOMINATED = "dominated"
    OUT_OF_BOUNDS = "out of bounds"
    INFEASIBLE = "infeasible"


_ROLES = tuple(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a candidate's metric must keep, both ends included; None leaves an end open."""

    least: float | None = None
    most: float | None = None

    def keeps(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Mask of the values within; one that is not known keeps no bound."""
        inside = np.isfinite(values) if self.is_set else np.ones(len(values), dtype=np.bool_)
        if self.least is not None:
            inside &= values >= self.least
        if self.most is not None:
            inside &= values <= self.most
        return inside

    @property
    def is_set(self) -> bool:
        """Whether it bounds anything."""
        return self.least is not None or self.most is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A candidate to look at first, and why."""

    candidate: str
    reason: str


def is_known(frame: pd.DataFrame, metric: str) -> bool:
    """Whether any candidate has a figure for it."""
    return metric in frame and bool(frame[metric].notna().any())


def lead_objective(frame: pd.DataFrame, objectives: Sequence[Objective]) -> Objective:
    """What candidates are ranked by: accuracy, or the first objective if none of them has one."""
    if is_known(frame, "accuracy") or not objectives:
        return maximize("accuracy")
    return objectives[0]


def best_first(frame: pd.DataFrame, lead: Objective) -> pd.DataFrame:
    """Candidates in order of what ``lead_objective`` answers, of equals the smallest first."""
    ascending = {lead.metric: lead.direction is Direction.MINIMIZE}
    ascending.setdefault("size_bytes", True)
    by = [metric for metric in ascending if metric in frame]
    return frame.sort_values(by, ascending=[ascending[metric] for metric in by])


def with_objectives(metrics: Iterable[str], objectives: Sequence[Objective]) -> list[str]:
    """Metrics that are usually shown, and after them what else the study is after."""
    return list(dict.fromkeys([*metrics, *(objective.metric for objective in objectives)]))


def roles(
    frame: pd.DataFrame,
    objectives: Sequence[Objective],
    *,
    bounds: Mapping[str, Bound] | None = None,
    quantizations: Sequence[str] | None = None,
) -> pd.Series[Any]:
    """What every candidate is: on the front of those that remain, dominated, or out.

    The front is taken anew among the candidates that keep the bounds: what a point outside of
    them dominates is the best that can be had inside.

    Args:
        frame: Candidates of one target, as ``candidates_frame()`` gives them.
        objectives: What ranks them.
        bounds: Metric to bound.
        quantizations: The schemes that remain; all by default.
    """
    result = np.full(len(frame), _ROLES.index(Role.DOMINATED), dtype=np.int8)
    inside = np.ones(len(frame), dtype=np.bool_)
    for metric, bound in (bounds or {}).items():
        inside &= bound.keeps(figures_of(frame, metric))
    if quantizations is not None:
        inside &= frame["quantization"].isin(list(quantizations)).to_numpy(dtype=bool)
    feasible = frame["feasible"].astype(bool).to_numpy()
    result[~inside] = _ROLES.index(Role.OUT_OF_BOUNDS)
    result[~feasible] = _ROLES.index(Role.INFEASIBLE)
    remain = np.flatnonzero(inside & feasible)
    if len(remain) and objectives:
        values = minimized(frame.iloc[remain], objectives)
        result[remain[pareto.non_dominated(values)]] = _ROLES.index(Role.FRONT)
    # Categories: comparing tens of thousands of words takes twenty times as long.
    kinds = pd.Categorical.from_codes(result, categories=pd.Index([r.value for r in _ROLES]))
    return pd.Series(kinds, index=frame.index)


def pick(
    frame: pd.DataFrame,
    role: pd.Series[Any],
    objectives: Sequence[Objective],
    *,
    first: str | None = None,
    tests: PairedTests | None = None,
) -> Pick | None:
    """The candidate to look at first.

    It is the one that ``autosearch suggest`` names: the smallest that a paired test cannot tell
    apart from the best. Where that test cannot be made it is the front's knee: each objective is
    scaled to 0 (best on the front) and 1 (worst), sizes and times by their logarithm, and the
    point nearest to the ideal one, which is best in all, is taken.

    Args:
        frame: Candidates of one kind of figure.
        role: What each of them is, as ``roles`` answers it.
        objectives: What ranks them.
        first: A metric to be best in, whatever the others are.
        tests: Of the study's predictions; None where none are kept.

    Returns:
        None where nothing remains.
    """
    front = frame[role == Role.FRONT.value]
    if front.empty or not objectives:
        return None
    if first is not None:
        return _best_in(front, objectives, first)
    why = "no predictions are kept"
    if tests is not None:
        try:
            found = smallest_alike(
                front if has_cost(objectives) else _small_and_good(frame, role, objectives),
                objectives,
                tests=tests,
            )
        except AutosearchError:
            found, why = None, "the predictions cannot be read"
        if found is not None:
            reason = found.reason_with(figure_text(found.metric, found.best_value))
            return Pick(candidate=found.candidate, reason=f"{reason[0].upper()}{reason[1:]}.")
    knee = _knee(front, objectives)
    if len(front) == 1 or tests is None:
        return knee
    return Pick(
        candidate=knee.candidate,
        reason=f"{knee.reason} No test can tell candidates apart here: {why}.",
    )


def _small_and_good(
    frame: pd.DataFrame, role: pd.Series[Any], objectives: Sequence[Objective]
) -> pd.DataFrame:
    remain = frame[role.isin([Role.FRONT.value, Role.DOMINATED.value])]
    small: pd.DataFrame = remain[pareto.non_dominated(minimized(remain, with_cost(objectives)))]
    return small


def _best_in(frame: pd.DataFrame, objectives: Sequence[Objective], metric: str) -> Pick:
    best_in = next((o for o in objectives if o.metric == metric), objectives[0])
    key = minimized(frame, [best_in])[:, 0]
    # Among equals the one that is best elsewhere.
    index = int(np.lexsort((np.linalg.norm(_scaled(frame, objectives), axis=1), key))[0])
    return Pick(
        candidate=str(frame["candidate"].iloc[index]),
        reason=_best_reason(frame, index, best_in, objectives),
    )


def _knee(frame: pd.DataFrame, objectives: Sequence[Objective]) -> Pick:
    values = minimized(frame, objectives)
    distances = np.linalg.norm(_scaled(frame, objectives), axis=1)
    index = int(np.nanargmin(distances)) if np.isfinite(distances).any() else 0
    name = str(frame["candidate"].iloc[index])
    if len(frame) == 1:
        return Pick(candidate=name, reason="It is the only one on the front.")
    lead = objectives[0]
    best = int(np.nanargmin(values[:, 0]))
    if best == index:
        return Pick(
            candidate=name,
            reason=f"It has the best {metric_label(lead.metric)} of the {len(frame)} on the front "
            "and comes nearest to being best in everything.",
        )
    return Pick(
        candidate=name,
        reason=f"The knee of the front of {len(frame)}: {_against(frame, index, best, objectives)}",
    )


def _scaled(frame: pd.DataFrame, objectives: Sequence[Objective]) -> npt.NDArray[np.float64]:
    columns = []
    for objective in objectives:
        values = figures_of(frame, objective.metric)
        if objective.metric in LOGARITHMIC and np.nanmin(values, initial=math.inf) > 0:
            values = np.log(values)
        values = -values if objective.direction is Direction.MAXIMIZE else values
        low, high = np.nanmin(values), np.nanmax(values)
        columns.append((values - low) / (high - low) if high > low else np.zeros(len(values)))
    return np.stack(columns, axis=1)


def _best_reason(
    frame: pd.DataFrame, index: int, best_in: Objective, objectives: Sequence[Objective]
) -> str:
    word = "highest" if best_in.direction is Direction.MAXIMIZE else "lowest"
    value = figure_text(best_in.metric, float(frame[best_in.metric].iloc[index]))
    others = [
        f"{metric_label(o.metric)} {figure_text(o.metric, float(frame[o.metric].iloc[index]))}"
        for o in objectives
        if o is not best_in and o.metric in frame
    ]
    tail = f"; {', '.join(others)}" if others else ""
    return f"The {word} {metric_label(best_in.metric)} that keeps these bounds: {value}{tail}."


def _against(frame: pd.DataFrame, index: int, best: int, objectives: Sequence[Objective]) -> str:
    """What it gives up and saves against the best in the first objective."""
    lead, row, other = objectives[0], frame.iloc[index], frame.iloc[best]
    given = abs(float(row[lead.metric]) - float(other[lead.metric]))
    amount = (
        f"{100 * given:.1f} points of {metric_label(lead.metric)}"
        if lead.metric in SHARES
        else f"{given:.3g} of {metric_label(lead.metric)}"
    )
    saved = []
    for objective in objectives[1:]:
        ours, theirs = float(row[objective.metric]), float(other[objective.metric])
        if objective.direction is Direction.MINIMIZE and theirs > 0 and ours < theirs:
            saved.append(f"{1 - ours / theirs:.0%} of the {metric_label(objective.metric)}")
    text = f"{amount} less than {other['candidate']}"
    if lead.direction is Direction.MINIMIZE:
        text = f"{amount} more than {other['candidate']}"
    text += f", and it saves {' and '.join(saved)}." if saved else "."
    high, low = row.get("accuracy_high"), other.get("accuracy")
    if lead.metric == "accuracy" and pd.notna(high) and pd.notna(low) and high >= low:
        text += " That difference is within the noise of the validation images (90 % interval)."
    return text
