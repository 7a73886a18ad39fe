"""``dashboard`` and ``report``: the pages in a browser, and one page to send."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from autosearch.cli.options import Artifacts, Storage

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (dashboard, report):
        app.command(command.__name__)(command)


def dashboard(
    storage: Storage = None,
    artifacts: Artifacts = None,
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Where to listen; this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="N",
            min=1,
            max=65535,
            help="On which port.",
            show_default="the first free one from 8501",
        ),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Do not open a browser.")
    ] = False,
    allow_promote: Annotated[
        bool, typer.Option("--allow-promote", help="Let whoever opens it promote and move back.")
    ] = False,
    allow_notes: Annotated[
        bool, typer.Option("--allow-notes", help="Let whoever opens it leave notes on candidates.")
    ] = False,
) -> None:
    """See the trade-off in a browser, choose and promote.

    Example: autosearch dashboard --storage sqlite:///autosearch.db --allow-promote
    """
    # A dashboard.py of the user's own, in this folder, must not take the place of ours.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from autosearch.cli.output import say
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database, is_plain_optuna, storage_url
    from dashboard.server import LOOPBACK, NOTES_VARIABLE, PROMOTE_VARIABLE, free_port, serve

    if is_plain_optuna(storage):
        os.environ["AUTOSEARCH_STORAGE"] = storage_url(storage)
    else:
        database = Database.open_to_read(storage)
        os.environ["AUTOSEARCH_STORAGE"] = database.url
        os.environ["AUTOSEARCH_ARTIFACTS"] = ArtifactStore.beside(database, artifacts).root
        database.close()
    os.environ[PROMOTE_VARIABLE] = "1" if allow_promote else "0"
    os.environ[NOTES_VARIABLE] = "1" if allow_notes else "0"
    bound = free_port(host, port)
    if host not in LOOPBACK:
        say(f"Whoever reaches {host} can read every study: there is no password.", style="yellow")
    serve(bound, host=host, open_browser=not no_browser, say=say)


def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="The HTML file to write.")
    ] = Path("report.html"),
    storage: Storage = None,
    artifacts: Artifacts = None,
) -> None:
    """Write a study's charts as one HTML file to send.

    Example: autosearch report digits --output report.html
    """
    from autosearch.cli.output import say
    from autosearch.errors import StorageError
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.view import StudyView
    from autosearch.visualization.report import report_page

    database = Database.open_to_read(storage)
    page = report_page(
        database, StudyView(database, ArtifactStore.beside(database, artifacts), study)
    )
    try:
        output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f'"{output}" cannot be written ({error.strerror}); name another with --output'
        ) from error
    say(f"Wrote {output}. It needs no server: open it in a browser.")
