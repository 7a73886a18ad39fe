"""What sets a configuration apart from the others of its study."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["unusual_parameters"]

_MIN_TRIALS = 8
_MAX_SHARE = 0.1  # what one in ten trials has is not unusual
_MAX_NAMED = 3
_MANY_VALUES = 8


def unusual_parameters(configs: Mapping[int, Mapping[str, Any]]) -> dict[int, str]:
    """What is rare in each trial's configuration, in words; the rarest three parameters.

    A choice is rare if at most a tenth of the trials that had it made it. Of numbers with many
    values those at either end are, a twentieth each. Fewer than eight trials tell nothing.

    Args:
        configs: Trial number to its parameters.

    Example:
        >>> configs = {n: {"a/block": "plain"} for n in range(19)} | {19: {"a/block": "odd"}}
        >>> unusual_parameters(configs)
        {19: 'block odd (1 of 20 trials)'}
    """
    columns: dict[str, list[tuple[int, Any]]] = {}
    for number, config in configs.items():
        for name, value in config.items():
            columns.setdefault(name, []).append((number, value))
    found: dict[int, list[tuple[float, str]]] = {}
    for name, rows in columns.items():
        if len(rows) < _MIN_TRIALS:
            continue
        words = name.rpartition("/")[2].replace("_", " ")
        values = [value for _, value in rows]
        rare = _ends if _is_ordered(values) else _seldom
        for (number, _), (share, text) in zip(rows, rare(values), strict=True):
            if text:
                found.setdefault(number, []).append((share, f"{words} {text}"))
    return {
        number: ", ".join(text for _, text in sorted(parts)[:_MAX_NAMED])
        for number, parts in found.items()
    }


def _is_ordered(values: Sequence[Any]) -> bool:
    return (
        all(isinstance(v, (int, float)) and not isinstance(v, bool) and v == v for v in values)
        and len(set(values)) > _MANY_VALUES
    )


def _ends(values: Sequence[float]) -> list[tuple[float, str]]:
    """Of each number, the share of trials that are as far out, and in words which end it is."""
    ordered = sorted(values)
    total = len(ordered)
    result = []
    for value in values:
        below, above = bisect_left(ordered, value), total - bisect_right(ordered, value)
        share = (min(below, above) + 1) / total
        end, is_last = ("low", below == 0) if below < above else ("high", above == 0)
        text = f"{value:.3g} ({end}est of {total})" if is_last else f"{value:.3g} ({end})"
        result.append((share, text if share <= _MAX_SHARE / 2 else ""))
    return result


def _seldom(values: Sequence[Any]) -> list[tuple[float, str]]:
    """Of each choice, the share of trials that made it, and in words how many."""
    names = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    counts, total = Counter(names), len(names)
    return [
        (
            counts[name] / total,
            f"{name} ({counts[name]} of {total} trials)"
            if counts[name] <= total * _MAX_SHARE
            else "",
        )
        for name in names
    ]
