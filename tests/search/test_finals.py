"""The finals: cross-validation of the best trials, kept fold by fold."""

import hashlib

import numpy as np
import pytest

import autosearch
from autosearch import Budget, CrossValidation, SearchSpace, Study, TrainOn, maximize, minimize
from autosearch.data import Arrays, Dataset, Digits
from autosearch.data.splits import fold_numbers
from autosearch.evaluation import pipeline
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.pipeline import KerasEvaluator
from autosearch.search.finals import is_due, plan_finals, run_finals
from autosearch.space import CNN, Preprocessing, Quantization, Training
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import Baselines
from autosearch.store.database import Database
from autosearch.store.deletion import delete_study_rows
from autosearch.store.predictions import Predictions
from autosearch.store.recorder import Recorder
from autosearch.store.view import StudyView
from autosearch.suggestion import suggest
from autosearch.values import Estimate

RULES = CrossValidation(finalists=1, folds=2)


def make_study(dataset=None, schemes=("float32", "int8"), **words):
    return Study(
        name="few",
        dataset=dataset or Digits(),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8, color="greyscale"),
            architecture=CNN(
                stages=2, width=[12, 16], blocks_per_stage=1, kernel_size=3, block="plain",
                attention="none", activation="relu", head="max", dropout=0.0,
            ),
            training=Training(
                epochs=8, optimizer="adam", learning_rate=0.02, schedule="constant", batch_size=64
            ),
            quantization=Quantization(*schemes),
        ),
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        **{"budget": Budget(trials=6), "cross_validation": RULES, **words},
    )  # fmt: skip


class Finalist:
    """A searched study with one finalist, whose cross-validation was stopped after a fold."""

    def __init__(self, folder):
        self.study = make_study()
        storage = f"sqlite:///{folder / 'few.db'}"
        autosearch.run(
            self.study.model_copy(update={"cross_validation": None}), storage=storage, seed=1
        )
        self.database = Database.open_to_write(storage)
        self.artifacts = ArtifactStore.beside(self.database)
        self.view = StudyView(self.database, self.artifacts, "few")
        self.finals = plan_finals(self.study)
        self.was_due = is_due(self.finals, self.view)
        self.splits_read, self.trained = set(), []
        with pytest.MonkeyPatch.context() as patch:
            load = Digits.load
            patch.setattr(
                Digits, "load", lambda of, split: (self.splits_read.add(split), load(of, split))[1]
            )
            self.stopped = not self.go_on(should_stop=lambda: len(self.folds()) == 1)
            self.folds_when_stopped = self.folds()
            self.came_to_its_end = self.go_on(on_fold=self.trained.append)

    def folds(self):
        finals = self.finals
        key = {"num_folds": finals.num_folds, "data_fingerprint": finals.data_fingerprint}
        known = self.view.finalists(**key)
        return {fold for finalist in known.values() for fold in finalist.folds}

    def go_on(self, should_stop=lambda: False, on_fold=None):
        recorder = Recorder(self.database, self.view.id)
        if on_fold is not None:
            add_fold = recorder.add_fold
            recorder.add_fold = lambda *words, **named: (
                on_fold(words[1]),
                add_fold(*words, **named),
            )
        return run_finals(
            self.finals,
            self.study,
            self.view,
            worker_id=None,
            evaluator=KerasEvaluator(self.study),
            recorder=recorder,
            artifacts=self.artifacts,
            seed=1,
            should_stop=should_stop,
        )


@pytest.fixture(scope="module")
def finalist(tmp_path_factory):
    return Finalist(tmp_path_factory.mktemp("finals"))


def test_a_stop_between_folds_loses_none_and_repeats_none(finalist):
    assert finalist.was_due
    assert finalist.stopped
    assert finalist.folds_when_stopped == {0}
    assert finalist.trained == [1]
    assert finalist.came_to_its_end
    assert not is_due(finalist.finals, finalist.view)


def test_a_figure_is_that_of_images_that_its_networks_have_not_seen(finalist):
    frame = finalist.view.candidates_frame()
    refits = frame[frame["estimate"] == Estimate.CROSS_VALIDATION]
    assert set(refits["quantization"]) == {"float32", "int8"}
    counts = Digits().split_counts()
    num_images = counts["train"] + counts["validation"]
    for _, row in refits.iterrows():
        assert row["candidate"] == f"{row['trial']}-{row['quantization']}-refit"
        seen = Predictions.from_bytes(finalist.view.artifact(row["predictions_sha256"]))
        assert len(seen.labels) == num_images == row["conditions"]["num_validation_images"]
        of_folds = np.mean(seen.right)
        assert row["conditions"]["accuracy_of_folds"] == of_folds
        # Of two folds each network misses half of the images, and half of them more take a fifth
        # of the error away.
        assert row["accuracy"] == pytest.approx(1 - (1 - of_folds) * 0.5**0.309)
        assert row["accuracy_low"] < of_folds < row["accuracy"] < row["accuracy_high"]
        # The file is not one of the folds' networks: it learned from all of the images.
        own = finalist.view.candidate(f"{row['trial']}-{row['quantization']}")
        assert row["artifact_sha256"] != own["artifact_sha256"]
        assert row["size_bytes"] == own["size_bytes"]
        assert row["keras_sha256"] != own["keras_sha256"]


def test_the_file_classifies_the_test_split_about_as_well_as_its_figure_says(finalist):
    images, labels = Digits().load("test")
    suggestion = suggest(finalist.view)
    assert suggestion is not None
    assert suggestion.estimate == Estimate.CROSS_VALIDATION
    found = finalist.view.candidate(suggestion.candidate)
    predicted = TFLiteModel(finalist.view.artifact(found["artifact_sha256"])).predict(images)
    assert np.mean(predicted.argmax(axis=1) == labels) == pytest.approx(suggestion.value, abs=0.1)


def test_figures_of_two_kinds_are_never_ranked_together(finalist):
    for kind in Estimate:
        assert set(finalist.view.front_frame(estimate=kind)["estimate"]) == {kind}
    assert set(finalist.view.front_frame()["estimate"]) == {Estimate.VALIDATION}
    assert suggest(finalist.view, estimate=Estimate.VALIDATION).estimate == Estimate.VALIDATION


def test_the_test_split_is_not_read(finalist):
    assert finalist.splits_read == {"train", "validation"}


@pytest.mark.parametrize(
    "words",
    [
        {"cross_validation": None},
        {"cross_validation": CrossValidation(below=10)},
        {"objectives": [minimize("size_bytes")]},
    ],
    ids=["switched off", "images enough", "nothing that tells how well it classifies"],
)
def test_there_are_no_finals_where_none_are_asked_for(words):
    study = make_study(**{k: v for k, v in words.items() if k != "objectives"})
    if "objectives" in words:
        study = study.model_copy(update=words)
    assert plan_finals(study) is None


def few_images(num_classes, of_each, *, num_groups=None):
    count = num_classes * of_each
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    groups = {} if num_groups is None else {"site": np.arange(count) % num_groups}
    return Arrays(
        images, np.repeat(np.arange(num_classes), of_each), groups=groups, group=tuple(groups)
    )


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (few_images(20, 10), 8),  # two of each class are for the test
        (few_images(2, 60, num_groups=9), 7),
        (few_images(2, 60), 10),
    ],
    ids=["no class of so many images", "fewer groups", "enough of all"],
)
def test_there_are_as_many_folds_as_classes_and_groups_allow(dataset, expected):
    finals = plan_finals(make_study(dataset, cross_validation=CrossValidation(folds=10)))
    assert finals.num_folds == expected
    splits = ("train", "validation")
    labels = np.concatenate([dataset.load(split)[1] for split in splits])
    folds = fold_numbers(labels, dataset.clusters(splits), folds=finals.num_folds, seed=1)
    assert set(folds.tolist()) == set(range(expected))


class OneOfEach(Dataset):
    name = "one of each"
    classes = ("a", "b")

    def load(self, split):
        return np.zeros((1, 8, 8, 1), np.uint8), np.array([int(split == "train")])


def test_images_that_cannot_be_divided_have_no_finals_and_it_is_said():
    said = []
    assert plan_finals(make_study(OneOfEach()), on_message=said.append) is None
    assert len(said) == 1
    assert "no class has two images" in said[0]


def test_there_is_a_finalist_for_as_many_trials_as_it_takes_trainings(finalist):
    by_folds = {
        folds: plan_finals(make_study(cross_validation=CrossValidation(folds=folds)))
        for folds in (2, 3)
    }
    lengths = {folds: len(f.finalists(finalist.view)) for folds, f in by_folds.items()}
    assert lengths == {2: 2, 3: 1}  # of six trials


def test_a_try_of_a_few_trials_has_no_finals(tmp_path):
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'x.db'}")
    study = make_study()
    Recorder.save_study(
        database, name="few", seed=0, definition=study.definition(), definition_sha256="0" * 64,
        data_fingerprint=None, environment={},
    )  # fmt: skip
    view = StudyView(database, ArtifactStore.beside(database), "few")
    assert plan_finals(study).finalists(view) == []


def test_a_fold_never_divides_what_belongs_together():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(0, 3, 200), rng.integers(0, 60, 200)
    folds = fold_numbers(labels, clusters, folds=4, seed=7)
    assert all(len(set(folds[clusters == cluster])) == 1 for cluster in set(clusters))
    assert np.bincount(folds).min() > 30
    assert np.array_equal(folds, fold_numbers(labels, clusters, folds=4, seed=7))


def test_too_few_images_for_the_folds_are_said_in_a_sentence():
    with pytest.raises(autosearch.study.DefinitionError, match="2 groups of images cannot be"):
        fold_numbers([0, 1, 0], [0, 1, 1], folds=3, seed=0)


@pytest.fixture
def judged_trial(tmp_path):
    """The recorder of a study with a trial, and how its finals are known."""
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'x.db'}")
    study_id = Recorder.save_study(
        database, name="x", seed=0, definition={}, definition_sha256="0" * 64,
        data_fingerprint=None, environment={},
    )  # fmt: skip
    recorder = Recorder(database, study_id)
    recorder.start_trial(0, None)
    return recorder, {"num_folds": 2, "data_fingerprint": "1" * 64}


def test_a_finalist_that_a_living_worker_judges_or_that_is_done_is_nobody_elses(judged_trial):
    recorder, key = judged_trial
    first, second = recorder.start_worker(60.0), recorder.start_worker(60.0)
    assert recorder.start_finalist(0, first, **key) == 1
    assert recorder.start_finalist(0, second, **key) is None
    recorder.end_worker(first)
    assert recorder.start_finalist(0, second, **key) == 2
    recorder.finish_finalist(0, **key)
    recorder.end_worker(second)
    assert recorder.start_finalist(0, recorder.start_worker(60.0), **key) is None


def test_who_was_asked_to_end_and_took_too_long_has_not_tried(judged_trial):
    recorder, key = judged_trial
    baselines = Baselines(recorder._database, recorder._study_id, None)
    for _ in range(4):
        worker = recorder.start_worker(60.0)
        assert recorder.start_finalist(0, worker, **key) == 1
        assert baselines.claim("plain CNN", worker)
        recorder.release_lost(counts=False)
        # Who lives may come to an end yet.
        assert not baselines.claim("plain CNN", recorder.start_worker(60.0))
        recorder.end_worker(worker)
        recorder.release_lost(counts=False)


def test_a_deleted_study_takes_its_files_of_folds_along(judged_trial):
    recorder, key = judged_trial
    database = recorder._database
    artifacts = ArtifactStore.beside(database)
    recorder.start_finalist(0, None, **key)
    content = b"what was predicted"
    recorder.add_fold(0, 0, {"int8": artifacts.put(content)}, **key)
    assert delete_study_rows(database, artifacts, recorder._study_id) == 1
    with pytest.raises(autosearch.study.NotFoundError):
        artifacts.get(hashlib.sha256(content).hexdigest())


def test_what_was_trained_on_is_judged_once_and_at_its_whole_length(tmp_path, monkeypatch):
    study = make_study(
        schemes=("float32",),
        train_on=TrainOn(first_epochs=1, share=0.9),
        cross_validation=RULES,
    )
    storage = f"sqlite:///{tmp_path / 'few.db'}"
    view = autosearch.run(
        study.model_copy(update={"cross_validation": None}), storage=storage, seed=1
    )
    trials = view.trials_frame().set_index("number")
    origins = {n: f["continues"] for n, f in trials["facts"].items() if "continues" in f}
    assert origins
    finals = plan_finals(study)
    chosen = finals.finalists(view)
    assert not {origins[n]["trial"] for n in chosen if n in origins} & set(chosen)
    lengths = []
    train = pipeline.train
    monkeypatch.setattr(
        pipeline,
        "train",
        lambda *words, **named: (lengths.append(named["config"].epochs), train(*words, **named))[1],
    )
    database = Database.open_to_write(storage)
    assert run_finals(
        finals,
        study,
        view,
        worker_id=None,
        evaluator=KerasEvaluator(study),
        recorder=Recorder(database, view.id),
        artifacts=ArtifactStore.beside(database),
        seed=1,
        should_stop=lambda: False,
    )
    whole = [
        origins[n]["epochs_before"] + trials.at[n, "facts"]["num_epochs"] if n in origins else 1
        for n in chosen
    ]
    assert max(whole) > 1
    assert lengths == [length for length in whole for _ in range(3)]
