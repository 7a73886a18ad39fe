"""Several worker processes on one study: how they share a machine and a budget."""

import json
import os
import sqlite3
import stat

import optuna
import psutil
import pytest

import autosearch
from autosearch import Budget, Study, maximize
from autosearch.errors import DefinitionError
from autosearch.search.devices import num_usable_cores, why_no_gpu, worker_environments
from autosearch.search.worker import Limits
from autosearch.store.view import Progress
from autosearch.study import load_study_file
from autosearch.values import TrialState

FILE = """
import os, pathlib, signal, time
from autosearch import Budget, Study, maximize, minimize

HERE = pathlib.Path(__file__).parent

def evaluate(trial):
    x, y = trial.hp.Float("x", 0, 1), trial.hp.Float("y", 0, 1)
    with (HERE / "begun").open("a") as log:
        log.write(f"{trial.number} {os.getpid()}\\n")
    time.sleep(0.05)
    if trial.number == 3 and not (HERE / "killed").exists():
        (HERE / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"accuracy": x, "size_bytes": y}

study = Study(name="table", evaluator=evaluate, sampler="random", budget=Budget(trials=16),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study_file.py"
    path.write_text(FILE)
    return path


def test_a_budget_is_kept_to_the_trial_though_a_worker_of_several_dies(study_file, tmp_path):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    view = autosearch.run(load_study_file(study_file), storage=storage, workers=3)
    frame = view.trials_frame()
    assert list(frame["number"]) == list(range(16))
    assert set(frame["state"]) == {TrialState.COMPLETE}
    assert list(frame["attempt"]) == [2 if number == 3 else 1 for number in range(16)]
    begun = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
    assert sorted(int(number) for number, _ in begun) == sorted([*range(16), 3])
    assert len({pid for _, pid in begun}) > 1
    assert len({json.dumps(config) for config in frame["config"]}) == 16
    assert len(view.candidates_frame()) == 16
    told = optuna.load_study(study_name="table", storage=storage).trials
    assert {trial.state.name for trial in told} == {"COMPLETE"}
    with sqlite3.connect(tmp_path / "search.db") as connection:
        ended = connection.execute("SELECT count(ended_at), count(*) FROM autosearch_workers")
        assert ended.fetchone()[0] >= 2


def test_a_worker_finds_what_its_caller_does_and_nothing_stands_for_a_library(
    tmp_path, monkeypatch
):
    (tmp_path / "nets.py").write_text("def score(x):\n    return {'accuracy': x}\n")
    (tmp_path / "optuna.py").write_text("raise RuntimeError('not the library')\n")
    path = tmp_path / "studies" / "importing.py"
    path.parent.mkdir()
    path.write_text(
        "from nets import score\n"
        "from autosearch import Budget, Study, maximize\n\n"
        "def evaluate(trial):\n"
        "    return score(trial.hp.Float('x', 0, 1))\n\n"
        "study = Study(name='importing', evaluator=evaluate, budget=Budget(trials=2),\n"
        "              objectives=[maximize('accuracy')])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    view = autosearch.run(load_study_file(path), storage=storage, workers=2)
    assert view.progress().counts == {TrialState.COMPLETE: 2}


def test_a_run_ends_its_workers_though_nobody_hears_that_it_stops(study_file, tmp_path):
    interrupted = []

    def interrupt(view, progress, limits):
        if progress.num_counted >= 5 and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    def deaf(_words):
        raise OSError("the terminal was closed")

    storage = f"sqlite:///{tmp_path / 'search.db'}"
    study = load_study_file(study_file)
    with pytest.raises(OSError, match="the terminal was closed"):
        autosearch.run(study, storage=storage, workers=2, on_progress=interrupt, on_message=deaf)
    counts = autosearch.open_study("table", storage=storage).progress().counts
    assert TrialState.RUNNING not in counts
    with sqlite3.connect(tmp_path / "search.db") as connection:
        pids = connection.execute("SELECT pid FROM autosearch_workers").fetchall()
    assert not [pid for (pid,) in pids if psutil.pid_exists(pid)]


def test_several_workers_need_a_study_that_they_can_load(tmp_path):
    study = Study(
        name="table",
        evaluator=lambda trial: {"accuracy": trial.hp.Float("x", 0, 1)},
        objectives=[maximize("accuracy")],
        budget=Budget(trials=2),
    )
    with pytest.raises(DefinitionError, match=r"put it into a file.*--workers 2"):
        autosearch.run(study, storage=f"{tmp_path / 'a.db'}", workers=2)
    with pytest.raises(DefinitionError, match="workers is 0; expected at least 1"):
        autosearch.run(study, storage=f"{tmp_path / 'a.db'}", workers=0)


def progress(*, complete=0, running=0, failed=0, epochs=0):
    counts = {
        TrialState.COMPLETE: complete,
        TrialState.RUNNING: running,
        TrialState.FAILED: failed,
    }
    return Progress(counts=counts, best_accuracy=None, num_epochs=epochs, run_seconds=0.0)


def test_a_trial_that_runs_holds_its_place_in_the_budget():
    limits = Limits(counted_trials=10)
    assert limits.have_room(progress(complete=7, running=2, failed=5))
    assert not limits.have_room(progress(complete=7, running=3))
    assert not limits.are_reached(progress(complete=7, running=3))
    assert not limits.have_room(progress(complete=10))


def test_a_trial_that_runs_is_taken_to_need_the_usual_epochs():
    limits = Limits(total_epochs=100)
    assert limits.have_room(progress(running=4))
    assert limits.have_room(progress(complete=8, running=1, epochs=80))
    assert not limits.have_room(progress(complete=8, running=2, epochs=80))
    assert limits.have_room(progress(complete=9, epochs=99))


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))


def give_gpus(folder, *indices):
    """A driver's own command that knows of these cards."""
    command = folder / "nvidia-smi"
    command.write_text("#!/bin/sh\n" + "".join(f"echo {index}\n" for index in indices))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)


@pytest.mark.usefixtures("no_gpu")
def test_workers_share_out_the_cores():
    assert worker_environments(1) == [{}]
    few, many = worker_environments(2), worker_environments(10 * num_usable_cores())
    assert [words["TF_NUM_INTRAOP_THREADS"] for words in few] == (
        [str(max(1, num_usable_cores() // 2))] * 2
    )
    assert {words["OMP_NUM_THREADS"] for words in many} == {"1"}


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.skipif(os.name != "posix", reason="a driver's command is a shell script here")
def test_each_worker_gets_one_gpu_and_takes_memory_as_it_needs(tmp_path, monkeypatch):
    give_gpus(tmp_path, 0, 1)
    dealt = worker_environments(3)
    assert [words["CUDA_VISIBLE_DEVICES"] for words in dealt] == ["0", "1", "0"]
    assert {words["TF_FORCE_GPU_ALLOW_GROWTH"] for words in dealt} == {"true"}
    assert worker_environments(1)[0]["CUDA_VISIBLE_DEVICES"] == "0"
    assert len(worker_environments(4, workers_per_gpu=2)) == 4
    with pytest.raises(DefinitionError, match=r"5 workers on 2 GPU.*--workers-per-gpu 3"):
        worker_environments(5, workers_per_gpu=2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b,-1,GPU-c")
    assert [w["CUDA_VISIBLE_DEVICES"] for w in worker_environments(2)] == ["GPU-a", "GPU-b"]


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.skipif(os.name != "posix", reason="a driver's command is a shell script here")
def test_why_a_gpu_is_not_used_is_said(tmp_path, monkeypatch):
    assert why_no_gpu(is_built_with_cuda=False, log="") is None
    give_gpus(tmp_path, 0)
    assert "built without CUDA" in why_no_gpu(is_built_with_cuda=False, log="")
    dlopen = "W0000 gpu_device.cc:2341] Cannot dlopen some GPU libraries."
    assert "tensorflow[and-cuda]" in why_no_gpu(is_built_with_cuda=True, log=dlopen)
    old = "W0000 cuda.cc:1] CUDA driver version is insufficient"
    assert "driver version is insufficient" in why_no_gpu(is_built_with_cuda=True, log=old)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "hidden by CUDA_VISIBLE_DEVICES=''" in why_no_gpu(is_built_with_cuda=True, log="")
