"""``worker``, ``stop``, ``enqueue``, ``discard`` and ``remeasure``: what is done to a study."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosearch.cli.options import (
    Artifacts,
    Format,
    OutputFormat,
    Storage,
    TrialTimeout,
    Workers,
    WorkersPerGpu,
)

if TYPE_CHECKING:
    from autosearch.store.database import Database
    from autosearch.store.view import StudyView

__all__ = ["register"]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (worker, stop, enqueue, discard, remeasure):
        app.command(command.__name__)(command)


def worker(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY_FILE", help="The study's file; with --measure-only its name will do."
        ),
    ],
    storage: Storage = None,
    artifacts: Artifacts = None,
    workers: Workers = 1,
    workers_per_gpu: WorkersPerGpu = None,
    trial_timeout: TrialTimeout = 60.0,
    measure_only: Annotated[
        bool,
        typer.Option(
            "--measure-only",
            help="Train nothing: add this machine's latencies of the front. Needs no TensorFlow.",
        ),
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="NAME", help="With --measure-only: what to call this machine."
        ),
    ] = None,
) -> None:
    """Work on a study that run has started, as from another machine.

    Example: autosearch worker studies/digits.py --storage postgresql://me@server/studies
    """
    from autosearch.errors import DefinitionError

    if measure_only != (target is not None):
        missing = "--target NAME" if measure_only else "--measure-only"
        raise DefinitionError(f"--measure-only and --target belong together; add {missing}")
    if target is not None:
        _measure_only(study, storage, artifacts, target)
    else:
        _work(Path(study), storage, artifacts, workers, workers_per_gpu, trial_timeout)


def _measure_only(study: str, storage: str | None, artifacts: str | None, target: str) -> None:
    from autosearch.cli.output import command, say
    from autosearch.search.measuring import measure_front

    if study.endswith(".py"):
        from autosearch.study import load_study_file

        study = load_study_file(study).name
    database, view = _opened(study, storage, artifacts)
    count = measure_front(database, view, target=target, on_progress=_say_files)
    if count:
        words = ("front", study, "--target", target)
        say(f"Rank by them with: {command(*words, storage=storage, artifacts=artifacts)}")
    else:
        say(f'All of the front of "{study}" was measured on "{target}" before.')


def _say_files(done: int, total: int) -> None:
    from autosearch.cli.output import say

    if total:
        say(f"{done} of {total} files measured")


def _work(
    study_file: Path,
    storage: str | None,
    artifacts: str | None,
    workers: int,
    workers_per_gpu: int | None,
    trial_timeout: float,
) -> None:
    from autosearch.cli.output import command, say
    from autosearch.cli.progress import ProgressLine
    from autosearch.cli.running import INTERRUPTED, end_by_signals
    from autosearch.search.joining import join
    from autosearch.study import load_study_file

    end_by_signals()
    study = load_study_file(study_file)
    try:
        with ProgressLine() as line:
            join(
                study,
                storage=storage,
                artifacts=artifacts,
                workers=workers,
                workers_per_gpu=workers_per_gpu,
                trial_timeout_s=60 * trial_timeout,
                on_progress=line.update,
                on_message=say,
            )
    except KeyboardInterrupt:
        again = command("worker", str(study_file), storage=storage, artifacts=artifacts)
        say(f"Stopped. Nothing is lost; go on with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    say("Asked to stop." if line.was_stopped else "The study's budget is spent.")


def stop(study: StudyName, storage: Storage = None) -> None:
    """Let all workers of a study finish their trial and end.

    Those on other machines too.

    Example: autosearch stop digits
    """
    from autosearch.cli.output import say
    from autosearch.store.recorder import Recorder
    from autosearch.store.steering import request_stop

    database, view = _opened(study, storage)
    request_stop(database, view.id)
    count = Recorder(database, view.id).num_living_workers()
    if count:
        noun = "worker finishes its trial and ends" if count == 1 else "workers finish and end"
        say(f"{count} {noun}; go on with: autosearch run STUDY_FILE")
    else:
        say(f'No worker is at "{study}".')


def enqueue(
    study: StudyName,
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="Parameter names and values: JSON, or the path of a JSON file."
        ),
    ],
    storage: Storage = None,
) -> None:
    """Add a configuration, to be evaluated before others.

    What it leaves out is sampled.

    Example: autosearch enqueue digits '{"width": 16, "learning_rate": 0.003}'
    """
    from autosearch.cli.output import say
    from autosearch.search.enqueueing import enqueue_config

    words = _config(config)
    database, view = _opened(study, storage)
    number = enqueue_config(database, view, words)
    say(f'Added to "{study}" as trial {number}; the next free worker evaluates it.')


def discard(
    study: StudyName,
    trial: Annotated[
        int, typer.Argument(metavar="TRIAL", min=0, max=2**31 - 1, help="Its number.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the trial.")
    ],
    storage: Storage = None,
) -> None:
    """Keep a bad trial, but neither show it nor learn from it, nor from those that repeat it.

    Example: autosearch discard digits 12 --reason "trained while the disk was full"
    """
    from autosearch.cli.output import say
    from autosearch.errors import DefinitionError
    from autosearch.store.steering import discard_trial

    if not reason.strip():
        raise DefinitionError('the reason is empty; write why with --reason "TEXT"')
    database, _ = _opened(study, storage)
    discard_trial(database, study, trial, reason=reason.strip())
    say(f'Discarded trial {trial} of "{study}"; it is kept, and counts towards the budget no more.')


def remeasure(
    study: StudyName,
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Take a front's latencies again, in a quiet moment.

    Both figures are kept.

    Example: autosearch remeasure digits
    """
    from dataclasses import asdict

    from autosearch.cli.output import emit, say
    from autosearch.search.measuring import remeasure as measure_again

    database, view = _opened(study, storage, artifacts)
    compared = measure_again(database, view, on_progress=_say_files)
    columns = {
        "candidate": "candidate",
        "recorded_ms": "p50 ms in the search",
        "again_ms": "p50 ms again",
        "ratio": "ratio, over the reference",
        "is_quiet": "in quiet",
    }
    emit([asdict(one) for one in compared], output_format, columns=columns)
    if not all(one.is_quiet for one in compared):
        say("Other workers of this machine did not pause in time; take them again later.")


def _opened(
    study: str, storage: str | None, artifacts: str | None = None
) -> tuple[Database, StudyView]:
    """A database to write into, and a study that is in it; nothing is made of a mistyped name."""
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.view import StudyView

    database = Database.open_existing(storage)
    return database, StudyView(database, ArtifactStore.beside(database, artifacts), study)


def _config(text: str) -> dict[str, Any]:
    """The configuration that is written there, or in the file of that path, or at "-"."""
    from autosearch.errors import DefinitionError, NotFoundError

    source = text.strip()
    if source == "-":
        source = sys.stdin.read()
    elif not source.startswith(("{", "[")):
        path = Path(source)
        if not path.is_file():
            raise NotFoundError(
                f'"{text}" is neither JSON nor a file; write names and values, such as '
                "'{\"width\": 16}', or the path of a file with them"
            )
        try:
            source = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DefinitionError(f'"{text}" is no UTF-8 text; save it as such') from error
    try:
        words = json.loads(source)
    except ValueError as error:
        raise DefinitionError(f"the configuration is no JSON ({error}); mend it") from error
    if not isinstance(words, dict):
        raise DefinitionError(
            f"the configuration is a {type(words).__name__}; expected names and values, such as "
            '{"width": 16}'
        )
    return words
