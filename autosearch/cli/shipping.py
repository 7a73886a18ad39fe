"""``promote``, ``export`` and ``verify``: from a candidate to a bundle that holds what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autosearch.cli.options import Artifacts, ReportFormat, Storage, StudyFileOption

__all__ = ["register"]

_NUM_CHANGES_SHOWN = 5


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (promote, export, verify):
        app.command(command.__name__)(command)


def promote(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="Its id, as front lists it.")
    ],
    alias: Annotated[
        str, typer.Option("--alias", metavar="NAME", help="The alias that will point to it.")
    ] = "champion",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="The model that it becomes a version of.",
            show_default="the study's name",
        ),
    ] = None,
    note: Annotated[str, typer.Option("--note", help="Kept with the promotion.")] = "",
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="SUM", help="Promote only the file with this SHA-256."),
    ] = None,
    study_file: StudyFileOption = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Annotated[
        ReportFormat, typer.Option("--format", help="How to print it.")
    ] = ReportFormat.TABLE,
) -> None:
    """Measure a candidate on the test split; an alias points to it.

    What the alias held is measured beside it, on the same images.

    Example: autosearch promote digits 12-int8 --alias champion
    """
    from autosearch import registry
    from autosearch.cli.judging import reading_words
    from autosearch.cli.output import command, print_json, say
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.study import load_study_file
    from autosearch.values import Estimate

    database = Database.open_existing(storage)
    promotion = registry.promote(
        database,
        ArtifactStore.beside(database, artifacts),
        study_name=study,
        candidate=candidate,
        model=model,
        alias=alias,
        note=note,
        study=load_study_file(study_file) if study_file is not None else None,
        expected_sha256=sha256,
    )
    validation, test = promotion.record["validation"], promotion.test_metrics
    is_cross_validated = validation["estimate"] == Estimate.CROSS_VALIDATION
    before = "in cross-validation" if is_cross_validated else "on validation"
    say(
        f'Model "{promotion.model}": {promotion.alias} is now candidate {candidate} '
        f'of study "{study}".'
    )
    say(
        f"Test accuracy {test['accuracy']:.4f} (90 % interval {test['accuracy_low']:.4f}–"
        f"{test['accuracy_high']:.4f}, {test['num_images']} images); {before} it was "
        f"{validation['accuracy']:.4f}."
    )
    say(reading_words(promotion.record["test_reading"]))
    comparison = promotion.record["comparison"]
    if comparison is not None:
        _say_comparison(comparison)
    if output_format is ReportFormat.JSON:
        shown = {
            "model": promotion.model,
            "alias": promotion.alias,
            "study": study,
            "candidate": candidate,
            "validation": validation,
            "test": dict(test),
            "comparison": comparison,
            "test_reading": promotion.record["test_reading"],
        }
        print_json(shown)
    words = ("export", promotion.model, "--alias", alias, "--output", "DIR")
    say(f"Write it out with: {command(*words, storage=storage, artifacts=artifacts)}")


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model's name, as models lists it.")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="The folder to make.")],
    alias: Annotated[
        str, typer.Option("--alias", metavar="NAME", help="Which of its aliases to write out.")
    ] = "champion",
    samples: Annotated[
        int,
        typer.Option(
            "--samples", metavar="N", min=0, help="Add N real validation images, without EXIF data."
        ),
    ] = 0,
    study_file: StudyFileOption = None,
    storage: Storage = None,
    artifacts: Artifacts = None,
) -> None:
    """Write a promoted model as a folder that stands on its own.

    Example: autosearch export digits --alias champion --output bundle
    """
    from autosearch.cli.output import say
    from autosearch.export.bundle import write_bundle
    from autosearch.registry import promoted_images
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.promotions import current_promotion
    from autosearch.study import load_study_file

    database = Database.open_to_read(storage)
    store = ArtifactStore.beside(database, artifacts)
    promotion = current_promotion(database, model, alias)
    study = load_study_file(study_file) if study_file is not None else None
    folder = write_bundle(
        promotion,
        store,
        output,
        num_samples=samples,
        dataset=promoted_images(database, store, promotion, study=study) if samples else None,
    )
    say(f"Wrote {folder}. Check it with: autosearch verify {folder}")
    say(f"Classify an image with: python {folder / 'predict.py'} IMAGE")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that export wrote.")],
) -> None:
    """Check the sums and outputs of a bundle.

    It is done in a fresh process; the first difference is told, with exit code 1.

    Example: autosearch verify bundle
    """
    from autosearch.cli.output import say
    from autosearch.export.verify import verify_bundle

    verification = verify_bundle(folder)
    outputs = (
        "equal bit for bit"
        if verification.is_same_environment
        else f"with {verification.label_agreement:.0%} of the labels and a largest difference of "
        f"{verification.largest_difference:.3g}, on another kind of machine than wrote it"
    )
    say(
        f"{folder} is intact: the checksums of {verification.num_files} files match, and "
        f"{verification.num_samples} samples reproduce their outputs, {outputs}."
    )


def _say_comparison(comparison: dict[str, Any]) -> None:
    """What changed for the test images, against what the alias pointed to."""
    from autosearch.cli.output import say

    against = f"candidate {comparison['against']['candidate']} of {comparison['against']['study']}"
    if "reason" in comparison:
        say(f"It cannot be compared with {against}, which it replaces: {comparison['reason']}")
        return
    old = comparison["old"]
    say(
        f"On the same {comparison['num_images']} images {against}, which it replaces, has "
        f"{old['accuracy']:.4f} ({old['accuracy_low']:.4f}–{old['accuracy_high']:.4f}): "
        f"{comparison['num_fixed']} images are fixed and {comparison['num_broken']} broken "
        f"(McNemar's p = {comparison['mcnemar_p_value']:.2g})."
    )
    for key in ("fixed", "broken"):
        members = comparison[key]
        if members:
            first = ", ".join(map(str, members[:_NUM_CHANGES_SHOWN]))
            more = (
                " …; all of them: autosearch models --format json"
                if len(members) > _NUM_CHANGES_SHOWN
                else ""
            )
            say(f"  {key}: {first}{more}")
    if comparison["old_saw_other_split"]:
        say(
            "The old one was searched on other images or another split, and may have been "
            "trained on some of these: its figures may be too good."
        )
