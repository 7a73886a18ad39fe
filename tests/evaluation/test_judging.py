"""Judging: classes by name, honest intervals, and what a new file fixes and breaks."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from autosearch import Budget, Study, maximize, run
from autosearch.data.labelled import LabelledImages
from autosearch.errors import DefinitionError
from autosearch.evaluation.intervals import bootstrap_intervals
from autosearch.evaluation.judging import Judgement, compare, judge
from autosearch.evaluation.metrics import classification_metrics, mcnemar_p_value
from autosearch.evaluation.subjects import candidate_subject, promotion_subject
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import add_promotion
from autosearch.values import CandidateResult

PREPROCESSING = {"size": 2, "color": "greyscale", "resize": "nearest", "fit": "stretch"}


class Spec:
    def __init__(self, *shape):
        self.shape = shape


class Brightness:
    """Stands for a file of two classes, dark and light, without LiteRT."""

    input, output = Spec(1, 2, 2, 1), Spec(1, 2)

    def __init__(self):
        self.counts = []

    def predict(self, images):
        self.counts.append(len(images))
        light = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - light, light], axis=1).astype(np.float32)


def data(classes, labels, pixels, groups=None):
    images = np.repeat(np.array(pixels, np.uint8), 4).reshape(-1, 2, 2, 1)
    members = [f"{i}.png" for i in range(len(labels))]
    return LabelledImages(
        images=images, labels=np.array(labels), classes=classes, members=members,
        groups=groups or {},
    )  # fmt: skip


def judged(found, classes=("dark", "light")):
    return judge(Brightness(), found, classes=classes, preprocessing=PREPROCESSING)


def test_classes_are_matched_by_name_not_by_place():
    found = data(("light", "dark"), [0, 0, 1, 1], [250, 200, 10, 240])
    judgement = judged(found)
    assert judgement.labels.tolist() == [1, 1, 0, 0]
    assert judgement.metrics["accuracy"] == 0.75
    assert judgement.is_right.tolist() == [True, True, True, False]


@pytest.mark.parametrize("kind", [np.asarray, list, deque])
def test_many_images_are_prepared_a_few_at_a_time_and_answered_in_their_order(kind):
    pixels = np.arange(600) % 256
    found = data(("dark", "light"), pixels // 128, pixels)
    lite = Brightness()
    found = replace(found, images=kind(found.images))
    judgement = judge(lite, found, classes=("dark", "light"), preprocessing=PREPROCESSING)
    assert lite.counts == [256, 256, 88]
    assert judgement.probabilities[:, 1].tolist() == pytest.approx(pixels / 255)


def test_a_class_without_images_here_is_no_fault():
    judgement = judged(data(("light",), [0, 0], [250, 20]))
    assert judgement.metrics["accuracy"] == 0.5
    assert judgement.details["per_class"]["dark"]["support"] == 0
    assert judgement.details["per_class"]["dark"]["recall_low"] is None


def test_a_class_that_the_model_does_not_know_is_named():
    found = data(("light", "eel", "newt"), [0, 1, 0], [250, 20, 20])
    with pytest.raises(DefinitionError, match='of "eel", which the model does not know') as caught:
        judged(found)
    assert '"dark", "light"' in str(caught.value)
    # One without an image harms nobody.
    assert "newt" not in str(caught.value).split("which")[0]


@pytest.mark.parametrize("labels", [[-1, -1, 0], [0, 1, 2]])
def test_a_label_of_no_class_is_not_taken_for_the_last_one(labels):
    with pytest.raises(DefinitionError, match="expected indices from 0 to 1"):
        judged(data(("dark", "light"), labels, [1, 2, 3]))


def test_names_and_outputs_must_be_as_many():
    found = data(("light",), [0], [1])
    with pytest.raises(DefinitionError, match="2 outputs, and 3 classes are named"):
        judged(found, classes=("a", "b", "c"))
    with pytest.raises(DefinitionError, match='class "light" is named twice'):
        judged(found, classes=("light", "light"))


def test_every_figure_has_an_interval_that_holds_it():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 100)
    pixels = np.clip(labels * 90 + rng.normal(80, 60, 100), 0, 255)
    groups = {"camera": ["a", "b"] * 50}
    judgement = judged(data(("dark", "light"), labels, pixels, groups))
    assert set(judgement.intervals) == set(judgement.metrics)
    assert "worst_group_accuracy" in judgement.intervals
    for name, (low, high) in judgement.intervals.items():
        assert low <= judgement.metrics[name] <= high, name
        assert low < high, name


def test_a_class_that_is_never_right_is_not_known_to_be_so_for_ever():
    judgement = judged(data(("dark", "light"), [0] * 10 + [1] * 10, [20] * 20))
    assert judgement.metrics["worst_class_recall"] == 0
    low, high = judgement.intervals["worst_class_recall"]
    assert low == 0
    assert high == pytest.approx(judgement.details["per_class"]["light"]["recall_high"])
    assert 0.15 < high < 0.3


def test_a_rare_class_that_was_always_right_may_yet_be_the_worst():
    judgement = judged(data(("dark", "light"), [0] * 200 + [1] * 2, [20] * 200 + [230] * 2))
    assert judgement.metrics["worst_class_recall"] == 1
    rare = judgement.details["per_class"]["light"]
    low, high = judgement.intervals["worst_class_recall"]
    assert low == pytest.approx(rare["recall_low"])
    assert low < 0.6
    assert high == pytest.approx(1.0)


@pytest.mark.parametrize("num_classes", [2, 7])
def test_the_bootstrap_computes_what_the_metrics_say(num_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes - 1, 60)
    outputs = rng.dirichlet(np.ones(num_classes) * 0.6, 60)
    own = classification_metrics(labels, outputs)
    # Without a resample, what is left is the sample itself.
    for name, (low, high) in bootstrap_intervals(labels, outputs, num_resamples=1).items():
        assert low == pytest.approx(own[name]) or high == pytest.approx(own[name]), name


def test_the_bootstrap_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 90)
    outputs = rng.dirichlet(np.ones(3), 90) + 0.6 * np.eye(3)[labels]
    figures = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.nonzero(labels == c)[0], (labels == c).sum())
                               for c in range(3)])  # fmt: skip
        figures.append(f1_score(labels[rows], outputs[rows].argmax(1), average="macro"))
    expected = np.percentile(figures, [5, 95])
    assert bootstrap_intervals(labels, outputs)["macro_f1"] == pytest.approx(expected, abs=0.02)


def test_intervals_are_the_same_each_time():
    rng = np.random.default_rng(1)
    labels, outputs = rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)
    assert bootstrap_intervals(labels, outputs) == bootstrap_intervals(labels, outputs)
    assert bootstrap_intervals(labels, outputs) != bootstrap_intervals(labels, outputs, seed=1)


def test_what_is_fixed_and_what_is_broken():
    found = data(("dark", "light"), [1, 1, 1, 0], [250, 250, 10, 10])
    old = judged(data(("dark", "light"), [1, 1, 1, 0], [250, 10, 250, 10]))
    comparison = compare(old, judged(found))
    assert (comparison["fixed"], comparison["broken"]) == (["1.png"], ["2.png"])
    assert comparison["old"]["accuracy"] == comparison["new"]["accuracy"] == 0.75
    assert comparison["mcnemar_p_value"] == 1.0
    with pytest.raises(ValueError, match="different images"):
        compare(old, judged(data(("dark",), [0], [1])))


def test_mcnemar_is_the_sign_test():
    from scipy.stats import binomtest

    for fixed, broken in [(0, 0), (0, 1), (5, 0), (3, 12), (40, 25), (700, 900)]:
        total = fixed + broken
        expected = binomtest(fixed, total, 0.5).pvalue if total else 1.0
        assert mcnemar_p_value(fixed, broken) == pytest.approx(expected)
        assert mcnemar_p_value(broken, fixed) == mcnemar_p_value(fixed, broken)


def test_a_judgement_is_json():
    import json

    judgement = judged(data(("dark", "light"), [0, 1], [0, 255]))
    assert isinstance(judgement, Judgement)
    summary = judgement.summary()
    assert json.loads(json.dumps(summary)) == summary


def test_classes_that_an_earlier_version_recorded_as_numbers_are_names(tmp_path):
    def evaluate(trial):
        trial.hp.Int("x", 1, 9)
        trial.describe(classes=[3, 5], preprocessing=PREPROCESSING)
        return CandidateResult(
            metrics={"accuracy": 0.5}, quantization="int8", artifact=trial.store_artifact(b"file")
        )

    url = f"sqlite:///{tmp_path / 'x.db'}"
    study = Study(
        name="s", evaluator=evaluate, objectives=[maximize("accuracy")], budget=Budget(trials=1)
    )
    view = run(study, storage=url)
    assert candidate_subject(view, "0-int8").classes == ("3", "5")
    database = Database.open_to_write(url)
    record = {
        "study": "s", "classes": [3, 5], "preprocessing": PREPROCESSING, "validation": {},
        "dataset": {"definition": {}, "fingerprint": "0" * 64},
    }  # fmt: skip
    promotion = add_promotion(
        database, model="m", alias="champion", candidate="0-int8", keras_sha256=None, note="",
        artifact_sha256=view.candidate("0-int8")["artifact_sha256"], test_metrics={},
        record=record,
    )  # fmt: skip
    assert promotion_subject(promotion, ArtifactStore.beside(database)).classes == ("3", "5")
