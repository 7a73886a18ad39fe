"""What several tests share: a real study, searched once."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

# A property is as true on a busy machine, where one example may take long.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


@pytest.fixture(scope="session", autouse=True)
def image_cache(tmp_path_factory):
    """Keeps decoded photos out of the user's own cache, those of child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEARCH_CACHE", str(tmp_path_factory.mktemp("image-cache")))
        yield


STUDY = """
from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Augmentation, ClassWeighting, Preprocessing, Training

study = Study(
    name="tiny",
    dataset=Digits(),
    space=SearchSpace(
        preprocessing=Preprocessing(size=[8, 12], color="greyscale"),
        architecture=CNN(stages=2, width=[8, 64], width_growth=2.0, blocks_per_stage=1,
                         kernel_size=3, block="plain", attention="none", dropout=0.0),
        augmentation=Augmentation(shift=[0.0, 0.05]),
        weighting=ClassWeighting(method=["none", "balanced"]),
        training=Training(epochs=2, optimizer="adam", learning_rate=0.01, schedule="constant",
                          batch_size=64),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 30_000)],
    budget=Budget(trials=5),
)
"""


@dataclass(frozen=True)
class Searched:
    """A study that the command line searched, in a folder of its own."""

    folder: Path
    study_file: Path
    storage: str
    printed: str

    def autosearch(self, *words: str, **options) -> subprocess.CompletedProcess:
        return autosearch(*words, "--storage", self.storage, **options)


def autosearch(*words: str, **options) -> subprocess.CompletedProcess:
    """Runs the command line as a user does, in a process of its own."""
    code = "import sys; from autosearch.cli.main import main; sys.argv[0] = 'autosearch'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


@pytest.fixture(scope="session")
def cli():
    return autosearch


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    study_file = folder / "tiny.py"
    study_file.write_text(STUDY)
    storage = f"sqlite:///{folder / 'tiny.db'}"
    finished = autosearch("run", study_file, "--storage", storage, "--seed", "1")
    assert finished.returncode == 0, finished.stderr
    return Searched(folder, study_file, storage, finished.stdout)


@pytest.fixture
def autosearch_here(capsys, monkeypatch):
    """Runs a command in this process, which takes a tenth of the time of one of its own."""
    from autosearch.cli.main import main

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["autosearch", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed, said = capsys.readouterr()
        return subprocess.CompletedProcess(words, ended.value.code or 0, printed, said)

    return run


@dataclass(frozen=True)
class Bundle:
    """An export of one candidate of the searched study, in a database of its own."""

    folder: Path
    storage: str
    candidate: dict


@pytest.fixture(scope="session")
def bundle(searched, tmp_path_factory) -> Bundle:
    """The best int8 candidate, promoted and exported."""
    from autosearch import open_study
    from autosearch.store.view import records

    home = tmp_path_factory.mktemp("shipped") / "copy"
    shutil.copytree(searched.folder, home)
    storage = f"sqlite:///{home / 'tiny.db'}"
    # Not from the front: whether one is on it hangs on latencies of a few microseconds.
    frame = open_study("tiny", storage=storage).candidates_frame()
    files = frame[(frame["quantization"] == "int8") & frame["artifact"].notna()]
    candidate = records(files.sort_values("accuracy", ascending=False))[0]
    name = candidate["candidate"]
    for words in (
        ("promote", "tiny", name, "--model", "reader", "--note", "the first"),
        ("export", "reader", "--alias", "champion", "--output", home / "bundle", "--samples", "3"),
    ):
        finished = autosearch(*words, "--storage", storage)
        assert finished.returncode == 0, finished.stderr
    return Bundle(home / "bundle", storage, candidate)


@pytest.fixture
def plain_main(monkeypatch):
    """A main module without a file: a spawned process would run it again.

    A page of the dashboard under test leaves its script as the main module.
    """
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
