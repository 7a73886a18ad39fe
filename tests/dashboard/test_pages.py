"""Every page on every kind of database: none raises, and an empty one says what it waits for."""

import math
import re
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from autosearch.errors import NotFoundError
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.tables import CandidateRow, PromotionRow, StudyRow
from autosearch.store.view import StudyView
from dashboard import source
from dashboard.promotion import CommandError, promoted
from dashboard.views import promote

PAGES = ("studies", "trade-off", "compare", "candidate", "search", "data", "registry")


def words_of(test):
    kinds = ("title", "markdown", "caption", "info", "warning", "error", "subheader")
    return "\n".join(str(found.value) for kind in kinds for found in getattr(test, kind))


def nothing(maker):
    """A database without a study."""


def no_trial(maker):
    maker.study()


def all_failed(maker):
    study = maker.study()
    for number in range(3):
        maker.trial(study, number, state="failed", error="no memory")


def all_infeasible_before_training(maker):
    study = maker.study(bound=10)
    for number in range(3):
        maker.trial(study, number, state="infeasible")


def one_trial(maker):
    maker.trial(maker.study(), 0, candidates=[("int8", 0.9, 1000.0, 0.01, True)])


def without_figures(maker):
    study = maker.study()
    maker.trial(study, 0, candidates=[("int8", None, None, None, True)])
    maker.trial(study, 1, candidates=[("int8", 0.5, math.inf, None, True)])


def infeasible_only(maker):
    study = maker.study(bound=10)
    for number in range(4):
        maker.trial(study, number, candidates=[("int8", 0.9, 1000.0, 0.01, False)])


def four_objectives(maker):
    study = maker.study(metrics=("accuracy", "size_bytes", "latency_ms", "memory_bytes"))
    for number in range(4):
        maker.trial(study, number, candidates=[("int8", 0.9, 1000.0 + number, 0.01, True)])


def one_objective(maker):
    study = maker.study(metrics=("extra",))
    for number in range(4):
        maker.trial(study, number, candidates=[("", 0.9, None, None, True)])


AWKWARD = (
    nothing,
    no_trial,
    all_failed,
    all_infeasible_before_training,
    one_trial,
    without_figures,
    infeasible_only,
    four_objectives,
    one_objective,
)


@pytest.mark.parametrize("fill", AWKWARD, ids=lambda fill: fill.__name__)
def test_no_page_fails_on_an_awkward_database(fill, maker, page) -> None:
    fill(maker)
    for name in PAGES:
        test = page(name, maker.url)
        assert not test.exception, (name, test.exception)
        assert not test.error, (name, [e.value for e in test.error])
        assert "could not be drawn" not in words_of(test), name


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_a_small_study(name, small, page) -> None:
    small.promotion("small", "1-int8")
    test = page(name, small.url)
    assert not test.exception
    assert "could not be drawn" not in words_of(test)


def test_the_trade_off_says_which_candidate_to_look_at_first(small, page) -> None:
    test = page("trade-off", small.url)
    assert "Suggested" in words_of(test)
    assert "on the front" in words_of(test)


def test_a_bound_of_the_address_is_kept(small, page) -> None:
    test = page("trade-off", small.url, max_size_kb="10", study="small")
    assert test.number_input(key="max_size_kb").value == 10
    rows = test.dataframe[0].value
    assert rows["size_bytes"].max() <= 10


def test_bounds_that_nothing_keeps_say_so(small, page) -> None:
    test = page("trade-off", small.url)
    test.number_input(key="max_size_kb").set_value(0.001).run()
    assert "Loosen a bound" in words_of(test)


def test_what_no_candidate_has_a_figure_for_is_named(maker, page) -> None:
    four_objectives(maker)
    words = words_of(page("trade-off", maker.url))
    assert "4 candidates remain, but none has a figure for arena" in words
    assert "Loosen" not in words


def test_only_the_chosen_scheme_is_listed(small, page) -> None:
    test = page("trade-off", small.url)
    test.multiselect(key="quantization").set_value(["int8"]).run()
    assert {name.partition("-")[2] for name in test.dataframe[0].value["candidate"]} == {"int8"}


def test_failures_are_told_with_their_reason(small, page) -> None:
    reasons = [frame.value for frame in page("search", small.url).dataframe][-1]["reason"]
    assert "it broke" in set(reasons)
    assert any("over its bound" in reason for reason in reasons)


def test_an_empty_database_says_how_to_begin(maker, page) -> None:
    assert "autosearch run STUDY" in words_of(page("trade-off", maker.url))


def test_a_missing_database_is_one_sentence(tmp_path, page) -> None:
    test = page("trade-off", f"sqlite:///{tmp_path / 'none.db'}")
    assert not test.exception
    assert "there is no database" in test.error[0].value


def test_a_study_that_is_not_there_is_said_to_be_none(small, page) -> None:
    assert "no study of the name" in words_of(page("trade-off", small.url, study="../../etc"))


@pytest.mark.parametrize("name", PAGES)
def test_names_with_markup_do_no_harm(name, maker, page) -> None:
    hostile = "<script>alert(1)</script> ../../etc [x](javascript:y) " + "ü" * 100
    study = maker.study(hostile)
    for number in range(3):
        maker.trial(study, number, candidates=[("int8", 0.9, 1e4 + number, 0.1, True)])
    maker.promotion(hostile, "1-int8")
    test = page(name, maker.url)
    assert not test.exception
    for kind in ("markdown", "caption", "info", "warning", "subheader", "title"):
        for found in getattr(test, kind):
            assert not re.search(r"(?<!\\)<script|(?<!\\)\[x", found.value)
    for found in test.html:
        assert "alert" not in str(found.proto)


def test_who_only_reads_cannot_promote(small, page) -> None:
    (button,) = [b for b in page("candidate", small.url).button if b.label.startswith("Promote")]
    assert button.disabled


def test_a_promotion_is_confirmed_against_the_present_champion(small, page) -> None:
    small.promotion("small", "1-int8")
    test = page("candidate", small.url, promote=True, candidate="2-int8")
    (button,) = [b for b in test.button if b.label.startswith("Promote")]
    assert not button.disabled
    test = button.click().run()
    assert "takes the place of" in words_of(test)
    changes = [f.value for f in test.dataframe if "change" in f.value]
    assert changes
    assert any("points" in text for text in changes[0]["change"])


def test_figures_of_another_machine_and_kind_are_not_called_better(small, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", small.url)
    study = source.view("small")
    row = source.candidates(study).iloc[0]
    validation = {"accuracy": 0.1, "latency_ms": 9.0, "estimate": "cross_validation"}
    elsewhere = {"name": "host", "cpu": "two"}
    small.promotion("small", "1-int8", validation=validation, target=elsewhere)
    (present,) = source.all_promotions()
    changes = dict(promote._comparison(row, present)[["figure", "change"]].values)
    assert changes["accuracy"] == "judged otherwise"
    assert changes["latency p50"] == "measured elsewhere"
    assert "worse" in changes["size"]
    record = present.record | {"target": {"name": "host", "cpu": "one"}}
    same = replace(
        present, record=record | {"validation": {**validation, "estimate": "validation"}}
    )
    changes = dict(promote._comparison(row, same)[["figure", "change"]].values)
    assert "better" in changes["accuracy"]
    assert "better" in changes["latency p50"]


def confirm():
    """The inside of both dialogs, which a page under test opens and cannot press."""
    from dashboard import source
    from dashboard.views import promote, registry

    study = source.view("small")
    frame = source.candidates(study).set_index("candidate", drop=False)
    promote._confirmation(study, "2-int8", frame.loc["2-int8"])
    later, first = source.all_promotions()
    registry._move_back("small", "champion", later, first)


def promote_twice():
    """A button that was pressed twice while the promotion ran."""
    from dashboard.views import promote

    words = {"candidate": "2-int8", "sha256": "b" * 64, "model": "m", "alias": "a", "note": ""}
    assert promote.run_promotion(study="small", **words)
    assert promote.run_promotion(study="small", **words)


def test_a_button_that_is_pressed_twice_promotes_once(small, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", small.url)
    monkeypatch.setenv("AUTOSEARCH_DASHBOARD_PROMOTE", "1")
    asked = []

    def said(**words):
        asked.append(words)
        yield "done"

    monkeypatch.setattr("dashboard.views.promote.promoted", said)
    test = AppTest.from_function(promote_twice, default_timeout=30).run()
    assert not test.exception
    assert len(asked) == 1
    assert test.success[0].value == "Promoted."


def test_only_the_file_that_was_shown_is_promoted(small, monkeypatch) -> None:
    small.promotion("small", "1-int8")
    with small.database.session() as session:
        first = session.get(PromotionRow, 1)
        columns = {c.name: getattr(first, c.name) for c in PromotionRow.__table__.columns}
        session.add(PromotionRow(**columns | {"id": 2, "artifact_sha256": "c" * 64}))
        session.execute(update(CandidateRow).values(artifact_sha256="b" * 64))
    monkeypatch.setenv("AUTOSEARCH_STORAGE", small.url)
    monkeypatch.setenv("AUTOSEARCH_DASHBOARD_PROMOTE", "1")
    asked = []

    def refuse(**words):
        asked.append(words)
        raise CommandError("not now")

    monkeypatch.setattr("dashboard.views.promote.promoted", refuse)
    test = AppTest.from_function(confirm, default_timeout=30).run()
    for label in ("Promote it", "Move it back"):
        (button,) = [b for b in test.button if b.label == label]
        test = button.click().run()
    assert not test.exception
    assert [(words["candidate"], words["sha256"]) for words in asked] == [
        ("2-int8", "b" * 64), ("1-int8", "a" * 64),
    ]  # fmt: skip


def test_a_file_that_is_another_by_now_is_said_to_be(small, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", small.url)
    words = {"study": "small", "candidate": "2-int8", "model": "m", "alias": "a", "note": ""}
    with pytest.raises(CommandError, match="bbbbbbbbbbbb… was expected"):
        list(promoted(**words, sha256="b" * 64))


@pytest.mark.parametrize("others", [(), ("other",)], ids=["the only one", "one of two"])
def test_a_study_deleted_while_it_is_shown_is_said_to_be_gone(others, maker, monkeypatch) -> None:
    for name in ("small", *others):
        maker.study(name)
    view = StudyView(maker.database, ArtifactStore.beside(maker.database), "small")
    with maker.database.session() as session:
        session.delete(session.get(StudyRow, view.id))
    monkeypatch.setenv("AUTOSEARCH_STORAGE", maker.url)
    with pytest.raises(NotFoundError, match='no study "small" any more'):
        source.overview(view)


def test_a_part_that_runs_by_itself_says_what_is_wrong():
    def script():
        from autosearch.errors import StorageError
        from dashboard.views.common import refreshed

        def fail():
            raise StorageError("it is locked")

        refreshed(fail, every=5)

    shown = AppTest.from_function(script).run()
    assert not shown.exception
    assert [error.value for error in shown.error] == ["it is locked"]


def test_what_is_spent_is_told_of_every_limit_of_the_budget(small, page) -> None:
    with small.database.session() as session:
        row = session.scalars(select(StudyRow)).one()
        limits = {"trials": None, "minutes": 10.0, "total_epochs": 12_345}
        row.definition = {**row.definition, "budget": limits}
        row.run_seconds = 150.0
    (bar,) = page("studies", small.url).get("progress")
    assert bar.proto.value == 25
    assert re.fullmatch(r"\d+ trials · 2\.5 of 10 minutes · \d+ of 12,345 epochs", bar.proto.text)
