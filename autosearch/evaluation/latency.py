"""How long one inference takes on this machine, beside a reference that never changes.

The time of a file of 20 µs differs by more than 10 % between two measurements in 10 to 38 % of
cases, even at rest. So a latency is the median over short blocks that alternate with blocks of a
fixed reference file, whose time tells how much slower than at rest the machine was, and is stored
beside it. Needs no TensorFlow.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autosearch.evaluation.latency_gate import machine_gate
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.pace import pace_of

__all__ = [
    "Latency",
    "host_target",
    "measure_latency",
    "reference_file",
    "significant",
    "times_at_rest",
]

_NUM_THREADS = 1
_MIN_RUNS_PER_BLOCK = 3
_MIN_BLOCKS = 3
_TIMES_LONGER = 10
"""A slow file is timed for up to so many times as long as it should be: all others wait."""
_WARM_UP_SHARE = 0.1
_CPUINFO = Path("/proc/cpuinfo")
_ARM_CORE = ("CPU implementer", "CPU variant", "CPU part", "CPU revision")
_FIRST_BLOCKS = 100
_FIRST_BLOCK_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one inference of one file, batch 1, one thread.

    Attributes:
        p50_ms: Median, over the blocks, of a block's median, in milliseconds.
        p90_ms: Median, over the blocks, of a block's 90th percentile; at least ``p50_ms``.
        reference_ms: ``p50_ms`` of the reference file, measured in the same minute.
        num_runs: Inferences that were timed.
        slowdown: How many times as long as at rest the reference took, at least 1.
        is_quiet: Whether no other worker of this machine computed meanwhile.
    """

    p50_ms: float
    p90_ms: float
    reference_ms: float
    num_runs: int
    slowdown: float
    is_quiet: bool

    @property
    def at_rest_p50_ms(self) -> float:
        """What the median would be at rest: comparable, whatever else runs on the machine."""
        return self.p50_ms / self.slowdown

    @property
    def at_rest_p90_ms(self) -> float:
        """What the 90th percentile would be at rest."""
        return self.p90_ms / self.slowdown


def measure_latency(
    files: Mapping[str, bytes], *, seconds_per_file: float = 0.05, num_blocks: int = 10
) -> dict[str, Latency]:
    """Time files against each other and against the reference file.

    Each round runs one block of the reference and one of every file, so that whatever slows the
    machine for a moment meets them all. Other workers of this machine are waited for, and wait.

    Args:
        files: Contents of ``.tflite`` files by any name.
        seconds_per_file: Seconds spent timing each file; slow ones take longer, since a block
            holds at least 3 runs, of which there is then one, in as many rounds as ten times the
            seconds allow, and at least three. Warming up takes a tenth more. All other workers
            wait for that long, and three times as long repeats little better.
        num_blocks: Rounds.

    Returns:
        A latency for every name.

    Raises:
        ConversionError: A file cannot be read.
        ValueError: ``seconds_per_file`` or ``num_blocks`` is not positive.
    """
    if seconds_per_file <= 0 or num_blocks < 1:
        raise ValueError(
            f"Got seconds_per_file={seconds_per_file} and num_blocks={num_blocks}; expected both "
            "to be positive."
        )
    if not files:
        return {}
    reference = _loaded(reference_file())
    models = {name: _loaded(file) for name, file in files.items()}
    block_ns = int(seconds_per_file * 1e9 / num_blocks)
    pace = pace_of(str(host_target()["key"]))
    reference_medians: list[float] = []
    blocks: dict[str, list[list[int]]] = {name: [] for name in models}
    with machine_gate().quiet() as is_quiet:
        warm_up_ns = int(seconds_per_file * 1e9 * _WARM_UP_SHARE)
        longest_ns = int(seconds_per_file * 1e9 * _TIMES_LONGER)
        _time_block(reference, warm_up_ns)
        is_slow = {
            name: _time_block(model, warm_up_ns, 1)[-1] > longest_ns / num_blocks
            for name, model in models.items()
        }
        left_ns = dict.fromkeys(models, longest_ns)
        for number in range(num_blocks):
            reference_medians.append(float(np.median(_time_block(reference, block_ns))))
            for name, model in models.items():
                if number >= _MIN_BLOCKS and left_ns[name] <= 0:
                    continue
                least_runs = 1 if is_slow[name] else _MIN_RUNS_PER_BLOCK
                blocks[name].append(_time_block(model, block_ns, least_runs))
                left_ns[name] -= sum(blocks[name][-1])
        if not pace.is_known:
            # What is timed first may be timed beside other programs, and is what all is held to.
            pace.learn(_time_at_rest(reference))
    reference_ms = float(np.median(reference_medians)) / 1e6
    pace.learn(reference_ms)
    slowdown = pace.slowdown(reference_ms)
    return {
        name: Latency(
            p50_ms=float(np.median([np.median(block) for block in measured])) / 1e6,
            p90_ms=float(np.median([np.percentile(block, 90) for block in measured])) / 1e6,
            reference_ms=reference_ms,
            num_runs=sum(len(block) for block in measured),
            slowdown=slowdown,
            is_quiet=is_quiet,
        )
        for name, measured in blocks.items()
    }


def times_at_rest(latency: Latency | None) -> dict[str, float | None]:
    """The metrics ``latency_ms`` and ``latency_p90_ms`` of a file, None if it was not timed."""
    if latency is None:
        return {"latency_ms": None, "latency_p90_ms": None}
    return {
        "latency_ms": significant(latency.at_rest_p50_ms),
        "latency_p90_ms": significant(latency.at_rest_p90_ms),
    }


def significant(value: float, digits: int = 2) -> float:
    """The value with as many digits as a measured time deserves.

    Two latencies that differ by less than a measurement repeats are then equal, and dominance
    compares what it is given without a tolerance, which would not be transitive.

    Example:
        >>> significant(0.012345), significant(1.96)
        (0.012, 2.0)
    """
    return float(f"{value:.{digits - 1}e}")


def reference_file() -> bytes:
    """The content of the reference file: a fixed float32 network of about 0.1 ms."""
    return (
        importlib.resources.files("autosearch.evaluation").joinpath("reference.tflite").read_bytes()
    )


def host_target(name: str = "host") -> dict[str, str | int]:
    """Say what a latency measured here holds for.

    Args:
        name: What to call this machine.

    Returns:
        ``name``, ``cpu`` (model name), ``logical_cores``, ``threads`` (that one
        inference uses), ``runtime`` (with its version), ``kernels``, ``system``,
        ``architecture``, and ``key``, a digest of the others: equal keys, comparable latencies.
    """
    target: dict[str, str | int] = {
        "name": name,
        "cpu": _cpu_model(),
        "logical_cores": os.cpu_count() or 1,
        "threads": _NUM_THREADS,
        "runtime": f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}",
        "kernels": "XNNPACK default",
        "system": platform.system(),
        "architecture": platform.machine(),
    }
    words = json.dumps(target, sort_keys=True).encode()
    return {"key": hashlib.sha256(words).hexdigest()[:12], **target}


def _loaded(file: bytes) -> TFLiteModel:
    model = TFLiteModel(file, num_threads=_NUM_THREADS)
    # Noise rather than zeros, whose arithmetic some kernels and processors shorten.
    pixels = np.random.default_rng(0).integers(0, 256, model.input.shape[1:], dtype=np.uint8)
    model.fill_input(pixels)
    return model


def _time_at_rest(reference: TFLiteModel) -> float:
    """Milliseconds that the reference takes in the quiet moments of two seconds."""
    medians = [np.median(_time_block(reference, _FIRST_BLOCK_NS)) for _ in range(_FIRST_BLOCKS)]
    return float(np.quantile(medians, 0.1)) / 1e6


def _time_block(
    model: TFLiteModel, duration_ns: int, least_runs: int = _MIN_RUNS_PER_BLOCK
) -> list[int]:
    """Nanoseconds of each inference, one after the other for at least that long."""
    invoke, clock = model.invoke, time.perf_counter_ns
    runs: list[int] = []
    start = clock()
    end = start + duration_ns
    while start < end or len(runs) < least_runs:
        invoke()
        now = clock()
        runs.append(now - start)
        start = now
    return runs


def _cpu_model() -> str:
    if _CPUINFO.is_file():
        lines = _CPUINFO.read_text(errors="replace").splitlines()
        facts = {
            name.strip(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        if "model name" in facts:
            return facts["model name"]
        # ARM's cores have numbers, and some boards a name.
        arm = [facts[name] for name in ("Model", *_ARM_CORE) if facts.get(name)]
        if arm:
            return " ".join([platform.machine(), *arm])
    if sys.platform == "darwin":
        # To platform.processor every Mac with Apple silicon is "arm".
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                asked, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
    return platform.processor() or platform.machine() or "unknown"
