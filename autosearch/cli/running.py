"""``run`` and ``check``."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Annotated

import typer

from autosearch.cli.options import (
    Artifacts,
    Format,
    OutputFormat,
    Storage,
    StudyFile,
    TrialTimeout,
    Workers,
    WorkersPerGpu,
)

__all__ = ["INTERRUPTED", "end_by_signals", "register"]

INTERRUPTED = 130
"""The exit code of a run that Ctrl-C ended, as shells have it."""


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    app.command("run")(run)
    app.command("check")(check)


def run(
    study_file: StudyFile,
    storage: Storage = None,
    artifacts: Artifacts = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            metavar="N",
            min=1,
            help="Run N more trials, whatever is left of the budget.",
        ),
    ] = None,
    workers: Workers = 1,
    workers_per_gpu: WorkersPerGpu = None,
    trial_timeout: TrialTimeout = 60.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", min=0, help="Seed of a new study (default 0)."),
    ] = None,
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Go on although the file's definition has changed."),
    ] = False,
    accept_data: Annotated[
        bool,
        typer.Option(
            "--accept-data",
            help="Go on although images were added or removed; the others keep their split.",
        ),
    ] = False,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="STUDY",
            help="Begin with the best configurations of another study, Optuna's own included.",
        ),
    ] = None,
    warm_start_storage: Annotated[
        str | None,
        typer.Option(
            "--warm-start-storage",
            metavar="URL",
            help="The database of that study.",
            show_default="the one of --storage",
        ),
    ] = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Start a study, or go on with it; then print its front.

    Example: autosearch run studies/digits.py --storage sqlite:///digits.db
    """
    from autosearch.cli.output import command, say
    from autosearch.cli.progress import ProgressLine
    from autosearch.cli.reading import print_front
    from autosearch.search.runner import run as run_study
    from autosearch.study import load_study_file

    end_by_signals()
    study = load_study_file(study_file)
    line = ProgressLine()

    def say_stopped(how: str) -> None:
        again = command("run", str(study_file), storage=storage, artifacts=artifacts)
        if trials is not None and trials > line.num_new:
            again += f" --trials {trials - line.num_new}"
        say(f"{how}; go on with: {again}")

    try:
        with line:
            view = run_study(
                study,
                storage=storage,
                artifacts=artifacts,
                trials=trials,
                workers=workers,
                workers_per_gpu=workers_per_gpu,
                trial_timeout_s=60 * trial_timeout,
                seed=seed,
                accept_changes=accept_changes,
                accept_data=accept_data,
                warm_start=warm_start,
                warm_start_storage=warm_start_storage,
                on_progress=line.update,
                on_message=say,
            )
    except KeyboardInterrupt:
        say_stopped("Stopped. Nothing is lost")
        raise typer.Exit(INTERRUPTED) from None
    if line.was_stopped:
        say_stopped("Stopped, as it was asked to")
    if not print_front(view, output_format):
        raise typer.Exit(1)
    if line.num_new == line.num_new_finals == 0 and not line.was_stopped:
        say("Nothing was left to do; run more with: --trials N")


def end_by_signals() -> None:
    """Lets Ctrl-C and SIGTERM end a run, also where a shell started it with SIGINT ignored.

    So does a terminal that is closed, unless the run was started to outlive that (``nohup``).
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none.
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        signal.signal(hangup, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def check(
    study_file: StudyFile,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Try a study out in about a minute; nothing is stored.

    Example: autosearch check studies/digits.py
    """
    from dataclasses import asdict
    from importlib import import_module

    from autosearch.cli.output import emit, say
    from autosearch.evaluation.litert import captured_stderr
    from autosearch.search.check import check_study
    from autosearch.study import load_study_file

    study = load_study_file(study_file)
    say(f'Trying "{study.name}": sampling configurations, then one through every stage …')
    if study.evaluator is None:
        # While it is being loaded, TensorFlow logs at any level that it is asked for.
        with captured_stderr():
            import_module("autosearch.evaluation.pipeline")
    report = check_study(study)
    if output_format is OutputFormat.TABLE:
        rows = [{"what": what, "figure": text} for what, text in report.lines()]
        emit(rows, output_format, columns={"what": "", "figure": ""})
    else:
        emit([asdict(report)], output_format, columns={})
    if not report.num_feasible:
        bounds = ", ".join(map(str, study.constraints))
        say(f"Nothing is feasible: loosen {bounds}, or make the space smaller.")
        raise typer.Exit(1)
