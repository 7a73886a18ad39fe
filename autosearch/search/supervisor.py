"""Keeps one worker process at work, and replaces it when it dies, hangs or grows too large.

The supervisor itself never loads TensorFlow: a crash in training or conversion takes the worker
along, not the run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
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

__all__ = ["Supervisor"]

_POLL_S = 0.25
_LOOK_S = 5.0
_PATIENCE_S = 20.0
"""How long a worker may take to reach a checkpoint after it was asked to end."""

_HARD_MEMORY_FACTOR = 1.5
"""Past its bound a worker ends by itself after the trial; past this multiple it is killed."""


class Supervisor:
    """Runs one worker process until the study's limits are reached.

    Args:
        order: What the worker is to do.
        engine: Of the same study; used only while no worker runs.
        recorder: Writes the study's rows.
        view: Reads them.
        trial_timeout_s: A trial that runs longer takes its worker down, and counts as tried.
        on_tick: Called a few times a second, to show progress.
    """

    def __init__(
        self,
        order: Order,
        *,
        engine: Engine,
        recorder: Recorder,
        view: StudyView,
        trial_timeout_s: float,
        on_tick: Callable[[], None],
    ) -> None:
        self._order = order
        self._engine = engine
        self._recorder = recorder
        self._view = view
        self._trial_timeout_s = trial_timeout_s
        self._on_tick = on_tick
        self._num_counted = 0
        self._num_deaths = 0

    def run(self) -> None:
        """Returns once the limits are reached.

        Raises:
            StudyError: As the worker said.
            AutosearchError: As the worker said.
            KeyboardInterrupt: After the worker has ended and its trial was put back.
        """
        self._engine.recover(self._recorder, self._view, reason="an earlier run was cut off")
        # A worker takes seconds to load TensorFlow: none is started for nothing.
        limits = Limits(**self._order.limits)
        finals = Finals(**self._order.finals) if self._order.finals is not None else None
        while not limits.are_reached(self._view.progress()) or is_due(finals, self._view):
            with tempfile.TemporaryDirectory(prefix="autosearch-") as folder:
                report = self._run_worker(Path(folder))
            if report.error_class is not None:
                raise _error_of(report)
            if report.outcome == Outcome.DONE:
                return
            if report.outcome == Outcome.DIED:
                self._stop_hopeless_study(report.message)

    def _run_worker(self, folder: Path) -> Report:
        order = self._order
        num_attempts = self._view.num_attempts()
        report_file, log_file = folder / "report.json", folder / "log.txt"
        words = {**asdict(order), "report_file": str(report_file)}
        with log_file.open("wb") as log:
            process = self._start(json.dumps(words).encode(), log)
            try:
                reason = self._watch(process)
            except BaseException:
                # Ctrl-C comes here: the worker puts its trial back at the next checkpoint.
                self._end(process)
                self._engine.recover(
                    self._recorder,
                    self._view,
                    reason="the run was interrupted",
                    was_asked_to_end=True,
                )
                raise
        report = read_report(report_file)
        if report is not None:
            return report
        if reason is None:
            reason = f"the worker died ({_exit_text(process.returncode)}){_last_line(log_file)}"
        self._engine.recover(self._recorder, self._view, reason=reason)
        if self._view.num_attempts() == num_attempts:
            raise StudyError(f"{reason} before it started a trial; see --debug")
        return Report(outcome=Outcome.DIED, message=reason)

    def _stop_hopeless_study(self, reason: str | None) -> None:
        """As the worker itself does for failures that it lives to see."""
        progress = self._view.progress()
        has_news = progress.num_counted > self._num_counted
        self._num_counted = progress.num_counted
        self._num_deaths = 1 if has_news else self._num_deaths + 1
        failed = progress.counts.get(TrialState.FAILED, 0)
        never = progress.num_counted == 0 and failed >= MAX_FAILURES_AT_START
        if never or self._num_deaths >= MAX_FAILURES_IN_A_ROW:
            raise NothingTrainedError(
                f"the worker was lost {self._num_deaths} times and no trial came to its end, the "
                f"last time: {reason}; "
                f"see them all with: autosearch trials {self._order.study_name}"
            )

    def _start(self, order: bytes, log: IO[bytes]) -> subprocess.Popen[bytes]:
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "autosearch.search.process"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
            # The terminal's Ctrl-C must reach the supervisor alone.
            start_new_session=True,
        )
        if process.stdin is None:
            raise AssertionError("the worker's standard input was asked for")
        process.stdin.write(order)
        process.stdin.close()
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> str | None:
        """Waits for the worker's end; the reason if it had to be ended."""
        next_look = 0.0
        while process.poll() is None:
            self._on_tick()
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + min(_LOOK_S, self._trial_timeout_s / 2)
                reason = self._reason_to_kill(process)
                if reason is not None:
                    process.kill()
                    process.wait()
                    return reason
            time.sleep(_POLL_S)
        return None

    def _reason_to_kill(self, process: subprocess.Popen[bytes]) -> str | None:
        bound = self._order.limits.get("memory_bytes")
        try:
            used = own_memory_bytes(psutil.Process(process.pid))
        except psutil.NoSuchProcess:
            return None
        if bound is not None and used > _HARD_MEMORY_FACTOR * bound:
            return f"out of memory: the worker used {used / 1e9:.1f} GB of {bound / 1e9:.1f} GB"
        longest = self._view.longest_running(utc_now(), host=socket.gethostname(), pid=process.pid)
        if longest is not None and longest > timedelta(seconds=self._trial_timeout_s):
            return f"the trial ran longer than its limit of {self._trial_timeout_s:g} s"
        return None

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=_PATIENCE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


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
