"""Keeps worker processes at work, and replaces one when it dies, hangs or grows too large.

The supervisor itself never loads TensorFlow: a crash in training or conversion takes the worker
along, not the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import IO

import psutil

from autosearch import errors
from autosearch.errors import AutosearchError, NothingTrainedError, StudyError
from autosearch.search.engine import Engine
from autosearch.search.finals import Finals, is_due
from autosearch.search.process import Order, Report, read_report
from autosearch.search.worker import (
    MAX_FAILURES_AT_START,
    MAX_FAILURES_IN_A_ROW,
    Limits,
    Outcome,
    own_memory_bytes,
)
from autosearch.store.recorder import Recorder, utc_now
from autosearch.store.view import StudyView
from autosearch.values import TrialState

__all__ = ["MAX_DEATHS_AT_START", "Supervisor"]

_POLL_S = 0.25
_LOOK_S = 5.0
_PATIENCE_S = 20.0
"""How long a worker may take to reach a checkpoint after it was asked to end."""

MAX_DEATHS_AT_START = 3
"""If each worker dies that often before anyone has started a trial, another one would too."""

_MAX_KILLED_AT_START = 30
"""Who is killed from outside says nothing about the next one; yet memory may be too small."""

_KILLED = -signal.SIGKILL if hasattr(signal, "SIGKILL") else None  # Windows has none.
_HARD_MEMORY_FACTOR = 1.5
"""Past its bound a worker ends by itself after the trial; past this multiple it is killed."""


@dataclass(slots=True, kw_only=True)
class _Running:
    """A worker process that was started.

    Attributes:
        index: Which of the workers it is; one that is replaced keeps it.
        process: The process.
        folder: Where it writes its report and its log.
        next_look: ``time.monotonic()`` of when to look after it again.
    """

    index: int
    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]
    next_look: float = 0.0

    @property
    def report_file(self) -> Path:
        return Path(self.folder.name) / "report.json"

    @property
    def log_file(self) -> Path:
        return Path(self.folder.name) / "log.txt"


class Supervisor:
    """Runs worker processes until the study's limits are reached, or they are asked to stop.

    The first of them holds the finals, once the others have ended their trials.

    Args:
        order: What a worker is to do.
        environments: For each worker, the environment variables that are its own.
        engine: Of the same study.
        recorder: Writes the study's rows.
        view: Reads them.
        trial_timeout_s: A trial that ends no epoch for so long takes its worker down, and counts
            as tried.
        on_tick: Called a few times a second, to show progress.
        on_message: Called with a sentence where something takes its time.
    """

    def __init__(
        self,
        order: Order,
        *,
        environments: Sequence[Mapping[str, str]],
        engine: Engine,
        recorder: Recorder,
        view: StudyView,
        trial_timeout_s: float,
        on_tick: Callable[[], None],
        on_message: Callable[[str], None] | None = None,
    ) -> None:
        self._order = order
        self._limits = Limits(**order.limits)
        self._finals = Finals(**order.finals) if order.finals is not None else None
        self._environments = environments
        self._engine = engine
        self._recorder = recorder
        self._view = view
        self._trial_timeout_s = trial_timeout_s
        self._on_tick = on_tick
        self._on_message = on_message
        self._running: list[_Running] = []
        self._num_evaluated = 0
        self._num_deaths = 0
        self._num_attempts = 0
        self._num_idle_deaths = 0

    def run(self) -> None:
        """Returns once the limits are reached, or the workers were asked to stop.

        Raises:
            StudyError: As a worker said.
            AutosearchError: As a worker said.
            KeyboardInterrupt: After the workers have ended and their trials were put back.
        """
        self._engine.recover(self._recorder, self._view, reason="an earlier run was cut off")
        self._num_attempts = self._view.num_attempts()
        try:
            for index in range(self._num_needed()):
                self._start(index)
            while self._running:
                self._on_tick()
                for worker in list(self._running):
                    self._look_after(worker)
                time.sleep(_POLL_S)
        except BaseException as error:
            # Ctrl-C comes here: each worker puts its trial back at the next checkpoint.
            try:
                if isinstance(error, KeyboardInterrupt) and self._on_message is not None:
                    self._on_message(
                        f"Stopping; a training may take {_PATIENCE_S:.0f} s to be put back."
                    )
            finally:
                # Whoever would read that may be gone, with the terminal or the pipe.
                self._end_all()
                self._engine.recover(
                    self._recorder,
                    self._view,
                    reason="the run was interrupted",
                    was_asked_to_end=True,
                )
            raise

    def _num_needed(self) -> int:
        """How many workers have something to do: each takes seconds to load TensorFlow."""
        progress = self._view.progress()
        if progress.num_stops != self._order.num_stops:
            return 0
        if self._limits.are_reached(progress):
            return int(is_due(self._finals, self._view))
        left = len(self._environments)
        if self._limits.counted_trials is not None:
            left = min(left, self._limits.counted_trials - progress.num_counted)
        return left

    def _start(self, index: int) -> None:
        folder = tempfile.TemporaryDirectory(prefix="autosearch-")
        # Opened by name, and held by the worker alone from then on.
        with (Path(folder.name) / "log.txt").open("wb") as log:
            process = self._start_process(index, folder.name, log)
        self._running.append(_Running(index=index, process=process, folder=folder))

    def _start_process(self, index: int, folder: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
        python, launched = _interpreter()
        process = subprocess.Popen(
            # What lies in the folder where it is started must not stand for a library.
            [python, "-P", "-m", "autosearch.search.process"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **os.environ,
                **launched,
                **self._environments[index],
            },
            # The terminal's Ctrl-C must reach the supervisor alone.
            start_new_session=True,
        )
        if process.stdin is None:
            raise AssertionError("the worker's standard input was asked for")
        order = replace(
            self._order,
            report_file=str(Path(folder) / "report.json"),
            finals=self._order.finals if index == 0 else None,
        )
        # One that died already is looked after like any other.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(order)).encode())
            process.stdin.close()
        return process

    def _look_after(self, worker: _Running) -> None:
        """Replaces a worker that has ended before all was done, or has to be ended."""
        reason = None
        if worker.process.poll() is None:
            if time.monotonic() < worker.next_look:
                return
            worker.next_look = time.monotonic() + min(_LOOK_S, self._trial_timeout_s / 2)
            reason = self._reason_to_kill(worker.process)
            if reason is None:
                return
            worker.process.kill()
            worker.process.wait()
        report = read_report(worker.report_file) or self._lost(worker, reason)
        self._running.remove(worker)
        worker.folder.cleanup()
        if report.error_class is not None:
            raise _error_of(report)
        if report.outcome == Outcome.DIED:
            self._stop_hopeless_study(report.message)
        if report.outcome != Outcome.DONE and worker.index < self._num_needed():
            self._start(worker.index)

    def _lost(self, worker: _Running, reason: str | None) -> Report:
        """What a worker that could not say it would have reported."""
        if reason is None:
            how = _exit_text(worker.process.returncode)
            reason = f"the worker died ({how}){_last_line(worker.log_file)}"
        self._engine.recover(self._recorder, self._view, reason=reason)
        num_attempts = self._view.num_attempts()
        is_idle = num_attempts <= self._num_attempts
        self._num_attempts = num_attempts
        self._num_idle_deaths = self._num_idle_deaths + 1 if is_idle else 0
        limit = MAX_DEATHS_AT_START
        if worker.process.returncode == _KILLED:
            limit = _MAX_KILLED_AT_START
        if self._num_idle_deaths >= limit * len(self._environments):
            raise StudyError(f"{reason} before it started a trial; see --debug")
        return Report(outcome=Outcome.DIED, message=reason)

    def _stop_hopeless_study(self, reason: str | None) -> None:
        """As the worker itself does for failures that it lives to see."""
        progress = self._view.progress()
        has_news = progress.num_evaluated > self._num_evaluated
        self._num_evaluated = progress.num_evaluated
        self._num_deaths = 1 if has_news else self._num_deaths + 1
        failed = progress.counts.get(TrialState.FAILED, 0)
        never = progress.num_evaluated == 0 and failed >= MAX_FAILURES_AT_START
        if never or self._num_deaths >= MAX_FAILURES_IN_A_ROW:
            raise NothingTrainedError(
                f"the worker was lost {self._num_deaths} times and no trial came to its end, the "
                f"last time: {reason}; "
                f"see them all with: autosearch trials {self._order.study_name}"
            )

    def _reason_to_kill(self, process: subprocess.Popen[bytes]) -> str | None:
        bound = self._order.limits.get("memory_bytes")
        try:
            used = own_memory_bytes(psutil.Process(process.pid))
        except psutil.NoSuchProcess:
            return None
        if bound is not None and used > _HARD_MEMORY_FACTOR * bound:
            return f"out of memory: the worker used {used / 1e9:.1f} GB of {bound / 1e9:.1f} GB"
        longest = self._view.longest_silence(utc_now(), host=socket.gethostname(), pid=process.pid)
        if longest is not None and longest > timedelta(seconds=self._trial_timeout_s):
            return (
                f"the trial came to the end of no epoch for {self._trial_timeout_s:g} s; "
                "--trial-timeout allows more"
            )
        return None

    def _end_all(self) -> None:
        for worker in self._running:
            worker.process.send_signal(signal.SIGTERM)
        latest = time.monotonic() + _PATIENCE_S
        for worker in self._running:
            try:
                worker.process.wait(timeout=max(0.0, latest - time.monotonic()))
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                latest = 0.0
                worker.process.kill()
                worker.process.wait()
            worker.folder.cleanup()
        self._running.clear()


def _interpreter() -> tuple[str, dict[str, str]]:
    """This Python, and what it needs in its environment to be the one of this virtual environment.

    On Windows the ``python.exe`` of a virtual environment only starts another process, which would
    be neither watched nor ended. ``multiprocessing`` starts that one itself in the same way.
    """
    base = str(getattr(sys, "_base_executable", sys.executable))
    if os.name != "nt" or base == sys.executable:
        return sys.executable, {}
    return base, {"__PYVENV_LAUNCHER__": sys.executable}


def _error_of(report: Report) -> AutosearchError:
    """The worker's error as the class that it was, if that is one of ours."""
    kind = getattr(errors, report.error_class or "", None)
    if isinstance(kind, type) and issubclass(kind, AutosearchError):
        error = kind(report.message)
    else:
        error = StudyError(f"the worker failed: {report.error_class}: {report.message}")
    error.add_note(report.traceback or "")
    return error


def _exit_text(returncode: int) -> str:
    if returncode < 0:
        try:
            return f"signal {signal.Signals(-returncode).name}"
        except ValueError:
            return f"signal {-returncode}"
    return f"exit code {returncode}"


def _last_line(log_file: Path) -> str:
    """The last words of a worker, without what TensorFlow logs when it starts."""
    lines = log_file.read_text(errors="replace").strip().splitlines()
    words = [line for line in lines if not re.match(r"[IW]\d{4} |WARNING: All log", line)]
    return f": {words[-1][:200]}" if words else ""
