"""Which candidates remain, and which is suggested."""

import pytest

from autosearch.values import maximize, minimize
from autosearch.visualization.choice import Bound, Role, pick, roles

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))


def test_the_front_is_dominated_by_nobody_and_infeasible_candidates_are_out(frame) -> None:
    assert roles(frame, OBJECTIVES).tolist() == [
        Role.FRONT,
        Role.FRONT,
        Role.FRONT,
        Role.DOMINATED,
        Role.INFEASIBLE,
        Role.DOMINATED,
    ]


def test_the_front_is_taken_anew_within_the_bounds(frame) -> None:
    found = roles(frame, OBJECTIVES, bounds={"size_bytes": Bound(least=20_000, most=60_000)})
    assert found.tolist()[3] == Role.FRONT
    assert found.tolist()[:3] == [Role.OUT_OF_BOUNDS] * 3


def test_a_candidate_without_a_figure_keeps_no_bound_on_it(frame) -> None:
    found = roles(frame, OBJECTIVES, bounds={"accuracy": Bound(least=0.1)})
    assert found.tolist()[5] == Role.OUT_OF_BOUNDS


def test_only_the_chosen_schemes_remain(frame) -> None:
    found = roles(frame, OBJECTIVES, quantizations=["float32"])
    assert (found == Role.FRONT).sum() == 1
    assert found.tolist()[2] == Role.FRONT


def test_the_knee_is_suggested_with_what_it_gives_up_and_saves(frame) -> None:
    found = pick(frame, roles(frame, OBJECTIVES), OBJECTIVES)
    assert found is not None
    assert found.candidate == "1-int8"
    assert "2.0 points of accuracy less than 0-int8" in found.reason
    assert "90% of the size" in found.reason
    assert "noise" not in found.reason


def test_a_difference_within_the_noise_is_said_to_be_one(frame) -> None:
    found = pick(frame.assign(accuracy_high=1.0), roles(frame, OBJECTIVES), OBJECTIVES)
    assert "within the noise" in found.reason


def test_the_best_in_one_metric_can_be_asked_for(frame) -> None:
    role = roles(frame, OBJECTIVES)
    assert pick(frame, role, OBJECTIVES, first="accuracy").candidate == "0-int8"
    assert pick(frame, role, OBJECTIVES, first="size_bytes").candidate == "2-float32"


def test_an_empty_front_has_no_suggestion(frame) -> None:
    none = frame.iloc[:0]
    assert pick(none, roles(none, OBJECTIVES), OBJECTIVES) is None


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_cost_of_nothing_is_no_error(value, frame) -> None:
    frame = frame.assign(size_bytes=value)
    assert pick(frame, roles(frame, OBJECTIVES), OBJECTIVES).candidate == "0-int8"
