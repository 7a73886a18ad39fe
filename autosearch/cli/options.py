"""The options that several commands share, one definition each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Artifacts",
    "FigureKind",
    "Format",
    "OutputFormat",
    "ReportFormat",
    "Storage",
    "StudyFile",
    "StudyFileOption",
    "TrialTimeout",
    "Workers",
    "WorkersPerGpu",
]


class ReportFormat(StrEnum):
    """How a report, which is one object and no listing, is printed."""

    TABLE = "table"
    JSON = "json"


class FigureKind(StrEnum):
    """The kinds of ``autosearch.values.Estimate``, which would load pydantic for ``--help``."""

    VALIDATION = "validation"
    CROSS_VALIDATION = "cross_validation"


class OutputFormat(StrEnum):
    """How a listing is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="AUTOSEARCH_STORAGE",
        help="Database: sqlite:///FILE.db or postgresql://USER@HOST/NAME.",
        show_default="sqlite:///autosearch.db",
    ),
]

Artifacts = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        metavar="PLACE",
        envvar="AUTOSEARCH_ARTIFACTS",
        help="Where files are kept: a folder, or a URL such as s3://bucket/prefix (needs s3fs).",
        show_default="beside the database",
    ),
]

Format = Annotated[OutputFormat, typer.Option("--format", help="How to print it.")]

StudyFile = Annotated[
    Path, typer.Argument(metavar="STUDY_FILE", help="A Python file that declares a Study.")
]

StudyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--study-file",
        metavar="FILE",
        help="The study's file; needed if its dataset is a class of your own.",
    ),
]

Workers = Annotated[
    int,
    typer.Option("--workers", metavar="N", min=1, help="Worker processes that share the work."),
]

WorkersPerGpu = Annotated[
    int | None,
    typer.Option(
        "--workers-per-gpu",
        metavar="K",
        min=1,
        help="Let at most K workers share a GPU.",
        show_default="as many as must",
    ),
]

TrialTimeout = Annotated[
    float,
    typer.Option(
        "--trial-timeout",
        metavar="MINUTES",
        min=0.1,
        help="Replace a worker whose trial ends no epoch for so long.",
    ),
]
