"""Fronts, ranks and volumes against brute force."""

import itertools
import time
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from autosearch import pareto
from autosearch.pareto import (
    dominates,
    hypervolume,
    non_dominated,
    non_domination_rank,
)

Matrix = NDArray[np.float64]

properties = settings(max_examples=150)


def matrices(
    max_rows: int, max_objectives: int, *, special: bool = True
) -> st.SearchStrategy[Matrix]:
    """Few distinct values, so that ties and duplicates are common."""
    elements = st.integers(-3, 3).map(float)
    if special:
        elements |= st.sampled_from([np.nan, np.inf, -np.inf, -0.0])
    shapes = st.tuples(st.integers(0, max_rows), st.integers(1, max_objectives))
    return hnp.arrays(np.float64, shapes, elements=elements)


def brute_force_front(values: Matrix) -> list[bool]:
    return [
        not np.isnan(point).any()
        and not any(
            all(o <= p for o, p in zip(other, point, strict=True))
            and any(o < p for o, p in zip(other, point, strict=True))
            for other in values.tolist()
        )
        for point in values
    ]


def brute_force_volume(values: Matrix, reference: Matrix) -> float:
    """Inclusion and exclusion over all subsets of the points' boxes."""
    total = 0.0
    for count in range(1, len(values) + 1):
        for subset in itertools.combinations(values, count):
            edges = np.maximum(reference - np.max(subset, axis=0), 0.0)
            total += (-1.0) ** (count + 1) * float(np.prod(edges))
    return total


def sphere(num_points: int, num_objectives: int) -> Matrix:
    """Points that are all non-dominated."""
    points = np.abs(np.random.default_rng(0).standard_normal((num_points, num_objectives)))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


@given(matrices(14, 5))
@properties
def test_front_equals_brute_force(values: Matrix) -> None:
    assert non_dominated(values).tolist() == brute_force_front(values)


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 4, 5])
def test_front_of_several_blocks_equals_brute_force(num_objectives: int) -> None:
    cloud = np.random.default_rng(1).integers(0, 40, (700, num_objectives)).astype(float)
    values = np.concatenate([cloud / 40, sphere(300, num_objectives)])
    less = (values[:, None] <= values[None]).all(axis=2) & (values[:, None] < values[None]).any(
        axis=2
    )
    assert np.array_equal(non_dominated(values), ~less.any(axis=0))


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 5])
def test_front_of_so_many_that_a_sample_is_looked_at_first_equals_brute_force(
    num_objectives: int,
) -> None:
    rng = np.random.default_rng(2)
    # With equals, with points that differ in one objective alone, and with special values.
    values = rng.integers(0, 30, (2500, num_objectives)).astype(float)
    values[rng.random(values.shape) < 0.002] = np.nan
    values[rng.random(values.shape) < 0.002] = -np.inf
    values[rng.random(values.shape) < 0.002] = np.inf
    expected = [
        not np.isnan(row).any()
        and not ((values <= row).all(axis=1) & (values < row).any(axis=1)).any()
        for row in values
    ]
    assert non_dominated(values).tolist() == expected


@given(matrices(14, 5), st.randoms(use_true_random=False))
@properties
def test_front_and_rank_do_not_depend_on_the_order_of_points(
    values: Matrix, random: Random
) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    assert np.array_equal(non_dominated(values[order]), non_dominated(values)[order])
    assert np.array_equal(non_domination_rank(values[order]), non_domination_rank(values)[order])


@given(matrices(14, 5))
@properties
def test_front_of_the_front_is_the_front(values: Matrix) -> None:
    assert non_dominated(values[non_dominated(values)]).all()


@given(matrices(14, 5))
@properties
def test_every_complete_point_off_the_front_is_dominated_by_the_front(values: Matrix) -> None:
    mask = non_dominated(values)
    for point in values[~mask & ~np.isnan(values).any(axis=1)]:
        assert any(dominates(member, point) for member in values[mask])


@given(matrices(14, 5))
@properties
def test_rank_equals_peeling_fronts_off_by_brute_force(values: Matrix) -> None:
    expected = np.full(len(values), -1)
    remaining = np.flatnonzero(~np.isnan(values).any(axis=1))
    rank = 0
    while len(remaining):
        mask = np.array(brute_force_front(values[remaining]), dtype=bool)
        expected[remaining[mask]] = rank
        remaining = remaining[~mask]
        rank += 1
    expected[expected == -1] = max(rank, 1)
    assert non_domination_rank(values).tolist() == expected.tolist()


@given(matrices(14, 5))
@properties
def test_rank_zero_is_the_front(values: Matrix) -> None:
    assert np.array_equal(non_domination_rank(values) == 0, non_dominated(values))


def test_a_row_with_nan_is_on_no_front_even_alone() -> None:
    assert non_dominated([[0.0, np.nan]]).tolist() == [False]
    assert non_domination_rank([[0.0, np.nan]]).tolist() == [1]


def test_duplicates_of_a_front_point_are_all_kept() -> None:
    values = [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-0.0, 1.0]]
    assert non_dominated(values).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("num_objectives", [1, 2, 3, 4])
def test_no_points_give_empty_results(num_objectives: int) -> None:
    empty = np.empty((0, num_objectives))
    assert non_dominated(empty).shape == (0,)
    assert non_domination_rank(empty).shape == (0,)
    assert hypervolume(empty, np.ones(num_objectives)) == 0.0


@pytest.mark.parametrize("num_objectives", [2, 3])
@pytest.mark.parametrize("shape", ["cloud", "all on the front", "chain"])
def test_thirty_thousand_points_take_well_under_two_seconds(
    num_objectives: int, shape: str
) -> None:
    values = {
        "cloud": np.random.default_rng(0).random((30_000, num_objectives)),
        "all on the front": sphere(30_000, num_objectives),
        "chain": np.repeat(np.arange(30_000.0)[:, None], num_objectives, axis=1),
    }[shape]
    start = time.process_time()
    mask = non_dominated(values)
    non_domination_rank(values)
    hypervolume(values, np.full(num_objectives, 40_000.0))
    # 0.01 to 0.3 s where this was written; a quadratic pass would take tens of seconds.
    assert time.process_time() - start < 2.0
    assert mask.all() if shape == "all on the front" else 0 < mask.sum() < 200


@given(matrices(7, 5, special=False), st.lists(st.integers(-1, 3), min_size=5, max_size=5))
@properties
def test_hypervolume_equals_inclusion_and_exclusion(values: Matrix, corner: list[int]) -> None:
    reference = np.array(corner[: values.shape[1]], dtype=float)
    assert hypervolume(values, reference) == pytest.approx(
        brute_force_volume(values, reference), abs=1e-9
    )


@pytest.mark.parametrize("num_objectives", [2, 3, 4, 5])
def test_hypervolume_of_a_smooth_front_equals_inclusion_and_exclusion(num_objectives: int) -> None:
    values, reference = sphere(11, num_objectives), np.full(num_objectives, 1.1)
    expected = brute_force_volume(values, reference)
    assert hypervolume(values, reference) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("num_objectives", [3, 4])
def test_hypervolume_agrees_with_counting_cells(num_objectives: int) -> None:
    values = np.random.default_rng(2).integers(0, 8, (60, num_objectives)).astype(float)
    cells = np.array(list(itertools.product(range(8), repeat=num_objectives)))
    covered = (values[:, None] <= cells[None]).all(axis=2).any(axis=0)
    assert hypervolume(values, np.full(num_objectives, 8.0)) == pytest.approx(covered.sum())


@given(matrices(10, 4, special=False))
@properties
def test_hypervolume_never_shrinks_when_a_point_arrives(values: Matrix) -> None:
    reference = np.full(values.shape[1], 2.5)
    volumes = [hypervolume(values[:count], reference) for count in range(len(values) + 1)]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(volumes))


@given(matrices(10, 4))
@properties
def test_hypervolume_is_that_of_the_front(values: Matrix) -> None:
    reference = np.full(values.shape[1], 2.5)
    assert hypervolume(values, reference) == hypervolume(values[non_dominated(values)], reference)


@pytest.mark.parametrize(
    ("values", "reference", "expected"),
    [
        ([[0.0, 0.0]], [2.0, 3.0], 6.0),
        ([[1.0, 2.0], [2.0, 1.0]], [3.0, 3.0], 3.0),
        ([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], [4.0, 4.0], 6.0),
        ([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [3.0, 3.0], [2.0, 2.0]], [4.0, 4.0], 6.0),
        ([[-1.0, 5.0], [4.0, 0.0], [1.0, 1.0], [np.nan, 0.0]], [4.0, 4.0], 9.0),
        ([[4.0, 0.0]], [4.0, 4.0], 0.0),
        ([[5.0, 5.0]], [4.0, 4.0], 0.0),
        ([[-np.inf, 0.0]], [4.0, 4.0], np.inf),
        ([[-np.inf, 4.0]], [4.0, 4.0], 0.0),
        ([[2.0], [0.5]], [3.0], 2.5),
        ([[0.0, 0.0, 0.0], [-1.0, 0.5, 0.5]], [1.0, 1.0, 1.0], 1.25),
    ],
)
def test_hypervolume_of_known_fronts(
    values: list[list[float]], reference: list[float], expected: float
) -> None:
    assert hypervolume(values, reference) == pytest.approx(expected)


@given(hnp.arrays(np.float64, (3, 3), elements=st.sampled_from([0.0, 1.0, 2.0, np.nan])))
@properties
def test_dominance_is_a_strict_partial_order(points: Matrix) -> None:
    a, b, c = points
    assert not dominates(a, a)
    assert not (dominates(a, b) and dominates(b, a))
    assert dominates(a, c) or not (dominates(a, b) and dominates(b, c))


def test_wrong_input_says_what_came_and_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        non_dominated([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="one column per objective"):
        non_domination_rank(np.empty((3, 0)))
    with pytest.raises(ValueError, match=r"needs 2 finite values.*\[1.0\]"):
        hypervolume([[1.0, 2.0]], [1.0])
    with pytest.raises(ValueError, match="finite"):
        hypervolume([[1.0, 2.0]], [1.0, np.inf])
    with pytest.raises(ValueError, match="equal length"):
        dominates([1.0], [1.0, 2.0])


def test_public_names_exist() -> None:
    assert all(hasattr(pareto, name) for name in pareto.__all__)
    assert pareto.__all__ == sorted(pareto.__all__)
