"""``autosearch``: the entry point, and how an error becomes one line."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
import traceback
from typing import Annotated

import typer

from autosearch import __version__
from autosearch.cli import dashboard, data, judging, reading, running, shipping, steering, upkeep
from autosearch.errors import AutosearchError, DefinitionError, NotFoundError

__all__ = ["app", "main"]

app = typer.Typer(
    name="autosearch",
    help="Search for image classifiers, each measured as the file that ships.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for module in (running, steering, reading, dashboard, shipping, judging, upkeep, data):
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
    """Search for image classifiers, each measured as the file that ships."""


def main() -> None:
    """Runs the command line: exit code 0 is done, 1 failed, 2 misused."""
    words = sys.argv[1:]
    # Wherever it stands, since it is what a message says to add.
    arguments = [word for word in words if word != "--debug"]
    # No word at all asks for help, and so does a group such as "data" alone.
    if arguments in ([], *([group.name] for group in app.registered_groups)):
        arguments.append("--help")
    # A pipe's encoding may lack a character, as that of Windows lacks "≤".
    codecs.register_error("json", _escaped)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="json")
    # TensorFlow takes its level of noise from here, and only while it is being loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = app(arguments, prog_name="autosearch", standalone_mode=False)
    except typer.Abort:
        code = _FAILED
    except Exception as error:
        if len(arguments) < len(words):
            traceback.print_exc()
        message, code = _explained(error)
        typer.echo(f"autosearch: {' '.join(message.split())}", err=True)
    sys.exit(code)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """What cannot be encoded as JSON writes it, so that JSON stays what it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _explained(error: Exception) -> tuple[str, int]:
    """An error in one sentence, and the exit code that it deserves."""
    if isinstance(error, AutosearchError):
        is_misuse = isinstance(error, (DefinitionError, NotFoundError))
        return str(error), _USAGE if is_misuse else _FAILED
    if isinstance(error, typer.TyperException):
        text = error.format_message().removesuffix(".").replace("Value error, ", "")
        context = getattr(error, "ctx", None)
        place = context.command_path if context is not None else "autosearch"
        return f"{text[:1].lower()}{text[1:]}; see: {place} --help", _USAGE
    if isinstance(error, OSError) and error.filename is not None:
        words = error.strerror or type(error).__name__
        return f'"{error.filename}" cannot be used ({words}); see where with --debug', _FAILED
    return f"{type(error).__name__}: {error}; see where with --debug", _FAILED
