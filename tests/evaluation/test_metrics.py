import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from autosearch.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    class_figures,
    classification_metrics,
    wilson_interval,
)
from autosearch.values import MEASURED_METRICS


def test_wilson_interval_is_the_published_one():
    # Brown, Cai & DasGupta's formula, worked by hand for 8 of 10 at 95 %.
    low, high = wilson_interval(8, 10, confidence=0.95)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@given(
    counts=st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    confidence=st.floats(0.5, 0.999),
)
def test_wilson_interval_holds_the_accuracy_and_mirrors(counts, confidence):
    num_correct, num_images = counts
    low, high = wilson_interval(num_correct, num_images, confidence)
    assert 0 <= low <= num_correct / num_images <= high <= 1
    assert low < high
    mirrored = wilson_interval(num_images - num_correct, num_images, confidence)
    assert mirrored == (pytest.approx(1 - high), pytest.approx(1 - low))


@given(num_images=st.integers(1, 1000))
def test_more_images_or_less_confidence_narrow_the_interval(num_images):
    def width(factor, confidence=0.9):
        low, high = wilson_interval(0.7 * num_images * factor, num_images * factor, confidence)
        return high - low

    assert width(4) < width(1)
    assert width(1, 0.8) < width(1, 0.9)


def test_no_images_say_nothing_about_the_accuracy():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((3, 2), "Got 3 correct of 2"), ((-1, 2), "Got -1"), ((1, 2, 1.0), "between 0 and 1")],
)
def test_impossible_counts_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        wilson_interval(*arguments)


def test_metrics_of_a_small_example():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    metrics = classification_metrics(labels, probabilities)
    assert metrics["accuracy"] == 0.75
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    expected = -np.log([0.8, 0.6, 0.3, 0.9]).mean()
    assert metrics["log_loss"] == pytest.approx(expected)


@pytest.mark.parametrize("num_images", [1, 5, 300])
def test_figures_are_to_the_bit_those_of_scikit_learn(num_images):
    rng = np.random.default_rng(num_images)
    labels = rng.integers(0, 6, num_images)
    probabilities = rng.dirichlet(np.full(8, 0.2), num_images).astype(np.float32)
    predictions = probabilities.argmax(axis=1)
    recalls = recall_score(labels, predictions, labels=np.unique(labels), average=None)
    metrics = classification_metrics(labels, probabilities)
    assert metrics["balanced_accuracy"] == np.mean(recalls)
    assert metrics["worst_class_recall"] == np.min(recalls)
    assert metrics["macro_f1"] == f1_score(labels, predictions, average="macro", zero_division=0)


def test_every_classification_metric_can_be_an_objective():
    metrics = classification_metrics(np.array([0, 1]), np.eye(2))
    assert tuple(metrics) == CLASSIFICATION_METRICS
    assert set(CLASSIFICATION_METRICS) <= set(MEASURED_METRICS)


def test_the_worst_recall_is_that_of_a_class_that_has_images():
    probabilities = np.eye(4)[[0, 0, 1, 0, 1]]
    labels = np.array([0, 0, 0, 1, 1])
    assert classification_metrics(labels, probabilities)["worst_class_recall"] == 0.5


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    # Two images in the bin (14/15, 1], one of them wrong; two in (8/15, 9/15], both right.
    first = np.array([1.0, 0.95, 0.58, 0.56])
    probabilities = np.stack([first, 1 - first], axis=1)
    metrics = classification_metrics(np.array([0, 1, 0, 0]), probabilities)
    expected = 0.5 * abs(0.975 - 0.5) + 0.5 * abs(0.57 - 1.0)
    assert metrics["expected_calibration_error"] == pytest.approx(expected, abs=1e-5)


def test_a_sure_and_right_network_is_calibrated():
    metrics = classification_metrics(np.array([0, 2]), np.eye(3)[[0, 2]])
    assert metrics["expected_calibration_error"] == pytest.approx(0.0, abs=1e-5)


def test_outputs_that_cannot_be_probabilities_are_taken_for_logits():
    logits = np.array([[2.0, -3.0, 0.5], [0.0, 4.0, 1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([0, 2])
    assert classification_metrics(labels, logits) == pytest.approx(
        classification_metrics(labels, softmax)
    )


def test_figures_of_each_class_say_what_is_undefined():
    figures = class_figures(np.array([0, 0, 1]), np.eye(3)[[0, 1, 1]], ["cat", "dog", "eel"])
    assert figures == {
        "per_class": {
            "cat": {"precision": 1.0, "recall": 0.5, "support": 2},
            "dog": {"precision": 0.5, "recall": 1.0, "support": 1},
            "eel": {"precision": None, "recall": None, "support": 0},
        },
        "confusion": [[1, 1, 0], [0, 1, 0], [0, 0, 0]],
    }
    assert json.loads(json.dumps(figures)) == figures
    with pytest.raises(ValueError, match="Got 2 class names; expected 3"):
        class_figures(np.array([0]), np.eye(3)[[0]], ["cat", "dog"])


def test_log_loss_is_that_of_scikit_learn():
    from sklearn.metrics import log_loss

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 100)
    probabilities = generator.dirichlet(np.ones(5), 100)
    metrics = classification_metrics(labels, probabilities)
    assert metrics["log_loss"] == pytest.approx(
        log_loss(labels, probabilities, labels=range(5)), rel=1e-4
    )


def test_quantized_zeros_leave_the_log_loss_finite():
    metrics = classification_metrics(np.array([1]), np.array([[0.99, 0.0]], dtype=np.float32))
    assert metrics["log_loss"] == pytest.approx(-math.log(1e-7 / 0.99), rel=1e-3)
    metrics = classification_metrics(np.array([1]), np.zeros((1, 2), dtype=np.float32))
    assert metrics["log_loss"] == pytest.approx(math.log(2))


def test_ties_go_to_the_lowest_class():
    metrics = classification_metrics(np.array([0, 1]), np.full((2, 2), 0.5))
    assert metrics["accuracy"] == 0.5


def test_class_absent_from_the_labels_is_no_fault(recwarn):
    metrics = classification_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert metrics["balanced_accuracy"] == 0.5
    assert not recwarn.list


@pytest.mark.parametrize(
    ("labels", "shape", "words"),
    [
        ([0, 1], (3, 2), "with n > 0"),
        ([], (0, 2), "with n > 0"),
        ([0, 2], (2, 2), "expected 0 to 1"),
        ([0], (2,), "expected"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(labels, shape, words):
    with pytest.raises(ValueError, match=words):
        classification_metrics(np.array(labels, dtype=np.int64), np.zeros(shape))
