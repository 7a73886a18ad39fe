"""Runs as a person meets them: interrupted, without a result, tried out, deleted."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

import autosearch
from autosearch.cli.output import command
from autosearch.errors import NotFoundError

HEAD = """
from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Preprocessing, Quantization, Training

space = SearchSpace(
    preprocessing=Preprocessing(size=8, color="greyscale"),
    architecture=CNN(stages=1, width=[4, 8], blocks_per_stage=1, kernel_size=3, block="plain",
                     attention="none", dropout=0.0),
    training=Training(epochs=3, optimizer="adam", batch_size=64),
    quantization=Quantization("float32"),
)
"""
STUDY = """
study = Study(name="small", dataset=Digits(), space=space, objectives=[maximize("accuracy")],
              constraints={}, budget=Budget(trials={}))
"""
TABLE = """
from autosearch import Budget, Study, maximize, minimize

def look_up(trial):
    width = trial.hp.Int("width", 1, 100)
    return {"accuracy": 1 - 1 / (1 + width), "size_bytes": 10 * width}

study = Study(name="table", evaluator=look_up, budget=Budget(trials=4),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


def started(*words):
    """A command that goes on in a process group of its own."""
    code = "import sys; from autosearch.cli.main import main; sys.argv[0] = 'autosearch'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def small(folder, *, constraints="[]", trials=2):
    path = folder / "small.py"
    path.write_text(HEAD + STUDY.format(constraints, trials))
    return path


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOSEARCH_STORAGE", raising=False)
    path = tmp_path / "table.py"
    path.write_text(TABLE)
    return path


def test_an_interrupted_run_goes_on_where_it_stopped(cli, tmp_path):
    study_file = small(tmp_path)
    words = ("run", study_file, "--storage", f"sqlite:///{tmp_path / 'x.db'}")
    process = started(*words)
    wait_for(lambda: counts(tmp_path).get("running"), process)
    time.sleep(0.5)
    # As a terminal does on Ctrl-C: to the whole group, worker included or not.
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "Stopping; a training may take" in said
    again = shlex.join(["autosearch", *map(str, words)])
    assert said.splitlines()[-1] == f"Stopped. Nothing is lost; go on with: {again}"
    assert set(counts(tmp_path)) <= {"waiting", "complete"}

    finished = cli(*words)
    assert finished.returncode == 0, finished.stderr
    assert counts(tmp_path) == {"complete": 2}
    frame = autosearch.open_study("small", storage=f"sqlite:///{tmp_path / 'x.db'}").trials_frame()
    assert list(frame["number"]) == [0, 1]


def test_a_stopped_run_says_how_many_of_its_trials_are_left(cli, table):
    slow = TABLE.replace("    width =", "    time.sleep(0.1)\n    width =")
    table.write_text("import time\n" + slow)
    storage = f"sqlite:///{table.parent / 'x.db'}"
    words = ("run", table, "--storage", storage)
    process = started(*words, "--trials", "200")
    wait_for(lambda: counts(table.parent, "table").get("complete"), process)
    assert cli("stop", "table", "--storage", storage).returncode == 0
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    left = 200 - counts(table.parent, "table")["complete"]
    again = shlex.join(["autosearch", *map(str, words), "--trials", str(left)])
    assert said.splitlines()[-1] == f"Stopped, as it was asked to; go on with: {again}"


def counts(folder, name="small"):
    try:
        view = autosearch.open_study(name, storage=f"sqlite:///{folder / 'x.db'}")
    except NotFoundError:
        return {}
    return {str(state): count for state, count in view.progress().counts.items() if count}


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if condition():
            return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"it did not come to that in {seconds} s: {process.communicate()}")


def test_a_bound_of_one_byte_trains_nothing_and_says_so(cli, autosearch_here, tmp_path):
    study_file = small(tmp_path, constraints="[at_most('size_bytes', 1)]")
    storage = ("--storage", f"sqlite:///{tmp_path / 'x.db'}")
    finished = cli("run", study_file, *storage)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.splitlines()[-1] == (
        "Nothing is feasible: none of 2 trials keeps size_bytes ≤ 1. "
        "Loosen the constraint, or make the space smaller."
    )
    listed = autosearch_here("trials", "small", *storage, "--format", "json")
    for trial in json.loads(listed.stdout):
        assert (trial["state"], trial["epochs"]) == ("infeasible", [])
        assert "train" not in trial["stage_seconds"]


def test_check_tries_a_study_out_and_stores_nothing(cli, tmp_path):
    study_file = small(tmp_path, constraints="[at_most('size_bytes', 64_000)]")
    finished = cli("check", study_file, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    # Words alone: nothing of what TensorFlow logs.
    assert len(finished.stderr.splitlines()) == 1
    lines = dict(line.split("  ", 1) for line in finished.stdout.splitlines())
    assert lines["feasible"].strip() == "20 (100%)"
    assert lines["size of float32"].strip().endswith("bytes")
    assert sum("slowest" in text for text in lines.values()) == 1
    assert lines["its trials will take about"].strip().endswith((" s", " min"))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert not list(tmp_path.glob("*.db"))


def test_check_of_a_function_as_json(table, autosearch_here):
    ended = autosearch_here("check", table, "--format", "json")
    (report,) = json.loads(ended.stdout)
    assert (report["num_configurations"], report["num_feasible"]) == (20, 20)
    assert report["budget_minutes"] >= 0


def test_check_says_if_nothing_is_feasible(table, autosearch_here):
    text = TABLE.replace("minimize\n", "minimize, at_most\n", 1)
    table.write_text(text.replace("budget=", "constraints=[at_most('size_bytes', 1)], budget="))
    table.write_text(table.read_text().replace("    return", "    trial.check_cost("
                                               "size_bytes=10 * width)\n    return"))  # fmt: skip
    ended = autosearch_here("check", table)
    assert ended.returncode == 1
    assert "Nothing is feasible: loosen size_bytes ≤ 1" in ended.stderr


def test_run_of_a_spent_budget_says_how_to_ask_for_more(table, autosearch_here):
    ended = autosearch_here("run", table)
    assert ended.returncode == 0, ended.stderr
    assert "4/4 trials" in ended.stderr
    assert "Front of table" in ended.stdout
    again = autosearch_here("run", table)
    assert again.returncode == 0
    assert again.stderr.splitlines()[-1] == "Nothing was left to do; run more with: --trials N"
    more = autosearch_here("run", table, "--trials", "3")
    assert "7/7 trials" in more.stderr
    assert "left to do" not in more.stderr


def test_delete_asks_first(table, autosearch_here, monkeypatch, tmp_path):
    autosearch_here("run", table)
    for answer in ("n\n", "\n", ""):
        answer_with(monkeypatch, tmp_path, answer)
        ended = autosearch_here("delete", "table")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert 'Delete study "table" with 4 trials from sqlite:///' in ended.stderr
        assert "Nothing was deleted." in ended.stderr
    answer_with(monkeypatch, tmp_path, "y\n")
    ended = autosearch_here("delete", "table")
    assert ended.returncode == 0
    assert 'Deleted study "table": 4 trials and 0 files.' in ended.stderr
    ended = autosearch_here("studies")
    assert (ended.returncode, ended.stdout.strip()) == (0, "")
    assert "holds no study; start one with: autosearch run" in ended.stderr
    # Another study of that name begins anew.
    assert autosearch_here("run", table).returncode == 0


def answer_with(monkeypatch, folder, text):
    path = folder / "answer.txt"
    path.write_text(text)
    monkeypatch.setattr(sys, "stdin", path.open())


def test_doctor_finds_packages_database_and_files(searched):
    finished = searched.autosearch("doctor", "--format", "json")
    assert finished.returncode == 0, finished.stdout
    found = {row["what"]: row for row in json.loads(finished.stdout)}
    assert found["autosearch"]["finding"] == autosearch.__version__
    assert found["devices"]["finding"].startswith("CPU")
    assert found["database"]["finding"] == searched.storage
    assert found["artifacts"]["finding"].endswith("can be reached")
    assert all(row["ok"] for row in found.values())


def test_doctor_exits_with_1_if_the_database_cannot_be_used(cli, tmp_path):
    (tmp_path / "x.db").write_text("this is no database, though it is long enough for one")
    finished = cli("doctor", "--storage", f"sqlite:///{tmp_path / 'x.db'}", "--format", "csv")
    assert finished.returncode == 1
    assert "file is not a database" in finished.stdout
    assert finished.stderr == ""


def test_a_database_that_cannot_be_written_is_named(table, autosearch_here, tmp_path):
    ended = autosearch_here("run", table, "--storage", f"sqlite:///{tmp_path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("autosearch: database")
    assert "unable to open database file" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_of_a_front_is_cut_off_on_a_narrow_terminal(searched, width):
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(width), "TERM": "xterm"}
    finished = searched.autosearch("front", "tiny", env=environment)
    heading, *table = re.sub(r"\x1b\[\d+m", "", finished.stdout).splitlines()[3:]
    assert heading.startswith("candidate")
    assert max(map(len, [heading, *table])) <= width
    assert all(line.split()[0].partition("-")[0].isdigit() for line in table)
    assert "Too narrow for: " in finished.stderr
    assert "arena bytes" in finished.stderr or "MACs" in finished.stderr


def test_nothing_but_data_is_on_standard_output(searched, autosearch_here):
    storage = ("--storage", searched.storage)
    for words in (("front", "tiny"), ("trials", "tiny"), ("studies",), ("models",)):
        ended = autosearch_here(*words, *storage, "--format", "json")
        assert ended.returncode == 0
        rows = json.loads(ended.stdout)
        ended = autosearch_here(*words, *storage, "--format", "csv")
        assert len(list(csv.DictReader(io.StringIO(ended.stdout)))) == len(rows)


def test_the_command_to_go_on_names_what_the_next_one_would_not_find(monkeypatch):
    monkeypatch.setenv("AUTOSEARCH_STORAGE", "postgresql://me:secret@server/set")
    monkeypatch.delenv("AUTOSEARCH_ARTIFACTS", raising=False)
    for storage in (None, "postgresql://me:secret@server/set"):
        assert command("run", "a b.py", storage=storage) == "autosearch run 'a b.py'"
    named = command("worker", "s.py", storage="x.db", artifacts="files")
    assert named == "autosearch worker s.py --storage sqlite:///x.db --artifacts files"
    assert "secret" not in command("run", "s.py", storage="postgresql://a:secret@b/c")
