"""The worker as a process of its own: ``python -m autosearch.search.process``.

The order comes as JSON on standard input, so that no password stands in a process list. How it
ended is written to a file that the order names; no file means that it died.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from autosearch.evaluation.latency_gate import machine_gate

__all__ = ["Order", "Report", "main", "read_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker process is to do.

    Attributes:
        study_name: The study in the database.
        study_file: Its file, if its definition alone does not make it.
        storage: The database URL.
        artifacts: The artifact store's root.
        study_id: The study's row.
        seed: The study's seed.
        limits: The fields of ``Limits``.
        finals: The fields of ``Finals``, if there are any.
        import_path: Where the process that ordered it finds modules.
        num_stops: How often the study's workers had been asked to stop before.
        is_one_of_several: Whether other workers sample for the same study.
        report_file: Where to write the ``Report``.
    """

    study_name: str
    study_file: str | None
    storage: str
    artifacts: str
    study_id: int
    seed: int
    limits: dict[str, Any]
    finals: dict[str, Any] | None
    import_path: list[str]
    num_stops: int
    is_one_of_several: bool
    report_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a worker process ended: an ``Outcome``, or the class and words of an error."""

    outcome: str | None = None
    error_class: str | None = None
    message: str | None = None
    traceback: str | None = None


def read_report(path: Path) -> Report | None:
    """The report of an ended worker, or None if it died before writing one."""
    try:
        return Report(**json.loads(path.read_text()))
    except (OSError, ValueError):
        return None


def main() -> None:
    """Carries out the order on standard input."""
    order = Order(**json.loads(sys.stdin.read()))
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    # The terminal's Ctrl-C is the supervisor's business; it asks the worker to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor = psutil.Process(os.getppid())

    def should_stop() -> bool:
        # A supervisor that was killed says nothing: its worker has another parent then, or on
        # Windows none.
        is_orphan = os.getppid() != supervisor.pid or (
            os.name == "nt" and not supervisor.is_running()
        )
        return stop.is_set() or is_orphan

    try:
        # Loading TensorFlow is seconds of work too.
        with machine_gate().at_work():
            report = Report(outcome=_work(order, should_stop))
    except Exception as error:
        report = Report(
            error_class=type(error).__name__,
            message=str(error),
            traceback=traceback.format_exc(),
        )
    path = Path(order.report_file)
    if not path.parent.is_dir():
        return
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(asdict(report)))
    os.replace(temporary, path)


def _work(order: Order, should_stop: Callable[[], bool]) -> str:
    from autosearch.search.evaluators import make_evaluator
    from autosearch.search.finals import Finals
    from autosearch.search.same import check_same
    from autosearch.search.worker import Limits, Worker
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.view import StudyView
    from autosearch.study import Study, load_study_file

    # Last: a study file may import what its caller could, and nothing there stands for a library.
    sys.path += [folder for folder in order.import_path if folder not in sys.path]
    database = Database.open_to_write(order.storage)
    artifacts = ArtifactStore(order.artifacts)
    view = StudyView(database, artifacts, order.study_name)
    if order.study_file is not None:
        study = load_study_file(order.study_file)
    else:
        study = Study.from_definition(view.definition)
    study = study.keeping_sides(view.sides())
    # A worker that takes another's place hours later may find another file or other images.
    check_same(study, view)
    if order.is_one_of_several and not isinstance(study.sampler, str):
        # An instance has one seed of its own, and each worker made it anew from the file.
        study.sampler.reseed_rng()
    return Worker(
        study,
        database,
        artifacts,
        study_id=order.study_id,
        seed=order.seed,
        evaluator=make_evaluator(study),
        limits=Limits(**order.limits),
        finals=Finals(**order.finals) if order.finals is not None else None,
        num_stops=order.num_stops,
        should_stop=should_stop,
    ).run()


if __name__ == "__main__":
    main()
