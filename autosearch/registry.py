"""Promotion: one reading of the test split, old and new side by side, and an alias that moves.

Needs NumPy and LiteRT, no TensorFlow, so that a dashboard can do it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from autosearch.data import Dataset, dataset_from_definition
from autosearch.data.labelled import LabelledImages, labelled_images
from autosearch.errors import AutosearchError, DefinitionError, NotFoundError, StudyError
from autosearch.evaluation.judging import Judgement, compare, judge
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.subjects import promotion_subject
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import Promotion, add_promotion, current_promotion
from autosearch.store.readings import add_reading
from autosearch.store.view import StudyView, known_study
from autosearch.study import Study

__all__ = ["promote", "promoted_images", "promotion_dataset"]

_LONGEST_NAME = 200  # the tables have room for that
_MAX_CLASSES_IN_RECORD = 50  # a confusion matrix grows with the square
_VALIDATION = (
    "estimate",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "latency_ms",
    "latency_p90_ms",
    "memory_bytes",
)


def promote(
    database: Database,
    artifacts: ArtifactStore,
    *,
    study_name: str,
    candidate: str,
    model: str | None = None,
    alias: str = "champion",
    note: str = "",
    study: Study | None = None,
    expected_sha256: str | None = None,
) -> Promotion:
    """Measures a candidate on the test split and points an alias of a model to it.

    What the alias pointed to until now is judged on the same images. ``record["comparison"]``
    then holds what ``compare`` answers and ``against`` (model file that was judged), or, where
    the two cannot be compared, a ``reason``; it is None if the alias pointed to nothing.
    ``record["test_reading"]`` is the number of this reading of the test split, by whatever study.

    Args:
        database: Opened to write.
        artifacts: Where the study's files are.
        study_name: The study that found it.
        candidate: Its id, as ``front`` lists it.
        model: The named line of candidates; the study's name by default.
        alias: What to promote it to.
        note: Kept with the promotion.
        study: The study from its file; needed where the dataset is a class of the user's.
        expected_sha256: The file that was chosen, if only that one may be promoted: a study that
            was run again, or a finalist that was fitted again, has another under the same id.

    Returns:
        The promotion, its test metrics included.

    Raises:
        NotFoundError: There is no such study, candidate or file.
        DefinitionError: The candidate has no file, the model or alias is no name, or the dataset
            is a class of the user's and ``study`` was not given.
        StudyError: The images are not the ones that were searched on, or the candidate is another
            file than the expected one.
    """
    view = StudyView(database, artifacts, study_name)
    found = view.candidate(candidate)
    sha256 = found["artifact_sha256"]
    if sha256 is None:
        raise DefinitionError(
            f'candidate "{candidate}" of "{study_name}" has no file to promote; '
            "expected one that Keras trained"
        )
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise StudyError(
            f'candidate "{candidate}" of "{study_name}" has the file {sha256[:12]}… now, and '
            f"{expected_sha256[:12]}… was expected; check its figures again with: "
            f"autosearch show {study_name} {candidate}"
        )
    _check_name("alias", alias, "champion")
    _check_name("model", model or study_name, "digits")
    if "@" in alias:  # MODEL@ALIAS would name another one
        raise DefinitionError(f'alias "{alias}" has an @ in it; write one such as champion')
    file = artifacts.get(sha256)
    dataset = study.dataset if study is not None else promotion_dataset(view.definition)
    sides = view.sides()
    if dataset is not None and sides is not None:
        dataset = dataset.keeping_sides(sides)
    if dataset is None or dataset.fingerprint() != view.data_fingerprint:
        raise StudyError(
            f'the images of "{study_name}" are not the ones that it searched on (their fingerprint '
            "differs), so its figures would not hold; bring those images back, or run it anew"
        )
    lite = TFLiteModel(file)
    data = labelled_images(dataset, "test")
    preprocessing = found["facts"]["preprocessing"]
    # Before any figure is known: a reading that fails half-way was one all the same.
    reading = add_reading(
        database,
        data_fingerprint=str(view.data_fingerprint),
        study=study_name,
        what=f"candidate {candidate} of {study_name}",
        why=f"to promote it to {alias} of {model or study_name}",
    )
    judged = judge(lite, data, classes=dataset.classes, preprocessing=preprocessing)
    comparison = _against_the_old(
        database, artifacts, model or study_name, alias, judged, data, view.data_fingerprint
    )
    return add_promotion(
        database,
        model=model or study_name,
        alias=alias,
        candidate=candidate,
        artifact_sha256=sha256,
        keras_sha256=found["keras_sha256"],
        note=note,
        test_metrics=_test_metrics(judged),
        record={
            "study": study_name,
            "trial": found["trial"],
            "candidate": candidate,
            "quantization": found["quantization"],
            "config": found["config"],
            "architecture": found["facts"].get("architecture"),
            "preprocessing": preprocessing,
            "validation": {name: found[name] for name in _VALIDATION},
            "conditions": found["conditions"],
            "reasons": found["reasons"],
            "target": {"name": found["target"], **found["target_description"]},
            "parameters": found["parameters"],
            "macs": found["macs"],
            "size_bytes": len(file),
            "sha256": hashlib.sha256(file).hexdigest(),
            "input": _spec(lite.input),
            "output": _spec(lite.output),
            "classes": list(dataset.classes),
            "dataset": {
                "name": dataset.name,
                "fingerprint": view.data_fingerprint,
                "split_seed": dataset.split_seed,
                "definition": view.definition["dataset"],
            },
            "environment": view.environment,
            "comparison": comparison,
            "test_reading": reading,
        },
    )


def _against_the_old(
    database: Database,
    artifacts: ArtifactStore,
    model: str,
    alias: str,
    new: Judgement,
    data: LabelledImages,
    fingerprint: str | None,
) -> dict[str, Any] | None:
    """What changes for each test image when an alias moves."""
    try:
        promotion = current_promotion(database, model, alias)
    except NotFoundError:
        return None
    against = {
        "candidate": promotion.candidate,
        "study": promotion.record["study"],
        "artifact_sha256": promotion.artifact_sha256,
    }
    try:
        subject = promotion_subject(promotion, artifacts)
        old = judge(
            TFLiteModel(subject.file),
            data,
            classes=subject.classes or (),
            preprocessing=subject.preprocessing,
        )
    except AutosearchError as error:
        return {"against": against, "reason": str(error)}
    # A split of its own may have had these images among those that it was trained on.
    return {
        "against": against,
        "old_saw_other_split": subject.data_fingerprint != fingerprint,
        **compare(old, new),
    }


def _test_metrics(judged: Judgement) -> dict[str, Any]:
    low, high = judged.intervals["accuracy"]
    summary = judged.summary()
    details = {} if len(judged.classes) > _MAX_CLASSES_IN_RECORD else judged.details
    return {
        **judged.metrics,
        "accuracy_low": low,
        "accuracy_high": high,
        "num_images": summary["num_images"],
        "intervals": summary["intervals"],
        "reasons": summary["reasons"],
        **details,
    }


def promoted_images(
    database: Database,
    artifacts: ArtifactStore,
    promotion: Promotion,
    *,
    study: Study | None = None,
) -> Dataset:
    """The dataset that a promoted candidate was searched on, each image on its side of the split.

    Args:
        database: Where the study is, unless it was deleted.
        artifacts: Where its files are.
        promotion: What an alias points to.
        study: The study from its file; needed where the dataset is a class of the user's.

    Raises:
        DefinitionError: The dataset is a class of the user's and ``study`` was not given.
        NotFoundError: Its files are gone.
        StudyError: The images are others, of which nobody knows whether they are the test's.
    """
    name, searched_on = promotion.record["study"], promotion.record["dataset"]
    dataset = (
        study.dataset
        if study is not None
        else promotion_dataset({"name": name, "dataset": searched_on["definition"]})
    )
    expected = {searched_on["fingerprint"]}
    view = known_study(database, artifacts, name, begun_by=promotion.promoted_at)
    if view is not None:
        # Its data may have grown since; what was known then is where it was.
        expected.add(view.data_fingerprint)
        sides = view.sides()
        if dataset is not None and sides is not None:
            dataset = dataset.keeping_sides(sides)
    if dataset is None or dataset.fingerprint() not in expected:
        raise StudyError(
            f'the images of "{name}" are not the ones that it searched on (their fingerprint '
            "differs), so some may be of the test split; bring those images back, or export "
            "without --samples"
        )
    return dataset


def promotion_dataset(definition: Mapping[str, Any]) -> Dataset:
    """The dataset of a stored study, made again from its definition.

    Raises:
        DefinitionError: It is a class of the user's.
        NotFoundError: Its files are gone.
    """
    if definition["dataset"] is None:
        raise DefinitionError(
            f'study "{definition["name"]}" has no dataset; only what Keras trained can be promoted'
        )
    return dataset_from_definition(definition["dataset"])


def _check_name(what: str, name: str, example: str) -> None:
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= _LONGEST_NAME:
        raise DefinitionError(f"{what} {name!r} is not a name; write one such as {example}")
    if name[0] == "-":  # the command line would take it for an option
        raise DefinitionError(f"{what} {name!r} begins with a dash; write one such as {example}")


def _spec(spec: Any) -> dict[str, Any]:
    return {
        "shape": [int(size) for size in spec.shape],
        "dtype": np.dtype(spec.dtype).name,
        "quantization": {"scale": spec.scale, "zero_point": spec.zero_point},
    }
