"""The page of the data, on the digits that come with scikit-learn and on a folder of photos."""

from PIL import Image
from sqlalchemy import select

from autosearch.store.tables import CandidateRow, StudyRow


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
