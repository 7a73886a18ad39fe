"""A study whose folder of images has grown, or is another one, since it was started."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize
from autosearch.data import ImageFolder
from autosearch.errors import ChangedDefinitionError
from autosearch.space import CNN, Preprocessing, Quantization, Training
from autosearch.study import load_study_file

FILE = """
from autosearch import Budget, SearchSpace, Study, maximize
from autosearch.data import ImageFolder
from autosearch.space import CNN, Preprocessing, Quantization, Training

study = Study(
    name="grown",
    dataset=ImageFolder({folder!r}),
    space=SearchSpace(
        preprocessing=Preprocessing(size=8),
        architecture=CNN(stages=1, width=4, block="plain", attention="none"),
        training=Training(epochs=1),
        quantization=Quantization("int8"),
    ),
    objectives=[maximize("accuracy")],
    budget=Budget(trials=1),
)
"""


def add_images(folder, names, count, seed):
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{seed}-{index}.png")


@pytest.fixture
def folder(tmp_path):
    add_images(tmp_path / "photos", ("a", "b"), 20, seed=0)
    return tmp_path / "photos"


@pytest.fixture
def started(folder, tmp_path, monkeypatch):
    """The storage of a study of which no trial has run; training is no matter here."""
    from autosearch.search import runner

    monkeypatch.setattr(runner.Supervisor, "run", lambda self: None)
    storage = f"sqlite:///{tmp_path / 'x.db'}"
    autosearch.run(make_study(folder), storage=storage)
    return storage


def make_study(folder, **words):
    return Study(
        name="grown",
        dataset=ImageFolder(folder, **words),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8),
            architecture=CNN(stages=1, width=4, block="plain", attention="none"),
            training=Training(epochs=1),
            quantization=Quantization("int8"),
        ),
        objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
    )


def test_a_grown_folder_stops_the_study_and_says_what_changed(folder, started):
    add_images(folder, ("a", "b"), 4, seed=1)
    (folder / "a" / "0-0.png").unlink()
    with pytest.raises(ChangedDefinitionError, match="8 images were added, 1 removed, 0 moved"):
        autosearch.run(make_study(folder), storage=started)


def test_an_image_that_went_to_another_class_stops_the_study_too(folder, started):
    (folder / "a" / "0-0.png").rename(folder / "b" / "moved.png")
    with pytest.raises(ChangedDefinitionError, match="the same, but labels were changed"):
        autosearch.run(make_study(folder), storage=started)


def test_accepted_data_leave_every_known_image_on_its_side(folder, started):
    before = ImageFolder(folder).sides()
    for seed in (1, 2):  # it grows twice: the second time, the first growth is known too
        add_images(folder, ("a", "b"), 4, seed=seed)
        view = autosearch.run(make_study(folder), storage=started, accept_data=True)
        after = view.data_sides()["sides"]
        assert len(after) == len(before) + 8
        assert all(after[sha256] == split for sha256, split in before.items())
        before = after
    plain = ImageFolder(folder).sides()
    assert any(plain[sha256] != split for sha256, split in before.items())
    # Nothing has changed since: no word is needed, and the same split is used.
    view = autosearch.run(make_study(folder), storage=started)
    assert view.data_sides()["sides"] == before


def test_other_classes_are_never_accepted(folder, started):
    add_images(folder, ("c",), 20, seed=1)
    with pytest.raises(ChangedDefinitionError, match="were a, b and are now a, b, c"):
        autosearch.run(make_study(folder), storage=started, accept_data=True)


@pytest.mark.parametrize(
    ("words", "change"),
    [({"split_seed": 1}, "split_seed: 0 → 1"), ({"group": r"^\w"}, "group: null → ")],
)
def test_images_that_were_learned_from_are_not_divided_anew(folder, started, words, change):
    with pytest.raises(ChangedDefinitionError, match=f"divides its images.*{re.escape(change)}"):
        autosearch.run(make_study(folder, **words), storage=started, accept_changes=True)


def test_photos_that_were_away_come_back_to_their_sides(folder, started, tmp_path):
    before, away = ImageFolder(folder).sides(), tmp_path / "away"
    away.mkdir()
    for path in sorted(folder.glob("*/*.png"))[::3]:
        path.rename(away / f"{path.parent.name}-{path.name}")
    view = autosearch.run(make_study(folder), storage=started, accept_data=True)
    assert len(view.data_sides()["sides"]) == 26
    assert view.sides() == before
    for path in away.iterdir():
        path.rename(folder / path.name[0] / path.name[2:])
    view = autosearch.run(make_study(folder), storage=started, accept_data=True)
    assert view.data_sides() == {"classes": ["a", "b"], "sides": before, "absent": {}}


def test_the_command_line_prints_the_split_that_a_run_would_use(folder, started, tmp_path, capsys):
    from autosearch.cli import data

    before = ImageFolder(folder).sides()
    add_images(folder, ("a", "b"), 8, seed=1)
    file = tmp_path / "study.py"
    file.write_text(FILE.format(folder=str(folder)))
    assert load_study_file(file).definition() == make_study(folder).definition()
    data.split(file, storage=started, output_format=data.ReportFormat.JSON)
    members = json.loads(capsys.readouterr().out)
    sha256_of = {s.shown: p.sha256 for s, p in shown_photos(folder)}
    for split, paths in members.items():
        known = [sha256_of[path] for path in paths if sha256_of[path] in before]
        assert known
        assert {before[sha256] for sha256 in known} == {split}


def shown_photos(folder):
    survey = ImageFolder(folder).survey
    return zip(survey.sources, survey.photos, strict=True)
