"""Printing: data on standard output, words on standard error."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from autosearch.cli.options import OutputFormat

__all__ = ["emit", "figure", "say", "stderr", "stdout"]

stdout = Console(soft_wrap=True, highlight=False)
stderr = Console(stderr=True, soft_wrap=True, highlight=False)

_THOUSANDS = ("size_bytes", "memory_bytes", "parameters", "macs")


def say(text: str, *, style: str = "") -> None:
    """Prints words for a person, and never takes them for markup."""
    stderr.print(text, style=style, markup=False)


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
        fields: For JSON and CSV: the keys, in their order; every key by default.
    """
    if output_format is OutputFormat.TABLE:
        table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
        for key, heading in columns.items():
            numeric = any(isinstance(row.get(key), (int, float)) for row in rows)
            table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
        for row in rows:
            # Table cells are text, not markup: a study may be called "[red]".
            table.add_row(*(_cell(key, row.get(key)) for key in columns))
        stdout.print(table, markup=False)
        return
    chosen = [{key: row.get(key) for key in fields} if fields else dict(row) for row in rows]
    if output_format is OutputFormat.JSON:
        sys.stdout.write(json.dumps(chosen, indent=2, ensure_ascii=False) + "\n")
        return
    keys = list(fields) if fields else list(dict.fromkeys(k for row in chosen for k in row))
    writer = csv.DictWriter(sys.stdout, keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: _csv_value(v) for k, v in row.items()} for row in chosen)


def figure(name: str, value: Any) -> str:
    """A figure with sensible digits for a person; a dash if there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _THOUSANDS:
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.4g}" if name.endswith("_ms") or abs(value) >= 10 else f"{value:.3f}"
    return str(value)


def _cell(name: str, value: Any) -> Any:
    from rich.text import Text

    return Text(figure(name, value))


def _csv_value(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
