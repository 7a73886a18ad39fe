"""What a dashboard that stays open shows of candidates that change, go and come."""

import hashlib
import importlib
import json
import os
import shutil
from datetime import timedelta

import pandas as pd
import pytest
import streamlit as st
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from autosearch.errors import NotFoundError
from autosearch.store import frames
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.baselines import Baselines
from autosearch.store.deletion import delete_study_rows
from autosearch.store.frames import LiveCandidates
from autosearch.store.latencies import Reading, add_measurements
from autosearch.store.recorder import Recorder, utc_now
from autosearch.store.study_frames import by_estimate
from autosearch.store.tables import CandidateRow, TrialRow, WorkerRow
from autosearch.store.view import StudyView
from autosearch.values import CandidateResult, Estimate
from dashboard import source


@pytest.fixture
def three(maker, monkeypatch):
    """Three trials of one candidate each; the dashboard asks anew whenever it draws."""
    monkeypatch.setattr("dashboard.source._FRESH_S", 0)
    monkeypatch.setattr("dashboard.source._RESTING_S", 0)
    study = maker.study()
    for number in range(3):
        maker.trial(study, number, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    return maker


def judge_anew(maker):
    with maker.database.session() as session:
        session.execute(update(CandidateRow).values(is_feasible=False))


def finish_a_finalist(maker, *, num_folds=5, accuracy=0.8):
    recorder = Recorder(maker.database, 1)
    key = {"num_folds": num_folds, "data_fingerprint": "0" * 64}
    recorder.start_finalist(0, None, **key)
    refit = CandidateResult(
        quantization="int8",
        estimate=Estimate.CROSS_VALIDATION,
        metrics={"accuracy": accuracy, "latency_ms": 0.1},
    )
    target = {"key": "0" * 64, "name": "host"}
    recorder.finish_finalist(0, **key, candidates=[refit], feasible=["int8"], target=target)


def finish_another_finalist(maker):
    finish_a_finalist(maker, num_folds=10, accuracy=0.7)


def measure_elsewhere(maker):
    reading = Reading(
        latency_ms=50.0, latency_p90_ms=50.0, reference_latency_ms=1.0, num_runs=1, is_quiet=True
    )
    target = {"key": "1" * 64, "name": "pi"}
    add_measurements(maker.database, 1, {"0-int8": reading}, target=target)


def discard_one_and_finish_one(maker):
    with maker.database.session() as session:
        session.execute(update(TrialRow).where(TrialRow.number == 0).values(state="discarded"))
    maker.trial(1, 3, candidates=[("int8", 0.9, 1e3, 0.1, True)])


def delete_and_run_again(maker):
    delete_study_rows(maker.database, ArtifactStore.beside(maker.database), 1)
    # The same key, and as many candidates with the same keys.
    assert maker.study() == 1
    for number in range(4, 7):
        maker.trial(1, number, candidates=[("int8", 0.9, 1e3, 0.1, True)])


def delete(maker):
    delete_study_rows(maker.database, ArtifactStore.beside(maker.database), 1)


CHANGES = (
    judge_anew,
    finish_another_finalist,
    measure_elsewhere,
    discard_one_and_finish_one,
    delete_and_run_again,
    delete,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_frame_that_is_kept_is_what_a_new_one_would_be(change, three) -> None:
    finish_a_finalist(three)
    live = LiveCandidates(three.database, 1)
    before = live.frame()
    assert live.frame() is before
    change(three)
    after = live.frame()
    assert after is not before
    assert after["candidate"][after["target"] != "pi"].is_unique
    fresh = LiveCandidates(three.database, 1).frame()
    pd.testing.assert_frame_equal(after, fresh)
    assert live.frame() is after


def test_new_candidates_are_added_without_reading_the_others_again(three, monkeypatch) -> None:
    live = LiveCandidates(three.database, 1)
    live.frame()
    genuine, read = frames.read_candidates, []

    def watched(*words):
        read.append(genuine(*words))
        return read[-1]

    monkeypatch.setattr(frames, "read_candidates", watched)
    three.trial(1, 3, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    assert live.frame()["trial"].tolist() == [0, 1, 2, 3]
    assert [len(frame) for frame, _ in read] == [1]


def test_candidates_with_lower_keys_may_come_later(three) -> None:
    """Of two workers on a server the one that began to write first may be done last."""
    live = LiveCandidates(three.database, 1)
    for key, scheme in ((11, "float32"), (10, "float16")):
        with three.database.session() as session:
            row = session.scalars(select(CandidateRow).where(CandidateRow.id == 1)).one()
            columns = {c.name: getattr(row, c.name) for c in CandidateRow.__table__.columns}
            session.add(CandidateRow(**columns | {"id": key, "quantization": scheme}))
        assert key in set(live.frame()["candidate_key"])


@pytest.mark.parametrize(
    ("name", "drawing"),
    [
        ("trade-off", "draw_trade_off"),
        ("search", "importance_frame"),
        ("search", "hypervolume_frame"),
    ],
)
@pytest.mark.parametrize("change", [judge_anew, discard_one_and_finish_one, delete_and_run_again])
def test_charts_are_drawn_anew_though_there_are_as_many_candidates(
    change, name, drawing, three, page, monkeypatch
) -> None:
    module = f"dashboard.views.{name.replace('-', '_')}"
    genuine, drawn = getattr(importlib.import_module(module), drawing), []
    monkeypatch.setattr(
        f"{module}.{drawing}",
        lambda *words, **named: drawn.append(words) or genuine(*words, **named),
    )
    test = page(name, three.url)
    first = len(drawn)
    assert first
    test = test.run()
    assert len(drawn) == first
    change(three)
    test = test.run()
    assert not test.exception
    assert len(drawn) == 2 * first


def test_what_is_unusual_is_not_told_of_a_deleted_study(three, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    monkeypatch.setattr("dashboard.source.unusual_parameters", dict)
    before = source.unusual(source.view("small"), (0, 4))
    delete_and_run_again(three)
    after = source.unusual(source.view("small"), (0, 4))
    assert (list(before), list(after)) == ([0], [4])


def test_finalists_that_were_judged_on_another_machine_are_shown(three):
    recorder = Recorder(three.database, 1)
    key = {"num_folds": 5, "data_fingerprint": "0" * 64}
    recorder.start_finalist(0, None, **key)
    refit = CandidateResult(
        quantization="int8",
        estimate=Estimate.CROSS_VALIDATION,
        metrics={"accuracy": 0.8, "size_bytes": 1e3, "latency_ms": 0.1},
    )
    target = {"key": "2" * 64, "name": "another"}
    recorder.finish_finalist(0, **key, candidates=[refit], feasible=["int8"], target=target)
    view = StudyView(three.database, ArtifactStore.beside(three.database), "small")
    expected = view.front_frame(estimate=Estimate.CROSS_VALIDATION)["candidate"].tolist()
    assert expected == ["0-int8-refit"]
    searched, judged = by_estimate(LiveCandidates(three.database, 1).frame())
    assert judged["candidate"].tolist() == expected
    assert len(searched) == 3


def test_a_page_runs_anew_once_what_it_waits_for_has_come():
    def script():
        import streamlit as st

        from dashboard.views.common import rerun_when

        runs = st.session_state["runs"] = st.session_state.get("runs", 0) + 1
        rerun_when(lambda: runs < 3)

    shown = AppTest.from_function(script).run()
    assert not shown.exception
    assert shown.session_state["runs"] == 3


def test_a_study_that_begins_to_run_is_refreshed_from_then_on(three, page, monkeypatch) -> None:
    waited_for = []
    monkeypatch.setattr("dashboard.views.trade_off.rerun_when", waited_for.append)
    assert not page("trade-off", three.url).exception
    (has_come,) = waited_for
    assert not has_come()
    Recorder(three.database, 1).start_worker(60)
    source._studies.clear()
    assert has_come()


def remade(maker):
    for path in maker.database.path.parent.glob("made.db*"):
        path.unlink()
    new = type(maker)(maker.database.path)
    new.study("another")
    new.database.close()


def put_back(maker):
    os.replace(maker.database.path.with_name("copy.db"), maker.database.path)


@pytest.mark.parametrize(
    ("replace", "names"), [(remade, ["another"]), (put_back, ["small"])], ids=["new", "copy"]
)
def test_a_database_that_another_took_the_place_of_is_read_anew(
    replace, names, three, monkeypatch
) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    three.database.close()
    shutil.copy(three.database.path, three.database.path.with_name("copy.db"))
    three.trial(1, 3, candidates=[("int8", 0.9, 1e3, 0.1, True)])
    three.database.close()
    assert source.studies()["study"].tolist() == ["small"]
    assert len(source.candidates(source.view("small"))) == 4
    replace(three)
    assert source.studies()["study"].tolist() == names
    if names == ["small"]:
        assert len(source.candidates(source.view("small"))) == 3


def test_a_database_that_is_gone_is_said_to_be(three, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    assert len(source.studies()) == 1
    three.database.close()
    three.database.path.unlink()
    with pytest.raises(NotFoundError, match="there is no database"):
        source.studies()


def test_a_file_that_was_missing_for_a_moment_is_drawn_once_it_is_there(three, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    monkeypatch.setattr("dashboard.source.layers_of", lambda file: (file,))
    content = b"not there yet"
    study = source.view("small")
    sha256 = hashlib.sha256(content).hexdigest()
    assert source.layers(study, sha256) == ()
    ArtifactStore.beside(three.database).put(content)
    assert source.layers(study, sha256) == (content,)


def lost_worker(maker, *, holds):
    """One that was killed long ago, and what still waits for it, if anything."""
    long_ago = utc_now() - timedelta(days=3)
    with maker.database.session() as session:
        worker = WorkerRow(study_id=1, host="h", pid=1, started_at=long_ago, lease_until=long_ago)
        session.add(worker)
        session.flush()
        worker_id = worker.id
        if holds == "trial":
            trial = session.scalars(select(TrialRow)).first()
            trial.state, trial.worker_id, trial.finished_at = "running", worker_id, None
    if holds == "baseline":
        Baselines(maker.database, 1, None).claim("plain CNN", worker_id)


@pytest.mark.parametrize(
    ("holds", "is_running", "told", "badge", "states"),
    [
        ("", False, "none", "not running", ["ended"]),
        ("trial", False, "1 gone", "worker gone", ["gone"]),
        ("baseline", False, "1 gone", "worker gone", ["gone"]),
        ("trial", True, "1 alive, 1 gone", ":green-badge[running]", ["gone", "alive"]),
    ],
)
def test_a_worker_that_was_killed_is_not_alive_and_gone_only_while_its_work_waits(
    holds, is_running, told, badge, states, three, page
) -> None:
    lost_worker(three, holds=holds)
    if is_running:
        Recorder(three.database, 1).start_worker(600)
    words = "\n".join(found.value for found in page("studies", three.url).markdown)
    assert f"**{told}**" in words
    assert badge in words
    test = page("search", three.url)
    (workers,) = [frame.value for frame in test.dataframe if "process" in frame.value]
    assert workers["state"].tolist() == states
    charts = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]
    bars = [trace for chart in charts for trace in chart["data"] if trace.get("name") == "running"]
    # What it still did began, in this database, after it was last seen.
    assert [bar["x"] for bar in bars] == [[0.0]] * (holds == "trial")


def test_what_has_come_by_the_id_of_a_deleted_study_is_not_taken_for_it(three, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    page_of_old = source.view("small")
    assert source.overview(page_of_old)["study"] == "small"
    delete_study_rows(three.database, ArtifactStore.beside(three.database), page_of_old.id)
    assert three.study("another") == page_of_old.id
    three.trial(page_of_old.id, 7, candidates=[("int8", 0.5, 9e3, 0.1, True)])
    source._studies.clear()
    for ask in (
        lambda: source.overview(page_of_old),
        lambda: source.notes(page_of_old, "7-int8"),
        lambda: source.add_note(page_of_old, "7-int8", author="", text="of the other one"),
    ):
        with pytest.raises(NotFoundError, match="it was deleted"):
            ask()


def test_a_run_that_began_after_a_database_was_taken_for_one_that_nobody_writes_is_seen(
    three, monkeypatch
) -> None:
    monkeypatch.setenv("AUTOSEARCH_STORAGE", three.url)
    three.database.close()
    access = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: mode != os.W_OK and access(p, mode))
    st.cache_resource.clear()
    before = source.database()
    assert "immutable" in str(before._engine.url)
    assert source.database() is before
    three.trial(1, 50, candidates=[("int8", 0.5, 9e3, 0.1, True)])
    assert source.database() is not before
    assert 50 in set(source.candidates(source.view("small"))["trial"])
