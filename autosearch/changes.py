"""What differs between two definitions of a study, as JSON has them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["WITHOUT_IDENTITY", "changes", "is_growth"]

WITHOUT_IDENTITY = ("baselines", "budget", "cross_validation", "pruner")
"""What may change between two runs of a study: no candidate's figures are otherwise for it."""

_CODE = ("syntax_hash", "syntax_sha256")
_RANGE = {"low", "high", "step", "log"}
_STEP_TOLERANCE = 1e-8
"""Of a step, as Optuna has it: (0.7 - 0.1) / 0.2 is not quite 3."""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two definitions, a line each, but for what may change."""
    old, new = _flat(before), _flat(after)
    return [
        _change(key, old, new)
        for key in dict.fromkeys([*old, *new])
        if key.partition(".")[0] not in WITHOUT_IDENTITY and old.get(key) != new.get(key)
    ]


def is_growth(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether all that could be sampled before still can, and nothing but the space has changed.

    A fixed value became one of several, choices were added, or a range reaches further. What is
    code is only known to be the same or not.
    """
    kept = {*before, *after} - {*WITHOUT_IDENTITY, "space"}
    is_same = all(before.get(key) == after.get(key) for key in kept)
    return is_same and _grows(before.get("space"), after.get("space"))


def _grows(old: Any, new: Any) -> bool:
    if old == new:
        return True
    if isinstance(new, Mapping) and set(new) == _RANGE:
        return _reaches(old, new)
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return set(old) == set(new) and all(_grows(old[key], new[key]) for key in old)
    if not isinstance(new, list):
        return False
    earlier = old if isinstance(old, list) else [old]
    if any(isinstance(item, Mapping) for item in earlier):
        # Architectures beside one another are known by their place.
        pairs = zip(earlier, new, strict=False)
        return len(earlier) <= len(new) and all(_grows(a, b) for a, b in pairs)
    return all(item in new for item in earlier)


def _reaches(old: Any, new: Mapping[str, Any]) -> bool:
    if isinstance(old, Mapping) and set(old) == _RANGE:
        is_same_kind = old["step"] == new["step"] and old["log"] == new["log"]
        is_wider = new["low"] <= old["low"] and old["high"] <= new["high"]
        return bool(is_same_kind and is_wider) and _is_on_step(old["low"], new)
    is_number = isinstance(old, int | float) and not isinstance(old, bool)
    return is_number and bool(new["low"] <= old <= new["high"]) and _is_on_step(old, new)


def _is_on_step(value: float, of: Mapping[str, Any]) -> bool:
    """Whether the steps of a range, from its low end on, come to a number within it."""
    low, step = of["low"], of["step"]
    if step is None:
        return True
    steps = math.log(value / low, step) if of["log"] else (value - low) / step
    return bool(abs(steps - round(steps)) < _STEP_TOLERANCE)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for key in value for k, v in _flat(value[key], f"{prefix}{key}.").items()}
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return {
            k: v for i, item in enumerate(value) for k, v in _flat(item, f"{prefix}{i}.").items()
        }
    return {prefix.removesuffix("."): value}


def _change(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    place, _, name = key.rpartition(".")
    if name in _CODE and key in old and key in new:
        return f"{place}: its code has changed"
    return f"{key}: {_shown(old, key)} → {_shown(new, key)}"


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return json.dumps(flat[key]) if key in flat else "absent"
