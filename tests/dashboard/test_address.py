"""What the address asks for is shown, also by a page that was left and opened again."""

import pytest
from streamlit.testing.v1 import AppTest


@pytest.fixture
def pages(small, monkeypatch):
    """The dashboard from its Trade-off page on, and a way to turn to a page as a link does."""
    monkeypatch.setenv("AUTOSEARCH_STORAGE", small.url)
    test = AppTest.from_string(
        "import streamlit as st\n"
        "from dashboard.links import go\n"
        "from dashboard.navigation import run\n"
        "if 'turn_to' in st.session_state:\n"
        "    go(*st.session_state.pop('turn_to'), **st.session_state.pop('query'))\n"
        "run('trade-off')",
        default_timeout=30,
    )

    def turn_to(name, **query):
        test.session_state["turn_to"] = [name]
        test.session_state["query"] = query
        return test.run()

    test.run()
    return turn_to


def opened(test, label):
    """Selects in the table of the Trade-off page what the button then opens."""
    (button,) = [b for b in test.button if b.label == label]
    return button.click().run()


def selected(test, *names):
    test.session_state["selected"] = list(names)
    return test.run()


def test_a_candidate_opened_a_second_time_is_the_same_one(pages) -> None:
    for _ in range(2):
        test = opened(selected(pages("trade-off", study="small"), "1-int8"), "Open candidate")
        assert test.title[0].value == "Candidate"
        assert test.selectbox[1].value == "1-int8"
        assert test.query_params["candidate"] == "1-int8"


def test_a_candidate_picked_on_its_page_outlives_the_address_that_opened_it(pages) -> None:
    test = pages("candidate", study="small", candidate="1-int8")
    test = test.selectbox[1].set_value("2-int8").run()
    assert test.selectbox[1].value == test.query_params["candidate"] == "2-int8"


def test_candidates_compared_a_second_time_are_the_same_ones(pages) -> None:
    for _ in range(2):
        test = pages("trade-off", study="small")
        test = opened(selected(test, "0-int8", "1-int8"), "Compare")
        assert test.title[0].value == "Compare"
        assert test.multiselect[0].value == ["0-int8", "1-int8"]


def test_every_edit_of_what_is_compared_stays(pages) -> None:
    test = pages("compare", study="small", candidates="0-int8,1-int8")
    for names in (["0-int8", "1-int8", "2-int8"], ["0-int8", "2-int8"], ["2-int8"]):
        test = test.multiselect[0].set_value(names).run()
        assert test.multiselect[0].value == names
        assert test.query_params["candidates"] == ",".join(names)


@pytest.fixture
def other(small):
    """A second study, whose candidates have the same names."""
    study = small.study("other")
    for number in range(3):
        small.trial(study, number, candidates=[("int8", 0.9, 1e4 + number, 0.1, True)])


@pytest.mark.usefixtures("other")
def test_what_was_asked_of_one_study_is_asked_of_another_too(pages) -> None:
    for study in ("small", "other"):
        test = pages("compare", study=study, candidates="1-int8,2-int8")
        assert test.multiselect[0].value == ["1-int8", "2-int8"]


@pytest.mark.usefixtures("other")
def test_another_study_begins_with_its_own_best(pages) -> None:
    test = pages("compare", study="small", candidates="1-int8,2-int8")
    test = test.selectbox[0].set_value("other").run()
    assert test.multiselect[0].value == ["0-int8", "1-int8"]
    test = pages("candidate", study="small", candidate="1-int8")
    test = test.selectbox[0].set_value("other").run()
    assert test.selectbox[1].value == "0-int8"


def test_a_file_that_is_not_the_promoted_one_is_said_to_be_another(pages, small) -> None:
    small.promotion("small", "1-int8")
    test = pages("registry")
    (link,) = [found for found in test.get("page_link") if found.proto.label == "Open"]
    assert f"sha256={'a' * 64}" in link.proto.query_string
    query = {"study": "small", "candidate": "1-int8"}
    assert not pages("candidate", **query, sha256="a" * 64).warning
    test = pages("candidate", **query, sha256="b" * 64)
    assert "not the file that was promoted" in test.warning[0].value
    # Another candidate that is picked then is not what the address spoke of.
    test = test.selectbox[1].set_value("2-int8").run()
    assert not test.warning
    assert "sha256" not in test.query_params


def test_a_candidate_of_a_study_that_is_gone_is_not_looked_for_in_another(small, page) -> None:
    test = page("candidate", small.url, study="gone", candidate="3-int8", sha256="b" * 64)
    assert "There is no study" in test.warning[0].value
    assert len(test.warning) == 1
    assert "sha256" not in test.query_params
    assert test.query_params["study"] == "small"
