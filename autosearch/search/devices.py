"""Divides a machine among workers: processor threads, and graphics cards where there are any.

Everything is said in environment variables, which a worker is started with: TensorFlow reads them
while it is being loaded, so whoever starts a worker need not load it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
from pathlib import Path

import psutil

from autosearch.errors import DefinitionError

__all__ = [
    "installed_gpus",
    "memory_bytes",
    "num_usable_cores",
    "visible_gpus",
    "why_no_gpu",
    "worker_environments",
]

_NVIDIA_TIMEOUT_S = 20
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def memory_bytes() -> int:
    """The machine's memory, or what a container may have of it."""
    total = psutil.virtual_memory().total
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit.
            total = min(total, int((Path("/sys/fs/cgroup") / place).read_text()))
    return total


def worker_environments(
    num_workers: int, workers_per_gpu: int | None = None
) -> list[dict[str, str]]:
    """The environment variables of each worker, besides those that it inherits.

    A single worker gets all cores and one card. Of several, each gets its share of the cores, at
    least one, and the cards are dealt out in turn, their memory taken only as it is needed.

    Args:
        num_workers: How many there are.
        workers_per_gpu: How many may share a card; by default as many as must.

    Raises:
        DefinitionError: There are not cards enough.
    """
    gpus = visible_gpus()
    if workers_per_gpu is not None and gpus and num_workers > workers_per_gpu * len(gpus):
        raise DefinitionError(
            f"{num_workers} workers on {len(gpus)} GPU(s) with {workers_per_gpu} a GPU: there is "
            f"room for {workers_per_gpu * len(gpus)}; start fewer, or let more share one with "
            f"--workers-per-gpu {-(-num_workers // len(gpus))}"
        )
    environments = []
    for index in range(num_workers):
        words = {}
        if num_workers > 1:
            threads = str(max(1, num_usable_cores() // num_workers))
            names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
            words = {name: os.environ.get(name, threads) for name in names}
        if gpus:
            words |= {_VISIBLE: gpus[index % len(gpus)], "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        environments.append(words)
    return environments


def num_usable_cores() -> int:
    """The cores that this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return psutil.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The NVIDIA cards that may be used, by what ``CUDA_VISIBLE_DEVICES`` calls them."""
    chosen = os.environ.get(_VISIBLE)
    if chosen is None:
        return installed_gpus()
    names = [name.strip() for name in chosen.split(",")]
    # CUDA ignores whatever stands behind a name that is none.
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))


def installed_gpus() -> list[str]:
    """The indices of the NVIDIA cards that the driver knows; none without a driver."""
    try:
        finished = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_NVIDIA_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in finished.stdout.splitlines() if line.strip().isdigit()]


def why_no_gpu(*, is_built_with_cuda: bool, log: str) -> str | None:
    """Why TensorFlow uses none of the cards that are installed; None if there are none.

    Args:
        is_built_with_cuda: Whether this TensorFlow can use a card at all.
        log: What it wrote to standard error while it looked for devices.
    """
    gpus = installed_gpus()
    if not gpus:
        return None
    found = f"{len(gpus)} GPU(s), not used: "
    if not visible_gpus():
        return f"{found}hidden by {_VISIBLE}={os.environ[_VISIBLE]!r}; unset it to use them"
    if not is_built_with_cuda:
        return f"{found}this TensorFlow is built without CUDA; install tensorflow[and-cuda]"
    if "Cannot dlopen" in log or "Could not find cuda" in log:
        return f"{found}CUDA's libraries are not found; install tensorflow[and-cuda]"
    said = [line for line in log.splitlines() if re.search("cuda|gpu", line, re.IGNORECASE)]
    reason = said[-1].partition("] ")[2] or said[-1] if said else "TensorFlow does not say why"
    return f"{found}{reason}"
