"""What the command line prints of a study, for programs and for people."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from rich.cells import cell_len

import autosearch
from autosearch import Budget, Study, at_most, maximize
from autosearch.cli.figures import print_details
from autosearch.cli.options import FigureKind, OutputFormat
from autosearch.cli.output import emit
from autosearch.cli.reading import _why_no_front
from autosearch.data import Digits, prepare_all
from autosearch.evaluation.latency import host_target
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.store.view import records
from autosearch.suggestion import suggest
from autosearch.values import CandidateResult, Estimate

FRONT_KEYS = [
    "candidate", "trial", "quantization", "accuracy", "size_bytes", "accuracy_low",
    "accuracy_high", "latency_ms", "latency_p90_ms", "memory_bytes", "target", "parameters",
    "macs", "artifact",
]  # fmt: skip
TRIAL_KEYS = {"number", "state", "config", "started_at", "duration_s", "error", "epochs"}
SCHEMES = {"float32", "float16", "dynamic_int8", "int8", "int16x8"}


@pytest.fixture(scope="module")
def front(searched):
    return json.loads(searched.autosearch("front", "tiny", "--format", "json").stdout)


@pytest.fixture(scope="module")
def trials(searched):
    return json.loads(searched.autosearch("trials", "tiny", "--format", "json").stdout)


@pytest.fixture
def listing(searched, autosearch_here):
    """What a command prints of the study, run in this process."""

    def listing(*words):
        ended = autosearch_here(*words, "--storage", searched.storage)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return listing


def test_classes_are_printed_in_their_own_order(capsys):
    figures = {"support": 3, "recall": 1.0, "recall_low": 0.5, "recall_high": 1.0, "precision": 1.0}
    # As PostgreSQL answers them: by the length of the key.
    print_details({"classes": ["zebra", "ant"], "per_class": {"ant": figures, "zebra": figures}})
    printed = capsys.readouterr().out
    assert 0 < printed.index("zebra") < printed.index("ant")


def test_run_prints_the_front(searched, front):
    for row in front:
        assert row["candidate"] in searched.printed
    assert "90 % interval" in searched.printed


def test_the_front_as_json_has_its_keys_and_whole_numbers(front):
    assert front
    for row in front:
        assert list(row)[: len(FRONT_KEYS)] == FRONT_KEYS
        assert row["target"] == "host"
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
        assert row["latency_p90_ms"] >= row["latency_ms"] > 0
        for key in ("trial", "size_bytes", "parameters", "macs"):
            assert type(row[key]) is int


def test_the_front_as_csv_has_the_same_rows(listing, front):
    text = listing("front", "tiny", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == list(front[0])
    assert [row["candidate"] for row in rows] == [row["candidate"] for row in front]


def test_trials_as_json_tell_configuration_epochs_and_end(trials):
    assert [trial["number"] for trial in trials] == list(range(len(trials)))
    states = {trial["state"] for trial in trials}
    assert states == {"complete", "infeasible"}
    for trial in trials:
        assert set(trial) >= TRIAL_KEYS
        assert trial["config"]["architecture/stages"] == 2
        assert trial["error"] is None
        assert len(trial["epochs"]) == (2 if trial["state"] == "complete" else 0)
        stages = {"build", "cost"}
        if trial["state"] == "complete":
            stages |= {"train", "convert", "quantize", "measure"}
        assert set(trial["stage_seconds"]) == stages


def test_an_independent_run_of_every_file_gives_the_stored_figures(searched, trials):
    """Neither our runner nor our metrics: LiteRT's own interpreter and NumPy."""
    view = autosearch.open_study("tiny", storage=searched.storage)
    frame = view.candidates_frame()
    images, labels = Digits().load("validation")
    seen = set()
    for row in frame.itertuples():
        content = Path(row.artifact).read_bytes()
        assert len(content) == row.size_bytes
        config = trials[row.trial]["config"]
        words = {k: config[f"preprocessing/{k}"] for k in ("size", "color", "resize", "fit")}
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        entry, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        scale, zero_point = entry["quantization"]
        if row.quantization == "int8":
            assert (entry["dtype"], answer["dtype"]) == (np.uint8, np.uint8)
            assert (scale, zero_point) == (1.0, 0)
        num_correct = 0
        for image, label in zip(prepare_all(images, **words), labels, strict=True):
            values = image.astype(np.float32)
            if scale:
                values = np.round(values / scale) + zero_point
            interpreter.set_tensor(entry["index"], values[np.newaxis].astype(entry["dtype"]))
            interpreter.invoke()
            num_correct += int(np.argmax(interpreter.get_tensor(answer["index"])[0]) == label)
        assert num_correct / len(labels) == row.accuracy
        seen.add(row.quantization)
    assert seen == SCHEMES


@pytest.mark.skipif(find_spec("tflite_micro") is None, reason="needs tflite-micro")
def test_the_arena_is_measured_where_the_microcontroller_runtime_runs_the_file(searched):
    frame = autosearch.open_study("tiny", storage=searched.storage).candidates_frame()
    for row in frame.itertuples():
        runs = row.quantization in ("float32", "int8", "int16x8")
        assert (row.memory_bytes > 0) == runs
        assert ("memory_bytes" in row.reasons) != runs


def test_show_tells_everything_about_a_candidate(listing, front):
    name = front[0]["candidate"]
    shown = json.loads(listing("show", "tiny", name, "--format", "json"))
    assert shown["size_bytes"] == front[0]["size_bytes"]
    assert len(shown["epochs"]) == 2
    assert shown["target_description"]["threads"] == 1
    lines = listing("show", "tiny", name).splitlines()
    assert lines[0] == f"Candidate {name} of tiny"
    assert ["size_bytes", f"{front[0]['size_bytes']:,}"] in [line.split() for line in lines]
    assert any(line.startswith("  training/learning_rate") for line in lines)


def test_studies_lists_the_study(listing):
    (row,) = json.loads(listing("studies", "--format", "json"))
    assert (row["study"], row["counted"], row["budget"]) == ("tiny", 5, 5)


def test_running_the_finished_study_again_adds_nothing(searched, listing):
    finished = searched.autosearch("run", searched.study_file)
    assert finished.returncode == 0
    (row,) = json.loads(listing("studies", "--format", "json"))
    assert row["counted"] == 5


def test_trials_as_a_table_says_why_a_trial_ended_early(listing, trials):
    heading, *lines = listing("trials", "tiny").splitlines()
    assert heading.split()[:2] == ["trial", "state"]
    for line, trial in zip(lines, trials, strict=True):
        assert line.split()[:2] == [str(trial["number"]), trial["state"]]
        assert ("breaks size_bytes ≤ 30000" in line) == (trial["state"] == "infeasible")
        if trial["epochs"]:
            assert f"{max(epoch['accuracy'] for epoch in trial['epochs']):.3f}" in line


def test_the_kinds_of_figures_are_those_that_candidates_have():
    assert [*FigureKind] == [*Estimate]


def test_a_target_can_be_named(listing, front):
    (target,) = {row["target"] for row in front}
    named = json.loads(listing("front", "tiny", "--target", target, "--format", "json"))
    assert [row["candidate"] for row in named] == [row["candidate"] for row in front]


@pytest.fixture
def copied(searched, tmp_path):
    """The storage of a copy of the study, to change."""
    shutil.copytree(searched.folder, tmp_path / "copy")
    return f"sqlite:///{tmp_path / 'copy' / 'tiny.db'}"


def test_a_front_without_its_predictions_is_printed_all_the_same(copied, front, autosearch_here):
    store = ArtifactStore.beside(Database.open_to_read(copied))
    frame = autosearch.open_study("tiny", storage=copied).candidates_frame()
    store.delete(set(frame["predictions_sha256"]))
    ended = autosearch_here("front", "tiny", "--storage", copied)
    assert ended.returncode == 0
    assert all(row["candidate"] in ended.stdout for row in front)
    assert "Nothing can be suggested: artifact " in ended.stderr
    assert "Suggested: " not in ended.stderr


def test_each_kind_of_figure_has_its_own_candidate_marked(copied, autosearch_here):
    view = autosearch.open_study("tiny", storage=copied)
    row = records(view.front_frame())[0]
    recorder = Recorder(Database.open_to_write(copied), view.id)
    words = {"num_folds": 5, "data_fingerprint": view.data_fingerprint}
    recorder.start_finalist(row["trial"], None, **words)
    again = CandidateResult(
        quantization=row["quantization"],
        metrics={name: row[name] for name in ("accuracy", "size_bytes", "latency_ms")},
        accuracy_low=row["accuracy_low"],
        accuracy_high=row["accuracy_high"],
        estimate=Estimate.CROSS_VALIDATION,
        predictions=row["predictions_sha256"],
        conditions={"num_folds": 5, "num_validation_images": 359, "fitted_on": "training images"},
    )
    recorder.finish_finalist(
        row["trial"],
        **words,
        candidates=[again],
        feasible=[row["quantization"]],
        target=host_target(),
    )

    def marked(estimate):
        words = ("--storage", copied, "--estimate", estimate, "--format", "json")
        ended = autosearch_here("front", "tiny", *words)
        assert f"Suggested: {row['candidate']}-refit " in ended.stderr
        return [found["candidate"] for found in json.loads(ended.stdout) if found["suggested"]]

    assert marked("validation") == [suggest(view, estimate=Estimate.VALIDATION).candidate]
    assert marked("cross_validation") == [f"{row['candidate']}-refit"]


def test_a_kind_of_figure_that_is_not_there_is_no_infeasible_study(searched, autosearch_here):
    words = ("front", "tiny", "--estimate", "cross_validation", "--storage", searched.storage)
    ended = autosearch_here(*words)
    assert ended.stdout == ""
    assert 'No candidate of "tiny" has a figure of cross-validation yet.' in ended.stderr
    assert "feasible" not in ended.stderr


@pytest.mark.parametrize("command", ["front", "suggest", "trials"])
def test_what_only_reads_loads_no_sampler(searched, command):
    code = (
        "import sys\n"
        "from autosearch.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "assert not {'tensorflow', 'optuna', 'sklearn'} & set(sys.modules)\n"
    )
    words = [sys.executable, "-c", code, command, "tiny", "--storage", searched.storage]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_table_takes_no_heading_for_markup_and_lines_up_wide_characters(capsys):
    rows = [{"name": "[/猫]", "猫": 1, "end": "x"}, {"name": "dog", "猫": 12, "end": "x"}]
    columns = {"name": "[/name]", "猫": "[bold]猫猫", "end": "end"}
    emit(rows, OutputFormat.TABLE, columns=columns)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading == "[/name]  [bold]猫猫  end"
    assert lines == ["[/猫]             1  x", "dog              12  x"]
    assert {cell_len(line) for line in lines} == {cell_len(heading) - 2}


def test_in_csv_a_list_is_json_whatever_holds_it(capsys):
    emit([{"a": (1, 2), "b": [1, 2]}], OutputFormat.CSV, columns={})
    assert capsys.readouterr().out == 'a,b\n"[1, 2]","[1, 2]"\n'


def test_what_an_encoding_lacks_is_escaped_as_json_is(cli, tmp_path):
    storage = f"sqlite:///{tmp_path / 'x.db'}"
    study = Study(
        name="é猫🙂",
        evaluator=lambda trial: {"accuracy": trial.hp.Float("x", 0, 1)},
        objectives=[maximize("accuracy")],
        budget=Budget(trials=1),
    )
    autosearch.run(study, storage=storage)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = cli("studies", "--storage", storage, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert r"\u00e9\u732b" in ended.stdout
    ended = cli("studies", "--storage", storage, "--format", "json", env=environment)
    assert json.loads(ended.stdout)[0]["study"] == "é猫🙂"


def test_without_a_row_csv_names_the_columns_that_rows_would_have(autosearch_here, tmp_path):
    storage = f"sqlite:///{tmp_path / 'empty.db'}"
    Database.open_to_write(storage)
    for command, last in (("studies", "created_at"), ("models", "test_reading")):
        ended = autosearch_here(command, "--format", "csv", "--storage", storage)
        (header,) = csv.reader(io.StringIO(ended.stdout))
        assert header[-1] == last


def test_one_failure_does_not_hide_that_nothing_keeps_the_bounds(tmp_path):
    def evaluate(trial):
        trial.suggest_float("x", 0, 1)
        if trial.number == 2:
            raise ValueError("no")
        trial.check_cost(size_bytes=2000)

    study = Study(
        name="tight",
        evaluator=evaluate,
        objectives=[maximize("accuracy")],
        constraints=[at_most("size_bytes", 1000)],
        budget=Budget(trials=4),
        sampler="random",
    )
    view = autosearch.run(study, storage=f"sqlite:///{tmp_path / 'tight.db'}")
    said = _why_no_front(view, FigureKind.VALIDATION)
    assert "none of 4 trials keeps size_bytes ≤ 1000 (1 more failed)" in said
