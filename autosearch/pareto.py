"""Dominance, Pareto fronts and hypervolume of plain arrays, everything minimised.

An array has one row per point and one column per objective. Convert what is maximised once, with
a minus sign, before coming here. A value that is NaN stands for "not known": a row with a NaN
dominates nothing and is on no front.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "dominates",
    "hypervolume",
    "non_dominated",
    "non_domination_rank",
]

# Rows compared with the whole front at a time: large enough to hide NumPy's overhead per call,
# small enough that a block against 30,000 points stays near 10 MB of booleans.
_BLOCK_ROWS = 256
_SAMPLED_ABOVE = 2000
_SAMPLE_ROWS = 400
_PIVOTS = 16
_WORTHWHILE = 0.995


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Tell whether point ``a`` is at least as good as ``b`` everywhere and better somewhere.

    Args:
        a: Values of one point, shape ``(k,)``, minimised.
        b: Values of the other point, shape ``(k,)``, minimised.

    Returns:
        True if ``a`` dominates ``b``; False if either holds a NaN.

    Raises:
        ValueError: The points do not have the same number of objectives.

    Example:
        >>> dominates([1.0, 2.0], [1.0, 3.0])
        True
        >>> dominates([1.0, 3.0], [2.0, 2.0])
        False
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(
            f"dominance compares two points with the same objectives, got shapes {first.shape} "
            f"and {second.shape}; pass two vectors of equal length"
        )
    return bool(np.all(first <= second) and np.any(first < second))


def non_dominated(values: ArrayLike) -> NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    Equal points do not dominate each other, so duplicates of a non-dominated point are all
    marked. Two objectives take one sort and a running minimum, three a sweep over a staircase
    (Kung, Luccio and Preparata 1975, https://doi.org/10.1145/321906.321910), more a blocked
    comparison with the front so far.

    Args:
        values: Points, shape ``(n, k)``, minimised. Infinities are values like any other.

    Returns:
        Mask of shape ``(n,)``; False for every row with a NaN.

    Raises:
        ValueError: ``values`` is not a matrix with at least one column.

    Example:
        >>> non_dominated([[1.0, 3.0], [2.0, 2.0], [2.0, 3.0], [1.0, 3.0]]).tolist()
        [True, True, False, True]
    """
    every = _as_matrix(values)
    rows = _rows_to_look_at(every)
    points, row_of = _distinct_sorted(every[rows])
    num_objectives = points.shape[1]
    if num_objectives == 2:
        mask = _front_of_two(points)
    elif num_objectives == 3:
        mask = _front_of_three(points)
    else:
        mask = _front_of_many(points)
    result = np.zeros(len(every), dtype=np.bool_)
    result[rows] = np.append(mask, False)[row_of]
    return result


def non_domination_rank(values: ArrayLike) -> NDArray[np.intp]:
    """Number the successive fronts: 0 for the front, 1 for the front without those, and so on.

    The rank is the length of the longest chain of points that dominate this one, each dominating
    the next. Up to three objectives, every point finds its front by bisection (Zhang et al. 2015,
    https://doi.org/10.1109/TEVC.2014.2308305); above that, fronts are peeled off one by one.

    Args:
        values: Points, shape ``(n, k)``, minimised.

    Returns:
        Ranks of shape ``(n,)``. Rows with a NaN come one rank after the worst point that has
        none, and never have rank 0: rank 0 is exactly `non_dominated`.

    Raises:
        ValueError: ``values`` is not a matrix with at least one column.

    Example:
        >>> non_domination_rank([[1.0, 1.0], [2.0, 2.0], [1.0, 2.0]]).tolist()
        [0, 2, 1]
    """
    points, row_of = _distinct_sorted(_as_matrix(values))
    ranks = _ranks_by_bisection(points) if points.shape[1] <= 3 else _ranks_by_peeling(points)
    rank_of_nan = max(1, int(ranks.max(initial=0)) + 1)
    return np.append(ranks, rank_of_nan)[row_of]


def hypervolume(values: ArrayLike, reference_point: ArrayLike) -> float:
    """Measure the region that the points dominate, up to a reference point.

    Larger is better, and adding a point never makes it smaller. The value is exact up to
    rounding: one sweep for two and three objectives, and for more the exclusive volumes of WFG
    (While, Bradstreet and Barone 2012, https://doi.org/10.1109/TEVC.2010.2077298), sliced along
    the last objective until three are left. Four objectives take time quadratic in the size of
    the front, and each further objective up to one factor of its size more.

    Args:
        values: Points, shape ``(n, k)``, minimised. They need not be non-dominated.
        reference_point: The worst corner, shape ``(k,)``, finite. A point that is not strictly
            better than it in every objective adds nothing, nor does a row with a NaN.

    Returns:
        The volume in the product of the objectives' units; 0.0 if no point counts, infinite if a
        point that counts is minus infinity somewhere.

    Raises:
        ValueError: ``values`` is not a matrix with at least one column, or the reference point is
            not finite or has another number of objectives.

    Example:
        >>> hypervolume([[1.0, 2.0], [2.0, 1.0]], reference_point=[3.0, 3.0])
        3.0
    """
    points = _as_matrix(values)
    reference = np.asarray(reference_point, dtype=np.float64)
    if reference.shape != (points.shape[1],) or not np.all(np.isfinite(reference)):
        raise ValueError(
            f"the reference point needs {points.shape[1]} finite values, one for each objective, "
            f"got {reference.tolist()!r}"
        )
    inside = points[np.all(points < reference, axis=1)]
    if np.any(np.isneginf(inside)):
        return float("inf")
    distinct, _ = _distinct_sorted(inside)
    return _volume(distinct[non_dominated(distinct)], reference)


class _Staircase:
    """The non-dominated points of two minimised coordinates, in order of the first.

    The first coordinate ascends strictly and the second descends strictly, so one bisection
    answers whether a point is covered.
    """

    __slots__ = ("_first", "_second")

    def __init__(self) -> None:
        self._first: list[float] = []
        self._second: list[float] = []

    def covers(self, first: float, second: float) -> bool:
        """Tell whether some step is at most this point in both coordinates."""
        position = bisect_right(self._first, first)
        return position > 0 and self._second[position - 1] <= second

    def add(self, first: float, second: float) -> None:
        """Insert a point that is not covered, and drop the steps that it covers."""
        start = stop = bisect_left(self._first, first)
        while stop < len(self._second) and self._second[stop] >= second:
            stop += 1
        self._first[start:stop] = [first]
        self._second[start:stop] = [second]


def _as_matrix(values: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(
            "points are a matrix with one row per point and one column per objective, got shape "
            f"{points.shape}; for no points pass numpy.empty((0, k))"
        )
    return points


def _rows_to_look_at(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The rows that no point of a sample dominates; of few points all rows.

    Of 30,000 candidates some hundred remain, and sorting them takes no time.
    """
    rows = np.arange(len(points))
    if len(points) < _SAMPLED_ABOVE:
        return rows
    sample = points[:: len(points) // _SAMPLE_ROWS]
    at_most = _at_most(sample, sample)
    # What is at most most of the others first: after it there are few left to compare.
    columns = np.ascontiguousarray(points.T)
    for pivot in sample[np.argsort(-np.count_nonzero(at_most, axis=0))[:_PIVOTS]]:
        is_covered = np.all([c >= p for c, p in zip(columns, pivot, strict=True)], axis=0)
        is_equal = np.all([c == p for c, p in zip(columns, pivot, strict=True)], axis=0)
        left = np.flatnonzero(~is_covered | is_equal)
        if len(left) > _WORTHWHILE * len(rows):
            break
        rows, columns = rows[left], columns[:, left]
    return rows


def _distinct_sorted(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Sort rows lexicographically, once each; tell for each given row which of them it is.

    Nothing in this order is dominated by what comes after it. A row with a NaN is left out and
    gets -1.
    """
    row_of = np.full(len(points), -1, dtype=np.intp)
    known = np.flatnonzero(~np.isnan(points).any(axis=1))
    order = known[np.lexsort(points[known].T[::-1])]
    ordered = points[order]
    is_new = np.ones(len(ordered), dtype=np.bool_)
    is_new[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    row_of[order] = np.cumsum(is_new) - 1
    return ordered[is_new], row_of


def _front_of_two(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.ones(len(points), dtype=np.bool_)
    mask[1:] = points[1:, 1] < np.minimum.accumulate(points[:, 1])[:-1]
    return mask


def _front_of_three(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(points), dtype=np.bool_)
    staircase = _Staircase()
    for index, (_, second, third) in enumerate(points.tolist()):
        if not staircase.covers(second, third):
            staircase.add(second, third)
            mask[index] = True
    return mask


def _front_of_many(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros(len(points), dtype=np.bool_)
    front = points[:0]
    for start in range(0, len(points), _BLOCK_ROWS):
        block = points[start : start + _BLOCK_ROWS]
        survivors = np.flatnonzero(~_covered(block, front))
        inner = block[survivors]
        # Rows are distinct, so a row is covered by itself and by what dominates it.
        survivors = survivors[_cover_counts(inner) == 1]
        mask[start + survivors] = True
        front = np.concatenate([front, block[survivors]])
    return mask


def _at_most(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each point and each other: is the other at most the point in every objective?"""
    result = np.ones((len(points), len(others)), dtype=np.bool_)
    for objective in range(points.shape[1]):
        result &= others[None, :, objective] <= points[:, None, objective]
    return result


def _covered(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(_at_most(points, others).any(axis=1))


def _cover_counts(points: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.asarray(np.count_nonzero(_at_most(points, points), axis=1))


def _ranks_by_bisection(points: NDArray[np.float64]) -> NDArray[np.intp]:
    # With fewer than three objectives the missing ones are equal for all.
    padded = np.zeros((len(points), 3))
    padded[:, 3 - points.shape[1] :] = points
    fronts: list[_Staircase] = []
    ranks = np.empty(len(points), dtype=np.intp)
    for index, (_, second, third) in enumerate(padded.tolist()):
        # A point of a later front is dominated by one of every front before, so the fronts that
        # cover this point come first.
        low, high = 0, len(fronts)
        while low < high:
            middle = (low + high) // 2
            if fronts[middle].covers(second, third):
                low = middle + 1
            else:
                high = middle
        if low == len(fronts):
            fronts.append(_Staircase())
        fronts[low].add(second, third)
        ranks[index] = low
    return ranks


def _ranks_by_peeling(points: NDArray[np.float64]) -> NDArray[np.intp]:
    ranks = np.empty(len(points), dtype=np.intp)
    remaining = np.arange(len(points))
    rank = 0
    while len(remaining):
        mask = _front_of_many(points[remaining])
        ranks[remaining[mask]] = rank
        remaining = remaining[~mask]
        rank += 1
    return ranks


def _volume(front: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Volume of a front of distinct, lexicographically sorted points inside the reference."""
    if len(front) == 0:
        return 0.0
    if len(front) == 1:
        return float(np.prod(reference - front[0]))
    if front.shape[1] == 1:
        return float(reference[0] - front[0, 0])
    if front.shape[1] == 2:
        heights = np.append(reference[1], front[:-1, 1]) - front[:, 1]
        return float(np.sum((reference[0] - front[:, 0]) * heights))
    if front.shape[1] == 3:
        return _volume_of_three(front, reference)
    return _volume_by_slicing(front, reference)


def _volume_of_three(front: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Sweep along the first objective, keeping the area that the points so far dominate."""
    end_first, end_second, end_third = reference.tolist()
    # Steps of the area's outline between two sentinels: first ascends, second descends.
    first, second = [-np.inf, end_second], [end_third, -np.inf]
    volume = area = 0.0
    position = 0.0
    for depth, across, down in front.tolist():
        volume += area * (depth - position)
        position = depth
        start = stop = bisect_left(first, across, lo=1)
        left, height, gain = across, second[start - 1], 0.0
        while second[stop] >= down:
            gain += (first[stop] - left) * (height - down)
            left, height = first[stop], second[stop]
            stop += 1
        area += gain + (first[stop] - left) * (height - down)
        first[start:stop] = [across]
        second[start:stop] = [down]
    return float(volume + area * (end_first - position))


def _volume_by_slicing(front: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    # Worst in the last objective first: everything after a point reaches at least as deep as it
    # does, so what they share with it is a volume of one objective less.
    ordered = front[np.argsort(-front[:, -1], kind="stable")]
    total = 0.0
    for index, point in enumerate(ordered):
        inclusive = float(np.prod(reference[:-1] - point[:-1]))
        shared = np.maximum(ordered[index + 1 :, :-1], point[:-1])
        exclusive = inclusive - hypervolume(shared, reference[:-1])
        total += exclusive * float(reference[-1] - point[-1])
    return total
