"""The page suggests what the command suggests, and says which kind of figure it goes by."""

import numpy as np
import pytest
from sqlalchemy import select

from autosearch.store.artifacts import ArtifactStore
from autosearch.store.tables import MeasurementRow, TargetRow
from autosearch.store.view import StudyView
from autosearch.suggestion import suggest


def right_but_for(count):
    return np.arange(200) >= count


def suggested(test):
    (found,) = [m.value for m in test.markdown if m.value.startswith("Suggested")]
    return found


def shown(test):
    return suggested(test).split("**")[1].replace("\\", "")


@pytest.fixture
def alike(maker):
    """The three larger ones differ by a few images; the smallest is far behind."""
    study = maker.study(metrics=("accuracy", "size_bytes"))
    for number, (size, wrong) in enumerate(((1e3, 80), (4e3, 13), (9e3, 10), (2e4, 9))):
        maker.trial(
            study,
            number,
            candidates=[("int8", 1 - wrong / 200, size, 0.01, True)],
            right=right_but_for(wrong),
        )
    return maker


def by_command(maker):
    view = StudyView(maker.database, ArtifactStore.beside(maker.database), "small")
    return suggest(view)


def test_the_page_suggests_what_the_command_does(alike, page) -> None:
    test = page("trade-off", alike.url)
    assert shown(test) == by_command(alike).candidate == "1-int8"
    assert "cannot be told apart" in suggested(test)


def test_under_bounds_the_same_rule_holds_for_what_remains(alike, page) -> None:
    assert shown(page("trade-off", alike.url, max_size_kb="2")) == "0-int8"
    assert shown(page("trade-off", alike.url, min_accuracy="94")) == "2-int8"


def test_finalists_judged_again_are_marked_and_suggested_as_the_command_does(alike, page) -> None:
    alike.judged_again(3, accuracy=0.91)
    test = page("trade-off", alike.url)
    assert shown(test) == by_command(alike).candidate == "3-int8-refit"
    assert "(cross-validated)" in suggested(test)
    rows = test.dataframe[0].value
    assert set(rows["role"][rows["candidate"] == "3-int8-refit"]) == {"cross-validated"}
    # It stays beside the search's own figures, and takes no place on their front.
    assert (rows["role"] == "front").sum() == 4
    one = page("candidate", alike.url, candidate="3-int8-refit")
    assert any("5-fold" in c.value.replace("\\", "") for c in one.caption)
    assert not one.exception


def test_without_predictions_the_knee_is_suggested_and_said_to_be_one(small, page) -> None:
    assert "no predictions are kept" in suggested(page("trade-off", small.url))


def test_predictions_that_are_gone_leave_the_page_whole(alike, page, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_ARTIFACTS", str(tmp_path / "none"))
    test = page("trade-off", alike.url)
    assert not test.exception
    assert "predictions cannot be read" in suggested(test)


@pytest.fixture
def two_kinds(alike):
    """Finalists: trials 2 and 3, judged on another machine."""
    with alike.database.session() as session:
        session.add(TargetRow(key="1" * 64, name="pi", description={}))
    for number, accuracy in ((2, 0.85), (3, 0.84)):
        alike.judged_again(number, accuracy=accuracy)
    with alike.database.session() as session:
        for row in session.scalars(select(MeasurementRow).where(MeasurementRow.id > 4)):
            row.target_id, row.latency_ms = 2, 9.0
    return alike


def test_figures_of_two_kinds_or_machines_are_not_set_against_each_other(two_kinds, page) -> None:
    test = page("compare", two_kinds.url, candidates="2-int8,2-int8-refit,3-int8")
    table = test.dataframe[0].value.set_index("figure")
    first, refit, other = (
        "2-int8, on host",
        "2-int8-refit, cross-validated, on pi",
        "3-int8, on host",
    )
    assert list(table) == [first, refit, other]
    assert table.loc["accuracy"].tolist() == ["95.0 %", "85.0 %", "95.5 %  (+0.5)"]
    assert table.loc["latency p50"].tolist() == ["0.01 ms", "9 ms", "0.01 ms  (+0%)"]
    assert table.loc["size", refit] == "9.0 kB  (+0%)"
    alike = page("compare", two_kinds.url, candidates="2-int8-refit,3-int8-refit")
    table = alike.dataframe[0].value.set_index("figure")
    assert list(table) == ["2-int8-refit, cross-validated", "3-int8-refit, cross-validated"]
    assert table.loc["accuracy"].tolist() == ["85.0 %", "84.0 %  (-1.0)"]


def test_pages_begin_with_finalists_as_the_suggestion_does(two_kinds, page) -> None:
    assert page("compare", two_kinds.url).multiselect[0].value == ["2-int8-refit", "3-int8-refit"]
    assert page("candidate", two_kinds.url).selectbox[1].value == "2-int8-refit"


def test_a_single_finalist_is_compared_with_nothing_of_another_kind(alike, page) -> None:
    alike.judged_again(3, accuracy=0.999)
    assert page("compare", alike.url).multiselect[0].value == ["3-int8", "2-int8"]
    assert page("candidate", alike.url).selectbox[1].value == "3-int8-refit"
