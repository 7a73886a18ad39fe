"""Latencies of a study's front, taken after its search: again here, or on another machine.

Needs the store and LiteRT alone: no TensorFlow, and nothing that samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from autosearch.errors import DefinitionError
from autosearch.evaluation.latency import (
    Latency,
    host_target,
    measure_latency,
    significant,
)
from autosearch.store.database import Database
from autosearch.store.latencies import Reading, add_measurements, add_readings, unmeasured
from autosearch.store.view import StudyView

__all__ = ["Comparison", "measure_front", "remeasure"]

_FILES_AT_ONCE = 16
"""Files that are timed in turn: others wait meanwhile, so it must not be all of a large front."""

_SECONDS_PER_FILE = 0.15
"""Longer than in a search: these are few, and what is measured again should be surer."""

SayProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A latency of the search beside one that was taken again.

    Attributes:
        candidate: Its id.
        recorded_ms: The search's.
        again_ms: The new one.
        ratio: Recorded ÷ again, each divided by the reference file's time of its minute; None
            where the search recorded none.
        is_quiet: Whether no other worker of this machine computed meanwhile.
    """

    candidate: str
    recorded_ms: float | None
    again_ms: float
    ratio: float | None
    is_quiet: bool


def remeasure(
    database: Database, view: StudyView, *, on_progress: SayProgress = lambda done, total: None
) -> list[Comparison]:
    """Takes the latencies of the front again, and keeps both.

    The front stays that of the search: its own figures were taken alike for all candidates.

    Args:
        database: Opened to write.
        view: Of the study.
        on_progress: Told how many files are done, of how many.

    Raises:
        DefinitionError: The study's front has no files, or no latencies.
        NotFoundError: A file is not in the artifact store.
    """
    front = _front_with_files(view)
    if front["latency_ms"].isna().all():
        raise DefinitionError(
            f'the search of "{view.name}" took no latencies; add those of this machine with: '
            f"autosearch worker {view.name} --measure-only --target NAME"
        )
    compared = []
    for latencies in _latencies(view, list(front["candidate"]), on_progress):
        readings = {name: _reading(latency) for name, latency in latencies.items()}
        add_readings(database, view.id, readings, target=host_target())
        for row in front[front["candidate"].isin(readings)].to_dict(orient="records"):
            again, conditions = readings[row["candidate"]], row["conditions"]
            raw = conditions.get("raw_latency_ms")
            reference = conditions.get("reference_latency_ms")
            ratio = None
            if raw is not None and reference is not None:
                ratio = (raw / reference) / (again.latency_ms / again.reference_latency_ms)
            compared.append(
                Comparison(
                    candidate=row["candidate"],
                    recorded_ms=raw,
                    again_ms=again.latency_ms,
                    ratio=ratio,
                    is_quiet=again.is_quiet,
                )
            )
    return compared


def measure_front(
    database: Database,
    view: StudyView,
    *,
    target: str,
    on_progress: SayProgress = lambda done, total: None,
) -> int:
    """Adds this machine's latencies of the front as a target of their own.

    Args:
        database: Opened to write.
        view: Of the study, with an artifact store that holds its files.
        target: What to call this machine.
        on_progress: Told how many files are done, of how many.

    Returns:
        How many candidates were measured; those that were before are left out.

    Raises:
        DefinitionError: The name is the one that the searching machine goes by, or the study's
            front has no files.
        NotFoundError: A file is not in the artifact store.
    """
    if target == "host":
        raise DefinitionError(
            'the target "host" is the machine that searches; give this one another name, '
            "such as --target raspberry-pi-4"
        )
    description = host_target(target)
    left = unmeasured(database, view.id, target_key=str(description["key"]))
    names = [name for name in _front_with_files(view)["candidate"] if name in left]
    for latencies in _latencies(view, names, on_progress):
        # As in a search: figures that differ by less than they repeat are equal.
        readings = {
            name: replace(
                _reading(latency),
                latency_ms=significant(latency.at_rest_p50_ms),
                latency_p90_ms=significant(latency.at_rest_p90_ms),
            )
            for name, latency in latencies.items()
        }
        add_measurements(database, view.id, readings, target=description)
    return len(names)


def _front_with_files(view: StudyView) -> pd.DataFrame:
    front = view.front_frame()
    front = front[front["artifact_sha256"].notna()]
    if front.empty:
        raise DefinitionError(
            f'the front of "{view.name}" has no files to measure; see: autosearch front {view.name}'
        )
    return front


def _latencies(
    view: StudyView, names: Sequence[str], on_progress: SayProgress
) -> Iterator[dict[str, Latency]]:
    """The latencies of candidates, some at a time, so that what is done is kept."""
    frame = view.candidates_frame().drop_duplicates("candidate").set_index("candidate")
    on_progress(0, len(names))
    for start in range(0, len(names), _FILES_AT_ONCE):
        some = names[start : start + _FILES_AT_ONCE]
        files = {name: view.artifact(str(frame.at[name, "artifact_sha256"])) for name in some}
        yield measure_latency(files, seconds_per_file=_SECONDS_PER_FILE)
        on_progress(start + len(some), len(names))


def _reading(latency: Latency) -> Reading:
    return Reading(
        latency_ms=latency.p50_ms,
        latency_p90_ms=latency.p90_ms,
        reference_latency_ms=latency.reference_ms,
        num_runs=latency.num_runs,
        is_quiet=latency.is_quiet,
    )
