"""The mapping to Optuna, held to Keras Tuner's own classes."""

import math
from itertools import pairwise
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters as keras_tuner_hps

from autosearch.errors import DefinitionError
from autosearch.space.parameters import Numbers, to_distribution

STEPPED = [
    (True, 6, 12, None, "linear"),
    (True, 6, 13, 3, "linear"),
    (True, -5, 5, 2, "linear"),
    (True, 7, 7, 4, "linear"),
    (True, 2, 32, 2, "log"),
    (True, 2, 40, 2, "log"),
    (True, 1, 1000, 10, "log"),
    (True, 3, 243, 3, "log"),
    (True, 2, 32, 2, "reverse_log"),
    (True, 1, 100, 3, "reverse_log"),
    (False, 0.0, 1.0, 0.25, "linear"),
    (False, 0.0, 1.0, 0.2, "linear"),
    (False, 0.0, 0.6, 0.1, "linear"),
    (False, 0.1, 0.55, 0.1, "linear"),
    (False, 0.001, 10.0, 10, "log"),
    (False, 0.5, 9.0, 1.5, "log"),
    (False, 0.001, 10.0, 10, "reverse_log"),
    (False, 1.0, 50.0, 2.5, "reverse_log"),
]
CONTINUOUS = [
    (True, 1, 20, None, "log"),
    (True, 1, 20, None, "reverse_log"),
    (True, 16, 512, None, "reverse_log"),
    (False, -1.0, 1.0, None, "linear"),
    (False, 1e-4, 1e-1, None, "log"),
    (False, 1e-4, 1e-1, None, "reverse_log"),
    (False, 2.0, 3.0, None, "reverse_log"),
]


def theirs(integer: bool, low: float, high: float, step: Any, sampling: str) -> Any:
    kind = keras_tuner_hps.Int if integer else keras_tuner_hps.Float
    return kind("x", low, high, step=step, sampling=sampling)


def reachable(numbers: Numbers) -> list[float]:
    asked = to_distribution(numbers)
    step = asked.step or 1
    count = round((asked.high - asked.low) / step) + 1
    return [numbers.value(asked.low + index * step) for index in range(count)]


@pytest.mark.parametrize("row", STEPPED, ids=str)
def test_a_stepped_range_reaches_what_keras_tuner_reaches(row: tuple[Any, ...]) -> None:
    reference = theirs(*row)
    expected = {reference.prob_to_value((index + 0.5) / 2000) for index in range(2000)}
    assert sorted(reachable(Numbers.checked("x", *row))) == pytest.approx(sorted(expected))


@pytest.mark.parametrize("row", [row for row in STEPPED if row[4] != "linear"], ids=str)
def test_an_index_stands_for_the_same_value_as_keras_tuners(row: tuple[Any, ...]) -> None:
    numbers = Numbers.checked("x", *row)
    expected = [int(v) if row[0] else v for v in theirs(*row).values]
    assert reachable(numbers) == pytest.approx(expected)


@pytest.mark.parametrize("row", CONTINUOUS, ids=str)
def test_a_value_has_keras_tuners_place_in_its_range(row: tuple[Any, ...]) -> None:
    numbers, reference = Numbers.checked("x", *row), theirs(*row)
    asked = to_distribution(numbers)
    for probability in (0.0, 0.1, 0.25, 0.5, 0.8, 0.999):
        expected = reference.prob_to_value(probability)
        if asked.stands_for == "probability":
            found = numbers.value(probability)
        elif asked.log and not asked.integer:
            found = numbers.value(asked.low * (asked.high / asked.low) ** probability)
        elif asked.log:
            # Optuna cuts the logarithm at the middles between whole numbers, Keras Tuner at
            # the numbers: the same values can be reached, with slightly different weights.
            found = numbers.value(expected)
        else:
            found = numbers.value(asked.low + probability * (asked.high - asked.low))
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("row", [row for row in CONTINUOUS if row[0]], ids=str)
def test_every_whole_number_of_a_range_without_steps_can_be_reached(row: tuple[Any, ...]) -> None:
    numbers = Numbers.checked("x", *row)
    asked = to_distribution(numbers)
    if asked.stands_for == "value":
        assert (asked.low, asked.high, asked.log, asked.step) == (row[1], row[2], True, None)
    else:
        drawn = {numbers.value(index / 20_000) for index in range(20_001)}
        assert drawn == set(range(row[1], row[2] + 1))


@pytest.mark.parametrize("row", STEPPED + CONTINUOUS, ids=str)
def test_optuna_takes_every_row_without_a_warning_and_stays_in_range(
    row: tuple[Any, ...], recwarn: pytest.WarningsRecorder
) -> None:
    numbers = Numbers.checked("x", *row)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(15):
        value = numbers.value(to_distribution(numbers).suggest(study.ask(), "x"))
        assert type(value) is (int if row[0] else float)
        assert row[1] <= value <= row[2]
    assert [str(w.message) for w in recwarn if "divisible" in str(w.message)] == []


@pytest.mark.parametrize("row", STEPPED + CONTINUOUS, ids=str)
def test_the_number_that_stands_for_a_value_leads_back_to_it(row: tuple[Any, ...]) -> None:
    numbers = Numbers.checked("x", *row)
    reference = theirs(*row)
    for value in {reference.prob_to_value((index + 0.5) / 50) for index in range(50)}:
        assert numbers.value(numbers.drawn(value)) == pytest.approx(value)


@given(
    low=st.integers(1, 200),
    width=st.integers(0, 500),
    step=st.none() | st.integers(2, 9),
    sampling=st.sampled_from(["linear", "log", "reverse_log"]),
)
def test_whole_numbers_agree_with_keras_tuner_for_any_range(
    low: int, width: int, step: int | None, sampling: str
) -> None:
    row = (True, low, low + width, step, sampling)
    numbers, reference = Numbers.checked("x", *row), theirs(*row)
    if step is None and sampling != "linear":
        for index in range(40):
            value = reference.prob_to_value((index + 0.5) / 40)
            assert numbers.value(numbers.drawn(value)) == value
    else:
        assert set(reachable(numbers)) == {int(value) for value in reference.values}


def test_the_middle_of_a_reversed_logarithm_is_nearer_to_the_high_end() -> None:
    numbers = Numbers.checked("x", False, 1, 100, None, "reverse_log")
    values = [numbers.value(p / 10) for p in range(11)]
    assert values[0] == 1.0
    assert values[-1] == 100.0
    assert values[5] == pytest.approx(101 - math.sqrt(100))
    assert all(a < b for a, b in pairwise(values))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", True, 5, 2, None, "linear"), r"low 5 is above high 2; write hp.Int\('x', 2, 5\)"),
        (("x", False, 0, 1, None, "log"), "needs a low above 0, not 0.0"),
        (("x", True, 1, 9, 1, "log"), "the step is a factor and must be above 1, not 1"),
        (("x", True, 1, 9, 0, "linear"), "step 0 must be above 0"),
        (("x", True, 1.5, 9, None, "linear"), "min_value must be a whole number, not 1.5"),
        (("x", False, 1, "9", None, "linear"), "max_value must be a number, not '9'"),
        (("x", False, 1, math.inf, None, "linear"), "max_value must be a number, not inf"),
        (("x", True, 1, 9, None, "normal"), "sampling 'normal' is unknown; write 'linear'"),
    ],
)
def test_an_impossible_range_is_refused_by_name(arguments: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        Numbers.checked(*arguments)
    assert "'x'" in str(caught.value)


def test_what_optuna_has_no_word_for_is_asked_as_an_index_or_a_probability() -> None:
    trial = optuna.create_study().ask()
    to_distribution(Numbers.checked("x", True, 2, 32, 2, "log")).suggest(trial, "x")
    to_distribution(Numbers.checked("y", True, 2, 32, None, "reverse_log")).suggest(trial, "y")
    assert trial.distributions == {
        "x": optuna.distributions.IntDistribution(0, 4),
        "y": optuna.distributions.FloatDistribution(0.0, 1.0),
    }
