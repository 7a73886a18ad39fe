"""What is timed on a machine that others slow."""

import pytest

from autosearch.evaluation.latency import (
    host_target,
    measure_latency,
    reference_file,
    times_at_rest,
)
from autosearch.evaluation.pace import Pace, pace_of


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine on which nothing was timed yet."""
    monkeypatch.setenv("AUTOSEARCH_CACHE", str(tmp_path / "cache"))
    pace_of.cache_clear()
    yield tmp_path / "cache"
    pace_of.cache_clear()


def test_a_machine_is_as_slow_as_the_reference_says_against_its_least_time():
    pace = Pace("a")
    assert not pace.is_known
    assert pace.slowdown(0.5) == 1.0
    pace.learn(0.10)
    pace.learn(0.20)
    # It repeats within some percent at rest.
    assert pace.slowdown(0.104) == 1.0
    assert pace.slowdown(0.21) == pytest.approx(2.0)


def test_another_process_knows_it_and_another_machine_does_not():
    Pace("a").learn(0.10)
    assert Pace("a").slowdown(0.21) == pytest.approx(2.0)
    assert not Pace("b").is_known
    Pace("a").learn(0.05)
    assert Pace("a").slowdown(0.21) == pytest.approx(4.0)


def test_a_file_that_was_cut_off_or_cannot_be_written_is_no_obstacle(machine):
    machine.mkdir()
    (machine / "pace-a.txt").write_text("")
    assert not Pace("a").is_known
    Pace("a").learn(0.1)
    assert Pace("a").is_known
    (machine / "pace-b.txt").mkdir()
    pace = Pace("b")
    pace.learn(0.1)
    assert pace.slowdown(0.21) == pytest.approx(2.0)
    assert not Pace("b").is_known


def test_what_is_timed_beside_others_is_what_it_would_be_at_rest():
    files = {"a": reference_file()}
    first = measure_latency(files, seconds_per_file=0.02)["a"]
    # As if it had once been ten times as fast.
    pace_of(str(host_target()["key"])).learn(first.reference_ms / first.slowdown / 10)
    again = measure_latency(files, seconds_per_file=0.02)["a"]
    assert again.slowdown > 2
    assert again.at_rest_p50_ms == pytest.approx(again.p50_ms / again.slowdown)
    told = times_at_rest(again)
    assert told["latency_ms"] == pytest.approx(again.at_rest_p50_ms, rel=0.06)
    assert told["latency_p90_ms"] >= told["latency_ms"]
    assert times_at_rest(None) == {"latency_ms": None, "latency_p90_ms": None}
