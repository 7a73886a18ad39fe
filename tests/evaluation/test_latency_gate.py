"""Nothing is timed while another worker of the machine computes."""

import subprocess
import sys
import threading
import time

import pytest

from autosearch.evaluation import latency
from autosearch.evaluation.latency import measure_latency, reference_file
from autosearch.evaluation.latency_gate import Gate


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gate" / "training.lock"


class Trains(threading.Thread):
    """Computes until it is told to end, and notes when."""

    def __init__(self, gate, *, gives_way=True):
        super().__init__(daemon=True)
        self.gate = gate
        self.gives_way = gives_way
        self.moments = []
        self.has_ended = threading.Event()

    def run(self):
        with self.gate.at_work():
            while not self.has_ended.wait(0.005):
                self.moments.append(time.monotonic())
                if self.gives_way:
                    self.gate.give_way()


@pytest.fixture
def training(path):
    def start(count=1, **words):
        started = [Trains(Gate(path), **words) for _ in range(count)]
        for one in started:
            one.start()
        while not all(one.moments for one in started):
            time.sleep(0.01)
        threads.extend(started)
        return started

    threads = []
    yield start
    for one in threads:
        one.has_ended.set()
        one.join()


def test_others_stand_still_while_one_measures_and_then_go_on(path, training):
    others = training(3)
    own = Gate(path)
    # Even two that compute can measure in turn, without waiting for each other for ever.
    with own.at_work():
        for _ in range(2):
            with own.quiet() as is_quiet:
                began = time.monotonic()
                time.sleep(0.15)
                ended = time.monotonic()
            assert is_quiet
            for other in others:
                assert not [m for m in other.moments if began + 0.02 < m < ended]
    time.sleep(0.3)
    assert all(other.moments[-1] > ended for other in others)


def test_who_never_gives_way_is_not_waited_for_for_ever(path, training):
    training(gives_way=False)
    began = time.monotonic()
    with Gate(path, patience_s=0.3).quiet() as is_quiet:
        assert not is_quiet
    assert 0.2 < time.monotonic() - began < 10


def test_who_waited_in_vain_waits_half_as_long_the_next_time(path, training):
    training(gives_way=False)
    gate, waited = Gate(path, patience_s=0.8), []
    for _ in range(3):
        began = time.monotonic()
        with gate.quiet():
            waited.append(time.monotonic() - began)
    assert waited[0] > 0.7
    assert waited[2] < waited[0] / 2


def test_a_process_that_is_killed_lets_go(path):
    code = (
        "import pathlib, sys, time; from autosearch.evaluation.latency_gate import Gate\n"
        "with Gate(pathlib.Path(sys.argv[1])).at_work(): print('in', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        with Gate(path, patience_s=0.2).quiet() as is_quiet:
            assert not is_quiet
        other.kill()
        other.wait()
        with Gate(path).quiet() as is_quiet:
            assert is_quiet


def test_where_no_lock_can_be_made_everybody_passes(tmp_path):
    (tmp_path / "file").touch()
    gate = Gate(tmp_path / "file" / "training.lock")
    with gate.at_work():
        gate.give_way()
        with gate.quiet() as is_quiet:
            assert not is_quiet


@pytest.mark.parametrize("others_give_way", [True, False])
def test_a_latency_says_whether_it_was_taken_in_quiet(monkeypatch, path, training, others_give_way):
    gate = Gate(path, patience_s=30 if others_give_way else 0.1)
    monkeypatch.setattr(latency, "machine_gate", lambda: gate)
    training(gives_way=others_give_way)
    found = measure_latency({"a": reference_file()}, seconds_per_file=0.02, num_blocks=2)["a"]
    assert found.is_quiet == others_give_way
