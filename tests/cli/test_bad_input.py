"""A user's mistake gets one clear line and exit code 1 or 2, never a traceback."""

import subprocess
import sys

import pytest

from autosearch.cli.main import app

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
def test_a_faulty_study_file(cli, tmp_path, text, sentence):
    path = tmp_path / "study.py"
    path.write_text(text)
    finished = cli("run", path, "--storage", f"sqlite:///{tmp_path / 'x.db'}")
    assert sentence in one_line(finished, 2)
    assert not (tmp_path / "x.db").exists()


def test_a_missing_study_file(cli, tmp_path):
    assert "there is no study file" in one_line(cli("run", tmp_path / "none.py"), 2)


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
def test_what_is_not_there_is_named(searched, words, code, sentence):
    assert sentence in one_line(searched.autosearch(*words), code)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////nowhere/at/all.db", "there is no database"),
        ("nonsense", "there is no database"),
        ("nonsense://x", "is not a database URL"),
    ],
)
def test_a_database_that_cannot_be_used(cli, url, sentence, tmp_path):
    finished = cli("front", "tiny", "--storage", url, cwd=tmp_path)
    assert sentence in one_line(finished, 2 if "there is no" in finished.stderr else 1)


def test_a_server_that_is_not_there(cli):
    finished = cli("studies", "--storage", "postgresql://nobody@127.0.0.1:1/none")
    one_line(finished, 1)


def test_verify_of_a_folder_that_is_no_bundle(cli, tmp_path):
    assert "it is not a bundle" in one_line(cli("verify", tmp_path), 1)
    assert "there is no folder" in one_line(cli("verify", tmp_path / "none"), 2)


def test_debug_shows_the_traceback(cli, tmp_path):
    finished = cli("--debug", "run", tmp_path / "none.py")
    assert finished.returncode == 2
    assert "Traceback" in finished.stderr


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


def test_every_command_has_an_example():
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert f"Example: autosearch {name}" in command.callback.__doc__


def test_importing_autosearch_loads_no_heavy_package():
    code = (
        "import sys, autosearch\n"
        "heavy = {'tensorflow', 'keras', 'optuna', 'keras_tuner', 'streamlit', 'ray'}\n"
        "assert not heavy & set(sys.modules)\n"
        "assert autosearch.__all__ == sorted(autosearch.__all__)\n"
        "assert all(getattr(autosearch, name) is not None for name in autosearch.__all__)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
