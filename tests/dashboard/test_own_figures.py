"""Studies whose objectives are not the usual ones: what they seek is drawn, listed and told."""

import io
import json

import pandas as pd
import pytest
from sqlalchemy import select

from autosearch.store.artifacts import ArtifactStore
from autosearch.store.tables import CandidateRow
from autosearch.store.view import StudyView
from autosearch.values import maximize, minimize
from autosearch.visualization.report import report_page
from dashboard.views.common import candidate_columns


@pytest.fixture
def own(maker):
    """A function's study: the best score costs the most, and nothing else is known of it."""
    study = maker.study(metrics=("score_acc", "cost_usd"))
    for number in range(3):
        maker.trial(study, number, candidates=[("", None, None, None, True)])
    with maker.database.session() as session:
        for row in session.scalars(select(CandidateRow)):
            row.parameters = row.macs = None
            row.metrics = {"score_acc": -2.0 + row.id, "cost_usd": 0.5 * row.id}
    return maker


def words_of(test):
    return "\n".join(found.value for found in test.markdown).replace("\\", "")


def charts_of(test):
    (component,) = test.get("bidi_component")
    return [json.loads(figure) for figure in json.loads(component.proto.json)["figures"]]


def test_the_charts_are_of_the_studys_own_figures(own, page) -> None:
    (chart,) = charts_of(page("trade-off", own.url))
    titles = [chart["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    assert titles == ["cost usd", "score acc"]


def test_the_suggestion_and_the_table_bear_the_studys_own_figures(own, page) -> None:
    test = page("trade-off", own.url)
    (told,) = [m.value for m in test.markdown if m.value.startswith("Suggested")]
    assert "score acc **" in told
    assert "cost usd **" in told
    assert test.dataframe[0].value["score_acc"].tolist() == [1.0, 0.0, -1.0]
    assert "cost_usd" in test.dataframe[0].value


def test_the_studys_own_figures_can_be_bounded_at_once(own, page) -> None:
    test = page("trade-off", own.url)
    assert [field.label for field in test.number_input] == ["score acc ≥", "cost usd ≤"]
    test.number_input[1].set_value(0.6).run()
    assert test.dataframe[0].value["candidate"].tolist() == ["0"]


def test_the_list_of_studies_names_the_best_of_the_studys_own_figure(own, page) -> None:
    assert "best score acc]]  \n**1**" in words_of(page("studies", own.url))


def test_a_candidate_is_told_by_the_studys_own_figures(own, page) -> None:
    test = page("candidate", own.url)
    assert test.selectbox[1].value == "2"
    assert "score acc]]  \n**1**" in words_of(test)
    assert "cost usd]]  \n**1.5**" in words_of(test)


def test_candidates_are_compared_by_the_studys_own_figures(own, page) -> None:
    test = page("compare", own.url, candidates="0,1")
    table = test.dataframe[0].value.set_index("figure")
    assert table.loc["score acc"].tolist() == ["-1", "0  (+100%)"]
    assert table.loc["cost usd"].tolist() == ["0.5", "1  (+100%)"]
    assert page("compare", own.url).multiselect[0].value == ["2", "1"]


def test_an_only_figure_is_drawn_over_the_trials(own, page) -> None:
    with own.database.session() as session:
        for row in session.scalars(select(CandidateRow)):
            row.metrics = {"score_acc": -2.0 + row.id}
    (chart,) = charts_of(page("trade-off", own.url))
    assert chart["layout"]["xaxis"]["title"]["text"] == "trial"


def test_a_view_and_a_report_draw_the_studys_own_figures(own) -> None:
    view = StudyView(own.database, ArtifactStore.beside(own.database), "small")
    figure = view.plot_trade_off()
    assert figure.layout.xaxis.title.text == "cost usd"
    assert figure.layout.yaxis.title.text == "score acc"
    text = report_page(own.database, view)
    assert "<th>score acc</th><th>cost usd</th>" in text
    assert text.index("<td>2</td>") < text.index("<td>1</td>") < text.index("<td>0</td>")
    assert "No candidate has a figure" not in text


def test_objectives_that_are_measured_but_not_usually_shown_are_columns(small) -> None:
    view = StudyView(small.database, ArtifactStore.beside(small.database), "small")
    frame = view.candidates_frame().assign(macro_f1=0.875, log_loss=0.25)
    usual, _ = candidate_columns(frame, view.objectives)
    objectives = (maximize("macro_f1"), minimize("log_loss"))
    table, columns = candidate_columns(frame, objectives)
    assert list(table) == [*usual, "macro_f1", "log_loss"]
    assert table.iloc[0][["macro_f1", "log_loss"]].tolist() == [87.5, 0.25]
    assert [columns[m]["label"] for m in ("macro_f1", "log_loss")] == [
        "macro F1 %",
        "log loss (nats)",
    ]


def with_metrics(maker, *names, accuracy=0.9):
    """Three trials whose metrics bear these names."""
    study = maker.study(metrics=names)
    for number in range(3):
        files = ("float32", "int8")
        candidates = [(scheme, accuracy, 1e3 + number, 0.01, True) for scheme in files]
        maker.trial(study, number, candidates=candidates, right=[True, False])
    with maker.database.session() as session:
        for row in session.scalars(select(CandidateRow)):
            row.metrics = {name: place + 0.1 * row.id for place, name in enumerate(names)}
    return maker


@pytest.mark.parametrize("name", ["trade-off", "candidate", "compare", "search", "studies"])
def test_metrics_may_be_called_what_pages_call_their_own_columns(name, maker, page) -> None:
    metrics = ("role", "loss", "changed", "_order")
    test = page(name, with_metrics(maker, *metrics).url)
    assert not test.exception
    if name in ("trade-off", "candidate"):
        tables = [frame.value for frame in test.dataframe]
        (table,) = [table for table in tables if {"candidate", *metrics} <= set(table)]
        assert set(table["role"]) <= {0.1 * place for place in range(1, 7)}
        own = {"trade-off": {"role_"}, "candidate": {"loss_", "changed_"}}[name]
        assert own <= set(table)


def test_the_file_of_the_table_says_the_role_of_each(small, page, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(
        "dashboard.views.trade_off.st.download_button",
        lambda label, content, **words: written.append(content()),
    )
    assert not page("trade-off", small.url).exception
    table = pd.read_csv(io.BytesIO(written[-1]))
    assert {"front", "dominated"} == set(table["role"])
    assert not {"candidate_key", "target_id", "_order"} & set(table)


EVIL = "![x](http://evil/p.png)"


def test_names_of_metrics_and_studies_are_shown_as_they_stand(maker, page) -> None:
    study = with_metrics(maker, EVIL, "p<0.05 & q", accuracy=None)
    trade_off = page("trade-off", study.url)
    told = [field.label for field in trade_off.number_input]
    told += [slider.label for slider in trade_off.select_slider]
    for name in ("studies", "search"):
        test = page(name, study.url)
        told += [found.value for kind in (test.markdown, test.caption) for found in kind]
    assert any("evil" in text for text in told)
    assert not [text for text in told if EVIL in text]
    columns = json.loads(trade_off.dataframe[0].proto.columns)
    assert [columns[name]["label"] for name in (EVIL, "p<0.05 & q")] == [EVIL, "p<0.05 & q"]


def test_a_command_that_is_told_ends_where_the_studys_name_does(maker, page) -> None:
    maker.trial(maker.study(f"a` {EVIL}"), 0, state="failed", error="no memory")
    (told,) = page("trade-off", maker.url).info
    assert told.value.endswith(f"`` autosearch trials a` {EVIL} ``")


def test_candidates_without_a_scheme_remain_beside_those_of_the_only_one(maker, page) -> None:
    study = maker.study()
    maker.trial(study, 0, candidates=[("", 0.95, 900.0, 0.005, True)])
    maker.trial(study, 1, candidates=[("int8", 0.8, 1e3, 0.01, True)])
    test = page("trade-off", maker.url)
    assert test.dataframe[0].value["candidate"].tolist() == ["0", "1-int8"]
