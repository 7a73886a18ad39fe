"""The parameters of trials as columns and as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["codes", "is_number", "parameters_frame"]


def parameters_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """The parameters of trials as columns, by trial number, without those that never varied."""
    configs = [config if isinstance(config, Mapping) else {} for config in trials["config"]]
    frame = pd.DataFrame(configs, index=trials["number"].to_numpy())
    varied = [
        name
        for name in frame
        if frame[name].map(lambda v: v if np.isscalar(v) else str(v)).nunique(dropna=True) > 1
    ]
    return frame[varied]


def is_number(column: pd.Series[Any]) -> bool:
    """Whether all that is known in a column is a number."""
    return all(
        isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_))
        for v in column.dropna()
    )


def codes(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """A parameter as numbers; one that was not sampled lies below all others."""
    if is_number(column):
        values = column.to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        low = float(finite.min()) if len(finite) else 0.0
        return np.where(np.isfinite(values), values, low - 1.0)
    words = column.map(lambda v: None if v is None or v != v else str(v))
    codes: npt.NDArray[np.float64] = pd.Categorical(words).codes.astype(float)
    return codes
