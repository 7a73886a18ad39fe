"""The report of a study that was really searched."""

import re

from autosearch import open_study


def test_a_report_is_one_file_with_the_front_and_no_address(searched, tmp_path) -> None:
    page = tmp_path / "report.html"
    finished = searched.autosearch("report", "tiny", "--output", page)
    assert finished.returncode == 0, finished.stderr
    text = page.read_text(encoding="utf-8")
    view = open_study("tiny", storage=searched.storage)
    for name in view.front_frame()["candidate"]:
        assert f"<td>{name}</td>" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", text)


def test_a_report_into_a_folder_that_is_not_there_is_one_sentence(searched, tmp_path) -> None:
    finished = searched.autosearch("report", "tiny", "--output", tmp_path / "no" / "report.html")
    assert finished.returncode == 1
    assert "cannot be written" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_view_draws_itself(searched) -> None:
    view = open_study("tiny", storage=searched.storage)
    figure = view.plot_trade_off("latency_ms")
    drawn = {p[0] for t in figure.data if t.customdata is not None for p in t.customdata}
    assert drawn == set(view.candidates_frame()["candidate"])
    assert figure.layout.xaxis.title.text == "latency p50 (ms)"
