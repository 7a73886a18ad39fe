"""``evaluate``: any file that can be judged, on any labelled images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosearch.cli.options import Artifacts, ReportFormat, Storage

if TYPE_CHECKING:
    from autosearch.store.database import Database
    from autosearch.study import Study

__all__ = ["register"]

_NUM_WRONG_SHOWN = 10


class Split(StrEnum):
    """Which of the images."""

    ALL = "all"
    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command("evaluate")(evaluate)


def evaluate(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="STUDY/CANDIDATE, MODEL@ALIAS, a bundle's folder or FILE.tflite."
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of class sub-folders, a .csv, .parquet or .npz file, or a study's file.",
        ),
    ],
    split: Annotated[Split, typer.Option("--split", help="Which of the images.")] = Split.ALL,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Of a candidate: then WHAT is its id alone."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="REGEX|COLUMN|ARRAY",
            help="Groups to judge apart: a pattern found in a folder's paths, a table's column, or "
            "an array of an .npz file.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="The classes of a .tflite file, a name on each line."
        ),
    ] = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Annotated[
        ReportFormat, typer.Option("--format", help="How to print it.")
    ] = ReportFormat.TABLE,
) -> None:
    """Judge a candidate, bundle or file on labelled images.

    Every figure is printed with its interval.

    Example: autosearch evaluate digits/12-int8 incident --format json
    """
    from autosearch.cli.output import print_json, say
    from autosearch.errors import DefinitionError
    from autosearch.evaluation import evaluate as judging
    from autosearch.evaluation.subjects import find_subject
    from autosearch.study import Study, load_study_file

    subject = find_subject(what, study=study, labels=labels, storage=storage, artifacts=artifacts)
    if labels is not None and subject.study is not None:
        raise DefinitionError(f"--labels is for a bare .tflite file; {subject.name} has its own")
    images = load_study_file(data) if data.suffix == ".py" else data
    # Of a bare file on images that are not a study's, no database knows anything.
    needs_database = subject.study is not None or isinstance(images, Study)
    evaluation = judging.evaluate(
        subject,
        images,
        split=str(split),
        group=group,
        database=_database(storage, images) if needs_database else None,
    )
    report = evaluation.report()
    for note in report["notes"]:
        say(note)
    if report["test_reading"] is not None:
        say(reading_words(report["test_reading"]))
    if output_format is ReportFormat.JSON:
        print_json(report)
    else:
        _print(report)


def reading_words(number: int) -> str:
    """What a reading of a test split means, by its number."""
    if number == 1:
        return "This is the first reading of this test split."
    last = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if number % 100 in (11, 12, 13) else last.get(number % 10, "th")
    return (
        f"This is the {number}{ending} reading of this test split. Each one that a choice rests "
        "on makes its figures a little too good: collect new test images soon."
    )


def _database(storage: str | None, images: Study | Path) -> Database | None:
    """Where a study's images have their sides, and readings are counted; none is made for it."""
    from autosearch.cli.output import say
    from autosearch.errors import NotFoundError, StorageError
    from autosearch.store.database import Database

    try:
        return Database.open_to_read(storage)
    except NotFoundError:
        return None
    except StorageError as error:
        if not isinstance(images, Path):
            raise
        # A bundle is judged on plain images all the same.
        say(f"What its study has seen is not known: {error}")
        return None


def _print(report: dict[str, Any]) -> None:
    from autosearch.cli.figures import interval, print_details
    from autosearch.cli.options import OutputFormat
    from autosearch.cli.output import emit, stdout

    rows = []
    for name, value in report["metrics"].items():
        ends = report["intervals"].get(name, (None, None))
        shown = report["reasons"].get(name) if value is None else f"{value:.4f}"
        rows.append({"metric": name, "figure": shown, "interval": interval(*ends)})
    noun = "image" if report["num_images"] == 1 else "images"
    title = f"{report['what']} on {report['num_images']:,} {noun}"
    columns = {"metric": "metric", "figure": "figure", "interval": "90 % interval"}
    emit(rows, OutputFormat.TABLE, columns=columns, title=title)
    print_details(report)
    tables = (
        ("wrong", "Wrong", {"image": "image", "label": "class", "prediction": "taken for",
                            "probability": "probability"}),
        ("unusable", "Unusable", {"path": "file", "reason": "reason"}),
    )  # fmt: skip
    for key, heading, headings in tables:
        found = report[key]
        if not found:
            continue
        stdout.print()
        first = found[:_NUM_WRONG_SHOWN]
        more = f", the first {len(first)}; all with --format json" if first != found else ""
        emit(first, OutputFormat.TABLE, columns=headings, title=f"{heading}: {len(found)}{more}")
