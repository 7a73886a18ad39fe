"""The line that shows a run going on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.live import Live
from rich.text import Text

from autosearch.cli.output import duration, stderr
from autosearch.search.worker import Limits
from autosearch.store.view import Progress, StudyView
from autosearch.values import TrialState

__all__ = ["ProgressLine"]

_SEPARATOR = "  ·  "


class ProgressLine:
    """Shows counts, the best accuracy, the front's size and the time left, on standard error.

    On a terminal the line stays in place; elsewhere a line is printed when a trial ends.

    Attributes:
        num_new: Trials that this run has added to those that count.
        was_stopped: Whether the study's workers were asked to stop meanwhile.
    """

    def __init__(self) -> None:
        self._live = Live(console=stderr, refresh_per_second=4, transient=False)
        self._is_terminal = stderr.is_terminal
        self._started: float | None = None
        self._num_at_start = 0
        self._num_finals_at_start = 0
        self.num_new = 0
        self.num_new_finals = 0
        self._num_stops = 0
        self.was_stopped = False
        self._so_far = (-1, 0)
        self._front_size = 0

    def __enter__(self) -> ProgressLine:
        if self._is_terminal:
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_terminal:
            self._live.__exit__(kind, error, trace)

    def update(self, view: StudyView, progress: Progress, limits: Limits) -> None:
        """Shows how far the study is."""
        if self._started is None:
            self._started, self._num_at_start = time.monotonic(), progress.num_counted
            self._num_stops = progress.num_stops
            self._num_finals_at_start = progress.num_final_trainings
        self.num_new_finals = progress.num_final_trainings - self._num_finals_at_start
        self.was_stopped = progress.num_stops != self._num_stops
        self.num_new = progress.num_counted - self._num_at_start
        finished = sum(n for state, n in progress.counts.items() if state.is_finished)
        so_far = (finished, progress.num_final_trainings)
        has_news = so_far != self._so_far
        if has_news:
            self._so_far = so_far
            self._front_size = len(view.front_frame()) if finished else 0
        parts = self._parts(view.name, progress, limits)
        if self._is_terminal:
            self._live.update(Text(_folded(parts, stderr.width)))
        elif has_news:
            stderr.print(_SEPARATOR.join(parts), markup=False)

    def _parts(self, name: str, progress: Progress, limits: Limits) -> list[str]:
        counts = progress.counts
        done = progress.num_counted
        total = f"/{limits.counted_trials}" if limits.counted_trials is not None else ""
        parts = [f"{name}  {done}{total} trials"]
        shown = (TrialState.RUNNING, TrialState.PRUNED, TrialState.INFEASIBLE, TrialState.FAILED)
        parts += [f"{counts.get(state, 0)} {state}" for state in shown]
        best = progress.best_accuracy
        parts.append(f"best accuracy {best:.3f}" if best is not None else "no accuracy yet")
        parts.append(f"front {self._front_size}")
        if progress.num_final_trainings:
            # No time is told: how many finalists there are shows only once the search has ended.
            parts.append(f"finalists: {progress.num_final_trainings} trainings")
        else:
            parts.append(self._time_left(done, limits))
        return parts

    def _time_left(self, done: int, limits: Limits) -> str:
        left: list[float] = []
        elapsed = time.monotonic() - (self._started or 0.0)
        if limits.counted_trials is not None and done >= limits.counted_trials:
            return f"done in {duration(elapsed)}"
        if limits.counted_trials is not None and self.num_new > 0:
            left.append((limits.counted_trials - done) * elapsed / self.num_new)
        if limits.deadline is not None:
            left.append(max(limits.deadline - time.time(), 0.0))
        if not left:
            return "time left unknown"
        return f"about {duration(min(left))} left"


def _folded(parts: Sequence[str], width: int) -> str:
    """The parts in as many lines as they need: what is past the edge would not be seen."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{_SEPARATOR}{part}"
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return "\n".join(lines)
