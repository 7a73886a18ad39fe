"""Looks at what a study would run on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

import psutil

from autosearch import __version__
from autosearch.errors import AutosearchError, NotFoundError
from autosearch.search.devices import why_no_gpu
from autosearch.search.runner import environment
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database, storage_url

__all__ = ["Finding", "examine"]

_OPTIONAL = {
    "tflite-micro": "arena memory is not measured here; it has a wheel for Linux x86-64 only",
}
_TENSORFLOW_TIMEOUT_S = 120

# In a process of its own: TensorFlow takes up to 12 s to load, and may take a driver down with it.
_DEVICES = (
    "import json, tensorflow as tf;"
    "devices = [d.device_type for d in tf.config.list_physical_devices()];"
    "print(json.dumps([devices, tf.test.is_built_with_cuda()]))"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    is_ok: bool
    text: str


def examine(storage: str | None, artifacts: str | None) -> list[Finding]:
    """Looks at Python, packages, machine, devices, database and artifact store, changing none."""
    findings = [Finding("python", True, f"{platform.python_version()} on {platform.platform()}")]
    versions = {**environment()["versions"], "autosearch": __version__}
    for package, version in versions.items():
        missing = _OPTIONAL.get(package, "not installed; install autosearch again")
        is_ok = version is not None or package in _OPTIONAL
        findings.append(Finding(package, is_ok, version or missing))
    memory = psutil.virtual_memory()
    findings.append(
        Finding(
            "machine",
            True,
            f"{psutil.cpu_count()} cores, {memory.total / 1e9:.0f} GB memory, "
            f"{memory.available / 1e9:.0f} GB free",
        )
    )
    findings.append(_devices())
    findings += _places(storage, artifacts)
    return findings


def _devices() -> Finding:
    try:
        finished = subprocess.run(
            [sys.executable, "-P", "-c", _DEVICES],
            capture_output=True,
            text=True,
            timeout=_TENSORFLOW_TIMEOUT_S,
            check=False,
            # Why it leaves a card alone is only a warning to it.
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"},
        )
        devices, is_built_with_cuda = json.loads(finished.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return Finding("devices", False, "TensorFlow does not load; install autosearch again")
    found = ", ".join(devices)
    if "GPU" not in devices:
        reason = why_no_gpu(is_built_with_cuda=is_built_with_cuda, log=finished.stderr)
        if reason is not None:
            return Finding("devices", False, f"{found}; {reason}")
    return Finding("devices", True, found)


def _places(storage: str | None, artifacts: str | None) -> list[Finding]:
    try:
        database = Database.open_to_read(storage)
    except NotFoundError:
        shown = storage_url(storage)
        return [Finding("database", True, f"{shown} does not exist yet; run makes it")]
    except AutosearchError as error:
        return [Finding("database", False, str(error))]
    findings = [Finding("database", True, database.shown_url)]
    try:
        store = ArtifactStore.beside(database, artifacts)
        reached = "can be reached" if store.exists() else "does not exist yet; run makes it"
        findings.append(Finding("artifacts", True, f"{store.root} {reached}"))
    except AutosearchError as error:
        findings.append(Finding("artifacts", False, str(error)))
    return findings
