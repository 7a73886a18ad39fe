"""How much a configuration is expected to add to the front's hypervolume.

Expected hypervolume improvement of independent normal predictions (Emmerich et al. 2006,
https://doi.org/10.1109/TEVC.2005.859463), exact for up to three objectives: the region that the
front does not dominate is cut into boxes, and in each the expectation is a product over the
objectives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["MAX_OBJECTIVES", "expected_improvement"]

MAX_OBJECTIVES = 3
"""More are to be summed up to one by the caller."""

_Array = NDArray[np.float64]


def expected_improvement(front: _Array, reference: _Array, mean: _Array, sd: _Array) -> _Array:
    """Expected hypervolume that each prediction adds.

    Args:
        front: Points that do not dominate each other, shape ``(n, k)``, minimised, ``k`` ≤ 3, all
            below the reference; there may be none.
        reference: The worst corner, shape ``(k,)``.
        mean: Means of the predictions, shape ``(m, k)``.
        sd: Deviations of them, above 0, shape ``(m, k)``.

    Returns:
        Shape ``(m,)``, at least 0.
    """
    missing = MAX_OBJECTIVES - front.shape[1]
    # A missing objective is 0 for every point and 1 for the reference, and surely so.
    points = np.pad(front, ((0, 0), (missing, 0)))
    corner = np.pad(reference, (missing, 0), constant_values=1.0)
    levels = []
    for objective in range(MAX_OBJECTIVES):
        edges = np.concatenate([np.unique(points[:, objective]), corner[objective : objective + 1]])
        if objective < missing:
            below = np.repeat(np.maximum(edges, 0.0)[None], len(mean), axis=0)
        else:
            below = _mean_below(edges, mean[:, objective - missing], sd[:, objective - missing])
        # Level 0 is minus infinity, below which nothing lies.
        levels.append(np.pad(below, ((0, 0), (1, 0))))
    low, high = _boxes(points, corner)
    product = np.ones((len(mean), len(low)))
    for objective, below in enumerate(levels):
        product *= below[:, high[:, objective]] - below[:, low[:, objective]]
    return np.asarray(product.sum(axis=1))


def _mean_below(edges: _Array, mean: _Array, sd: _Array) -> _Array:
    """E[(edge − Y)⁺] of every edge and prediction, shape ``(m, edges)``."""
    scaled = (edges[None] - mean[:, None]) / sd[:, None]
    density = np.exp(-0.5 * scaled**2) / (2 * np.pi) ** 0.5
    return np.asarray(sd[:, None] * (scaled * special.ndtr(scaled) + density))


def _boxes(points: _Array, corner: _Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Boxes that cover what no point dominates, as levels of each objective, ``(boxes, 3)``.

    Level 0 is minus infinity, level ``i`` the ``i``-th smallest coordinate, the last the corner.
    A sweep along the last objective: between two levels of it the others' staircase stays.
    """
    ranks = np.stack(
        [np.unique(points[:, o], return_inverse=True)[1].ravel() + 1 for o in range(3)], axis=1
    ).reshape(-1, 3)
    last = [int(ranks[:, o].max(initial=0)) + 1 for o in range(3)]
    low: list[tuple[int, int, int]] = []
    high: list[tuple[int, int, int]] = []
    for depth in range(last[2]):
        reached = ranks[ranks[:, 2] <= depth][:, :2]
        left, top = 0, last[1]
        for across, down in reached[np.lexsort((reached[:, 1], reached[:, 0]))].tolist():
            if down < top:
                if across > left:
                    low.append((left, 0, depth))
                    high.append((across, top, depth + 1))
                left, top = across, down
        low.append((left, 0, depth))
        high.append((last[0], top, depth + 1))
    return np.asarray(low, dtype=np.intp), np.asarray(high, dtype=np.intp)
