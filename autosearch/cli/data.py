"""``data inspect``, ``data split`` and ``data cache``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from autosearch.cli.options import Format, OutputFormat, ReportFormat, Storage, StudyFile

__all__ = ["register"]


_Format = Annotated[ReportFormat, typer.Option("--format", help="How to print it.")]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Look at images before anything is trained.")
    for command in (inspect, split, cache):
        group.command(command.__name__)(command)
    app.add_typer(group, name="data")


def inspect(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder of class sub-folders, or a table.")
    ],
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="REGEX|COLUMN",
            help="What keeps images together: found in a folder's paths, or a table's column.",
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", metavar="N", min=1, help="Larger images are unusable."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures too.")
    ] = None,
    output_format: _Format = ReportFormat.TABLE,
) -> None:
    """Say what photos there are, and what is wrong with them.

    Example: autosearch data inspect photos --html photos.html
    """
    from autosearch.cli.output import print_json, say
    from autosearch.data.page import page
    from autosearch.data.photos import MAX_PIXELS
    from autosearch.data.report import inspect as inspect_data
    from autosearch.data.report import open_files
    from autosearch.errors import StorageError

    dataset = open_files(path, group=group, max_pixels=max_pixels or MAX_PIXELS)
    report = inspect_data(dataset)
    if html is not None:
        try:
            html.write_text(page(dataset, report), encoding="utf-8")
        except OSError as error:
            raise StorageError(f'"{html}" cannot be written ({error.strerror})') from error
        say(f"Wrote {html}.")
    if output_format is ReportFormat.JSON:
        print_json(report)
    else:
        _print_report(report)


def split(
    study_file: StudyFile,
    storage: Storage = None,
    output_format: _Format = ReportFormat.TABLE,
) -> None:
    """Say which images a study keeps for what.

    Images of a study that was started stay where they were then.

    Example: autosearch data split studies/photos.py --format json
    """
    from autosearch.cli.output import emit, print_json
    from autosearch.data.dataset import SPLITS
    from autosearch.data.report import split_members
    from autosearch.errors import DefinitionError, NotFoundError
    from autosearch.store.view import open_study
    from autosearch.study import load_study_file

    study = load_study_file(study_file)
    with contextlib.suppress(NotFoundError):  # Nothing is stored before the first run.
        study = study.keeping_sides(open_study(study.name, storage=storage).sides())
    if study.dataset is None:
        raise DefinitionError(f'study "{study.name}" has no dataset; there is nothing to split')
    members = split_members(study.dataset)
    if output_format is ReportFormat.JSON:
        print_json(members)
        return
    rows = [{"split": name, "images": len(members[name])} for name in SPLITS]
    emit(rows, OutputFormat.TABLE, columns={"split": "split", "images": "images"})


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove it all.")] = False,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """List photos that are kept resized, or remove them.

    They are made again when they are needed. AUTOSEARCH_CACHE names another folder for them,
    AUTOSEARCH_CACHE_BYTES how much they may take.

    Example: autosearch data cache --clear
    """
    from autosearch.cli.output import emit, say
    from autosearch.data.cache import ImageCache

    images = ImageCache()
    if clear:
        say(f"Removed {images.clear():,} bytes from {images.root}.")
        return
    entries = images.entries()
    rows = [
        {
            "fingerprint": entry.fingerprint,
            "split": entry.split,
            "size": entry.size,
            "color": entry.color,
            "resize": entry.resize,
            "fit": entry.fit,
            "size_bytes": entry.size_bytes,
            "last_used": entry.last_used.isoformat(timespec="seconds"),
            "path": str(entry.path),
        }
        for entry in entries
    ]
    if output_format is OutputFormat.TABLE:
        rows = [{**row, "fingerprint": str(row["fingerprint"])[:12]} for row in rows]
    columns = {
        "fingerprint": "dataset",
        "split": "split",
        "size": "size",
        "color": "colour",
        "resize": "resize",
        "fit": "fit",
        "size_bytes": "bytes",
        "last_used": "last used",
    }
    emit(rows, output_format, columns=columns)
    say(f"{images.root} holds {images.held_bytes():,} of at most {images.max_bytes:,} bytes.")


def _print_report(report: dict[str, Any]) -> None:
    from autosearch.cli.output import emit, stdout

    def table(rows: list[dict[str, Any]], columns: dict[str, str], title: str) -> None:
        if rows:
            emit(rows, OutputFormat.TABLE, columns=columns, title=title)
            stdout.print()

    ratio = report["imbalance_ratio"]
    classes = [{"name": name, "images": n} for name, n in report["classes"].items()]
    table(
        classes,
        {"name": "class", "images": "images"},
        f"{report['num_images']:,} usable images in {len(classes)} classes"
        + (f", {ratio:.1f} : 1" if ratio else ""),
    )
    sizes = [{"side": side, **values} for side, values in report["sizes"].items()]
    table(sizes, {"side": "", "min": "min", "median": "median", "max": "max"}, "Pixels")
    modes = [{"mode": mode, "images": n} for mode, n in report["modes"].items()]
    table(modes, {"mode": "mode", "images": "images"}, "")
    found = [
        ("unusable", "unusable files"),
        ("ignored", "ignored files"),
        ("duplicates", "duplicates"),
        ("conflicting_duplicates", "duplicates with several labels"),
        ("near_duplicates", "look alike"),
        ("bursts", "bursts"),
    ]
    counts = [{"count": len(report[key]), "what": text} for key, text in found if report[key]]
    counts += [{"count": len(v), "what": f"groups of {c}"} for c, v in report["groups"].items()]
    table(counts, {"what": "", "count": ""}, "Found")
    table(report["unusable"], {"path": "file", "reason": "reason"}, "Unusable")
    conflicts = [{"paths": " = ".join(paths)} for paths in report["conflicting_duplicates"]]
    table(conflicts, {"paths": ""}, "Same picture, different labels")
    stdout.print("Advice", markup=False)
    for advice in report["advice"]:
        stdout.print(f"* {advice['advice']} {advice['reason']}", markup=False)
