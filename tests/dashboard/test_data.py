"""The page of the data, on the digits that come with scikit-learn and on a folder of photos."""

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from autosearch.store.artifacts import ArtifactStore
from autosearch.store.predictions import Predictions
from autosearch.store.tables import CandidateRow, StudyRow, TrialRow
from autosearch.visualization.training import SMALL_GROUPS, plot_class_balance


def words_of(test):
    kinds = ("markdown", "caption", "subheader")
    return "\n".join(str(found.value) for kind in kinds for found in getattr(test, kind))


def press(test, label):
    (button,) = [b for b in test.button if b.label == label]
    return button.click().run()


def test_examples_of_each_class_are_shown_on_request(maker, page) -> None:
    maker.study()
    test = page("data", maker.url)
    assert "**7**" not in words_of(test)
    test = test.toggle[0].set_value(True).run()
    assert not test.exception
    assert all(f"**{digit}**" in words_of(test) for digit in range(10))
    test = press(test, "Look at every file")
    assert "no folder of files" in words_of(test)


def test_groups_have_their_balance_and_a_candidate_its_accuracy_by_group(maker, page) -> None:
    maker.trial(maker.study(), 0, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    figures = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "support": 30}
    with maker.database.session() as session:
        row = session.scalar(select(CandidateRow))
        row.conditions = row.conditions | {"per_group": {"camera <b>": {"left": figures}}}
    assert "images by camera \\<b\\>" in words_of(page("data", maker.url))
    test = page("candidate", maker.url)
    assert "Accuracy by camera \\<b\\>" in words_of(test)
    assert not test.exception


def test_a_folder_is_looked_at_on_request(maker, page, tmp_path) -> None:
    for name, grey in (("cat", 40), ("dog", 200)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (16, 16), (grey, 10 * number, 90))
            image.save(tmp_path / "photos" / name / f"{number}.png")
    (tmp_path / "photos" / "cat" / "broken.png").write_bytes(b"no picture")
    maker.study()
    with maker.database.session() as session:
        row = session.scalar(select(StudyRow))
        dataset = {"kind": "image_folder", "path": str(tmp_path / "photos")}
        row.definition = row.definition | {"dataset": dataset}
    test = press(page("data", maker.url), "Look at every file")
    assert not test.exception
    assert "**24** images" in words_of(test)
    assert "**1** files that cannot be read" in words_of(test)


def test_images_that_are_gone_are_said_to_be(maker, page) -> None:
    maker.study()
    with maker.database.session() as session:
        row = session.scalar(select(StudyRow))
        dataset = {"kind": "image_folder", "path": "/nowhere"}
        row.definition = row.definition | {"dataset": dataset}
    test = page("data", maker.url).toggle[0].set_value(True).run()
    assert not test.exception
    assert "cannot be shown" in words_of(test)


CLASSES = [f"class {n}" for n in range(60)]


@pytest.fixture
def many_classes(maker):
    """A candidate of more classes than have figures of their own, and its predictions."""
    maker.trial(maker.study(), 0, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    labels = np.concatenate([np.arange(60), [7, 7]])
    guessed = np.eye(60, dtype=np.float32)[np.where(labels == 59, 0, labels)]
    stored = ArtifactStore.beside(maker.database).put(Predictions(labels, guessed).to_bytes())
    with maker.database.session() as session:
        row = session.scalar(select(CandidateRow))
        row.conditions, row.predictions_sha256 = {}, stored
        session.scalar(select(TrialRow)).facts = {"classes": CLASSES}
    return maker


def test_many_classes_are_counted_in_the_predictions(many_classes, page) -> None:
    many_classes.trial(many_classes.study("other"), 0, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    with many_classes.database.session() as session:
        session.get(CandidateRow, 2).conditions = {}
    words = words_of(page("data", many_classes.url, study="small")).replace("\\", "")
    assert "60 classes, 62 validation images; the largest class is class 7 (3)" in words
    assert "nor predictions" in words_of(page("data", many_classes.url, study="other"))


def test_mistakes_among_many_classes_are_listed(many_classes, page) -> None:
    test = page("candidate", many_classes.url)
    assert "1 of 62 validation images are wrong" in words_of(test)
    (mistakes,) = [frame.value for frame in test.dataframe if "predicted" in frame.value]
    assert mistakes[["true", "predicted"]].values.tolist() == [["class 59", "class 0"]]


def test_groups_that_are_not_drawn_are_counted_and_small_ones_once(
    maker, page, monkeypatch
) -> None:
    maker.trial(maker.study(), 0, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    figures = {"accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    groups = {f"small {n}": {**figures, "support": 6, "counts": False} for n in range(43)}
    groups["large"] = {**figures, "support": 30, "counts": True}
    groups[SMALL_GROUPS] = {**figures, "support": 258, "counts": True}
    kept = {"per_group": {"patient": groups}, "num_groups_not_shown": {"patient": 900}}
    with maker.database.session() as session:
        row = session.scalar(select(CandidateRow))
        row.conditions = row.conditions | kept
    drawn = []
    monkeypatch.setattr(
        "dashboard.views.data.plot_class_balance",
        lambda support: drawn.append(support) or plot_class_balance(support),
    )
    assert "904 more groups are not drawn." in words_of(page("data", maker.url))
    assert len(drawn[-1]) == 44
    assert SMALL_GROUPS not in drawn[-1]
    words = words_of(page("candidate", maker.url))
    assert "Hollow: of too few images to count by themselves. 905 more groups" in words
