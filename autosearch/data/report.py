"""What a dataset of files holds, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data.dataset import SPLITS, Dataset
from autosearch.data.duplicates import clusters
from autosearch.data.files import FileDataset, printable
from autosearch.data.folder import ImageFolder
from autosearch.data.manifest import Manifest
from autosearch.data.photos import MAX_PIXELS
from autosearch.errors import DefinitionError

__all__ = ["inspect", "open_files", "split_members"]

_SIZES = (16, 24, 32, 48, 64, 96, 128, 160, 192, 224)
# What telephones and cameras write besides.
_OTHER_FORMATS = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_UNBALANCED, _VERY_UNBALANCED = 1.5, 3.0
_FEW_IN_VALIDATION = 300
_FEW_IN_A_CLASS = 30


def open_files(
    path: Path, *, group: str | None = None, max_pixels: int = MAX_PIXELS
) -> FileDataset:
    """The folder or manifest at a path.

    Args:
        path: A folder of class sub-folders, or a CSV or Parquet file.
        group: A regular expression for a folder, a column for a manifest.
        max_pixels: An image of more pixels is unusable.

    Raises:
        NotFoundError: There is nothing there.
        DefinitionError: It is neither.
    """
    if path.is_file() or path.suffix.lower() in (".csv", ".parquet", ".pq"):
        if path.suffix.lower() not in (".csv", ".parquet", ".pq"):
            raise DefinitionError(
                f'"{path}" is neither a folder of photos nor a table of them; expected a folder '
                "with a sub-folder for each class, or a .csv or .parquet file"
            )
        return Manifest(path, group=group, max_pixels=max_pixels)
    return ImageFolder(path, group=group, max_pixels=max_pixels)


def inspect(dataset: FileDataset) -> dict[str, Any]:
    """Looks at every file and says what there is, what is wrong and what to do about it.

    Args:
        dataset: A folder or manifest; it need not be fit to be split.

    Returns:
        A JSON-friendly mapping: ``classes`` (name → usable images), ``num_images``,
        ``imbalance_ratio`` (largest class to smallest; None if one is empty), ``unusable`` (path
        and reason), ``ignored``, ``duplicates`` (sets of paths with the same bytes),
        ``conflicting_duplicates`` (those of them whose labels differ), ``near_duplicates`` (sets
        that look alike), ``bursts``, ``groups`` (column → value → usable images), ``sizes``
        (minimum, median and maximum of width and height in pixels), ``modes``, ``splits`` (given
        or drawn, None where it cannot be) and ``advice`` (what, why, and about which part).
    """
    survey = dataset.survey
    counts = Counter(source.label for source in survey.sources)
    classes = {name: counts[name] for name in dataset.classes}
    duplicates = [[survey.sources[i].shown for i in same] for same in survey.duplicates]
    conflicting = [
        [survey.sources[i].shown for i in same]
        for same in survey.duplicates
        if len({survey.sources[i].label for i in same}) > 1
    ]
    smallest, largest = min(classes.values()), max(classes.values())
    groups: dict[str, Counter[str]] = {}
    for source in survey.sources:
        for column, value in source.groups.items():
            if value:
                groups.setdefault(column, Counter())[value] += 1
    splits, split_problem = _splits(dataset)
    report: dict[str, Any] = {
        "path": str(dataset.path),
        "classes": classes,
        "num_images": len(survey.sources),
        "imbalance_ratio": largest / smallest if smallest else None,
        "unusable": [{"path": path, "reason": reason} for path, reason in survey.unusable],
        "ignored": list(dataset.listing.ignored),
        "duplicates": sorted(map(sorted, duplicates)),
        "conflicting_duplicates": sorted(map(sorted, conflicting)),
        "near_duplicates": _alike(dataset),
        "bursts": sorted(sorted(survey.sources[i].shown for i in run) for run in survey.bursts),
        "groups": {column: dict(sorted(values.items())) for column, values in groups.items()},
        "sizes": {
            "width": _spread([photo.width for photo in survey.photos]),
            "height": _spread([photo.height for photo in survey.photos]),
        },
        "modes": dict(Counter(photo.mode for photo in survey.photos).most_common()),
        "splits": splits,
    }
    report["advice"] = _advice(dataset, report, split_problem)
    shown: dict[str, Any] = _printable(report)
    return shown


def split_members(dataset: Dataset) -> dict[str, list[Any]]:
    """What is in each split, as printable paths, or row numbers of a dataset that has none."""
    members: dict[str, list[Any]] = _printable({s: dataset.members(s) for s in SPLITS})
    return members


def _splits(dataset: FileDataset) -> tuple[dict[str, int] | None, str | None]:
    try:
        return dataset.split_counts(), None
    except DefinitionError as error:
        return None, str(error)


def _alike(dataset: FileDataset) -> list[list[str]]:
    survey = dataset.survey
    joined: dict[int, list[str]] = {}
    numbers = clusters(len(survey.sources), survey.near_duplicates)
    for number, source in zip(numbers.tolist(), survey.sources, strict=True):
        joined.setdefault(number, []).append(source.shown)
    return sorted(sorted(paths) for paths in joined.values() if len(paths) > 1)


def _spread(values: Sequence[int]) -> dict[str, float | None]:
    if not values:
        return {"min": None, "median": None, "max": None}
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)}


def _advice(
    dataset: FileDataset, report: dict[str, Any], split_problem: str | None
) -> list[dict[str, str]]:
    return [
        {"about": about, "advice": advice, "reason": reason}
        for about, advice, reason in (
            *_about_files(report, split_problem),
            *_about_ignored(report),
            *_about_splits(dataset, report),
            *_about_balance(report),
            *_about_pixels(dataset),
        )
    ]


_Advice = Iterable[tuple[str, str, str]]


def _about_files(report: dict[str, Any], split_problem: str | None) -> _Advice:
    if split_problem is not None:
        yield "split", "Mend this first: no study can begin on these images.", split_problem
    if report["unusable"]:
        yield (
            "unusable",
            "Replace or remove the unusable files.",
            f"{_number(report['unusable'], 'file')} left out of every split.",
        )
    if report["conflicting_duplicates"]:
        yield (
            "duplicates",
            "Decide on one label for each of the conflicting duplicates.",
            f"{_number(report['conflicting_duplicates'], 'picture')} there under several labels, "
            "so no classifier can be right on all of their copies.",
        )
    elif report["duplicates"]:
        yield (
            "duplicates",
            "Keep one file of each set of duplicates.",
            f"{_number(report['duplicates'], 'picture')} there more than once, to weigh more than "
            "others; a drawn split keeps each set on one side.",
        )


def _about_ignored(report: dict[str, Any]) -> _Advice:
    others = [path for path in report["ignored"] if path.lower().endswith(_OTHER_FORMATS)]
    if others:
        yield (
            "ignored",
            "Convert them to JPEG or PNG, if they are photos of a class.",
            f"{_number(others, 'file')} of a format that is not read, such as {others[0]}.",
        )


def _about_splits(dataset: FileDataset, report: dict[str, Any]) -> _Advice:
    if report["splits"] is None:
        return
    side = {path: split for split in SPLITS for path in dataset.paths(split)}
    sources = dataset.survey.sources
    torn_pictures = [
        paths[0]
        for paths in (*report["duplicates"], *report["near_duplicates"])
        if len({side[path] for path in paths}) > 1
    ]
    torn_groups = [
        value
        for (_, value), members in dataset.kept_groups().items()
        if len({side[sources[index].shown] for index in members}) > 1
    ]
    for noun, torn, remedy in (
        ("picture", torn_pictures, "Take the copies out of one side of the given split."),
        ("group", torn_groups, "Move each group of the given split to one side."),
    ):
        if torn:
            yield (
                "split",
                remedy,
                f"{_number(torn, noun)} on several sides of it, such as {torn[0]}, so the figures "
                "on validation and test are too good.",
            )
    num_validation = report["splits"]["validation"]
    if num_validation < _FEW_IN_VALIDATION:
        half_width = 1.96 * (0.25 / max(1, num_validation)) ** 0.5
        yield (
            "validation",
            "Read the candidates' figures with their intervals.",
            f"Validation has {num_validation} images, so a share is known to about "
            f"± {100 * half_width:.0f} points at worst.",
        )


def _about_balance(report: dict[str, Any]) -> _Advice:
    ratio, classes = report["imbalance_ratio"], report["classes"]
    if not ratio:
        return
    rarest = min(classes, key=lambda name: classes[name])
    commonest = max(classes, key=lambda name: classes[name])
    counts = f'"{commonest}" has {classes[commonest]:,} images, "{rarest}" {classes[rarest]:,}'
    if ratio >= _UNBALANCED:
        yield (
            "metric",
            'Search for maximize("balanced_accuracy"), not for accuracy.',
            f"{counts} ({ratio:.1f} : 1), so accuracy rewards neglecting the rare classes.",
        )
    else:
        yield (
            "metric",
            "Accuracy will do.",
            f"{counts} ({ratio:.1f} : 1), which is nearly balanced.",
        )
    if ratio >= _VERY_UNBALANCED:
        yield (
            "class_weighting",
            'Search ClassWeighting(method=["none", "balanced", "oversample", "logit_adjustment"]).',
            f"{counts} ({ratio:.1f} : 1), so unweighted training sees the rare class seldom.",
        )
    if classes[rarest] < _FEW_IN_A_CLASS:
        yield (
            "classes",
            f'Add images of "{rarest}".',
            f"It has {classes[rarest]}, of which about a fifth is validation.",
        )


def _about_pixels(dataset: FileDataset) -> _Advice:
    photos = dataset.survey.photos
    if not photos:
        return
    sides = [min(photo.width, photo.height) for photo in photos]
    # Below the tenth part's size nearly no image is enlarged; small networks gain little from more.
    bound = float(np.percentile(sides, 10))
    fitting = [size for size in _SIZES if size <= bound] or [max(1, int(bound))]
    candidates = [size for size in fitting if size <= 96][-3:]
    yield (
        "image_size",
        f"Preprocessing(size={candidates if len(candidates) > 1 else candidates[0]}).",
        f"Nine in ten images have a shorter side of at least {bound:.0f} pixels, so nearly none "
        "is enlarged; cost grows with the square of the size.",
    )
    if all(photo.mode in ("1", "L", "LA") or photo.mode.startswith("I") for photo in photos):
        yield "color", 'Preprocessing(color="greyscale").', "Every image is greyscale."
    shapes = [photo.width / photo.height for photo in photos]
    low, high = np.percentile(shapes, [5, 95])
    if high / low > 1.5:
        yield (
            "fit",
            'Try Preprocessing(fit=["crop", "pad", "stretch"]).',
            f"Width to height runs from {low:.2f} to {high:.2f} (5th and 95th percentile).",
        )


def _number(things: Sequence[Any], noun: str) -> str:
    return f"1 {noun} is" if len(things) == 1 else f"{len(things):,} {noun}s are"


def _printable(value: Any) -> Any:
    """The same with every text ``printable``."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value
