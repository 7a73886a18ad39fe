"""A user's mistake gets one clear line and exit code 1 or 2, never a traceback."""

import contextlib
import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import autosearch
from autosearch.cli.main import app
from autosearch.store.database import VERSION_TABLE, Database

HEAD = """
from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN
"""
STUDY = "study = Study(name='s', dataset=Digits(), space=SearchSpace({}), objectives=[{}])"


def one_line(finished, code):
    assert finished.returncode == code, finished.stderr
    assert "Traceback" not in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1, finished.stderr
    return finished.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "declares no study"),
        ("x = ", "line 1"),
        ("import nothing_of_that_name", "nothing_of_that_name"),
        (HEAD + STUDY.format("", "maximize('acuracy')"), 'objective "acuracy" is not known'),
        (
            HEAD + STUDY.format("architecture=CNN(stages=(5, 2))", "maximize('accuracy')"),
            "low 5 is above high 2",
        ),
        (
            HEAD + "study = Study(name='s', dataset=Digits(), objectives=[maximize('accuracy')])",
            "space is missing",
        ),
        (HEAD + STUDY.format("", "maximize('accuracy')").replace("objectives=[", "objective=["),
         "objective"),
    ],
    ids=["empty", "syntax", "import", "objective", "range", "space", "keyword"],
)  # fmt: skip
def test_a_faulty_study_file(autosearch_here, tmp_path, text, sentence):
    path = tmp_path / "study.py"
    path.write_text(text)
    finished = autosearch_here("run", path, "--storage", f"sqlite:///{tmp_path / 'x.db'}")
    assert sentence in one_line(finished, 2)
    assert not (tmp_path / "x.db").exists()


def test_a_missing_study_file(autosearch_here, tmp_path):
    for command in ("run", "check"):
        finished = autosearch_here(command, tmp_path / "none.py")
        assert "there is no study file" in one_line(finished, 2)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("front", "other"), 2, 'there is no study "other"; expected one of: tiny'),
        (("show", "tiny", "99-int8"), 2, 'has no candidate "99-int8"'),
        (("promote", "tiny", "99-int8"), 2, 'has no candidate "99-int8"'),
        (("export", "other", "--output", "x"), 2, 'there is no model "other"'),
        (("front", "tiny", "--target", "moon"), 2, 'measured on "moon"; expected one of: host'),
    ],
)
def test_what_is_not_there_is_named(searched, autosearch_here, words, code, sentence):
    finished = autosearch_here(*words, "--storage", searched.storage)
    assert sentence in one_line(finished, code)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////nowhere/at/all.db", "there is no database"),
        ("nonsense", "there is no database"),
        ("nonsense://x", "is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used(autosearch_here, url, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished = autosearch_here("front", "tiny", "--storage", url)
    assert sentence in one_line(finished, 2 if "there is no" in finished.stderr else 1)
    assert not list(tmp_path.iterdir())


def test_what_the_system_refuses_is_said_with_the_name_of_the_file(autosearch_here, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "a/locked.db")

    monkeypatch.setattr(Path, "exists", refuse)
    monkeypatch.setattr(Path, "is_file", refuse)
    said = one_line(autosearch_here("front", "tiny", "--storage", "sqlite:///a/locked.db"), 1)
    assert '"a/locked.db" cannot be used (Permission denied)' in said


def test_a_dashboard_of_the_users_own_is_not_taken_for_ours(tmp_path):
    (tmp_path / "dashboard.py").write_text("raise SystemExit('not this one')")
    finished = subprocess.run(
        [sys.executable, "-m", "autosearch", "dashboard", "--storage", "sqlite:///none.db"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "there is no database" in one_line(finished, 2)


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_a_listing_of_nothing_can_be_read_by_programs(autosearch_here, tmp_path, output_format):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    Database.open_to_write(url).close()
    for words in (("models",), ("studies",)):
        printed = autosearch_here(*words, "--storage", url, "--format", output_format).stdout
        if output_format == "csv":
            assert csv.DictReader(io.StringIO(printed)).fieldnames
        else:
            assert json.loads(printed) == []


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", "postgresql://x"])
def test_a_server_that_is_not_there(autosearch_here, url):
    """Without its driver too: the sentence then says what to install."""
    said = one_line(autosearch_here("studies", "--storage", url), 1)
    assert "postgresql://" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("front",), "missing argument 'STUDY'; see: autosearch front --help"),
        (("fronts", "tiny"), "no such command 'fronts'"),
        (("front", "tiny", "--format", "xml"), "'xml' is not one of 'table', 'json', 'csv'"),
        (("front", "tiny", "--zenith"), "no such option: --zenith; see: autosearch front --help"),
        (("run", "study.py", "--trials", "0"), "greater than or equal to 1"),
        (("export", "tiny"), "missing option '--output'"),
    ],
)
def test_a_misused_command(autosearch_here, words, sentence):
    assert sentence in one_line(autosearch_here(*words), 2)


def test_verify_of_a_folder_that_is_no_bundle(autosearch_here, tmp_path):
    assert "it is not a bundle" in one_line(autosearch_here("verify", tmp_path), 1)
    assert "there is no folder" in one_line(autosearch_here("verify", tmp_path / "none"), 2)


@pytest.mark.parametrize("words", [("--debug", "run", "none.py"), ("run", "none.py", "--debug")])
def test_debug_shows_the_traceback(autosearch_here, words):
    finished = autosearch_here(*words)
    assert finished.returncode == 2
    assert "Traceback" in finished.stderr
    assert finished.stderr.splitlines()[-1].startswith("autosearch: there is no study file")


def test_no_word_is_a_request_for_help(autosearch_here):
    ended = autosearch_here()
    assert ended.returncode == 0
    assert "Usage: autosearch [OPTIONS] COMMAND" in ended.stdout


def test_a_group_without_a_command_is_one_too(autosearch_here):
    ended = autosearch_here("data")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Usage: autosearch data [OPTIONS] COMMAND" in ended.stdout


def test_a_database_of_a_newer_version_is_not_run_in(autosearch_here, tmp_path):
    path = tmp_path / "newer.db"
    Database.open_to_write(str(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    study = tmp_path / "study.py"
    study.write_text(HEAD + STUDY.format("architecture=CNN()", "maximize('accuracy')"))
    for words in (("run", study), ("studies",), ("stop", "s")):
        said = one_line(autosearch_here(*words, "--storage", path), 1)
        assert "has schema 9999" in said
        assert "a newer version wrote it; install that one" in said


def test_the_version_is_the_packages(autosearch_here):
    assert autosearch_here("--version").stdout == f"autosearch {autosearch.__version__}\n"


def test_a_fault_of_ours_is_one_line_too(autosearch_here, tmp_path):
    (tmp_path / "study.py").write_text(
        HEAD
        + """
class Broken(Digits):
    def definition(self):
        raise RuntimeError("out of order")
"""
        + STUDY.format("", "maximize('accuracy')").replace("Digits()", "Broken()")
    )
    ended = autosearch_here("run", tmp_path / "study.py", "--storage", tmp_path / "x.db")
    assert one_line(ended, 1) == (
        "autosearch: RuntimeError: out of order; see where with --debug\n"
    )


def test_help_answers_without_loading_what_it_does_not_need():
    code = (
        "import sys\n"
        "from autosearch.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "heavy = {'tensorflow', 'keras', 'optuna', 'pandas', 'sqlalchemy', 'sklearn', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert "promote" in finished.stdout


def all_commands():
    """What is typed after autosearch, to the command that it runs."""
    found = {}
    for name, command in get_command(app).commands.items():
        inner = getattr(command, "commands", {})
        found |= {f"{name} {word}": of for word, of in inner.items()} or {name: command}
    return found


def test_every_command_has_an_example():
    commands = all_commands()
    assert {"run", "data inspect"} <= set(commands)
    for name, command in commands.items():
        assert f"Example: autosearch {name}" in command.callback.__doc__


def test_what_the_readme_types_exists():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    commands = all_commands()
    code = "\n".join(
        a or b for a, b in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", text, re.DOTALL)
    )
    typed = re.findall(r"^(?:\w+=\w+ |\S+/)?autosearch (.+)", code, re.MULTILINE)
    assert len(typed) > 15
    for line in typed:
        name = next((n for n in commands if line == n or line.startswith(f"{n} ")), None)
        assert name is not None, line
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= options, line
