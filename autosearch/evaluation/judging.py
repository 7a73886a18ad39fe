"""Judging a file on labelled images: the one way for promotion, incidents and last year's model.

Needs NumPy, scikit-learn and LiteRT, no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import Images
from autosearch.data.labelled import LabelledImages
from autosearch.data.photos import Photos, prepare_images
from autosearch.errors import DefinitionError
from autosearch.evaluation.groups import WORST_GROUP, Groups
from autosearch.evaluation.intervals import bootstrap_intervals
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.metrics import (
    class_figures,
    classification_metrics,
    mcnemar_p_value,
    wilson_interval,
)

__all__ = ["Judgement", "compare", "judge", "labels_by"]

_PREPARED_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a file answered on labelled images, and how good that is.

    Attributes:
        classes: The file's classes.
        labels: (n,) true classes, as indices into them.
        probabilities: (n, classes), as the file gives them.
        members: What names each image.
        metrics: Name → figure: those of ``classification_metrics``, and ``worst_group_accuracy``,
            which may be None.
        intervals: Name → its 90 % interval, of every metric that has a figure: Wilson's of a
            share of images, the bootstrap's of others.
        reasons: Name → why it has no figure.
        details: JSON-friendly: ``per_class`` (with the interval of the recall) and ``confusion``
            as ``class_figures`` gives them, and what ``Groups.figures`` does.
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float32]
    members: Sequence[Any]
    metrics: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]
    reasons: Mapping[str, str]
    details: Mapping[str, Any]

    @property
    def is_right(self) -> npt.NDArray[np.bool_]:
        """(n,) whether the most probable class is the true one."""
        right: npt.NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    def summary(self) -> dict[str, Any]:
        """All of it but the single images, as JSON."""
        return {
            "num_images": len(self.labels),
            "metrics": dict(self.metrics),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "reasons": dict(self.reasons),
            "classes": list(self.classes),
            **self.details,
        }


def judge(
    lite: TFLiteModel,
    data: LabelledImages,
    *,
    classes: Sequence[str],
    preprocessing: Mapping[str, Any],
) -> Judgement:
    """Runs a file on images and measures what it answers.

    Args:
        lite: The file.
        data: At least one image. Its classes are matched with the file's by name.
        classes: The file's class names, in the order of its outputs.
        preprocessing: What ``prepare`` takes besides an image.

    Raises:
        DefinitionError: As ``labels_by``, or the preprocessing is not that of the file.
        StudyError: A photo can no longer be decoded, or is another than it was.
    """
    labels = labels_by(lite, data, classes)
    probabilities = _answers(lite, data.images, preprocessing)
    return _judged(labels, probabilities, tuple(classes), data)


def _answers(
    lite: TFLiteModel, images: Images, preprocessing: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """What a file says of images, of which a few hundred are prepared at a time."""
    answers = []
    for start in range(0, len(images), _PREPARED_AT_ONCE):
        prepared = prepare_images(_following(images, start), preprocessing)
        if prepared.shape[1:] != lite.input.shape[1:]:
            raise DefinitionError(
                f"the file takes images of shape {lite.input.shape[1:]}, and its preprocessing "
                f"makes {prepared.shape[1:]}; expected the preprocessing that it was trained with"
            )
        answers.append(lite.predict(prepared))
    return np.concatenate(answers)


def _following(images: Images, start: int) -> Images:
    stop = min(start + _PREPARED_AT_ONCE, len(images))
    if isinstance(images, np.ndarray | Photos):
        return images[start:stop]
    # A user's own sequence need not take slices.
    return [images[index] for index in range(start, stop)]


def compare(old: Judgement, new: Judgement) -> dict[str, Any]:
    """Two files on the same images, JSON-friendly.

    Args:
        old: Of one file.
        new: Of the other, on the same images in the same order.

    Returns:
        ``num_images``; ``old`` and ``new``, each with ``accuracy``, ``accuracy_low`` and
        ``accuracy_high`` (90 %); ``num_fixed`` and ``fixed``: the images that only the new one
        classifies rightly; ``num_broken`` and ``broken``: those that only the old one does;
        ``mcnemar_p_value``: see there.

    Raises:
        ValueError: The images differ.
    """
    if list(old.members) != list(new.members):
        raise ValueError("Got judgements on different images; expected the same in one order.")
    fixed = np.nonzero(new.is_right & ~old.is_right)[0].tolist()
    broken = np.nonzero(old.is_right & ~new.is_right)[0].tolist()
    return {
        "num_images": len(new.labels),
        "old": _accuracy(old),
        "new": _accuracy(new),
        "num_fixed": len(fixed),
        "num_broken": len(broken),
        "fixed": [new.members[index] for index in fixed],
        "broken": [new.members[index] for index in broken],
        "mcnemar_p_value": mcnemar_p_value(len(fixed), len(broken)),
    }


def labels_by(
    lite: TFLiteModel, data: LabelledImages, classes: Sequence[str]
) -> npt.NDArray[np.int64]:
    """Which of a file's outputs each image belongs to, shape ``(n,)``; runs nothing.

    Raises:
        DefinitionError: There is no image, images are of classes that the file does not know, or
            the classes are not those of the file.
    """
    if not len(data):
        raise DefinitionError("there is no image to judge on; expected at least one")
    num_outputs = lite.output.shape[1]
    if len(classes) != num_outputs:
        raise DefinitionError(
            f"the file has {num_outputs} outputs, and {len(classes)} classes are named; expected "
            "a name for each output: write them into a file, one on each line, and name it with "
            "--labels FILE"
        )
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise DefinitionError(f'class "{twice}" is named twice; expected different names')
    index_of = {name: index for index, name in enumerate(classes)}
    present = np.unique(data.labels).tolist()
    if present[0] < 0 or present[-1] >= len(data.classes):
        raise DefinitionError(
            f"the images have labels from {present[0]} to {present[-1]}; expected indices from 0 "
            f"to {len(data.classes) - 1}, one for each of their classes"
        )
    unknown = [data.classes[index] for index in present if data.classes[index] not in index_of]
    if unknown:
        raise DefinitionError(
            f"the images are also of {_some(unknown)}, which the model does not know; expected "
            f"only its classes: {_some(classes)}"
        )
    positions = np.array([index_of.get(name, -1) for name in data.classes], dtype=np.int64)
    matched: npt.NDArray[np.int64] = positions[data.labels]
    return matched


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def _judged(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    classes: tuple[str, ...],
    data: LabelledImages,
) -> Judgement:
    metrics: dict[str, float | None] = dict(classification_metrics(labels, probabilities))
    num_correct = int(np.sum(probabilities.argmax(axis=1) == labels))
    intervals = {"accuracy": wilson_interval(num_correct, len(labels))}
    intervals |= bootstrap_intervals(labels, probabilities)
    details = class_figures(labels, probabilities, classes)
    for index, figures in enumerate(details["per_class"].values()):
        right, support = details["confusion"][index][index], figures["support"]
        low, high = wilson_interval(right, support) if support else (None, None)
        figures |= {"recall_low": low, "recall_high": high}
    # No resample of a class that is never or always right has another figure.
    tested = [of for of in details["per_class"].values() if of["support"]]
    worst = min(tested, key=lambda of: float(of["recall"]))
    low, high = intervals["worst_class_recall"]
    intervals["worst_class_recall"] = (
        # A rare class that was always right may be the worst one after all.
        min(low, *(float(of["recall_low"]) for of in tested)),
        max(high, worst["recall_high"]),
    )
    by_group = Groups(data.groups).figures(labels, probabilities)
    metrics[WORST_GROUP] = by_group.worst_accuracy
    if "worst_group" in by_group.figures:
        of_group = by_group.figures["worst_group"]
        intervals[WORST_GROUP] = (of_group["accuracy_low"], of_group["accuracy_high"])
    return Judgement(
        classes=classes,
        labels=labels,
        probabilities=probabilities,
        members=data.members,
        metrics=metrics,
        intervals=intervals,
        reasons={WORST_GROUP: by_group.reason} if by_group.reason is not None else {},
        details={**details, **by_group.figures},
    )


def _accuracy(judgement: Judgement) -> dict[str, Any]:
    low, high = judgement.intervals["accuracy"]
    return {
        "accuracy": judgement.metrics["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
    }
