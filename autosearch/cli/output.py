"""Printing: data on standard output, words on standard error."""

from __future__ import annotations

import csv
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from autosearch.cli.options import OutputFormat
from autosearch.metrics import WHOLE

__all__ = ["command", "duration", "emit", "figure", "print_json", "say", "stderr", "stdout"]

stdout = Console(soft_wrap=True, highlight=False)
stderr = Console(stderr=True, soft_wrap=True, highlight=False)


def say(text: str, *, style: str = "") -> None:
    """Prints words for a person, and never takes them for markup."""
    stderr.print(text, style=style, markup=False)


def command(*words: str, storage: str | None = None, artifacts: str | None = None) -> str:
    """What to type next in the same database, as a shell takes it; a password is not told.

    Without the database that was named, the command would look into this folder's.
    """
    from autosearch.store.artifacts import ARTIFACTS_VARIABLE
    from autosearch.store.database import STORAGE_VARIABLE, shown_url

    typed = ["autosearch", *words]
    # A variable that is set is set for the next command too.
    if storage and storage != os.environ.get(STORAGE_VARIABLE):
        typed += ["--storage", shown_url(storage)]
    if artifacts and artifacts != os.environ.get(ARTIFACTS_VARIABLE):
        typed += ["--artifacts", artifacts]
    return shlex.join(typed)


def print_json(value: Any) -> None:
    """Prints data for a program on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def emit(
    rows: Sequence[Mapping[str, Any]],
    output_format: OutputFormat,
    *,
    columns: Mapping[str, str],
    title: str = "",
    fields: Sequence[str] | None = None,
) -> None:
    """Prints rows as a table for a person, or as JSON or CSV for a program.

    Args:
        rows: JSON-friendly mappings.
        output_format: How.
        columns: For the table: key to heading.
        title: Of the table.
        fields: For JSON and CSV: the keys, in their order; every key by default, and those of the
            table where there is no row.
    """
    if output_format is OutputFormat.TABLE:
        _print_table(rows, columns, title)
        return
    chosen = [{key: row.get(key) for key in fields} if fields else dict(row) for row in rows]
    if output_format is OutputFormat.JSON:
        print_json(chosen)
        return
    keys = list(fields or dict.fromkeys(k for row in chosen for k in row) or columns)
    writer = csv.DictWriter(sys.stdout, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _csv_value(v) for k, v in row.items()} for row in chosen)


def figure(name: str, value: Any) -> str:
    """A figure with sensible digits for a person; a dash if there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in WHOLE:
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.3f}" if "accuracy" in name else f"{value:.4g}"
    return str(value)


def duration(seconds: float) -> str:
    """A time with no more digits than it deserves.

    Example:
        >>> duration(42.4), duration(500), duration(9000)
        ('42 s', '8 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str) -> None:
    """A table in which no figure is cut off: on a narrow terminal the last columns are left out.

    Text, not markup: a study or a class may be called "[red]".
    """
    if not rows:
        return
    # A column in which nothing stands says nothing.
    columns = {
        key: heading
        for key, heading in columns.items()
        if any(row.get(key) not in (None, "") for row in rows)
    }
    cells = {key: [figure(key, row.get(key)) for row in rows] for key in columns}
    widths = {key: max(map(cell_len, [columns[key], *cells[key]])) + 2 for key in columns}
    shown = list(columns)
    if stdout.is_terminal:
        while len(shown) > 2 and sum(widths[key] for key in shown) > stdout.width:
            shown.pop()
    if title:
        stdout.print(title, markup=False)
    if any(columns.values()):
        heading = _line({key: columns[key] for key in shown}, rows, widths)
        stdout.print(heading, style="bold", markup=False)
    for index in range(len(rows)):
        line = _line({key: cells[key][index] for key in shown}, rows, widths)
        stdout.print(line, markup=False)
    if len(shown) < len(columns):
        left_out = ", ".join(columns[key] for key in columns if key not in shown)
        say(f"Too narrow for: {left_out}. Widen the terminal, or add --format json.")


def _line(
    texts: Mapping[str, str], rows: Sequence[Mapping[str, Any]], widths: Mapping[str, int]
) -> str:
    """One line of a table: figures to the right, words to the left, two blanks between."""
    padded = []
    for key, text in texts.items():
        is_figure = any(isinstance(row.get(key), (int, float)) for row in rows)
        # By what a terminal takes for it: a Chinese character is as wide as two Latin ones.
        blanks = " " * (widths[key] - 2 - cell_len(text))
        padded.append(blanks + text if is_figure else text + blanks)
    return "  ".join(padded).rstrip()


def _csv_value(value: Any) -> Any:
    is_nested = isinstance(value, (dict, list, tuple))
    return json.dumps(value, ensure_ascii=False) if is_nested else value
