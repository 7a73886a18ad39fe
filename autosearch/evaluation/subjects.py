"""What can be judged: a candidate, a promoted model, a bundle, or a bare ``.tflite`` file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data import dataset_from_definition
from autosearch.errors import AutosearchError, DefinitionError, NotFoundError, VerificationError
from autosearch.evaluation.litert import RAW_PIXELS, TensorSpec, TFLiteModel
from autosearch.space.preprocessing import Preprocessing, PreprocessingConfig
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import Promotion, current_promotion
from autosearch.store.view import StudyView, known_study
from autosearch.values import Estimate

__all__ = [
    "Subject",
    "bundle_subject",
    "candidate_subject",
    "file_subject",
    "find_subject",
    "promotion_subject",
]

_LEAST_RAW = 4.0
"""More than any usual way of normalising makes of the brightest pixel where the darkest stays 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file with what it needs to be judged.

    Attributes:
        name: What it is called when it is spoken of.
        file: The bytes of the ``.tflite`` file.
        classes: Its class names in the order of its outputs; None if nothing says them.
        preprocessing: What ``prepare`` takes besides an image.
        study: The study that found it, if it is known.
        dataset: The definition of the images that it was searched on, if it is known.
        data_fingerprint: Their fingerprint.
        sides: SHA-256 of each file → the split that the study has it in, if they are files.
        is_refit: Whether it was fitted on the study's validation images, too.
        promoted_at: When it was promoted (UTC), if it was: a study that was begun later is not
            the one that found it, whatever its name.
        pixels: What its input is to be where an image has 0, and where it has 255.
        note: What was assumed, in a sentence; "" if nothing.
    """

    name: str
    file: bytes
    classes: tuple[str, ...] | None
    preprocessing: Mapping[str, Any]
    study: str | None = None
    dataset: Mapping[str, Any] | None = None
    data_fingerprint: str | None = None
    sides: Mapping[str, str] | None = None
    is_refit: bool = False
    promoted_at: datetime | None = None
    pixels: tuple[float, float] = RAW_PIXELS
    note: str = ""


def candidate_subject(view: StudyView, candidate: str) -> Subject:
    """A candidate of a study.

    Raises:
        NotFoundError: There is no such candidate, or its file is gone.
        DefinitionError: It has no file.
    """
    found = view.candidate(candidate)
    sha256 = found["artifact_sha256"]
    if sha256 is None:
        raise DefinitionError(
            f'candidate "{candidate}" of "{view.name}" has no file to judge; '
            "expected one that Keras trained"
        )
    facts = found["facts"]
    classes = facts.get("classes")
    if classes is None:
        # Written by a version that kept them with the dataset alone.
        try:
            classes = dataset_from_definition(view.definition["dataset"]).classes
        except AutosearchError:
            classes = None
    return Subject(
        name=f"candidate {candidate} of {view.name}",
        file=view.artifact(sha256),
        classes=tuple(map(str, classes)) if classes is not None else None,
        preprocessing=facts["preprocessing"],
        study=view.name,
        dataset=view.definition["dataset"],
        data_fingerprint=view.data_fingerprint,
        sides=view.sides(),
        is_refit=found["estimate"] == Estimate.CROSS_VALIDATION,
    )


def promotion_subject(promotion: Promotion, artifacts: ArtifactStore) -> Subject:
    """What an alias of a model points to, or once did.

    Raises:
        NotFoundError: Its file is gone.
    """
    record = promotion.record
    return Subject(
        name=f"{promotion.model}@{promotion.alias} (candidate {promotion.candidate} of "
        f"{record['study']})",
        file=artifacts.get(promotion.artifact_sha256),
        classes=tuple(map(str, record["classes"])),
        preprocessing=record["preprocessing"],
        study=record["study"],
        dataset=record["dataset"]["definition"],
        data_fingerprint=record["dataset"]["fingerprint"],
        is_refit=record["validation"].get("estimate") == Estimate.CROSS_VALIDATION,
        promoted_at=promotion.promoted_at,
    )


def bundle_subject(folder: Path) -> Subject:
    """A folder that ``export`` wrote. Nothing in it is executed but the file, by LiteRT.

    Raises:
        VerificationError: It is no bundle, or its file is not the one that it describes.
    """
    try:
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
        file = (folder / "model.tflite").read_bytes()
        classes = tuple(str(name) for name in metadata["classes"])
        preprocessing = _checked(metadata["preprocessing"])
        sha256, name = metadata["sha256"], f"bundle {folder} ({metadata['model']})"
        study, fingerprint = str(metadata["study"]), metadata["dataset"]["fingerprint"]
        promoted_at = datetime.fromisoformat(metadata["promoted_at"])
        figures = dict(metadata.get("validation") or {})
        is_refit = figures.get("estimate") == Estimate.CROSS_VALIDATION
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VerificationError(
            f'"{folder}" is no whole bundle ({type(error).__name__}: {error}); expected a folder '
            "that autosearch export wrote"
        ) from error
    if hashlib.sha256(file).hexdigest() != sha256:
        raise VerificationError(
            f'"{folder / "model.tflite"}" is not the file that metadata.json describes; '
            "export it again"
        )
    return Subject(
        name=name,
        file=file,
        classes=classes,
        preprocessing=preprocessing,
        study=study,
        data_fingerprint=fingerprint,
        is_refit=is_refit,
        # As the tables hold it.
        promoted_at=promoted_at.astimezone(UTC).replace(tzinfo=None),
    )


def file_subject(path: Path, labels: Path | None = None) -> Subject:
    """A bare ``.tflite`` file, whose preprocessing is assumed from its input.

    The quantization of an integer input says which pixels it was made for; of a float input raw
    ones are assumed.

    Args:
        path: The file.
        labels: A text file with a class name on each line, in the order of the outputs.

    Raises:
        NotFoundError: A file is not there.
        DefinitionError: Its input is no square image, or the labels are no text.
        ConversionError: It is no classifier that LiteRT can run.
    """
    try:
        file = path.read_bytes()
        text = labels.read_text("utf-8-sig") if labels is not None else None
    except OSError as error:
        raise NotFoundError(
            f'"{error.filename}" cannot be read ({error.strerror}); name a file that is there'
        ) from error
    except UnicodeDecodeError as error:
        raise DefinitionError(
            f'"{labels}" is no text in UTF-8; expected a class name on each line'
        ) from error
    spec = TFLiteModel(file).input
    _, height, width, channels = spec.shape
    if height != width or channels not in (1, 3):
        raise DefinitionError(
            f'"{path}" takes images of {height} × {width} pixels in {channels} channels; expected '
            "a square of 1 or 3 channels"
        )
    color = "rgb" if channels == 3 else "greyscale"
    pixels = _pixels(spec)
    source = "" if pixels == RAW_PIXELS else ", as the quantization of its input says"
    if source and spec.dtype == np.int16:
        source += " of the upper end; the lower one is assumed"
    preprocessing = asdict(
        PreprocessingConfig(size=width, color=color, resize="bilinear", fit="stretch")
    )
    return Subject(
        name=str(path),
        file=file,
        classes=tuple(line.strip() for line in text.splitlines() if line.strip()) if text else None,
        preprocessing=preprocessing,
        pixels=pixels,
        note=f"A bare file does not say how its images are prepared; they are made {color}, "
        f"stretched to {width} × {width} bilinearly, with pixels from "
        f"{round(pixels[0], 2):g} to {round(pixels[1], 2):g}{source}.",
    )


def _pixels(spec: TensorSpec) -> tuple[float, float]:
    """What a file was made to see as the darkest and the brightest pixel, by its input's type."""
    if spec.limits is None:
        return RAW_PIXELS
    low, high = spec.limits
    if spec.dtype == np.int16:
        # Its zero is in the middle whatever goes in, so the lower end says nothing.
        low = 0.0
    # A range found on a sample of images lies about that of all images, below it if they are dark.
    is_raw = abs(low) < high / 10 and _LEAST_RAW <= high <= 2 * RAW_PIXELS[1]
    return RAW_PIXELS if is_raw else (low, high)


def find_subject(
    what: str,
    *,
    study: str | None = None,
    labels: Path | None = None,
    storage: str | None = None,
    artifacts: str | None = None,
) -> Subject:
    """What a person names to be judged.

    Args:
        what: STUDY/CANDIDATE, or CANDIDATE beside ``study``; MODEL@ALIAS; a bundle's folder; or a
            ``.tflite`` file.
        study: The study of a candidate.
        labels: For a bare file, a text file with a class name on each line.
        storage: The database of studies and models.
        artifacts: Where their files are.

    Raises:
        NotFoundError: There is nothing of that name.
        DefinitionError: It is none of these, or has no file.
    """
    path = Path(what)
    if study is None and path.is_dir():
        return bundle_subject(path)
    if study is None and (path.is_file() or path.suffix.lower() == ".tflite"):
        return file_subject(path, labels)
    if study is None and "@" not in what and "/" not in what:
        raise NotFoundError(
            f'there is no file or folder "{what}"; expected STUDY/CANDIDATE, MODEL@ALIAS, '
            "a folder that autosearch export wrote, or a .tflite file"
        )
    database = Database.open_to_read(storage)
    store = ArtifactStore.beside(database, artifacts)
    if study is not None:
        return candidate_subject(StudyView(database, store, study), what)
    if "@" in what:
        model, _, alias = what.rpartition("@")
        subject = promotion_subject(current_promotion(database, model, alias), store)
        view = known_study(database, store, str(subject.study), begun_by=subject.promoted_at)
        return subject if view is None else replace(subject, sides=view.sides())
    name, _, candidate = what.rpartition("/")
    return candidate_subject(StudyView(database, store, name), candidate)


def _checked(words: Mapping[str, Any]) -> dict[str, Any]:
    """A bundle's preprocessing, which may come from anywhere, as ``prepare`` takes it."""
    kinds = {"size": int, "color": str, "resize": str, "fit": str}
    for name, kind in kinds.items():
        if type(words[name]) is not kind:
            raise ValueError(
                f"preprocessing {name} is {words[name]!r}; expected one {kind.__name__}"
            )
    Preprocessing(**words)  # refuses what no image can be prepared with
    return {name: words[name] for name in kinds}
