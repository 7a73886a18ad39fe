"""How much a configuration is expected to add to the front's hypervolume.

Expected hypervolume improvement of independent predictions (Emmerich et al. 2006,
https://doi.org/10.1109/TEVC.2005.859463) for up to three objectives: the region that the front
does not dominate is cut into boxes, and in each the expectation is a product over the objectives.
A prediction is a set of equally likely values, not a mean and a deviation: half of the cells of
NAS-Bench-201 that might learn nothing (90 % error) are good, and a normal distribution between the
two promises errors below 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_OBJECTIVES", "expected_improvement"]

MAX_OBJECTIVES = 3
"""More are to be summed up to one by the caller."""

_Array = NDArray[np.float64]


def expected_improvement(front: _Array, reference: _Array, predicted: _Array) -> _Array:
    """Expected hypervolume that each prediction adds.

    Args:
        front: Points that do not dominate each other, shape ``(n, k)``, minimised, ``k`` ≤ 3, all
            below the reference; there may be none.
        reference: The worst corner, shape ``(k,)``.
        predicted: Equally likely values of each objective, shape ``(m, k, q)``.

    Returns:
        Shape ``(m,)``, at least 0.
    """
    missing = MAX_OBJECTIVES - front.shape[1]
    # A missing objective is 0 for every point and 1 for the reference, and surely so.
    points = np.pad(front, ((0, 0), (missing, 0)))
    corner = np.pad(reference, (missing, 0), constant_values=1.0)
    values = np.pad(predicted, ((0, 0), (missing, 0), (0, 0)))
    low, high = _boxes(points)
    product = np.ones((len(values), len(low)))
    for objective in range(MAX_OBJECTIVES):
        edges = np.concatenate([np.unique(points[:, objective]), corner[objective : objective + 1]])
        # E[(edge - Y)+] of every edge; level 0 is minus infinity, below which nothing lies.
        below = np.zeros((len(values), len(edges) + 1))
        below[:, 1:] = np.maximum(edges[:, None] - values[:, objective, None], 0.0).mean(axis=2)
        product *= below[:, high[:, objective]] - below[:, low[:, objective]]
    return np.asarray(product.sum(axis=1))


def _boxes(points: _Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
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
