"""The page of one candidate: its notes, its mistakes, how far it can be trusted."""

import json

import numpy as np
import pytest
import streamlit as st
from sqlalchemy import update

from autosearch.errors import DefinitionError, StorageError
from autosearch.store.latencies import Reading, add_measurements
from autosearch.store.notes import add_note, notes
from autosearch.store.tables import CandidateRow, TrialRow
from autosearch.visualization.training import plot_confusion_matrix


def words_of(test):
    kinds = ("markdown", "caption", "subheader")
    return "\n".join(str(found.value) for kind in kinds for found in getattr(test, kind))


@pytest.fixture
def judged(maker):
    """One trial with a float32 and an int8 candidate that misses 30 of 200 images."""
    study = maker.study()
    candidates = [("float32", 0.85, 4e3, 0.1, True), ("int8", 0.85, 1e3, 0.1, True)]
    maker.trial(study, 0, candidates=candidates, right=np.arange(200) >= 30)
    return maker


def test_notes_are_kept_in_order_and_go_with_their_study(maker) -> None:
    study = maker.study()
    add_note(maker.database, study, "0-int8", author=" A ", text=" first ")
    add_note(maker.database, study, "0-int8", author="", text="second")
    add_note(maker.database, study, "1-int8", author="", text="of another")
    found = notes(maker.database, study, "0-int8")
    assert [(note.author, note.text) for note in found] == [("A", "first"), ("", "second")]
    with pytest.raises(DefinitionError, match="write from 1 to 10,000"):
        add_note(maker.database, study, "0-int8", author="", text="  ")


def test_who_only_reads_sees_notes_and_cannot_leave_one(judged, page) -> None:
    add_note(judged.database, 1, "0-int8", author="*A*", text="**good** ![x](http://e/x.png) <b>")
    test = page("candidate", judged.url, candidate="0-int8")
    assert not test.exception
    assert "**good** !\\[x](http" in words_of(test)
    assert "\\*A\\*, " in words_of(test)
    assert not test.text_area


def test_a_note_is_left_where_that_is_allowed(judged, page, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_DASHBOARD_NOTES", "1")
    test = page("candidate", judged.url, candidate="0-int8")
    test.text_area[0].set_value("try it on the board")
    (button,) = [b for b in test.button if b.label == "Leave the note"]
    test = button.click().run()
    assert not test.exception
    assert "try it on the board" in words_of(test)
    # Pressed twice, before the form was emptied and after.
    for text in ("try it on the board", ""):
        test.text_area[0].set_value(text)
        (button,) = [b for b in test.button if b.label == "Leave the note"]
        test = button.click().run()
        assert not test.error
    assert len(notes(judged.database, 1, "0-int8")) == 1


def test_a_note_that_cannot_be_kept_says_why_and_stays_in_the_form(judged, page, monkeypatch):
    monkeypatch.setenv("AUTOSEARCH_DASHBOARD_NOTES", "1")
    test = page("candidate", judged.url, candidate="0-int8")
    (button,) = [b for b in test.button if b.label == "Leave the note"]
    test = button.click().run()
    assert "write from 1 to 10,000" in test.error[0].value.replace("\\", "")

    def refuse(*_place, **_words):
        raise StorageError("the database is locked")

    monkeypatch.setattr("dashboard.source._add_note", refuse)
    test.text_area[0].set_value("not to be lost")
    (button,) = [b for b in test.button if b.label == "Leave the note"]
    test = button.click().run()
    assert "the database is locked" in test.error[0].value
    assert test.text_area[0].value == "not to be lost"


def test_mistakes_are_counted_and_quantization_is_held_against_float(judged, page) -> None:
    test = page("candidate", judged.url, candidate="0-int8")
    assert not test.exception
    assert "30 of 200 validation images are wrong" in words_of(test)
    tables = [frame.value for frame in test.dataframe]
    (siblings,) = [table for table in tables if "changed" in table]
    assert siblings["changed"].tolist()[1] == "+0 −0"
    assert "could not be drawn" not in words_of(test)


def test_images_that_are_not_those_of_the_study_are_not_shown(judged, page) -> None:
    test = page("candidate", judged.url, candidate="0-int8")
    test = test.toggle[0].set_value(True).run()
    assert not test.exception
    assert "it has changed since" in words_of(test)


def test_classes_keep_their_order_where_the_database_keeps_no_keys_in_order(
    judged, page, monkeypatch, autosearch_here
) -> None:
    classes = ["airplane", "cat", "automobile", "dog"]
    # PostgreSQL's JSONB sorts keys by their length.
    figures = {name: {"recall": 1.0, "support": 1} for name in sorted(classes, key=len)}
    conditions = {"per_class": figures, "confusion": np.diag([4, 3, 2, 1]).tolist()}
    with judged.database.session() as session:
        session.execute(update(CandidateRow).values(conditions=conditions))
        session.execute(update(TrialRow).values(facts={"classes": classes}))
    drawn = []

    def watched(matrix, names):
        drawn.append(names)
        return plot_confusion_matrix(matrix, names)

    for view in ("candidate", "compare"):
        monkeypatch.setattr(f"dashboard.views.{view}.plot_confusion_matrix", watched)
    page("candidate", judged.url, candidate="0-int8")
    page("compare", judged.url, candidates="0-int8,0-float32")
    assert drawn == [classes] * 3
    words = ("show", "small", "0-int8", "--storage", judged.url)
    assert json.loads(autosearch_here(*words, "--format", "json").stdout)["classes"] == classes
    table = autosearch_here(*words).stdout.partition("Confusion")[2].splitlines()
    assert [line.split()[0] for line in table if line[:1].isalpha()] == classes


def test_what_another_machine_measured_is_told_beside_the_searchs_own(judged, page) -> None:
    assert "On other machines:" not in words_of(page("candidate", judged.url, candidate="0-int8"))
    slow = Reading(
        latency_ms=50.0, latency_p90_ms=60.0, reference_latency_ms=1.0, num_runs=1, is_quiet=True
    )
    target = {"key": "1" * 64, "name": "pi"}
    add_measurements(judged.database, 1, {"0-int8": slow}, target=target)
    st.cache_resource.clear()
    test = page("candidate", judged.url, candidate="0-int8")
    assert "On other machines:" in words_of(test)
    (table,) = [found.value for found in test.dataframe if "target" in found.value]
    assert table["target"].tolist() == ["pi"]
    assert table["latency p50"].tolist() == ["50 ms"]
    assert "On other machines:" not in words_of(
        page("candidate", judged.url, candidate="0-float32")
    )
