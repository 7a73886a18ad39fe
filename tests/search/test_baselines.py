"""What a study's images give without a search, judged before anything is sampled."""

import numpy as np
import pytest

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.data import Dataset
from autosearch.evaluation.baselines import (
    judge_logistic_regression,
    judge_majority_class,
    judge_plain_cnn,
)
from autosearch.search.baselines import are_wanted, run_baselines
from autosearch.search.trial import InterruptedTrial
from autosearch.space import CNN, Preprocessing, Quantization, Training
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import BASELINES, Baselines
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder


class Halves(Dataset):
    """Bright above or below; three in four are bright above."""

    name = "halves"
    classes = ("above", "below", "never")

    def load(self, split):
        generator = np.random.default_rng(["train", "validation", "test"].index(split))
        labels = (np.arange(80) % 4 == 0).astype(np.int64)
        images = generator.integers(0, 100, (80, 18, 18, 1), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[9 * label : 9 * label + 9] += 120
        return images, labels


def make_study(budget, **words):
    space = SearchSpace(
        preprocessing=Preprocessing(size=[18, 36], color="greyscale"),
        architecture=CNN(stages=1, width=4, blocks_per_stage=1, block="plain", dropout=0.0,
                         attention="none", kernel_size=3),
        training=Training(epochs=2, optimizer="adam", batch_size=32),
        quantization=Quantization("float32"),
    )  # fmt: skip
    return Study(
        name="halves",
        dataset=Halves(),
        space=space,
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        budget=budget,
        **words,
    )


@pytest.fixture
def database(tmp_path):
    return Database.open_to_write(f"sqlite:///{tmp_path / 'search.db'}")


def make_baselines(database, study, fingerprint="images"):
    study_id = Recorder.save_study(
        database,
        name=study.name,
        seed=0,
        definition=study.definition(),
        definition_sha256=study.definition_sha256(),
        data_fingerprint=fingerprint,
        environment={},
    )
    return study_id, Baselines(database, study_id, fingerprint)


def test_the_majority_class_has_the_share_of_that_class_and_the_classes_shares():
    result = judge_majority_class(make_study(Budget(trials=10)))
    assert result.metrics["accuracy"] == 0.75
    assert result.metrics["log_loss"] == pytest.approx(
        -0.75 * np.log(0.75) - 0.25 * np.log(0.25), rel=1e-3
    )
    assert result.accuracy_low < 0.75 < result.accuracy_high


def test_a_logistic_regression_learns_from_shrunk_pixels_of_the_training_split():
    result = judge_logistic_regression(make_study(Budget(trials=10)))
    assert result.metrics["accuracy"] == 1.0
    assert result.conditions == {"num_validation_images": 80, "num_training_images": 80}


@pytest.mark.parametrize(
    ("budget", "num_images", "epochs"),
    [
        (Budget(trials=100), 80, 2),
        (Budget(trials=10), 80, 2),
        (Budget(trials=10, total_epochs=5), 40, 1),
        (Budget(minutes=0.0054), 90, 1),
    ],
)
def test_the_plain_network_sees_a_share_of_what_the_budget_allows(
    tmp_path, monkeypatch, budget, num_images, epochs
):
    seen = {}

    class AskedError(Exception):
        pass

    def ask(study, max_images, validates_on_all):
        assert validates_on_all
        seen.update(images=max_images, epochs=study.space.training.epochs)
        assert study.space.quantization.schemes == ("int8",)
        raise AskedError

    monkeypatch.setattr("autosearch.evaluation.baselines.KerasEvaluator", ask)
    with pytest.raises(AskedError):
        judge_plain_cnn(make_study(budget), None)
    assert (min(seen["images"], 80) if num_images < 90 else seen["images"]) == num_images
    assert seen["epochs"] == epochs


def test_what_was_judged_is_not_judged_again_and_other_images_are(database, tmp_path):
    study = make_study(Budget(trials=10))
    study_id, baselines = make_baselines(database, study)
    recorder = Recorder(database, study_id)
    first, second = (recorder.start_worker(60) for _ in range(2))
    assert baselines.claim("majority class", first)
    assert not baselines.claim("majority class", second)  # the first is at it
    baselines.release("majority class")
    assert baselines.claim("majority class", second)
    recorder.end_worker(second)
    assert baselines.claim("majority class", first)  # the second came to nothing
    recorder.end_worker(first)
    assert not baselines.claim("majority class", recorder.start_worker(60))  # tried twice
    assert baselines.frame().empty
    assert Baselines(database, study_id, "more images").claim("majority class", first)


def test_an_interrupt_leaves_a_baseline_to_the_next_run(database, tmp_path, monkeypatch):
    study = make_study(Budget(trials=10))
    study_id, baselines = make_baselines(database, study)

    def stops(*_):
        raise InterruptedTrial

    def interrupts(*_):
        raise KeyboardInterrupt

    words = {"artifacts": ArtifactStore(str(tmp_path / "files")), "should_stop": lambda: False}
    worker = Recorder(database, study_id).start_worker(60)
    assert not run_baselines(study, baselines, worker_id=worker, should_end=lambda: True, **words)
    assert baselines.frame().empty
    with monkeypatch.context() as patch:
        patch.setattr("autosearch.evaluation.baselines.judge_logistic_regression", stops)
        assert not run_baselines(study, baselines, worker_id=worker, **words)
    assert list(baselines.frame()["baseline"]) == ["majority class"]
    with monkeypatch.context() as patch:
        patch.setattr("autosearch.evaluation.baselines.judge_logistic_regression", interrupts)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                run_baselines(study, baselines, worker_id=worker, **words)

    def fails(*_):
        raise MemoryError("no room")

    monkeypatch.setattr("autosearch.evaluation.baselines.judge_plain_cnn", fails)
    assert run_baselines(study, baselines, worker_id=worker, **words)
    frame = baselines.frame()
    assert list(frame["baseline"]) == list(BASELINES)
    assert frame["error"].iloc[2] == "MemoryError: no room"
    assert frame["accuracy"].iloc[:2].tolist() == [0.75, 1.0]


def test_small_budgets_and_functions_have_no_baselines():
    assert are_wanted(make_study(Budget(trials=10)))
    assert are_wanted(make_study(Budget(minutes=5)))
    assert not are_wanted(make_study(Budget(trials=9)))
    assert not are_wanted(make_study(Budget(minutes=1)))
    assert not are_wanted(make_study(Budget(trials=10), baselines=False))
    table = Study(
        name="t", evaluator=lambda trial: 0.0, objectives=[maximize("accuracy")],
        budget=Budget(trials=99),
    )  # fmt: skip
    assert not are_wanted(table)


def test_a_run_judges_baselines_first_and_the_commands_show_them(
    tmp_path, autosearch_here, monkeypatch
):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    study = make_study(Budget(trials=10))
    view = autosearch.run(study, storage=storage, trials=1)
    frame = view.baselines_frame()
    assert list(frame["baseline"]) == list(BASELINES)
    assert frame["error"].isna().all()
    cnn = frame.iloc[2]
    assert len(view.artifact(cnn["artifact_sha256"])) == cnn["size_bytes"]
    assert cnn["latency_ms"] > 0
    assert cnn["target"] == "host"
    # They are no trials, and a deleted study takes their file along.
    assert list(view.trials_frame()["number"]) == [0]
    assert set(view.candidates_frame()["trial"]) == {0}
    printed = autosearch_here("front", "halves", "--storage", storage).stderr
    assert "Accuracy without a search: majority class 0.750, logistic regression 1.000, " in printed
    assert f"plain CNN {cnn['accuracy']:.3f} at {int(cnn['size_bytes']):,} bytes (int8)." in printed
    candidate = view.candidates_frame()["candidate"].iloc[0]
    shown = autosearch_here("show", "halves", candidate, "--storage", storage).stdout
    assert "majority class 0.750" in " ".join(shown.split())
    assert [path for path in (tmp_path / "search-artifacts").rglob("*") if path.is_file()]
    autosearch_here("delete", "halves", "--yes", "--storage", storage)
    assert not [path for path in (tmp_path / "search-artifacts").rglob("*") if path.is_file()]
