"""Figures of classes and groups as tables for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from autosearch.cli.options import OutputFormat
from autosearch.cli.output import emit, stdout

if TYPE_CHECKING:
    from autosearch.store.view import StudyView

__all__ = ["DETAIL_KEYS", "baselines_line", "interval", "print_details"]

DETAIL_KEYS = ("per_class", "confusion", "per_group", "worst_group", "num_groups_not_shown")
"""What ``print_details`` prints, among the conditions of a candidate or in a report."""

_MAX_ROWS = 50
_MAX_CONFUSIONS = 15
_WIDEST_MATRIX = 96


def interval(low: float | None, high: float | None) -> str | None:
    """Two ends as one text; None without them.

    Example:
        >>> interval(0.9, 0.95)
        '0.900–0.950'
    """
    return f"{low:.3f}–{high:.3f}" if low is not None and high is not None else None


def baselines_line(view: StudyView) -> str:
    """What the study's images give without a search, in a sentence; empty if nothing is known."""
    from autosearch.store.view import records
    from autosearch.values import QUALITY_METRICS

    asked = [objective.metric for objective in view.objectives]
    metric = next((m for m in asked if m in QUALITY_METRICS), "accuracy")
    parts = []
    for row in records(view.baselines_frame()):
        if row.get(metric) is None:
            continue
        size = row["size_bytes"]
        at = f" at {size:,} bytes ({row['quantization']})" if size is not None else ""
        parts.append(f"{row['baseline']} {row[metric]:.3f}{at}")
    if not parts:
        return ""
    return f"{metric.replace('_', ' ').capitalize()} without a search: {', '.join(parts)}."


def print_details(details: Mapping[str, Any]) -> None:
    """Prints what there is of classes, confusions and groups, each as a table of its own.

    Args:
        details: What ``DETAIL_KEYS`` names, and ``classes`` in the order of the confusion matrix.
    """
    per_class = details.get("per_class")
    if per_class:
        # PostgreSQL keeps the keys in an order of its own.
        _print_classes({name: per_class[name] for name in details["classes"]})
    if per_class and details.get("confusion"):
        _print_confusion(details["classes"], details["confusion"])
    for column, groups in (details.get("per_group") or {}).items():
        _print_groups(column, groups, (details.get("num_groups_not_shown") or {}).get(column, 0))
    worst = details.get("worst_group")
    if worst:
        stdout.print(
            f"\nThe worst group is {worst['group']} of {worst['column']}: accuracy "
            f"{worst['accuracy']:.3f} ({interval(worst['accuracy_low'], worst['accuracy_high'])}).",
            markup=False,
        )


def _table(rows: list[dict[str, Any]], columns: dict[str, str], title: str) -> None:
    if rows:
        stdout.print()
        emit(rows, OutputFormat.TABLE, columns=columns, title=title)


def _print_classes(per_class: Mapping[str, Any]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "class": name,
            **{key: _digits(value) for key, value in figures.items()},
            "interval": interval(figures.get("recall_low"), figures.get("recall_high")),
        }
        for name, figures in per_class.items()
    ]
    title = "Classes"
    if len(rows) > _MAX_ROWS:
        title = f"The {_MAX_ROWS} of {len(rows)} classes with the lowest recall"
        known = [row for row in rows if row["recall"] is not None]
        rows = sorted(known, key=lambda row: row["recall"])[:_MAX_ROWS]
    columns = {
        "class": "class",
        "support": "images",
        "recall": "recall",
        "interval": "90 % interval",
        "precision": "precision",
    }
    _table(rows, columns, title)


def _print_confusion(names: list[str], confusion: list[list[int]]) -> None:
    width = max(map(cell_len, names)) + sum(max(cell_len(name), 4) + 2 for name in names)
    if width <= _WIDEST_MATRIX:
        columns = {"name": "", **{str(index): name for index, name in enumerate(names)}}
        rows = [
            {"name": name, **{str(index): count for index, count in enumerate(counts)}}
            for name, counts in zip(names, confusion, strict=True)
        ]
        _table(rows, columns, "Confusion: the class by row, the prediction by column")
        return
    mistakes: list[dict[str, Any]] = [
        {"class": names[row], "prediction": names[column], "images": count}
        for row, counts in enumerate(confusion)
        for column, count in enumerate(counts)
        if count and row != column
    ]
    mistakes.sort(key=lambda mistake: -mistake["images"])
    columns = {"class": "class", "prediction": "taken for", "images": "images"}
    _table(mistakes[:_MAX_CONFUSIONS], columns, "Most frequent confusions")


def _print_groups(column: str, groups: Mapping[str, Any], num_not_shown: int) -> None:
    rows = [
        {
            "group": name,
            **{key: _digits(value) for key, value in figures.items()},
            "interval": interval(figures["accuracy_low"], figures["accuracy_high"]),
        }
        for name, figures in groups.items()
    ]
    columns = {
        "group": "group",
        "support": "images",
        "accuracy": "accuracy",
        "interval": "90 % interval",
        "balanced_accuracy": "balanced",
        "macro_f1": "macro F1",
        "log_loss": "log loss",
    }
    more = f", and {num_not_shown} smaller ones" if num_not_shown else ""
    _table(rows, columns, f"Groups by {column}{more}")


def _digits(value: Any) -> Any:
    return f"{value:.3f}" if isinstance(value, float) else value
