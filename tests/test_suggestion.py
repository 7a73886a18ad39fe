"""The paired test, and what is suggested on its strength."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from autosearch import maximize, minimize
from autosearch.evaluation.paired import paired_p_value
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.predictions import Predictions
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView
from autosearch.suggestion import PairedTests, smallest_alike, suggest
from autosearch.values import CandidateResult, TrialState


def predictions(labels, right, confidence=0.8):
    """Two classes; ``right`` says of each image whether it is classified as its label says."""
    labels, right = np.asarray(labels), np.asarray(right, bool)
    probabilities = np.full((len(labels), 2), 1 - confidence, np.float32)
    probabilities[np.arange(len(labels)), np.where(right, labels, 1 - labels)] = confidence
    return Predictions(labels, probabilities)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_test_of_accuracies_is_mcnemars_exact_one(pairs):
    one, other = np.array(pairs).T
    labels = np.arange(len(pairs)) % 2
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    expected = 1.0
    if only_one + only_other:
        expected = binomtest(only_one, only_one + only_other, 0.5).pvalue
    p = paired_p_value(predictions(labels, one), predictions(labels, other))
    assert p == pytest.approx(expected)


def test_balanced_accuracy_gives_each_class_the_same_weight():
    labels = np.repeat([0, 1], [190, 10])
    plain = np.ones(200, bool)
    plain[190:] = False  # every image of the rare class is wrong
    fair = np.ones(200, bool)
    fair[:10] = False  # as many mistakes, all of them in the common one
    one, other = predictions(labels, plain), predictions(labels, fair)
    assert paired_p_value(one, other, metric="accuracy") == 1.0
    assert paired_p_value(one, other, metric="balanced_accuracy") < 0.01


def test_log_loss_sees_what_accuracy_does_not():
    labels = np.arange(80) % 2
    sure, unsure = (predictions(labels, np.ones(80), confidence=c) for c in (0.95, 0.6))
    assert paired_p_value(sure, unsure) == 1.0
    assert paired_p_value(sure, unsure, metric="log_loss") < 0.001


def test_log_loss_of_outputs_that_are_no_probabilities_is_what_the_metric_says():
    labels = np.arange(80) % 2
    right = np.eye(2)[labels]
    # Both give the right class 2, and the wrong one next to nothing or nearly as much.
    sure, unsure = (
        Predictions(labels, np.where(right, 2.0, wrong).astype(np.float32)) for wrong in (-8, 1.9)
    )
    assert paired_p_value(sure, unsure, metric="log_loss") < 0.001


def of_ten_classes(wrong):
    """100 images of each of ten classes; ``wrong`` says how many of each are taken for the next."""
    labels = np.repeat(np.arange(10), 100)
    guessed = labels.copy()
    for label, count in enumerate(wrong):
        guessed[100 * label : 100 * label + count] = (label + 1) % 10
    return Predictions(labels, np.eye(10, dtype=np.float32)[guessed])


@pytest.mark.parametrize("metric", ["worst_class_recall", "macro_f1", "balanced_accuracy"])
def test_each_figure_is_tested_by_itself(metric):
    even, collapsed = of_ten_classes([10] * 10), of_ten_classes([55, *[5] * 9])
    # As many mistakes, but in the one half of them in one class.
    p = paired_p_value(even, collapsed, metric=metric)
    assert (p < 0.001) == (metric == "worst_class_recall")


def test_what_is_better_but_for_its_worst_class_is_not_worse_by_chance():
    even, better = of_ten_classes([10] * 10), of_ten_classes([12, *[3] * 9])
    assert paired_p_value(even, better, metric="worst_class_recall") > 0.3
    assert paired_p_value(even, better, metric="balanced_accuracy") < 0.001


def test_the_worst_group_is_tested_within_the_groups():
    groups = np.repeat([0, 1], [100, 1900]).astype(np.int32)[:, None]
    labels = np.zeros(2000, np.int64)
    good, bad = np.ones(2000, bool), np.ones(2000, bool)
    good[:8] = bad[:54] = False
    good[100:146] = False  # as many mistakes in all
    one, other = (replace(predictions(labels, right), groups=groups) for right in (good, bad))
    assert paired_p_value(one, other) > 0.3
    assert paired_p_value(one, other, metric="worst_group_accuracy") < 0.001
    back = Predictions.from_bytes(other.to_bytes())
    assert np.array_equal(back.groups, groups)


def test_calibration_is_tested_by_its_error_alone():
    labels = np.zeros(400, np.int64)
    right = np.arange(400) >= 80
    fair, sure = (predictions(labels, right, confidence=c) for c in (0.8, 0.99))
    metric = "expected_calibration_error"
    assert paired_p_value(fair, sure, metric=metric) < 0.001
    # Too sure and not sure enough by as much: other outputs, the same error.
    unsure = predictions(labels, right, confidence=0.61)
    assert paired_p_value(sure, unsure, metric=metric) > 0.3


def test_predictions_of_other_images_are_refused():
    with pytest.raises(ValueError, match="expected two of the same images"):
        paired_p_value(predictions([0, 1], [1, 1]), predictions([1, 1], [1, 1]))


def test_predictions_come_back_from_their_file():
    seen = predictions([0, 1, 1], [1, 0, 1])
    back = Predictions.from_bytes(seen.to_bytes())
    assert np.array_equal(back.labels, seen.labels)
    assert np.array_equal(back.probabilities, seen.probabilities)
    assert back.right.tolist() == [True, False, True]


@pytest.fixture
def view_of(tmp_path):
    """Makes a study with one candidate a trial: {bytes: which images are right}."""

    def make(by_size, **words):
        database = Database.open_to_write(f"sqlite:///{tmp_path / 'x.db'}")
        artifacts = ArtifactStore.beside(database)
        objectives = words.pop("objectives", (maximize("accuracy"), minimize("size_bytes")))
        definition = {
            "objectives": [o.model_dump(mode="json") for o in objectives],
            "constraints": [],
            "evaluator": words.pop("evaluator", None),
        }
        study_id = Recorder.save_study(
            database, name="x", seed=0, definition=definition, definition_sha256="0" * 64,
            data_fingerprint=None, environment={},
        )  # fmt: skip
        recorder = Recorder(database, study_id)
        for number, (size_bytes, right) in enumerate(by_size.items()):
            recorder.start_trial(number, None)
            seen = predictions(np.arange(len(right)) % 2, right)
            candidate = CandidateResult(
                quantization="int8",
                is_representative=True,
                metrics={"accuracy": float(np.mean(right)), "size_bytes": size_bytes},
                accuracy_low=float(np.mean(right)) - 0.02,
                accuracy_high=float(np.mean(right)) + 0.02,
                predictions=artifacts.put(seen.to_bytes()) if not words else None,
            )
            recorder.finish_trial(
                number, TrialState.COMPLETE, config={}, stage_seconds={}, facts={},
                candidates=[candidate], feasible=["int8"],
            )  # fmt: skip
        return StudyView(database, artifacts, "x")

    return make


def right_but_for(count, total=200):
    return np.arange(total) >= count


def test_the_smallest_that_cannot_be_told_apart_is_suggested(view_of):
    view = view_of({1000: right_but_for(60), 2000: right_but_for(13), 9000: right_but_for(10)})
    suggestion = suggest(view)
    assert (suggestion.candidate, suggestion.best) == ("1-int8", "2-int8")
    assert suggestion.p_value == 0.25  # three images, all of them the larger one's
    assert suggestion.num_images == 200
    assert "cannot be told apart from the best one's, 0.950 of 2-int8" in suggestion.reason


def test_the_best_is_suggested_where_every_smaller_one_is_worse(view_of):
    suggestion = suggest(view_of({1000: right_but_for(60), 9000: right_but_for(10)}))
    assert suggestion.candidate == suggestion.best == "1-int8"
    assert suggestion.p_value is None
    assert "every smaller candidate is worse by more than chance" in suggestion.reason


def test_what_was_judged_before_the_data_grew_is_not_compared(view_of):
    view = view_of({1000: right_but_for(10, total=150), 9000: right_but_for(10)})
    suggestion = suggest(view)
    assert suggestion.candidate == "1-int8"
    assert suggestion.reason == (
        "the best accuracy; 1 smaller candidate, judged on other images, left out"
    )


def test_a_study_after_accuracy_alone_weighs_it_against_size(view_of):
    by_size = {1000: right_but_for(60), 2000: right_but_for(11), 9000: right_but_for(10)}
    suggestion = suggest(view_of(by_size, objectives=(maximize("accuracy"),)))
    assert (suggestion.candidate, suggestion.best) == ("1-int8", "2-int8")
    assert suggestion.reason.startswith("the smallest whose accuracy")


def test_small_means_the_cost_that_the_study_minimises():
    seen = {
        "lean": predictions(np.arange(200) % 2, right_but_for(12)),
        "short": predictions(np.arange(200) % 2, right_but_for(13)),
        "best": predictions(np.arange(200) % 2, right_but_for(10)),
    }
    front = pd.DataFrame(
        {
            "candidate": list(seen), "predictions_sha256": list(seen), "trial": [0, 1, 2],
            "quantization": "int8", "estimate": "validation",
            "accuracy": [np.mean(of.right) for of in seen.values()],
            "accuracy_low": 0.9, "accuracy_high": 1.0,
            "memory_bytes": [1000, 3000, 9000], "size_bytes": [2000, 1000, 900],
            "latency_ms": [3.0, 1.0, 4.0],
        }
    )  # fmt: skip
    tests = PairedTests(lambda name: seen[name].to_bytes())
    by_cost = {"memory_bytes": ("lean", "one of least memory"), "latency_ms": ("short", "fastest")}
    for cost, (expected, word) in by_cost.items():
        objectives = (maximize("accuracy"), minimize(cost))
        found = smallest_alike(front, objectives, tests=tests)
        assert found.candidate == expected
        assert found.reason.startswith(f"the {word} whose accuracy cannot be told apart")
    alone = smallest_alike(front, (maximize("accuracy"), minimize("size_bytes")), tests=tests)
    assert alone.reason == "the best accuracy, and there is no smaller candidate"


def test_what_was_read_once_is_not_read_again():
    seen = predictions(np.arange(200) % 2, right_but_for(12)).to_bytes()
    reads = []
    tests = PairedTests(lambda name: reads.append(name) or seen)
    for _ in range(2):
        for name in "abcd":
            assert tests.are_paired(name, "best")
            assert tests.p_value(name, "best", "accuracy") == 1.0
        assert tests.num_images("best") == 200
    assert sorted(reads) == ["a", "b", "best", "c", "d"]


def test_nothing_is_suggested_without_predictions_or_figures_of_accuracy(view_of, tmp_path):
    assert suggest(view_of({1000: right_but_for(3)}, without_predictions=True)) is None
