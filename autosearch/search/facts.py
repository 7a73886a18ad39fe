"""What a user's code says of a trial, in JSON's terms, since the database holds no others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autosearch.errors import TrialError

__all__ = ["as_json"]


def as_json(value: Any, name: str) -> Any:
    """The value as JSON has it: NumPy's as plain ones, and no number that is not finite.

    Args:
        value: Anything.
        name: What it is called, for the error.

    Raises:
        TrialError: It has no such form.

    Example:
        >>> as_json({"rates": np.array([0.5, np.nan])}, "facts")
        {'rates': [0.5, None]}
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [as_json(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): as_json(item, f"{name}.{key}") for key, item in value.items()}
    raise TrialError(
        f"{name} is of type {type(value).__name__}, which JSON cannot hold; "
        "describe it by numbers, text, lists and mappings of these"
    )
