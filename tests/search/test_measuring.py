"""Latencies of a front that are taken after its search, here again or on another machine."""

import json
import subprocess
import sys

import numpy as np
import pytest

import autosearch
from autosearch import Budget, CandidateResult, Study, at_most, maximize, minimize
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.evaluation.latency import host_target, reference_file
from autosearch.search.measuring import measure_front, remeasure
from autosearch.store.database import Database
from autosearch.store.frames import LiveCandidates, candidate_details
from autosearch.store.judging import judge_anew
from autosearch.store.latencies import Reading, add_measurements
from autosearch.store.recorder import find_target
from autosearch.store.study_frames import by_estimate, on_one_target
from autosearch.store.tables import StudyRow
from autosearch.values import Estimate

NUM_TRIALS = 3


def evaluate(trial):
    """A point of a front with a file that can be timed, and a latency as a search records it."""
    trial.describe(target=host_target())
    return CandidateResult(
        quantization="float32",
        metrics={
            "accuracy": 0.5 + 0.1 * trial.number,
            "size_bytes": 100 * (1 + trial.number),
            "latency_ms": 0.2,
            "memory_bytes": 5000,
        },
        artifact=trial.store_artifact(reference_file()),
        conditions={"raw_latency_ms": 0.2, "reference_latency_ms": 0.1},
    )


def evaluate_without_latency(trial):
    return CandidateResult(
        quantization="float32",
        metrics={"accuracy": 0.5, "size_bytes": 100},
        artifact=trial.store_artifact(reference_file()),
    )


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    storage = f"sqlite:///{tmp_path_factory.mktemp('measured') / 'search.db'}"
    both = (maximize("accuracy"), minimize("size_bytes"))
    for name, evaluator, objectives in [
        ("table", evaluate, both),
        ("no-latencies", evaluate_without_latency, both),
        ("no-files", lambda trial: {"accuracy": 0.5}, both[:1]),
    ]:
        autosearch.run(
            Study(
                name=name,
                evaluator=evaluator,
                objectives=objectives,
                budget=Budget(trials=NUM_TRIALS),
                sampler="random",
            ),
            storage=storage,
        )
    return storage


def opened(storage, name="table"):
    return Database.open_to_write(storage), autosearch.open_study(name, storage=storage)


def test_a_front_that_is_measured_again_keeps_both_figures(storage, autosearch_here):
    database, view = opened(storage)
    compared = remeasure(database, view)
    assert [one.candidate for one in compared] == list(view.front_frame()["candidate"])
    for one in compared:
        assert one.recorded_ms == 0.2
        assert one.again_ms > 0
        # The search is made out to have taken twice the reference's time; it is the reference.
        assert 1.3 < one.ratio < 3
    assert set(view.candidates_frame()["latency_ms"]) == {0.2}
    remeasure(database, view)
    assert len(view.latencies_frame()) == 2 * NUM_TRIALS
    shown = json.loads(
        autosearch_here(
            "show", "table", "1-float32", "--format", "json", "--storage", storage
        ).stdout
    )
    assert shown["latency_ms"] == 0.2
    assert len(shown["latencies_again"]) == 2
    text = autosearch_here("show", "table", "1-float32", "--storage", storage).stdout
    assert "latency taken again:" in text
    assert "ms) on host" in text


def test_what_cannot_be_measured_says_why(storage):
    with pytest.raises(DefinitionError, match="has no files to measure"):
        remeasure(*opened(storage, "no-files"))
    with pytest.raises(DefinitionError, match="has no files to measure"):
        measure_front(*opened(storage, "no-files"), target="pi")
    with pytest.raises(DefinitionError, match="took no latencies"):
        remeasure(*opened(storage, "no-latencies"))


def test_another_machines_latencies_are_a_target_of_their_own(storage):
    database, view = opened(storage)
    said = []
    words = {"target": "pi", "on_progress": lambda done, total: said.append((done, total))}
    assert measure_front(database, view, **words) == NUM_TRIALS
    assert said == [(0, NUM_TRIALS), (NUM_TRIALS, NUM_TRIALS)]
    assert measure_front(database, view, **words) == 0
    frame = view.candidates_frame()
    assert sorted(frame["target"]) == ["host"] * NUM_TRIALS + ["pi"] * NUM_TRIALS
    front = view.front_frame("pi")
    assert len(front) == NUM_TRIALS
    assert set(front["latency_ms"]) != {0.2}
    assert set(front["memory_bytes"]) == {5000}
    assert view.front_frame("pi", estimate=Estimate.CROSS_VALIDATION).empty
    assert set(view.front_frame()["target"]) == {"host"}
    with pytest.raises(NotFoundError, match="expected one of: host, pi"):
        view.front_frame("phone")
    with pytest.raises(DefinitionError, match="give this one another name"):
        measure_front(database, view, target="host")


@pytest.mark.parametrize(
    "own", [{"latency_ms": 9.0, "memory_bytes": 7.0}, {}], ids=["its own latency", "none"]
)
def test_a_search_without_a_target_keeps_its_figures_beside_a_machines(own, tmp_path):
    def evaluate_without_target(trial):
        return CandidateResult(
            metrics={"accuracy": 0.5 + 0.1 * trial.number, **own},
            artifact=trial.store_artifact(reference_file()),
        )

    study = Study(
        name="function",
        evaluator=evaluate_without_target,
        objectives=[maximize("accuracy")],
        budget=Budget(trials=3),
        sampler="random",
    )
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    autosearch.run(study, storage=storage)
    database, view = opened(storage, "function")
    before = LiveCandidates(database, view.id)
    assert len(before.frame()) == 3
    # The front is one of the three.
    assert measure_front(database, view, target="pi") == 1
    for frame in (view.candidates_frame(), before.frame(), LiveCandidates(database, 1).frame()):
        assert frame["candidate"].tolist() == ["0", "1", "2", "2"]
        assert frame["target"].isna().tolist() == [True, True, True, False]
        *searched, measured = frame["latency_ms"]
        np.testing.assert_equal(searched, [own.get("latency_ms", np.nan)] * 3)
        assert 0 < measured < 9
        np.testing.assert_equal(frame["memory_bytes"].iloc[3], own.get("memory_bytes", np.nan))
        assert on_one_target(frame)["candidate"].tolist() == ["0", "1", "2"]
    key = int(frame["candidate_key"].iloc[-1])
    assert candidate_details(database, key, None)["target"] is None
    assert candidate_details(database, key, int(frame["target_id"].iloc[-1]))["target"]
    assert view.front_frame("pi")["latency_ms"].tolist() == [measured]
    assert view.front_frame()["target"].isna().tolist() == [True]


def test_a_changed_bound_is_held_against_the_latencies_of_the_search(tmp_path):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    figures = {"accuracy": 0.5, "latency_ms": 0.2, "memory_bytes": 100}
    of_function = CandidateResult(
        quantization="float32", metrics=figures, artifact=None, conditions={}
    )
    for name, evaluator in (("table", evaluate), ("function", lambda trial: of_function)):
        study = Study(
            name=name,
            evaluator=evaluator,
            objectives=[maximize("accuracy")],
            budget=Budget(trials=1),
            sampler="random",
        )
        view = autosearch.run(study, storage=storage)
        database = Database.open_to_write(storage)
        slow = Reading(
            latency_ms=50.0,
            latency_p90_ms=50.0,
            reference_latency_ms=1.0,
            num_runs=1,
            is_quiet=True,
        )
        add_measurements(database, view.id, {"0-float32": slow}, target=host_target("pi"))
        with database.session() as session:
            judge_anew(
                session,
                session.get(StudyRow, view.id),
                objectives=(),
                constraints=(at_most("latency_ms", 10),),
            )
        frame = view.candidates_frame()
        assert "pi" in set(frame["target"])
        assert frame["feasible"].all(), name


def test_measuring_alone_loads_neither_tensorflow_nor_a_sampler(storage):
    code = (
        "import sys; from autosearch.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code or 0)\n"
        "print([m for m in ('tensorflow', 'keras', 'optuna') if m in sys.modules])"
    )
    words = ["worker", "table", "--storage", storage, "--measure-only", "--target", "board"]
    finished = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert finished.stdout.split("\n")[:2] == ["0", "[]"], finished.stderr
    assert "autosearch front table --target board" in finished.stderr
    assert "board" in set(opened(storage)[1].candidates_frame()["target"])


def test_to_measure_alone_needs_a_name(autosearch_here, storage):
    said = autosearch_here("worker", "table", "--measure-only", "--storage", storage).stderr
    assert "add --target NAME" in said


def test_of_two_machines_that_measured_alike_the_one_that_searched_counts(tmp_path):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    study = Study(
        name="table",
        evaluator=evaluate,
        objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
        sampler="random",
    )
    database = Database.open_to_write(storage)
    with database.session() as session:
        # An earlier study knew that machine: its key is the lower one.
        find_target(session, host_target("pi"))
    view = autosearch.run(study, storage=storage)
    slow = Reading(
        latency_ms=50.0, latency_p90_ms=50.0, reference_latency_ms=1.0, num_runs=1, is_quiet=True
    )
    names = view.candidates_frame()["candidate"].tolist()
    assert len(names) == 1
    add_measurements(database, view.id, {names[0]: slow}, target=host_target("pi"))
    assert view.candidate(names[0])["target"] == "host"
    assert view.front_frame()["target"].tolist() == ["host"]
    searched, _ = by_estimate(LiveCandidates(database, view.id).frame())
    assert searched["target"].tolist() == ["host"]
