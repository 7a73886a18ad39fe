"""``doctor`` and ``delete``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autosearch.cli.options import Artifacts, Format, OutputFormat, Storage

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (doctor, delete):
        app.command(command.__name__)(command)


def doctor(
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Check packages, machine, database and files.

    Example: autosearch doctor
    """
    from autosearch.cli.output import emit
    from autosearch.search.doctor import examine

    findings = examine(storage, artifacts)
    rows = [{"what": f.what, "ok": f.is_ok, "finding": f.text} for f in findings]
    emit(rows, output_format, columns={"what": "", "ok": "ok", "finding": "finding"})
    if not all(finding.is_ok for finding in findings):
        raise typer.Exit(1)


def delete(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage: Storage = None,
    artifacts: Artifacts = None,
) -> None:
    """Delete a study with its trials and files.

    What was promoted stays, and so do all files in a store that is not the folder by the database.

    Example: autosearch delete digits
    """
    from autosearch.cli.output import say
    from autosearch.search.engine import delete_optuna_study
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.deletion import delete_study_rows
    from autosearch.store.view import StudyView

    database = Database.open_existing(storage)
    store = ArtifactStore.beside(database, artifacts)
    view = StudyView(database, store, study)
    num_trials = sum(view.progress().counts.values())
    question = f'Delete study "{study}" with {num_trials} trials from {database.shown_url}?'
    if not yes and not _is_confirmed(question):
        say("Nothing was deleted.")
        raise typer.Exit(1)
    # Optuna's rows first: if this is cut off, the study is still listed and can be deleted again.
    delete_optuna_study(database, study)
    num_files = delete_study_rows(database, store, view.id)
    say(f'Deleted study "{study}": {num_trials} trials and {num_files} files.')
    if not store.is_beside(database):
        say(f"Its files stay in {store.root}, since other databases may use that store.")


def _is_confirmed(question: str) -> bool:
    """Asks on standard error, so that standard output holds data alone; no answer is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")
