"""Promotion: one reading of the test split, and an alias that moves.

Needs NumPy and LiteRT, no TensorFlow, so that a dashboard can do it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from autosearch.data import Dataset, dataset_from_definition, prepare_all
from autosearch.errors import DefinitionError, NotFoundError, StudyError
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.metrics import classification_metrics, wilson_interval
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import Promotion, add_promotion
from autosearch.store.view import StudyView
from autosearch.study import Study

__all__ = ["promote", "promotion_dataset", "test_metrics"]

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
) -> Promotion:
    """Measures a candidate on the test split and points an alias of a model to it.

    Args:
        database: Opened to write.
        artifacts: Where the study's files are.
        study_name: The study that found it.
        candidate: Its id, as ``front`` lists it.
        model: The named line of candidates; the study's name by default.
        alias: What to promote it to.
        note: Kept with the promotion.
        study: The study from its file; needed where the dataset is a class of the user's.

    Returns:
        The promotion, its test metrics included.

    Raises:
        NotFoundError: There is no such study, candidate or file.
        DefinitionError: The candidate has no file, or the dataset is a class of the user's and
            ``study`` was not given.
        StudyError: The images are not the ones that were searched on.
    """
    view = StudyView(database, artifacts, study_name)
    found = view.candidate(candidate)
    sha256 = found["artifact_sha256"]
    if sha256 is None:
        raise DefinitionError(
            f'candidate "{candidate}" of "{study_name}" has no file to promote; '
            "expected one that Keras trained"
        )
    if not alias or not alias.isprintable() or alias != alias.strip():
        raise DefinitionError(f"alias {alias!r} is not a name; write one such as champion")
    file = artifacts.get(sha256)
    dataset = study.dataset if study is not None else promotion_dataset(view.definition)
    known = view.data_sides()
    if dataset is not None and known is not None:
        dataset = dataset.keeping_sides(known["sides"])
    if dataset is None or dataset.fingerprint() != view.data_fingerprint:
        raise StudyError(
            f'the images of "{study_name}" are not the ones that it searched on (their fingerprint '
            "differs), so its figures would not hold; bring those images back, or run it anew"
        )
    lite = TFLiteModel(file)
    return add_promotion(
        database,
        model=model or study_name,
        alias=alias,
        candidate=candidate,
        artifact_sha256=sha256,
        keras_sha256=found["keras_sha256"],
        note=note,
        test_metrics=test_metrics(lite, dataset, found["facts"]["preprocessing"]),
        record={
            "study": study_name,
            "trial": found["trial"],
            "candidate": candidate,
            "quantization": found["quantization"],
            "config": found["config"],
            "architecture": found["facts"].get("architecture"),
            "preprocessing": found["facts"]["preprocessing"],
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
        },
    )


def test_metrics(
    lite: TFLiteModel, dataset: Dataset, preprocessing: Mapping[str, Any]
) -> dict[str, Any]:
    """Figures of a file on the test split: the only place that reads it."""
    images, labels = dataset.load("test")
    labels = np.asarray(labels)
    probabilities = lite.predict(prepare_all(images, **preprocessing))
    num_correct = int(np.sum(np.argmax(probabilities, axis=1) == labels))
    low, high = wilson_interval(num_correct, len(labels))
    return {
        **classification_metrics(labels, probabilities),
        "accuracy_low": low,
        "accuracy_high": high,
        "num_images": len(labels),
    }


def promotion_dataset(definition: Mapping[str, Any]) -> Dataset:
    """The dataset of a stored study, made again from its definition.

    Raises:
        DefinitionError: It is a class of the user's.
    """
    if definition["dataset"] is None:
        raise DefinitionError(
            f'study "{definition["name"]}" has no dataset; only what Keras trained can be promoted'
        )
    try:
        return dataset_from_definition(definition["dataset"])
    except (DefinitionError, NotFoundError) as error:
        raise DefinitionError(
            f'the images of study "{definition["name"]}" come from code of its own; '
            "name its file: --study-file FILE"
        ) from error


def _spec(spec: Any) -> dict[str, Any]:
    return {
        "shape": [int(size) for size in spec.shape],
        "dtype": np.dtype(spec.dtype).name,
        "quantization": {"scale": spec.scale, "zero_point": spec.zero_point},
    }
