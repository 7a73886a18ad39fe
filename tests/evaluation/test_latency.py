import time

import numpy as np
import pytest

from autosearch.errors import ConversionError
from autosearch.evaluation import latency as timing
from autosearch.evaluation.latency import host_target, measure_latency, reference_file
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.quantization import quantize


@pytest.fixture(scope="module")
def files():
    images = np.random.default_rng(0).integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
    return {"same": reference_file(), "int8": quantize(reference_file(), "int8", images)}


def test_figures_are_positive_and_ordered(files):
    latencies = measure_latency(files, seconds_per_file=0.02)
    assert list(latencies) == ["same", "int8"]
    for latency in latencies.values():
        assert 0 < latency.p50_ms <= latency.p90_ms
        assert latency.reference_ms > 0
        assert latency.num_runs >= 30
    assert latencies["same"].reference_ms == latencies["int8"].reference_ms


def test_reference_measured_as_a_file_takes_as_long_as_the_reference(files):
    # A factor of 2 only: this holds on a busy machine, too, since their blocks alternate.
    latency = measure_latency({"same": files["same"]}, seconds_per_file=0.1)["same"]
    assert 0.5 < latency.p50_ms / latency.reference_ms < 2


class Slow:
    """A file of which one inference takes a fifth of a second."""

    num_runs = 0

    def invoke(self):
        Slow.num_runs += 1
        time.sleep(0.2)


def test_a_slow_file_does_not_keep_all_others_waiting(monkeypatch):
    loaded = timing._loaded
    monkeypatch.setattr(timing, "_loaded", lambda f: Slow() if f == b"slow" else loaded(f))
    found = measure_latency({"slow": b"slow", "same": reference_file()})
    assert found["slow"].num_runs == 3
    assert Slow.num_runs == 4
    assert 200 <= found["slow"].p50_ms <= found["slow"].p90_ms
    assert found["same"].num_runs >= 30


def test_nothing_to_measure_gives_nothing():
    assert measure_latency({}) == {}


def test_unreadable_files_and_impossible_durations_are_refused(files):
    with pytest.raises(ConversionError, match="LiteRT cannot read"):
        measure_latency({"broken": b"no model"})
    with pytest.raises(ValueError, match="expected both to be positive"):
        measure_latency(files, seconds_per_file=0)


def test_reference_is_small_and_fixed():
    file = reference_file()
    assert len(file) < 40_000
    pixels = np.arange(56 * 56 * 3, dtype=np.uint32).reshape(1, 56, 56, 3).astype(np.uint8)
    probabilities = TFLiteModel(file).predict(pixels)[0]
    assert probabilities.shape == (10,)
    assert probabilities.std() > 0


def test_machines_whose_processors_have_only_numbers_are_told_apart(tmp_path, monkeypatch):
    keys = set()
    for lines in (
        "processor: 0\nCPU implementer : 0x41\nCPU part : 0xd08\n\nModel : Raspberry Pi 4",
        "processor: 0\nCPU implementer : 0x41\nCPU part : 0xd0c\n",
        "processor: 0\nCPU implementer : 0x41\nCPU part : 0xd0b\n",
    ):
        file = tmp_path / "cpuinfo"
        file.write_text(lines)
        monkeypatch.setattr("autosearch.evaluation.latency._CPUINFO", file)
        keys.add(host_target()["key"])
    assert len(keys) == 3


def test_host_is_described_and_its_key_is_stable():
    target = host_target()
    assert target["name"] == "host"
    assert target["threads"] == 1
    assert int(target["logical_cores"]) >= 1
    assert str(target["runtime"]).startswith("ai-edge-litert 2.")
    assert target["kernels"] == "XNNPACK default"
    assert all(target.values())
    assert target == host_target()
