"""One machine's gate between computing and timing: nothing is timed while another trains.

Whoever computes holds the gate together with others, and lets go of it for a moment now and then;
whoever takes a latency holds it alone. Who waits to be alone comes before those who come back, so
that a measurement waits for the longest step between two checkpoints and no longer. The gate is a
lock on a file of this machine, shared by all studies of its user; a process that dies lets go.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from filelock import ReadWriteLock, Timeout

__all__ = ["Gate", "give_way", "machine_gate"]

_PATIENCE_S = 60.0
"""How long a measurement waits for the others: then it is taken all the same, and says so."""

_CHECKPOINT_S = 0.1
"""Passing the gate takes some milliseconds on a crowded machine: not after every batch."""

_REFUSALS = (Timeout, OSError, sqlite3.Error, ValueError, RuntimeError)


class Gate:
    """A gate that processes pass; each thread for itself.

    Where no lock can be made, everybody passes, and no measurement is called quiet.

    Args:
        path: The lock's file; its folder must be on this machine.
        patience_s: How long to wait for the others at most; a thread that waited in vain, as for
            a process that was suspended, waits half as long the next time.
    """

    def __init__(self, path: Path, *, patience_s: float = _PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Computes inside, together with others; may be nested."""
        if getattr(self._of_thread, "is_at_work", False):
            yield
            return
        self._of_thread.is_at_work = True
        self._enter()
        try:
            yield
        finally:
            self._leave()
            self._of_thread.is_at_work = False

    def give_way(self) -> None:
        """Lets whoever waits take a latency first. Cheap, for inner loops."""
        now = time.monotonic()
        if now < getattr(self._of_thread, "next_checkpoint", float("inf")):
            return
        self._leave()
        self._enter()

    @contextlib.contextmanager
    def quiet(self) -> Iterator[bool]:
        """Alone inside, if the answer is True: the others were not waited for longer than bounded.

        Whoever is at work lets go meanwhile, since two that time would wait for each other.
        """
        self._leave()
        lock, is_alone = None, False
        # Refused, others compute beside the measurement, which says so.
        with contextlib.suppress(*_REFUSALS):
            lock = self._lock()
            with self._patience() as patience_s:
                lock.acquire_write(timeout=patience_s)
            is_alone = True
        try:
            yield is_alone
        finally:
            if lock is not None:
                lock.close()
            if getattr(self._of_thread, "is_at_work", False):
                self._enter()

    @contextlib.contextmanager
    def _patience(self) -> Iterator[float]:
        """How long this thread waits now, in seconds; by the outcome also the next time."""
        patience_s = getattr(self._of_thread, "patience_s", self._patience_s)
        self._of_thread.patience_s = patience_s / 2
        yield patience_s
        self._of_thread.patience_s = self._patience_s

    def _lock(self) -> ReadWriteLock:
        # By user: a lock that another account can replace protects nothing.
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ReadWriteLock(self._path, is_singleton=False)

    def _enter(self) -> None:
        if not hasattr(self._of_thread, "lock"):
            try:
                self._of_thread.lock = self._lock()
            except _REFUSALS:
                return
        with contextlib.suppress(*_REFUSALS):
            with self._patience() as patience_s:
                self._of_thread.lock.acquire_read(timeout=patience_s)
            self._of_thread.is_inside = True
        self._of_thread.next_checkpoint = time.monotonic() + _CHECKPOINT_S

    def _leave(self) -> None:
        if getattr(self._of_thread, "is_inside", False):
            self._of_thread.lock.release()
            self._of_thread.is_inside = False
        self._of_thread.next_checkpoint = float("inf")


@lru_cache(maxsize=1)
def machine_gate() -> Gate:
    """The gate of this machine and user."""
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return Gate(Path(tempfile.gettempdir()) / f"autosearch-{user}" / "training.lock")


def give_way() -> None:
    """Lets whoever waits to take a latency on this machine take it first; for inner loops."""
    machine_gate().give_way()
