"""What a study learns from: its dataset again, a few of its images, and what was found of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data import dataset_from_definition
from autosearch.data.dataset import Dataset
from autosearch.data.files import FileDataset
from autosearch.data.report import inspect
from autosearch.store.view import StudyView

__all__ = ["data_report", "example_images", "study_dataset"]


def study_dataset(view: StudyView) -> Dataset:
    """The dataset of a study, with every image on the side of the split that it had.

    Raises:
        DefinitionError: It is a class of the user's, or its files are gone.
    """
    dataset = dataset_from_definition(view.definition["dataset"])
    sides = view.sides()
    return dataset if sides is None else dataset.keeping_sides(sides)


def example_images(
    view: StudyView, *, per_class: int = 6, max_classes: int = 20, seed: int = 0
) -> dict[str, list[npt.NDArray[np.uint8]]]:
    """A few validation images of each class, the same at every look.

    Args:
        view: The study.
        per_class: At most so many of each.
        max_classes: Of many classes only the first.
        seed: Which of them.

    Returns:
        Class to uint8 images (height, width, channels).

    Raises:
        DefinitionError: As of ``study_dataset``.
    """
    dataset = study_dataset(view)
    images, labels = dataset.load("validation")
    generator = np.random.default_rng(seed)
    found = {}
    for label, name in enumerate(list(dataset.classes)[:max_classes]):
        places = np.flatnonzero(labels == label)
        chosen = generator.permutation(places)[:per_class]
        found[name] = [images[int(place)] for place in np.sort(chosen)]
    return found


def data_report(view: StudyView) -> dict[str, Any] | None:
    """What ``autosearch data inspect`` finds in the study's files; None if it has no files.

    Raises:
        DefinitionError: As of ``study_dataset``.
    """
    dataset = study_dataset(view)
    return inspect(dataset) if isinstance(dataset, FileDataset) else None
