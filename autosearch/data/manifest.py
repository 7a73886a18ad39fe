"""A table of photos: a line for each, with its class and whatever else is known of it."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autosearch.data.dataset import SPLIT_NAMES
from autosearch.data.files import FileDataset, Listing, Source
from autosearch.data.photos import MAX_PIXELS
from autosearch.errors import DefinitionError, NotFoundError

__all__ = ["Manifest"]

_OWN_COLUMNS = ("path", "label", "split")


class Manifest(FileDataset):
    """Photos listed in a CSV or Parquet file with the columns path, label and perhaps split.

    Every other column is a group column. A path is absolute, or relative to the file's folder. A
    row without a split is drawn, or follows what belongs to it into the validation or test split.

    Args:
        path: The file, ending in ``.csv`` or ``.parquet``.
        split_seed: Draws the split, where no column gives it.
        fractions: The shares of train, validation and test.
        group: A column, or several: images with the same value stay on one side of the split. An
            empty value is no group.
        max_pixels: An image of more pixels (width times height) is left out.
        keep_alike_together: Whether pictures that look alike, and bursts, are on one side of the
            split. Without it only exact duplicates are: for images that all look much the same.
        known_sides: What ``sides`` answered for an earlier state: images known by their contents
            stay where they were.

    Raises:
        NotFoundError: There is no such file.
        DefinitionError: It lacks a column, has fewer than two classes, or names an unknown split.

    Example:
        >>> Manifest("photos.csv", group="patient").split_counts()  # doctest: +SKIP
        {'train': 600, 'validation': 200, 'test': 200}
    """

    kind = "manifest"

    def __init__(
        self,
        path: str | Path,
        *,
        split_seed: int = 0,
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        group: str | Sequence[str] | None = None,
        max_pixels: int = MAX_PIXELS,
        keep_alike_together: bool = True,
        known_sides: Mapping[str, str] | None = None,
    ) -> None:
        self.group = (group,) if isinstance(group, str) else tuple(group or ())
        super().__init__(
            path,
            split_seed=split_seed,
            fractions=fractions,
            max_pixels=max_pixels,
            keep_alike_together=keep_alike_together,
            known_sides=known_sides,
            has_groups=bool(self.group),
        )

    def definition(self) -> dict[str, Any]:
        """The absolute path and how it is split, from which the dataset is made again."""
        return {**super().definition(), "group": list(self.group)}

    def _split_by(self) -> Sequence[str]:
        return self.group

    def _list(self) -> Listing:
        columns, rows = _read(self.path)
        twice = next((c for c in columns if columns.count(c) > 1), None)
        if twice is not None:
            raise DefinitionError(
                f'"{self.path}" has the column "{twice}" twice; expected each once: rename or '
                "remove one of them"
            )
        for column in ("path", "label", *self.group):
            if column not in columns:
                raise DefinitionError(
                    f'"{self.path}" has the columns {columns} and no "{column}"; expected path, '
                    "label, and, if there are any, split and group columns"
                )
        sources: list[Source] = []
        seen: set[str] = set()
        for number, row in enumerate(rows, start=1):
            shown, label = row["path"], row["label"]
            split = row.get("split", "").lower()
            if split and split not in SPLIT_NAMES:
                raise DefinitionError(
                    f'row {number} of "{self.path}" has the split "{row["split"]}"; expected '
                    "train, validation or test, or nothing"
                )
            problem = None
            if not shown:
                problem = f"no path: row {number} names no file"
            elif "\0" in shown:
                problem = "no path: a zero byte is part of no file's name"
            elif not label:
                problem = "no label: its row names no class"
            elif shown in seen:
                problem = f"listed twice: again in row {number}"
            seen.add(shown)
            sources.append(
                Source(
                    path=self.path.parent / shown,
                    shown=shown,
                    label=label,
                    split=SPLIT_NAMES[split] if split else None,
                    groups={c: row[c] for c in columns if c not in _OWN_COLUMNS},
                    problem=problem,
                )
            )
        classes = {source.label for source in sources if source.label}
        if len(classes) < self.fewest_classes:
            raise DefinitionError(
                f'"{self.path}" names {len(classes)} different classes in {len(rows):,} rows; '
                f"expected at least {self.fewest_classes} in the column label"
            )
        # Sorted as texts first: "1" and "01" are one number, and a set has no order of its own.
        in_order = sorted(classes)
        if all(map(_is_number, classes)):
            in_order.sort(key=int)
        return Listing(tuple(sources), (), tuple(in_order))


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows of a table, every value as text without blanks around it."""
    if not path.is_file():
        raise NotFoundError(f'there is no file "{path}"; name a CSV or Parquet file')
    if path.suffix.lower() in (".parquet", ".pq"):
        return _read_parquet(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            # Spreadsheets write semicolons where the comma is for decimals.
            separator = next((mark for mark in ",;\t" if mark in header), ",")
            lines = csv.DictReader(file, restval="", skipinitialspace=True, delimiter=separator)
            columns = [name.strip() for name in lines.fieldnames or []]
            lines.fieldnames = columns
            return columns, [{c: (line[c] or "").strip() for c in columns} for line in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DefinitionError(
            f'"{path}" is no CSV file in UTF-8 ({error}); save it as one, or as .parquet'
        ) from error


def _read_parquet(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DefinitionError(
            f'reading "{path}" needs pyarrow, which is not installed; run pip install pyarrow, '
            "or save it as CSV"
        ) from error
    except (OSError, ValueError) as error:
        raise DefinitionError(
            f'"{path}" cannot be read as Parquet ({error}); save it again, or as CSV'
        ) from error
    columns = [str(name) for name in frame.columns]
    texts = frame.astype(object).where(frame.notna(), "")
    rows = [
        {name: str(value).strip() for name, value in zip(columns, values, strict=True)}
        for values in texts.itertuples(index=False, name=None)
    ]
    return columns, rows


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
