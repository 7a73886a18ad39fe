"""A study whose front was measured on a second machine, looked at by either's figures."""

import pytest
import streamlit as st

from autosearch.store.latencies import Reading, add_measurements


def ms(latency_ms):
    return Reading(
        latency_ms=latency_ms,
        latency_p90_ms=latency_ms,
        reference_latency_ms=1.0,
        num_runs=1,
        is_quiet=True,
    )


@pytest.fixture
def on_pi(small):
    """Trials 0 and 1, which the second machine runs the other way round: the smaller is slower."""
    taken = {"0-int8": ms(7.0), "1-int8": ms(3.0)}
    add_measurements(small.database, 1, taken, target={"key": "1" * 64, "name": "pi"})
    st.cache_resource.clear()
    return small


def candidates_of(test):
    return sorted(test.dataframe[0].value["candidate"])


def picker(test):
    return [box for box in test.selectbox if box.label == "measured on"]


def test_one_machine_is_no_choice(small, page) -> None:
    assert not picker(page("trade-off", small.url))


def test_the_searchs_machine_comes_first_and_the_other_is_a_choice(on_pi, page) -> None:
    test = page("trade-off", on_pi.url)
    (box,) = picker(test)
    assert box.options == ["host", "pi"]
    assert box.value == "host"
    assert len(candidates_of(test)) > 2
    test = box.set_value("pi").run()
    assert not test.exception
    assert candidates_of(test) == ["0-int8", "1-int8"]
    shown = test.dataframe[0].value.set_index("candidate")
    assert shown.loc["0-int8", "latency_ms"] == 7.0
    assert any("2 of 24 candidates were measured on pi" in c.value for c in test.caption)


def test_an_address_names_the_machine_and_bounds_are_on_its_figures(on_pi, page) -> None:
    test = page("trade-off", on_pi.url, target="pi", max_latency_ms="5")
    assert not test.exception
    assert candidates_of(test) == ["1-int8"]


def test_a_machine_that_is_not_known_is_the_searchs_own(on_pi, page) -> None:
    test = page("trade-off", on_pi.url, target="<script>")
    assert not test.exception
    assert picker(test)[0].value == "host"


def test_a_study_without_that_machine_keeps_its_own(on_pi, page) -> None:
    other = on_pi.study("other")
    on_pi.trial(other, 0, candidates=[("int8", 0.8, 9000, 0.01, True)])
    test = page("trade-off", on_pi.url, study="small", target="pi")
    test = test.selectbox[0].set_value("other").run()
    assert not test.exception
    assert not picker(test)
    assert candidates_of(test) == ["0-int8"]


def text_of(test):
    return " ".join(markdown.value for markdown in test.markdown)


def test_a_candidate_and_a_comparison_keep_the_machine_of_the_address(on_pi, page) -> None:
    test = page("candidate", on_pi.url, study="small", candidate="0-int8", target="pi")
    assert not test.exception
    assert picker(test)[0].value == "pi"
    assert "**7 ms**" in text_of(test)
    assert "**7 ms**" not in text_of(picker(test)[0].set_value("host").run())

    test = page("compare", on_pi.url, candidates="0-int8,1-int8", target="pi")
    assert not test.exception
    shown = test.dataframe[0].value.set_index("figure")
    assert shown.loc["latency p50"].tolist() == ["7 ms", "3 ms  (-57%)"]


def test_what_was_not_measured_on_the_machine_says_so(on_pi, page) -> None:
    test = page("candidate", on_pi.url, study="small", candidate="2-int8", target="pi")
    assert not test.exception
    assert any("not measured on pi" in caption.value for caption in test.caption)
    shown = test.dataframe[0].value
    plain = page("candidate", on_pi.url, study="small", candidate="2-int8").dataframe[0].value
    assert shown.equals(plain)
    test = page("compare", on_pi.url, candidates="0-int8,2-int8", target="pi")
    assert {"0-int8, on pi", "2-int8, on host"} <= set(test.dataframe[0].value)


def test_the_machine_goes_along_to_the_candidate_that_is_opened(on_pi, page) -> None:
    test = page("trade-off", on_pi.url, target="pi")
    (button,) = [button for button in test.button if button.label == "Open it"]
    test = button.click().run()
    assert not test.exception
