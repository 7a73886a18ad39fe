"""``autosearch``: the entry point, and how an error becomes one line."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from autosearch import __version__
from autosearch.cli import data, reading, running, shipping, upkeep
from autosearch.errors import AutosearchError, DefinitionError, NotFoundError

__all__ = ["app", "main"]

app = typer.Typer(
    name="autosearch",
    help="Search image classifiers that are measured as the file that ships.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (running, reading, shipping, upkeep, data):
    module.register(app)

_USAGE, _FAILED = 2, 1


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"autosearch {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Search image classifiers that are measured as the file that ships."""


def main() -> None:
    """Runs the command line: exit code 0 is done, 1 failed, 2 misused."""
    try:
        app()
    except AutosearchError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        message = " ".join(str(error).split())
        typer.echo(f"autosearch: {message}", err=True)
        sys.exit(_USAGE if isinstance(error, (DefinitionError, NotFoundError)) else _FAILED)
    except BrokenPipeError:
        # Whoever read the listing has seen enough, such as `head`.
        sys.stderr.close()
        sys.exit(0)
