"""A user's words: what they mean, and what they are refused for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from autosearch.errors import DefinitionError
from autosearch.values import (
    Budget,
    CandidateResult,
    CrossValidation,
    Direction,
    NoPruner,
    Objective,
    TrialState,
    at_most,
    maximize,
    minimize,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def test_objectives_and_constraints_read_as_they_are_written():
    assert str(maximize("accuracy")) == "maximize accuracy"
    assert str(at_most("size_bytes", 64_000)) == "size_bytes ≤ 64000"
    assert minimize("size_bytes") == Objective(metric="size_bytes", direction=Direction.MINIMIZE)


@given(finite, finite)
def test_minimized_turns_better_into_less(a, b):
    assert (maximize("m").minimized(a) < maximize("m").minimized(b)) == (a > b)
    assert (minimize("m").minimized(a) < minimize("m").minimized(b)) == (a < b)


@given(finite, finite)
def test_a_violation_is_positive_exactly_above_the_bound(bound, value):
    violation = at_most("m", bound).violation(value)
    assert (violation > 0) == (value > bound)
    assert math.isfinite(violation)


def test_a_violation_is_relative_to_its_bound():
    assert at_most("size_bytes", 100).violation(150) == 0.5
    assert at_most("loss", 0.1).violation(0.3) == pytest.approx(2.0)
    assert at_most("loss", 0.0).violation(0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_to_be_had_breaks_a_bound(value):
    assert at_most("memory_bytes", 10).violation(value) > 0


@pytest.mark.parametrize(
    ("refused", "sentence"),
    [
        (lambda: maximize(""), "Objective: metric: .* at least 1 character, not ''"),
        (lambda: at_most("m", math.nan), "Constraint: bound: .* finite number, not nan"),
        (lambda: at_most("m", math.inf), "Constraint: bound: .* finite number, not inf"),
        (lambda: Budget(), r"Budget: a budget needs a limit; write Budget\(trials=30\)"),
        (lambda: Budget(trials=0), "Budget: trials: .* greater than or equal to 1, not 0"),
        (lambda: Budget(minutes=math.inf), "Budget: minutes: .* finite number, not inf"),
        (
            lambda: Budget(trials=3, hours=2),
            "Budget: hours: no such parameter; Budget has trials, minutes, total_epochs",
        ),
        (lambda: Objective(metric="m"), "Objective: direction: is missing"),
        (lambda: Budget(8), r"Budget: 8 came without a name; write such as Budget\(trials=30\)"),
        (lambda: NoPruner(3), r"NoPruner: 3 came without a name; write NoPruner\(\)$"),
        (lambda: NoPruner(x=3), "NoPruner: x: no such parameter; NoPruner has none"),
        (
            lambda: CrossValidation(5),
            r".*write such as CrossValidation\(folds=5\), with one or more",
        ),
        (lambda: at_most("m", "5k"), "Constraint: bound: .* not '5k'"),
    ],
)
def test_what_makes_no_sense_is_refused(refused, sentence):
    with pytest.raises(DefinitionError, match=f"^{sentence}"):
        refused()


def test_words_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError):
        Budget(trials=3).trials = 4
    with pytest.raises(AttributeError):
        CandidateResult(metrics={}).quantization = "int8"


def test_words_come_back_from_their_json():
    for word in (maximize("accuracy"), at_most("m", 2.5), Budget(minutes=1.5)):
        assert type(word).model_validate_json(word.model_dump_json()) == word


def test_a_failed_or_discarded_trial_is_finished_but_does_not_count():
    finished = {state for state in TrialState if state.is_finished}
    counting = {state for state in TrialState if state.counts}
    assert finished - counting == {TrialState.FAILED, TrialState.DISCARDED}
    assert set(TrialState) - finished == {TrialState.WAITING, TrialState.RUNNING}
