"""Promotion: what it measures, what it refuses, and what of it stays."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import autosearch
from autosearch.data import Dataset, Digits, ImageFolder
from autosearch.errors import DefinitionError, NotFoundError, StudyError
from autosearch.registry import promote, promoted_images
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import add_promotion, current_promotion, promotions
from autosearch.store.recorder import Recorder, utc_now


@pytest.fixture
def home(searched, tmp_path):
    """A copy of the searched study, to promote from and to delete."""
    folder = tmp_path / "home"
    shutil.copytree(searched.folder, folder)
    return folder


@pytest.fixture
def database(home):
    return Database.open_to_write(f"sqlite:///{home / 'tiny.db'}")


@pytest.fixture
def artifacts(database):
    return ArtifactStore.beside(database, None)


@pytest.fixture
def names(home):
    frame = autosearch.open_study("tiny", storage=f"sqlite:///{home / 'tiny.db'}").front_frame()
    return list(frame["candidate"])


def test_promotion_loads_no_tensorflow(home, names):
    code = (
        "import sys\n"
        "from autosearch.registry import promote\n"
        "from autosearch.store.artifacts import ArtifactStore\n"
        "from autosearch.store.database import Database\n"
        "database = Database.open_to_write(sys.argv[1])\n"
        "promotion = promote(database, ArtifactStore.beside(database, None),\n"
        "                    study_name='tiny', candidate=sys.argv[2])\n"
        "assert promotion.test_metrics['num_images'] == 360\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    words = [sys.executable, "-c", code, f"sqlite:///{home / 'tiny.db'}", names[0]]
    finished = subprocess.run(words, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_an_alias_moves_and_its_history_stays(database, artifacts, names):
    for candidate in (names[0], names[1], names[0]):
        promote(database, artifacts, study_name="tiny", candidate=candidate, model="reader")
    promote(database, artifacts, study_name="tiny", candidate=names[1], model="reader", alias="b")
    assert current_promotion(database, "reader", "champion").candidate == names[0]
    assert current_promotion(database, "reader", "b").candidate == names[1]
    listed = [(p.alias, p.candidate) for p in promotions(database, "reader")]
    assert listed == [
        ("b", names[1]), ("champion", names[0]), ("champion", names[1]), ("champion", names[0]),
    ]  # fmt: skip


def test_the_model_is_named_after_the_study_by_default(database, artifacts, names):
    promote(database, artifacts, study_name="tiny", candidate=names[0])
    assert current_promotion(database, "tiny", "champion").candidate == names[0]


def test_models_lists_promotions_and_which_of_them_hold(home, database, artifacts, names,
                                                        autosearch_here):  # fmt: skip
    storage = f"sqlite:///{home / 'tiny.db'}"
    empty = autosearch_here("models", "--storage", storage)
    assert (empty.returncode, empty.stdout.strip()) == (0, "")
    assert "holds no promoted model; make one with: autosearch promote" in empty.stderr
    for candidate in names[:2]:
        promote(database, artifacts, study_name="tiny", candidate=candidate)
    listed = autosearch_here("models", "--storage", storage, "--format", "json")
    rows = json.loads(listed.stdout)
    assert [(row["candidate"], row["current"]) for row in rows] == [
        (names[1], True), (names[0], False),
    ]  # fmt: skip


def test_a_deleted_study_leaves_the_promoted_model_and_no_other_file(
    home, database, artifacts, names, autosearch_here
):
    storage = ("--storage", f"sqlite:///{home / 'tiny.db'}")
    promoted = promote(database, artifacts, study_name="tiny", candidate=names[0], model="reader")
    assert autosearch_here("delete", "tiny", "--yes", *storage).returncode == 0
    assert autosearch_here("front", "tiny", *storage).returncode == 2
    kept = {path.name for path in Path(artifacts.root).rglob("*") if path.is_file()}
    assert kept == {promoted.artifact_sha256, promoted.keras_sha256}
    ended = autosearch_here("export", "reader", "--output", home / "bundle", *storage)
    assert ended.returncode == 0, ended.stderr
    assert autosearch_here("verify", home / "bundle").returncode == 0


def test_other_images_than_the_study_saw_stop_it(database, artifacts, names, searched):
    study = autosearch.load_study_file(searched.study_file)
    other = study.model_copy(update={"dataset": Digits(split_seed=1)})
    with pytest.raises(StudyError, match="not the ones that it searched on"):
        promote(database, artifacts, study_name="tiny", candidate=names[0], study=other)
    assert promotions(database) == []


def test_another_file_than_the_one_that_was_chosen_is_not_promoted(
    home, database, artifacts, names, autosearch_here
):
    words = {"study_name": "tiny", "candidate": names[0]}
    with pytest.raises(StudyError, match=r"now, and 000000000000… was expected; check"):
        promote(database, artifacts, **words, expected_sha256="0" * 64)
    command = ("promote", "tiny", names[0], "--storage", f"sqlite:///{home / 'tiny.db'}")
    assert autosearch_here(*command, "--sha256", "0" * 64).returncode == 1
    promoted = promote(database, artifacts, **words)
    # Neither of the two has read the test split.
    assert promoted.record["test_reading"] == 1
    assert autosearch_here(*command, "--sha256", promoted.artifact_sha256).returncode == 0


def test_a_cross_validated_figure_is_not_called_one_of_validation(home, names, autosearch_here):
    with closing(sqlite3.connect(home / "tiny.db")) as connection, connection:
        connection.execute("UPDATE autosearch_candidates SET estimate = 'cross_validation'")
    storage = f"sqlite:///{home / 'tiny.db'}"
    ended = autosearch_here("promote", "tiny", f"{names[0]}-refit", "--storage", storage)
    assert ended.returncode == 0, ended.stderr
    assert "images); in cross-validation it was 0." in ended.stderr
    assert "on validation" not in ended.stderr


@pytest.mark.parametrize("alias", ["", " champion", "cham\npion", "x" * 201])
def test_an_alias_must_be_a_name(database, artifacts, names, alias):
    with pytest.raises(DefinitionError, match="is not a name; write one such as champion"):
        promote(database, artifacts, study_name="tiny", candidate=names[0], alias=alias)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"model": "a\nb"}, "model 'a\\\\nb' is not a name; write one such as digits"),
        ({"model": "-reader"}, "model '-reader' begins with a dash"),
        ({"alias": "b@c"}, 'alias "b@c" has an @ in it'),
    ],
)
def test_a_name_that_no_command_could_take_is_refused_before_the_test_split_is_read(
    database, artifacts, names, words, said
):
    with pytest.raises(DefinitionError, match=said):
        promote(database, artifacts, study_name="tiny", candidate=names[0], **words)
    promotion = promote(database, artifacts, study_name="tiny", candidate=names[0])
    assert promotion.record["test_reading"] == 1


def test_an_unknown_candidate_is_named(database, artifacts):
    with pytest.raises(NotFoundError, match='study "tiny" has no candidate "0-int4"'):
        promote(database, artifacts, study_name="tiny", candidate="0-int4")


OWN_DATASET = """
import numpy as np
import autosearch
from autosearch.data import Dataset

class Noise(Dataset):
    name = "noise"
    classes = ("dark", "bright")

    def load(self, split):
        labels = np.arange(24, dtype=np.int64) % 2
        generator = np.random.default_rng(len(split))
        images = generator.integers(0, 100, (24, 8, 8, 1), dtype=np.uint8)
        images[labels == 1] += 150
        return images, labels

study = autosearch.Study(
    name="noise",
    dataset=Noise(),
    space=autosearch.SearchSpace(
        preprocessing={"size": 8, "color": "greyscale"},
        architecture={"stages": 1, "width": 4, "block": "plain", "attention": "none"},
        training={"epochs": 1, "batch_size": 8},
        quantization={"schemes": ["int8"]},
    ),
    objectives=[autosearch.maximize("accuracy")],
    budget=autosearch.Budget(trials=1),
)
"""


def test_images_of_the_users_own_class_need_the_study_file(tmp_path, autosearch_here):
    study_file = tmp_path / "own.py"
    study_file.write_text(OWN_DATASET)
    storage = ("--storage", f"sqlite:///{tmp_path / 'own.db'}")
    study = autosearch.load_study_file(study_file)
    assert isinstance(study.dataset, Dataset)
    autosearch.run(study, storage=storage[1])

    words = ("promote", "noise", "0-int8", *storage)
    ended = autosearch_here(*words)
    assert ended.returncode == 2
    assert "pass --study-file with the file that makes it" in ended.stderr
    assert autosearch_here(*words, "--study-file", study_file).returncode == 0

    words = ("export", "noise", "--samples", "2", *storage)
    ended = autosearch_here(*words, "--output", tmp_path / "without")
    assert ended.returncode == 2
    assert not (tmp_path / "without").exists()
    # Synthetic samples need no images of the user's.
    assert autosearch_here(*words[:2], "--output", tmp_path / "a", *storage).returncode == 0
    ended = autosearch_here(*words, "--output", tmp_path / "b", "--study-file", study_file)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "b" / "samples").iterdir())) == 10
    assert autosearch_here("verify", tmp_path / "b").returncode == 0


@pytest.fixture
def of_photos(database, artifacts, names, tmp_path):
    """A promotion from a study of a folder, which has grown since, as ``--accept-data`` has it."""
    folder = tmp_path / "photos"
    images, labels = Digits().load("train")

    def write(numbers):
        for number in numbers:
            path = folder / str(labels[number]) / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[number][..., 0]).save(path)
        return ImageFolder(folder, keep_alike_together=False)

    before = write(range(150))
    promotion = promote(database, artifacts, study_name="tiny", candidate=names[0])
    searched_on = {"definition": before.definition(), "fingerprint": before.fingerprint()}
    record = {**promotion.record, "study": "grown", "dataset": searched_on}
    sides = before.sides()
    now = write(range(150, 250)).keeping_sides(sides)
    definition = {"name": "grown", "dataset": before.definition()}
    Recorder.save_study(
        database, name="grown", seed=0, definition=definition, definition_sha256="0" * 64,
        data_fingerprint=now.fingerprint(), environment={}, data_sides={"sides": now.sides()},
    )  # fmt: skip
    return replace(promotion, record=record, promoted_at=utc_now()), now


def test_samples_of_a_grown_folder_are_of_the_studys_own_validation_split(
    database, artifacts, of_photos
):
    promotion, now = of_photos
    images = promoted_images(database, artifacts, promotion)
    assert images.paths("validation") == now.paths("validation")
    drawn_anew = ImageFolder(now.path, keep_alike_together=False)
    assert set(drawn_anew.paths("validation")) & set(now.paths("test"))
    # It is the folder's own state that counts, not that somebody names it.
    with pytest.raises(StudyError, match="so some may be of the test split"):
        promoted_images(
            database, artifacts, replace(promotion, record={**promotion.record, "study": "gone"})
        )
    # Nor does a study that was deleted and run anew know where the promoted one had them.
    earlier = promotion.promoted_at - timedelta(days=1)
    with pytest.raises(StudyError, match="so some may be of the test split"):
        promoted_images(database, artifacts, replace(promotion, promoted_at=earlier))


def test_a_folder_that_is_gone_is_named(database, artifacts, of_photos):
    promotion, now = of_photos
    shutil.rmtree(now.path)
    with pytest.raises(NotFoundError, match=r'there is no folder ".*photos"'):
        promoted_images(database, artifacts, promotion)


def test_the_test_figures_are_those_of_the_file(database, artifacts, names):
    promotion = promote(database, artifacts, study_name="tiny", candidate=names[0])
    figures = promotion.test_metrics
    assert set(figures) >= {"accuracy", "balanced_accuracy", "macro_f1", "log_loss", "num_images"}
    assert figures["accuracy_low"] < figures["accuracy"] < figures["accuracy_high"]
    correct = figures["accuracy"] * figures["num_images"]
    assert np.isclose(correct, round(correct))


def add_renamed(database, promotion, classes):
    """The same promotion once more, as if its file's classes were called otherwise."""
    fields = ("model", "alias", "candidate", "artifact_sha256", "keras_sha256", "note")
    words = {name: getattr(promotion, name) for name in (*fields, "test_metrics")}
    add_promotion(database, **words, record={**promotion.record, "classes": classes})


def test_an_old_model_of_other_classes_is_not_compared(database, artifacts, names):
    first = promote(database, artifacts, study_name="tiny", candidate=names[0])
    add_renamed(database, first, [f"digit {c}" for c in first.record["classes"]])
    promotion = promote(database, artifacts, study_name="tiny", candidate=names[1])
    comparison = promotion.record["comparison"]
    assert "which the model does not know" in comparison["reason"]
    assert "fixed" not in comparison
    assert promotion.record["test_reading"] == 2


def test_the_old_models_classes_are_taken_by_name(database, artifacts, names):
    first = promote(database, artifacts, study_name="tiny", candidate=names[0])
    classes = first.record["classes"]
    add_renamed(database, first, [*classes[1:], classes[0]])
    again = promote(database, artifacts, study_name="tiny", candidate=names[0])
    # Every output is called as the next one was.
    confusion = np.array(first.test_metrics["confusion"])
    right = sum(confusion[(i + 1) % len(classes), i] for i in range(len(classes)))
    comparison = again.record["comparison"]
    assert comparison["old"]["accuracy"] == pytest.approx(right / confusion.sum())
    assert comparison["new"]["accuracy"] == first.test_metrics["accuracy"]
