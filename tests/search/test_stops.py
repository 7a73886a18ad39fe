"""Runs that stop, are killed or meet a stranger's trials, and what the next run makes of them."""

import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest
from sqlalchemy import text

import autosearch
from autosearch import Budget, Study, maximize, minimize
from autosearch.data import Digits
from autosearch.errors import NothingTrainedError, StorageError, StudyError
from autosearch.search.engine import Engine, delete_optuna_study
from autosearch.search.finished import SECONDS
from autosearch.search.growth import GrownTrial
from autosearch.search.samplers import SAMPLERS
from autosearch.search.worker import (
    MAX_TRIALS_WITHOUT_EPOCHS,
    Limits,
    Outcome,
    Worker,
    own_memory_bytes,
)
from autosearch.space import HyperParameters, SearchSpace
from autosearch.space.first_guesses import first_guesses
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder, is_alive, utc_now
from autosearch.store.rungs import why_pruned
from autosearch.store.tables import WorkerRow
from autosearch.study import load_study_file
from autosearch.values import CandidateResult, Continuation, TrialState

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))
COMPLETE, WAITING = TrialState.COMPLETE, TrialState.WAITING


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def look_up(trial, between=lambda trial: None):
    width = trial.hp.Int("width", 1, 64)
    kind = trial.hp.Choice("kind", ["a", "b"])
    if kind == "a":
        with trial.hp.conditional_scope("kind", ["a"]):
            width += trial.hp.Int("extra", 0, 64)
    between(trial)
    depth = trial.hp.Float("depth", 0.0, 1.0)
    return {"accuracy": depth / width, "size_bytes": 100 * width}


def make_study(evaluator=look_up, *, trials=8, **words):
    return Study(
        name="table",
        evaluator=evaluator,
        budget=Budget(trials=trials),
        **{"sampler": "random", "objectives": OBJECTIVES, **words},
    )


def configs(view):
    return list(view.trials_frame()["config"])


def optuna_states(storage):
    trials = optuna.load_study(study_name="table", storage=storage).trials
    return [trial.state.name for trial in trials]


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"gp"}))
def test_a_stop_between_two_parameters_changes_no_configuration(tmp_path, storage, sampler):
    stopped = []

    def stops(trial):
        if trial.number in (3, 11) and trial.number not in stopped:
            stopped.append(trial.number)
            raise KeyboardInterrupt

    words = {"sampler": sampler, "trials": 13}
    if sampler.startswith("keras_tuner."):
        words["objectives"] = OBJECTIVES[:1]
    study = make_study(lambda trial: look_up(trial, stops), **words)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            autosearch.run(study, storage=storage, seed=3)
    view = autosearch.run(study, storage=storage)
    whole = autosearch.run(make_study(**words), storage=f"{tmp_path / 'whole.db'}", seed=3)
    if sampler == "qmc":
        # The points of the sequence are handed out in turn: the cut-off trials took two each.
        assert configs(view)[:3] == configs(whole)[:3]
    else:
        assert configs(view) == configs(whole)


def test_parameters_that_are_sampled_alone_differ_from_trial_to_trial(storage):
    for sampler in ("qmc", "random"):
        study = make_study(trials=10, sampler=sampler).model_copy(update={"name": sampler})
        sampled = configs(autosearch.run(study, storage=storage))
        assert len({config["extra"] for config in sampled if "extra" in config}) > 2
        assert len({config["depth"] for config in sampled}) == 10


def test_a_stop_does_not_count_as_an_attempt(storage):
    stops = []

    def interrupted(trial):
        if trial.number == 2 and len(stops) < 4:
            stops.append(trial.number)
            raise KeyboardInterrupt

    study = make_study(lambda trial: look_up(trial, interrupted))
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            autosearch.run(study, storage=storage)
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {COMPLETE: 8}
    assert set(view.trials_frame()["attempt"]) == {1}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE autosearch_trials SET state = 'waiting' WHERE number = 7",
        "UPDATE autosearch_trials SET state = 'running' WHERE number = 7",
        "DELETE FROM autosearch_trials WHERE number = 7",
    ],
    ids=["waiting", "running", "no row"],
)
def test_whatever_a_cut_off_run_left_is_evaluated_once_more(storage, tmp_path, statement):
    autosearch.run(make_study(), storage=storage)
    with sqlite3.connect(tmp_path / "search.db") as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 7")
        connection.execute("DELETE FROM autosearch_candidates WHERE trial_id = 8")
        connection.execute(statement)
    view = autosearch.run(make_study(), storage=storage)
    assert view.progress().counts == {COMPLETE: 8}
    assert list(view.candidates_frame()["trial"]) == list(range(8))
    assert optuna_states(storage) == ["COMPLETE"] * 8


def test_trials_that_the_user_enqueued_come_first_and_count(storage):
    autosearch.run(make_study(trials=2), storage=storage)
    opened = optuna.load_study(study_name="table", storage=storage)
    opened.enqueue_trial({"width": 7, "kind": "b"})
    opened.enqueue_trial({"width": 9, "kind": "b", "depth": 0.25})
    view = autosearch.run(make_study(trials=5), storage=storage)
    assert view.progress().counts == {COMPLETE: 5}
    assert [config["width"] for config in configs(view)[2:4]] == [7, 9]
    assert configs(view)[3]["depth"] == 0.25


def test_a_deleted_study_can_be_started_anew(storage):
    autosearch.run(make_study(trials=2), storage=storage, seed=1)
    database = Database.open_to_write(storage)
    from autosearch.store.deletion import delete_study_rows

    study_id = autosearch.open_study("table", storage=storage).id
    delete_study_rows(database, ArtifactStore.beside(database), study_id)
    assert delete_optuna_study(database, "table")
    assert not delete_optuna_study(database, "table")
    view = autosearch.run(make_study(trials=3), storage=storage, seed=2)
    assert view.progress().counts == {COMPLETE: 3}


FILE = """
import os, pathlib, signal, time
from autosearch import Budget, Study, maximize, minimize

HERE = pathlib.Path(__file__).parent
{head}

def evaluate(trial):
    x = trial.hp.Float("x", 0, 1)
    trial.report(1, accuracy=x)
    (HERE / f"begun-{{trial.number}}").touch()
    {body}
    trial.report(2, accuracy=x)
    y = trial.hp.Float("y", 0, 1)
    with (HERE / "finished").open("a") as log:
        log.write(f"{{trial.number}}\\n")
    return {{"accuracy": x, "size_bytes": y}}

study = Study(name="table", evaluator=evaluate, sampler="tpe", budget=Budget(trials=12),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


def write_study(folder, body="pass", head=""):
    folder.mkdir(exist_ok=True)
    path = folder / "study_file.py"
    path.write_text(FILE.format(body=body, head=head))
    return path


def start(path, storage, *words):
    code = "import sys; from autosearch.cli.main import main; sys.argv[0] = 'autosearch'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "run", str(path), "--storage", storage, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(path, process):
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists(), process.communicate()[0]


def test_signals_to_a_run_lose_no_trial_and_the_next_run_is_as_if_there_were_none(tmp_path):
    slow = "time.sleep(0.6 if trial.number in (4, 6) else 0)"
    folder, storage = tmp_path / "stopped", f"sqlite:///{tmp_path / 'stopped.db'}"
    path = write_study(folder, slow)

    running = start(path, storage, "--seed", "5")
    wait_for(folder / "begun-4", running)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert "go on with" in said
    assert "Traceback" not in said
    view = autosearch.open_study("table", storage=storage)
    assert view.progress().counts == {COMPLETE: 4, WAITING: 1}
    assert optuna_states(storage) == ["COMPLETE"] * 4 + ["WAITING"]

    # Killed, it says nothing; its worker notices, and puts its trial back.
    killed = start(path, storage)
    wait_for(folder / "begun-6", killed)
    killed.kill()
    killed.communicate()
    deadline = time.monotonic() + 30
    while TrialState.RUNNING in view.progress().counts and time.monotonic() < deadline:
        time.sleep(0.05)
    assert view.progress().counts == {COMPLETE: 6, WAITING: 1}

    finished = start(path, storage)
    said = finished.communicate(timeout=120)[0]
    assert finished.returncode == 0, said
    assert view.progress().counts == {COMPLETE: 12}
    assert optuna_states(storage) == ["COMPLETE"] * 12
    assert sorted(map(int, (folder / "finished").read_text().split())) == list(range(12))

    path = write_study(tmp_path / "whole", slow)
    whole = autosearch.run(
        load_study_file(path), storage=f"sqlite:///{tmp_path / 'whole.db'}", seed=5
    )
    assert configs(view) == configs(whole)


def test_a_study_whose_every_trial_kills_its_worker_ends(tmp_path, storage, monkeypatch):
    # Three attempts for each of five trials would start fifteen processes.
    monkeypatch.setattr("autosearch.search.engine.MAX_ATTEMPTS", 1)
    study = load_study_file(write_study(tmp_path / "s", "os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(NothingTrainedError, match=r"lost 5 times.*SIGKILL.*autosearch trials"):
        autosearch.run(study, storage=storage)
    counts = autosearch.open_study("table", storage=storage).progress().counts
    assert counts == {TrialState.FAILED: 5}


def test_a_worker_that_dies_before_a_trial_ends_a_resumed_run_too(tmp_path, storage):
    path = write_study(tmp_path / "s")
    autosearch.run(load_study_file(path), storage=storage, trials=2)
    supervisor = os.getpid()
    head = f"if os.getppid() == {supervisor}: os.abort()"
    study = load_study_file(write_study(tmp_path / "s", head=head))
    with pytest.raises(StudyError, match=r"SIGABRT.* before it started a trial"):
        autosearch.run(study, storage=storage, trials=2)


def work(path, storage, study_id):
    """One more worker on a study that another one works on."""
    database, study = Database.open_to_write(storage), load_study_file(path)
    Worker(
        study,
        database,
        ArtifactStore.beside(database),
        study_id=study_id,
        seed=0,
        evaluator=study.evaluator,
        limits=Limits(counted_trials=12),
    ).run()


@pytest.mark.usefixtures("plain_main")
def test_two_workers_share_a_study_and_evaluate_no_trial_twice(tmp_path, storage):
    path = write_study(tmp_path / "s", "time.sleep(0.05)")
    study_id = autosearch.run(load_study_file(path), storage=storage, trials=1).id
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(path, storage, study_id)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    evaluated = [int(line) for line in (tmp_path / "s" / "finished").read_text().split()]
    assert sorted(evaluated) == list(range(12))
    view = autosearch.open_study("table", storage=storage)
    assert len({json.dumps(config) for config in configs(view)}) == 12


def test_recovery_leaves_a_living_workers_trial_alone(storage):
    study = make_study(trials=1)
    study_id = autosearch.run(study, storage=storage).id
    database = Database.open_to_write(storage)
    recorder, view = Recorder(database, study_id), autosearch.open_study("table", storage=storage)
    engine = Engine(study, database, seed=0)
    worker_id = recorder.start_worker(60.0)
    asked = engine.start_trial(recorder, worker_id)
    engine.recover(recorder, view, reason="test")
    assert optuna_states(storage) == ["COMPLETE", "RUNNING"]
    recorder.end_worker(worker_id)
    engine.recover(recorder, view, reason="test")
    assert optuna_states(storage) == ["COMPLETE", "WAITING"]
    assert engine.start_trial(recorder, recorder.start_worker(60.0)).number == asked.number
    assert Path(database.path).exists()


def test_a_worker_whose_trial_was_taken_over_writes_no_epochs_into_it(storage):
    study = make_study(trials=1)
    study_id = autosearch.run(study, storage=storage).id
    database = Database.open_to_write(storage)
    slow, other = Recorder(database, study_id), Recorder(database, study_id)
    view, engine = autosearch.open_study("table", storage=storage), Engine(study, database, seed=0)
    worker_id = slow.start_worker(60.0)
    number = engine.start_trial(slow, worker_id).number
    slow.add_epoch(number, 1, {"accuracy": 0.1})
    slow.end_worker(worker_id)
    engine.recover(other, view, reason="test")
    assert engine.start_trial(other, other.start_worker(60.0)).number == number
    other.add_epoch(number, 1, {"accuracy": 0.5})
    slow.add_epoch(number, 1, {"accuracy": 0.7})
    slow.add_epoch(number, 9, {"accuracy": 0.9})
    epochs = view.epochs_frame()
    epochs = epochs[epochs["trial"] == number]
    assert epochs[["epoch", "accuracy"]].to_numpy().tolist() == [[1, 0.5]]


def test_a_process_that_lives_is_alive_whatever_its_lease_says(storage):
    study = make_study(trials=1)
    study_id = autosearch.run(study, storage=storage).id
    database = Database.open_to_write(storage)
    recorder, view = Recorder(database, study_id), autosearch.open_study("table", storage=storage)
    engine = Engine(study, database, seed=0)
    engine.start_trial(recorder, recorder.start_worker(-60.0))
    engine.recover(recorder, view, reason="test")
    assert optuna_states(storage) == ["COMPLETE", "RUNNING"]
    with database.session() as session:
        # As of a process that had this one's number before it.
        session.execute(
            text("UPDATE autosearch_workers SET started_at = :then"),
            {"then": datetime(2020, 1, 1)},
        )
    engine.recover(recorder, view, reason="test")
    assert optuna_states(storage) == ["COMPLETE", "WAITING"]


def test_time_that_two_run_in_is_counted_once(storage, monkeypatch):
    autosearch.run(make_study(trials=1), storage=storage)
    database = Database.open_to_write(storage)
    recorder, start = Recorder(database, 1), utc_now() + timedelta(days=1)
    before = autosearch.open_study("table", storage=storage).progress().run_seconds
    # Two who write every ten seconds, and then, after a night, one of them.
    for at_s, since_s in [(10, 10), (15, 10), (20, 10), (25, 10), (40_000, 10), (40_010, 10)]:
        now = start + timedelta(seconds=at_s)
        monkeypatch.setattr("autosearch.store.recorder.utc_now", lambda now=now: now)
        recorder.add_run_seconds(since_s)
    after = autosearch.open_study("table", storage=storage).progress().run_seconds
    assert after - before == pytest.approx(10 + 15 + 20)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no zombies")
def test_a_process_that_nobody_waits_for_is_dead(storage):
    autosearch.run(make_study(trials=1), storage=storage)
    database = Database.open_to_write(storage)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    now = utc_now()
    worker = WorkerRow(
        study_id=1, host=socket.gethostname(), pid=process.pid, started_at=now, lease_until=now
    )
    with database.session() as session:
        assert is_alive(session, worker)
        process.kill()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert not is_alive(session, worker)
    process.wait()


def test_what_was_taken_from_a_worker_is_recorded_by_the_other_one(storage):
    def lose_it(trial):
        if trial.number == 1:
            # Another machine took this worker for lost, and has evaluated the trial since.
            other = recorder.start_worker(60.0)
            with database.session() as session:
                session.execute(
                    text("UPDATE autosearch_trials SET worker_id = :other WHERE number = 1"),
                    {"other": other},
                )
            recorder.finish_trial(
                1, COMPLETE, worker_id=other, config={"by": "other"}, stage_seconds={}, facts={},
                candidates=[CandidateResult(metrics={"accuracy": 0.5, "size_bytes": 7.0})],
            )  # fmt: skip

    study = make_study(partial(look_up, between=lose_it), trials=3)
    database = Database.open_to_write(storage)
    study_id = Recorder.save_study(
        database, name="table", seed=0, definition=study.definition(),
        definition_sha256=study.definition_sha256(), data_fingerprint=None, environment={},
    )  # fmt: skip
    recorder = Recorder(database, study_id)
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts[COMPLETE] == 3
    row = view.trials_frame().set_index("number").loc[1]
    assert row["config"] == {"by": "other"}
    assert view.candidates_frame().query("trial == 1")["size_bytes"].tolist() == [7.0]


def test_a_trial_whose_file_could_not_be_kept_waits_for_the_next_run(storage):
    def full(trial):
        if trial.number == 1 and not was_full:
            was_full.append(trial.number)
            raise StorageError("no space left on device")

    was_full = []
    study = make_study(partial(look_up, between=full), trials=3)
    with pytest.raises(StorageError, match="no space left"):
        autosearch.run(study, storage=storage)
    assert optuna_states(storage) == ["COMPLETE", "WAITING"]
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {COMPLETE: 3}


@pytest.mark.parametrize("is_reported", [True, False])
def test_a_budget_of_epochs_ends_though_trials_come_to_cost_none(storage, is_reported):
    def two(trial):
        kind = trial.hp.Choice("kind", ["a", "b"])
        if is_reported and trial.number < 2:
            trial.report(1, accuracy=0.5)
        return {"accuracy": 0.5, "size_bytes": 1 if kind == "a" else 2}

    study = make_study(two).model_copy(update={"budget": Budget(total_epochs=10)})
    if is_reported:
        view = autosearch.run(study, storage=storage)
        assert view.progress().num_epochs == 2
        assert view.progress().counts == {COMPLETE: 2 + MAX_TRIALS_WITHOUT_EPOCHS}
    else:
        with pytest.raises(NothingTrainedError, match=r"50 trials in a row cost no epoch.*trials="):
            autosearch.run(study, storage=storage)


def test_a_worker_that_is_too_large_from_the_start_evaluates_a_trial_before_it_is_replaced(storage):
    study = make_study(trials=8)
    study_id = autosearch.run(study, storage=storage, trials=1).id
    database = Database.open_to_write(storage)
    worker = Worker(
        study,
        database,
        ArtifactStore.beside(database),
        study_id=study_id,
        seed=0,
        evaluator=study.evaluator,
        limits=Limits(counted_trials=8, memory_bytes=1000),
    )
    assert worker.run() == Outcome.OUTGROWN
    assert autosearch.open_study("table", storage=storage).progress().counts == {COMPLETE: 2}


def test_the_minutes_of_a_run_that_is_killed_count(storage, monkeypatch):
    written = []

    def kill(trial):
        if trial.number == 3:
            written.append(autosearch.open_study("table", storage=storage).progress().run_seconds)

    monkeypatch.setattr("autosearch.search.runner._CLOCK_WRITTEN_S", 0.0)
    study = make_study(partial(look_up, between=kill), trials=5)
    view = autosearch.run(study, storage=storage)
    assert 0 < written[0] < view.progress().run_seconds


@pytest.mark.parametrize("sampler", ["pareto", "tpe"])
def test_the_default_sampler_alone_begins_with_small_networks(storage, sampler):
    study = Study(
        name="table",
        dataset=Digits(),
        space=SearchSpace(),
        objectives=OBJECTIVES,
        budget=Budget(trials=9),
        sampler=sampler,
    )
    database = Database.open_to_write(storage)
    study_id = Recorder.save_study(
        database,
        name="table",
        seed=3,
        definition=study.definition(),
        definition_sha256=study.definition_sha256(),
        data_fingerprint=None,
        environment={},
    )
    recorder, engine = Recorder(database, study_id), Engine(study, database, seed=3)
    worker_id, guesses = recorder.start_worker(60.0), first_guesses(study.space)

    def sampled(continue_from=None):
        trial = GrownTrial(
            engine.start_trial(recorder, worker_id, continue_from=continue_from), engine
        )
        hp = HyperParameters(trial, before_asking=trial.prepare)
        study.space.sample_declared(hp)
        recorder.finish_trial(
            trial.number, TrialState.PRUNED, config=hp.values, stage_seconds={}, facts={}
        )
        engine.tell(trial.number, TrialState.PRUNED)
        return hp.values.items()

    first = sampled()
    # A training that goes on takes nobody's turn.
    gone_on = Continuation(trial=0, keras_sha256="0" * 64, epochs_before=1, epochs=1)
    assert sampled(lambda started, pending: gone_on) == first
    begins = [first, *(sampled() for _ in range(7))]
    is_guess = [guess.items() <= begin for guess, begin in zip(guesses, begins, strict=False)]
    assert is_guess == [sampler == "pareto"] * len(guesses)
    assert not any(guess.items() <= begin for guess in guesses for begin in begins[len(guesses) :])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared memory apart")
def test_a_mapped_file_is_none_of_a_workers_own_memory(tmp_path):
    num_bytes = 64_000_000
    (tmp_path / "pixels").write_bytes(bytes(num_bytes))
    before = own_memory_bytes(psutil.Process())
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "c")
    assert mapped.sum() == 0
    assert own_memory_bytes(psutil.Process()) < before + num_bytes / 2
    kept = np.ones(num_bytes, np.uint8)
    assert own_memory_bytes(psutil.Process()) > before + num_bytes / 2
    del kept


def test_a_trial_that_would_outlast_the_budget_is_given_up_once_there_is_a_result(storage):
    asked = []

    def evaluate(trial):
        width = trial.hp.Int("width", 1, 64)
        asked.append(trial.number)
        trial.check_time(0.01)
        if trial.number < 2:
            trial.check_time(3600)
        elif trial.number == 2:
            trial.check_time(0.02)
        else:
            trial.check_time(3600)
        return {"accuracy": 1 / width, "size_bytes": width}

    study = make_study(evaluate).model_copy(update={"budget": Budget(trials=5, minutes=10)})
    trials = autosearch.run(study, storage=storage, seed=0).trials_frame()
    assert list(trials["state"]) == ["complete", "pruned", "complete", "pruned", "pruned"]
    assert why_pruned(trials["facts"][1]) == (
        "given up: it needed 3600 s more, past the end of the budget"
    )


def test_a_budget_of_minutes_tells_the_sampler_how_long_a_trial_took(storage):
    for trials in (Budget(trials=4), Budget(trials=8, minutes=10)):
        study = make_study().model_copy(update={"budget": trials})
        autosearch.run(study, storage=storage, seed=0)
    told = optuna.load_study(study_name="table", storage=storage).trials
    assert [SECONDS in trial.user_attrs for trial in told] == [False] * 4 + [True] * 4
