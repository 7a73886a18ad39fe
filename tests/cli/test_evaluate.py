"""``evaluate`` and ``promote``: the same figures from one file, wherever it comes from."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize
from autosearch.data import Digits, ImageFolder, dataset_from_definition
from autosearch.errors import DefinitionError
from autosearch.evaluation.evaluate import evaluate
from autosearch.evaluation.subjects import find_subject
from autosearch.space import Preprocessing
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import add_promotion, current_promotion
from autosearch.store.readings import readings
from autosearch.store.recorder import Recorder, utc_now


@pytest.fixture(scope="module")
def incident(tmp_path_factory):
    """Test digits as pictures in folders, and whether each split's figures are of them."""
    folder = tmp_path_factory.mktemp("data") / "incident"
    images, labels = Digits().load("test")
    for number, (image, label) in enumerate(zip(images[:120], labels[:120], strict=True)):
        path = folder / str(label) / f"{'left' if number % 2 else 'right'}_{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    (folder / "3" / "broken.png").write_bytes(b"no picture")
    return folder


def report(autosearch_here, *words):
    ended = autosearch_here("evaluate", *words, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), ended.stderr


def test_a_candidate_a_promotion_a_bundle_and_a_file_give_the_same_figures(
    bundle, incident, autosearch_here
):
    storage = ("--storage", bundle.storage)
    name = bundle.candidate["candidate"]
    reports = [
        report(autosearch_here, f"tiny/{name}", incident, *storage)[0],
        report(autosearch_here, name, incident, "--study", "tiny", *storage)[0],
        report(autosearch_here, "reader@champion", incident, *storage)[0],
        report(autosearch_here, bundle.folder, incident)[0],
    ]
    for found in reports[1:]:
        assert (found["metrics"], found["intervals"]) == (
            reports[0]["metrics"], reports[0]["intervals"],
        )  # fmt: skip
        assert found["confusion"] == reports[0]["confusion"]
    first = reports[0]
    assert first["num_images"] == 120
    assert first["test_reading"] is None
    assert first["unusable"][0]["path"] == "3/broken.png"
    assert len(first["wrong"]) == round(120 * (1 - first["metrics"]["accuracy"]))
    sure = [wrong["probability"] for wrong in first["wrong"]]
    assert sure == sorted(sure, reverse=True)
    for metric, (low, high) in first["intervals"].items():
        assert low <= first["metrics"][metric] <= high
    assert first["reasons"] == {"worst_group_accuracy": "the dataset has no groups"}


def test_a_bare_file_says_what_is_assumed(bundle, incident, autosearch_here, tmp_path):
    found, said = report(autosearch_here, bundle.folder / "model.tflite", incident)
    assert "does not say how its images are prepared" in said
    assert "does not name its 10 classes" in said
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("9876543210"))
    turned, said = report(
        autosearch_here, bundle.folder / "model.tflite", incident, "--labels", labels
    )
    assert "does not name" not in said
    assert turned["classes"] == list("9876543210")
    assert turned["metrics"]["accuracy"] < found["metrics"]["accuracy"]


def test_groups_of_a_folder_are_told(bundle, incident, autosearch_here):
    found, _ = report(autosearch_here, bundle.folder, incident, "--group", "left|right")
    groups = found["per_group"]["group"]
    assert {name: figures["support"] for name, figures in groups.items()} == {
        "left": 60, "right": 60,
    }  # fmt: skip
    assert found["metrics"]["worst_group_accuracy"] == min(g["accuracy"] for g in groups.values())


def test_the_tables_are_for_people(bundle, incident, autosearch_here):
    ended = autosearch_here("evaluate", bundle.folder, incident, "--group", "left|right")
    assert ended.returncode == 0, ended.stderr
    for words in ("on 120 images", "balanced_accuracy", "Classes", "Confusion:",
                  "Groups by group", "The worst group is", "Unusable: 1"):  # fmt: skip
        assert words in ended.stdout
    assert "{" not in ended.stdout


def test_one_class_alone_can_be_judged(bundle, incident, autosearch_here, tmp_path):
    shutil.copytree(incident / "7", tmp_path / "one" / "7")
    found, _ = report(autosearch_here, bundle.folder, tmp_path / "one")
    assert found["num_images"] == len(list((incident / "7").iterdir()))
    assert found["per_class"]["7"]["recall"] == found["metrics"]["accuracy"]


def test_a_table_and_arrays_are_data_too(bundle, incident, autosearch_here, tmp_path):
    table = tmp_path / "table.csv"
    rows = [f"{p},{p.parent.name},{p.stem[:4]}" for p in sorted(incident.rglob("*.png"))]
    table.write_text("\n".join(["path,label,side", *rows]))
    folder, _ = report(autosearch_here, bundle.folder, incident)
    of_table, _ = report(autosearch_here, bundle.folder, table)
    # Sums of floats depend on the order of images.
    assert of_table["metrics"]["accuracy"] == folder["metrics"]["accuracy"]
    assert set(of_table["per_group"]["side"]) == {"left", "righ"}
    images, labels = Digits().load("test")
    np.savez(tmp_path / "x.npz", images=images[:120], labels=labels[:120])
    of_arrays, _ = report(autosearch_here, bundle.folder, tmp_path / "x.npz")
    assert of_arrays["confusion"] == folder["confusion"]
    np.savez(tmp_path / "y.npz", images=images[:5], labels=np.array(list("abcde")))
    ended = autosearch_here("evaluate", bundle.folder, tmp_path / "y.npz")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "which the model does not know" in ended.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing", "{data}"), 'there is no file or folder "nothing"; expected STUDY/CANDIDATE'),
        (("tiny/99-int8", "{data}"), 'study "tiny" has no candidate "99-int8"'),
        (("no@champion", "{data}"), 'there is no model "no"'),
        (("{bundle}", "{data}/none"), "there is no folder"),
        (("{data}", "{data}"), "is no whole bundle"),
        (("{bundle}/labels.txt", "{data}"), "expected the content of a .tflite file"),
        (("{bundle}/x.tflite", "{data}"), "cannot be read"),
        (("{bundle}", "{bundle}/labels.txt"), "holds no labelled images"),
        (("{bundle}", "{data}", "--labels", "{bundle}/labels.txt"), "--labels is for a bare"),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence(
    bundle, incident, autosearch_here, words, said
):
    filled = [word.format(data=incident, bundle=bundle.folder) for word in words]
    ended = autosearch_here("evaluate", *filled, "--storage", bundle.storage)
    assert ended.returncode in (1, 2)
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr


def test_a_bundle_whose_file_was_exchanged_is_refused(bundle, incident, autosearch_here, tmp_path):
    folder = shutil.copytree(bundle.folder, tmp_path / "bundle")
    (folder / "model.tflite").write_bytes(b"another")
    ended = autosearch_here("evaluate", folder, incident)
    assert "is not the file that metadata.json describes" in ended.stderr


@pytest.fixture
def home(searched, tmp_path):
    folder = shutil.copytree(searched.folder, tmp_path / "home")
    return folder / "tiny.py", f"sqlite:///{folder / 'tiny.db'}"


def candidates(autosearch_here, storage):
    listed = autosearch_here("front", "tiny", "--storage", storage, "--format", "json")
    return [row["candidate"] for row in json.loads(listed.stdout)]


def test_promotion_compares_and_counts(home, autosearch_here):
    study_file, storage = home
    names = candidates(autosearch_here, storage)
    words = ("--storage", storage, "--format", "json")
    first = autosearch_here("promote", "tiny", names[-1], *words)
    assert "This is the first reading of this test split." in first.stderr
    assert json.loads(first.stdout)["comparison"] is None
    second = autosearch_here("promote", "tiny", names[0], *words)
    assert "This is the 2nd reading of this test split. Each one" in second.stderr
    comparison = json.loads(second.stdout)["comparison"]
    assert comparison["against"]["candidate"] == names[-1]
    assert (len(comparison["fixed"]), len(comparison["broken"])) == (
        comparison["num_fixed"], comparison["num_broken"],
    )  # fmt: skip
    change = comparison["new"]["accuracy"] - comparison["old"]["accuracy"]
    net = comparison["num_fixed"] - comparison["num_broken"]
    assert change * comparison["num_images"] == pytest.approx(net)
    assert comparison["old"]["accuracy"] == json.loads(first.stdout)["test"]["accuracy"]
    assert 0 <= comparison["mcnemar_p_value"] <= 1
    assert set(comparison["fixed"]) <= set(Digits().members("test"))

    found, said = report(
        autosearch_here, f"tiny/{names[0]}", study_file, "--split", "test", "--storage", storage
    )
    assert found["test_reading"] == 3
    assert "the 3rd reading" in said
    assert found["metrics"]["accuracy"] == comparison["new"]["accuracy"]
    found, _ = report(
        autosearch_here, f"tiny/{names[0]}", study_file, "--split", "validation",
        "--storage", storage,
    )  # fmt: skip
    assert found["test_reading"] is None

    listed = autosearch_here("models", "--storage", storage, "--format", "json")
    assert json.loads(listed.stdout)[0]["comparison"] == comparison
    database = Database.open_to_read(storage)
    promotion = current_promotion(database, "tiny", "champion")
    counted = readings(database, promotion.record["dataset"]["fingerprint"])
    assert [reading.study for reading in counted] == ["tiny"] * 3
    assert counted[1].what == f"candidate {names[0]} of tiny"


def test_validation_figures_are_those_of_the_search(home, autosearch_here):
    study_file, storage = home
    name = candidates(autosearch_here, storage)[0]
    shown = autosearch_here("show", "tiny", name, "--storage", storage, "--format", "json")
    searched = json.loads(shown.stdout)
    found, _ = report(
        autosearch_here, f"tiny/{name}", study_file, "--split", "validation", "--storage", storage
    )
    for metric in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss"):
        assert found["metrics"][metric] == pytest.approx(searched[metric])
    assert found["confusion"] == searched["conditions"]["confusion"]


def test_show_prints_classes_as_a_table(home, autosearch_here):
    _, storage = home
    name = candidates(autosearch_here, storage)[0]
    ended = autosearch_here("show", "tiny", name, "--storage", storage)
    assert "Confusion: the class by row, the prediction by column" in ended.stdout
    assert "{" not in ended.stdout


def test_evaluating_loads_no_tensorflow(bundle, incident):
    # A module that is not there fails on import: LiteRT and NumPy do it alone.
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from autosearch.cli.main import main\n"
        f"sys.argv = ['autosearch', 'evaluate', {str(bundle.folder)!r}, {str(incident)!r}]\n"
        "main()"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_place_that_a_study_searched_on_is_its_own_test_split(bundle, incident, tmp_path):
    dataset = ImageFolder(incident, split_seed=3, keep_alike_together=False)
    subject = replace(
        find_subject(str(bundle.folder)), study="own", dataset=dataset.definition()
    )  # fmt: skip
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'new.db'}")
    for number in (1, 2):
        evaluation = evaluate(subject, incident, split="test", database=database)
        assert evaluation.test_reading == number
    assert evaluation.data.members == dataset.paths("test")
    assert [reading.study for reading in readings(database, dataset.fingerprint())] == ["own"] * 2
    spelled_otherwise = incident / ".." / incident.name
    assert evaluate(subject, spelled_otherwise, database=database).test_reading == 3
    elsewhere = evaluate(replace(subject, dataset=None), incident, database=database)
    assert elsewhere.test_reading is None


def test_images_of_a_grown_folder_are_on_the_sides_where_the_study_has_them(
    bundle, incident, tmp_path, monkeypatch
):
    from autosearch.search import runner

    monkeypatch.setattr(runner.Supervisor, "run", lambda self: None)
    folder = tmp_path / "photos"
    shutil.copytree(incident, folder)
    dataset = ImageFolder(folder, keep_alike_together=False)
    study = Study(
        name="own",
        dataset=dataset,
        space=SearchSpace(preprocessing=Preprocessing(size=8, color="greyscale")),
        objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
    )
    storage = f"sqlite:///{tmp_path / 'own.db'}"
    autosearch.run(study, storage=storage)
    before = dataset.sides()
    images, labels = Digits().load("train")
    for number, (image, label) in enumerate(zip(images[:100], labels[:100], strict=True)):
        Image.fromarray(image[..., 0]).save(folder / str(label) / f"new_{number:04}.png")
    view = autosearch.run(study, storage=storage, accept_data=True)
    sides = view.data_sides()["sides"]
    assert sides.items() >= before.items()

    of_study = dataset.definition() | {"known_sides": sides}
    expected = dataset_from_definition(of_study)
    assert expected.paths("test") != ImageFolder(folder, keep_alike_together=False).paths("test")
    subject = find_subject(str(bundle.folder))
    database = Database.open_to_write(storage)
    of_file = study.model_copy(update={"dataset": ImageFolder(folder, keep_alike_together=False)})
    evaluation = evaluate(subject, of_file, split="test", database=database)
    assert evaluation.data.members == expected.paths("test")
    owned = replace(subject, study="own", dataset=dataset.definition(), sides=sides)
    evaluation = evaluate(owned, folder, split="test")
    assert evaluation.data.members == expected.paths("test")


def test_a_study_run_anew_under_the_name_has_not_split_what_was_promoted_before(
    bundle, incident, tmp_path
):
    shipped = Database.open_to_read(bundle.storage)
    promotion = current_promotion(shipped, "reader", "champion")
    assert find_subject(str(bundle.folder)).promoted_at == promotion.promoted_at
    first, anew = (
        ImageFolder(incident, split_seed=seed, keep_alike_together=False) for seed in (3, 4)
    )
    searched_on = {"definition": first.definition(), "fingerprint": first.fingerprint()}
    words = ("model", "alias", "candidate", "artifact_sha256", "keras_sha256", "note")
    storage = f"sqlite:///{tmp_path / 'own.db'}"
    database = Database.open_to_write(storage)
    add_promotion(
        database,
        **{word: getattr(promotion, word) for word in (*words, "test_metrics")},
        record={**promotion.record, "study": "own", "dataset": searched_on},
    )
    Recorder.save_study(
        database, name="own", seed=0, definition={}, definition_sha256="0" * 64,
        data_fingerprint=anew.fingerprint(), environment={}, data_sides={"sides": anew.sides()},
    )  # fmt: skip
    artifacts = ArtifactStore.beside(shipped).root
    subject = find_subject("reader@champion", storage=storage, artifacts=artifacts)

    def judged(subject, data):
        return evaluate(subject, data, split="test", database=database)

    evaluation = judged(subject, incident)
    assert evaluation.data.members == first.paths("test") != anew.paths("test")
    assert not any("trained on some of them" in note for note in evaluation.notes)
    study = Study(
        name="own", dataset=anew, space=SearchSpace(), objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
    )  # fmt: skip
    assert any("trained on some of them" in note for note in judged(subject, study).notes)
    # It would be the study's own split if it had been promoted from this one.
    later = replace(subject, promoted_at=utc_now(), data_fingerprint=anew.fingerprint())
    assert judged(later, incident).data.members == anew.paths("test")


def test_groups_are_told_of_the_place_that_a_study_searched_on_too(bundle, incident):
    dataset = ImageFolder(incident, keep_alike_together=False)
    subject = replace(find_subject(str(bundle.folder)), study="own", dataset=dataset.definition())
    told = evaluate(subject, incident, group="left|right").report()
    assert set(told["per_group"]["group"]) == {"left", "right"}


def test_who_was_fitted_on_the_validation_images_says_so(bundle, incident):
    dataset = ImageFolder(incident, keep_alike_together=False)
    subject = replace(find_subject(str(bundle.folder)), study="own", dataset=dataset.definition())
    for is_refit in (False, True):
        judged = evaluate(replace(subject, is_refit=is_refit), incident, split="validation")
        told = [note for note in judged.notes if "fitted on these images" in note]
        assert len(told) == is_refit


def test_a_split_that_is_drawn_anew_is_not_taken_for_the_studys(bundle, incident):
    subject = find_subject(str(bundle.folder))
    told = {s: len(evaluate(subject, incident, split=s).notes) for s in ("test", "all")}
    assert told == {"test": 1, "all": 1}


def test_photos_that_a_study_has_are_told_by_their_contents_wherever_they_lie(
    bundle, incident, tmp_path
):
    dataset = ImageFolder(incident, keep_alike_together=False)
    counts = dataset.split_counts()
    num_seen = sum(counts.values())
    subject = replace(
        find_subject(str(bundle.folder)), study="own", dataset=dataset.definition(),
        data_fingerprint=dataset.fingerprint(), sides=dataset.sides(),
    )  # fmt: skip
    storage = f"sqlite:///{tmp_path / 'own.db'}"
    Recorder.save_study(
        Database.open_to_write(storage), name="own", seed=0, definition={},
        definition_sha256="0" * 64, data_fingerprint=dataset.fingerprint(), environment={},
        data_sides={"sides": dataset.sides()},
    )  # fmt: skip
    database = Database.open_to_read(storage)
    folders = {}
    for split in ("train", "validation", "test"):
        for path in dataset.paths(split):
            for name in (split, "all"):
                folders[name] = tmp_path / name
                copied = tmp_path / name / path
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(incident / path, copied.with_name(f"renamed_{copied.name}"))

    def judged(name, of=subject):
        evaluation = evaluate(of, folders[name], database=database)
        return list(evaluation.notes), evaluation.test_reading

    trained, chose = (
        f"{counts['train']} of these {num_seen} images were trained on, so the figures are too",
        f"{counts['validation']} of these {num_seen} images were in the validation split by which",
    )
    notes, reading = judged("all")
    assert [note[: len(said)] for note, said in zip(notes, (trained, chose), strict=True)] == [
        trained, chose,
    ]  # fmt: skip
    assert reading == 1
    assert judged("test") == ([], 2)
    (note,), reading = judged("train")
    assert note.startswith(f"{counts['train']} of these {counts['train']} images were trained on")
    assert reading is None
    (note,), _ = judged("all", replace(subject, is_refit=True))
    assert note.startswith(f"{counts['train'] + counts['validation']} of these {num_seen} images")
    # A bundle knows no sides; the database does.
    a_bundle = replace(subject, sides=None, dataset=None, promoted_at=utc_now())
    assert judged("all", a_bundle)[0] == notes
    unknown = evaluate(replace(subject, sides=None), folders["all"])
    assert unknown.notes == (
        "Whether the file was trained on some of these images is not known here.",
    )


def test_another_studys_photos_are_told_from_those_of_the_file(bundle, incident):
    dataset = ImageFolder(incident, keep_alike_together=False)
    subject = replace(
        find_subject(str(bundle.folder)), study="own",
        data_fingerprint=dataset.fingerprint(), sides=dataset.sides(),
    )  # fmt: skip
    study = Study(
        name="other", dataset=ImageFolder(incident, split_seed=5, keep_alike_together=False),
        space=SearchSpace(), objectives=[maximize("accuracy")], budget=Budget(trials=1),
    )  # fmt: skip
    notes = evaluate(subject, study, split="validation").notes
    assert any("images were trained on, so the figures are too good" in note for note in notes)
    same = study.model_copy(update={"dataset": dataset})
    assert evaluate(subject, same, split="validation").notes == ()


def test_groups_of_images_that_are_in_no_folder_are_refused(bundle, searched, autosearch_here):
    words = (bundle.folder, searched.study_file, "--split", "validation", "--group", "left")
    ended = autosearch_here("evaluate", *words, "--storage", bundle.storage)
    assert ended.returncode == 2
    assert 'the images of study "tiny" are in no folder' in ended.stderr


def test_a_bundle_meets_the_validation_images_that_a_grown_study_had(
    bundle, incident, autosearch_here, tmp_path
):
    folder = shutil.copytree(incident, tmp_path / "photos")
    before = ImageFolder(folder, keep_alike_together=False).sides()
    images, labels = Digits().load("train")
    for number, (image, label) in enumerate(zip(images[:100], labels[:100], strict=True)):
        Image.fromarray(image[..., 0]).save(folder / str(label) / f"new_{number:04}.png")
    study_file = tmp_path / "own.py"
    study_file.write_text(
        "import autosearch\n"
        "from autosearch.data import ImageFolder\n"
        "study = autosearch.Study(\n"
        f"    name='own', dataset=ImageFolder({str(folder)!r}, keep_alike_together=False),\n"
        "    space=autosearch.SearchSpace(), objectives=[autosearch.maximize('accuracy')],\n"
        "    budget=autosearch.Budget(trials=1),\n"
        ")\n"
    )
    storage = f"sqlite:///{tmp_path / 'own.db'}"
    expected = ImageFolder(folder, keep_alike_together=False).keeping_sides(before)
    words = (bundle.folder, study_file, "--split", "validation", "--storage", storage)
    drawn_anew, _ = report(autosearch_here, *words)
    Recorder.save_study(
        Database.open_to_write(storage), name="own", seed=0, definition={"dataset": None},
        definition_sha256="0" * 64, data_fingerprint=expected.fingerprint(), environment={},
        data_sides={"sides": expected.sides()},
    )  # fmt: skip
    found, _ = report(autosearch_here, *words)
    wrong = {one["image"] for one in found["wrong"]}
    assert wrong <= set(expected.paths("validation"))
    assert not {one["image"] for one in drawn_anew["wrong"]} <= set(expected.paths("validation"))


def test_a_study_that_only_bears_the_name_of_a_bundles_says_nothing_of_its_images(
    bundle, incident, tmp_path
):
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'here.db'}")
    subject = replace(find_subject(str(bundle.folder)), promoted_at=None)
    seen = ImageFolder(incident, keep_alike_together=False)
    Recorder.save_study(
        database, name="tiny", seed=0, definition={"dataset": None}, definition_sha256="0" * 64,
        data_fingerprint=seen.fingerprint(), environment={}, data_sides={"sides": seen.sides()},
    )  # fmt: skip
    judged = evaluate(subject, incident, database=database)
    assert "is not known here" in judged.notes[-1]
    assert judged.test_reading is None
    own = replace(subject, data_fingerprint=seen.fingerprint())
    judged = evaluate(own, incident, database=database)
    assert any("trained on" in note for note in judged.notes)
    assert judged.test_reading == 1


def test_who_was_fitted_on_the_images_of_another_study_says_so_too(bundle, incident):
    dataset = ImageFolder(incident, keep_alike_together=False)
    subject = find_subject(str(bundle.folder))
    fitted = replace(
        subject, study="first", data_fingerprint=dataset.fingerprint(), is_refit=True, sides={}
    )
    second = Study(
        name="second", dataset=dataset, space=SearchSpace(), objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
    )  # fmt: skip
    notes = evaluate(fitted, second, split="validation").notes
    assert any("fitted on these images" in note for note in notes)


def test_a_bundle_is_judged_on_plain_images_though_the_database_cannot_be_read(
    bundle, incident, autosearch_here, tmp_path
):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 100)
    found, said = report(
        autosearch_here, bundle.folder, incident, "--storage", f"sqlite:///{broken}"
    )
    assert found["num_images"] == 120
    assert "What its study has seen is not known" in said


def test_groups_of_an_npz_file_are_told(bundle, autosearch_here, tmp_path):
    images, labels = Digits().load("test")
    cameras = np.array(["left", "right"])[np.arange(len(labels)) % 2]
    path = tmp_path / "digits.npz"
    np.savez(path, images=images, labels=labels, camera=cameras)
    found, _ = report(autosearch_here, bundle.folder, path, "--group", "camera")
    assert set(found["per_group"]["camera"]) == {"left", "right"}
    ended = autosearch_here("evaluate", bundle.folder, path, "--group", "lens")
    assert ended.returncode == 2
    assert '"lens"' in ended.stderr


def test_images_that_a_file_cannot_be_judged_on_are_no_reading(bundle, incident, tmp_path):
    dataset = ImageFolder(incident, split_seed=3, keep_alike_together=False)
    subject = replace(
        find_subject(str(bundle.folder)),
        study="own",
        dataset=dataset.definition(),
        classes=tuple(f"digit {number}" for number in range(10)),
    )
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(DefinitionError, match="which the model does not know"):
        evaluate(subject, incident, split="test", database=database)
    assert readings(database, dataset.fingerprint()) == []
