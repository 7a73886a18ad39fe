"""Which accuracy is worth having at all.

A front reaches down to networks that are tiny and wrong more often than not. Nobody ships one, and
there are so many ways to be tiny that a search for hypervolume spends its time on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autosearch.values import QUALITY_METRICS, Direction, Objective

__all__ = ["are_shares", "worst_worth_having"]

_WORTH_HAVING = 0.9
"""Of the best accuracy that was found: what has less is looked for no further."""


def are_shares(objectives: Sequence[Objective]) -> tuple[bool, ...]:
    """Which objectives are accuracies of some kind, from 0 to 1 and more is better."""
    return tuple(
        objective.metric in QUALITY_METRICS and objective.direction is Direction.MAXIMIZE
        for objective in objectives
    )


def worst_worth_having(values: NDArray[np.float64], shares: Sequence[bool]) -> NDArray[np.float64]:
    """The worst of each objective that is worth having, shape ``(k,)``; infinite if any is.

    Of several accuracies the bests may be of different networks, and then any of them is: bounds
    that one of these breaks would leave out an end of the front.

    Args:
        values: What was found, minimised, shape ``(n, k)``, at least one row.
        shares: Which of them are accuracies; none if it is empty.
    """
    is_share = np.array(shares, dtype=np.bool_) if len(shares) else np.zeros(values.shape[1], bool)
    best = values.min(axis=0)
    # A user's function may answer what it likes: of nothing, nine tenths are no bound.
    worst = np.where(is_share & (best < 0), _WORTH_HAVING * best, np.inf)
    kept = values[(values <= worst).all(axis=1)]
    keeps_the_bests = bool((kept == best).any(axis=0)[is_share].all())
    return worst if keeps_the_bests else np.full_like(worst, np.inf)
