"""Any file that can be judged, on any labelled images: an incident's, or last year's model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data import Dataset, ImageFolder, dataset_from_definition
from autosearch.data.files import printable
from autosearch.data.labelled import EVERY_SPLIT, LabelledImages, labelled_images, read_labelled
from autosearch.errors import DefinitionError
from autosearch.evaluation.judging import Judgement, judge
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.subjects import Subject, known_study
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.readings import add_reading
from autosearch.study import Study

__all__ = ["Evaluation", "evaluate", "study_images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A file judged on images.

    Attributes:
        subject: The file.
        judgement: How it did.
        data: The images.
        test_reading: If they hold the test split of a study, how often that was read by now;
            None if they do not, or if there is no database to count it in.
        notes: What a reader of the figures must know, a sentence each.
    """

    subject: Subject
    judgement: Judgement
    data: LabelledImages
    test_reading: int | None
    notes: tuple[str, ...]

    def report(self) -> dict[str, Any]:
        """Everything as one JSON object.

        Keys: ``what``, ``study``, ``preprocessing``, ``num_images``, ``metrics`` (name → figure or
        null), ``intervals`` (name → [low, high], 90 %), ``reasons`` (name → why it is null),
        ``classes``, ``per_class`` (name → precision, recall, recall_low, recall_high, support),
        ``confusion`` (true class by row, predicted by column, in the order of classes), with
        groups ``per_group`` (column → value → figures) and ``worst_group``, ``wrong`` (image, its
        label, the prediction and its probability, the surest first), ``unusable`` (path, reason),
        ``test_reading`` and ``notes``.
        """
        judgement = self.judgement
        predicted = judgement.probabilities.argmax(axis=1)
        wrong = np.nonzero(~judgement.is_right)[0]
        surest = np.argsort(-judgement.probabilities[wrong].max(axis=1), kind="stable")
        return {
            "what": self.subject.name,
            "study": self.subject.study,
            "preprocessing": dict(self.subject.preprocessing),
            **judgement.summary(),
            "wrong": [
                {
                    "image": judgement.members[index],
                    "label": judgement.classes[judgement.labels[index]],
                    "prediction": judgement.classes[predicted[index]],
                    "probability": float(judgement.probabilities[index, predicted[index]]),
                }
                for index in wrong[surest].tolist()
            ],
            "unusable": [{"path": path, "reason": why} for path, why in self.data.unusable],
            "test_reading": self.test_reading,
            "notes": list(self.notes),
        }


def evaluate(
    subject: Subject,
    data: Path | Study,
    *,
    split: str = EVERY_SPLIT,
    group: str | None = None,
    database: Database | None = None,
) -> Evaluation:
    """Judges a file on labelled images of any source, by the code that promotion uses.

    A reading of a test split is counted when the images are those of a study: ``data`` is a
    study, or the very folder or file that the subject's study was searched on, whose own split is
    then taken. Other images belong to no study, and are not counted.

    Args:
        subject: What is judged, from ``find_subject``.
        data: A folder, table or ``.npz`` file (``read_labelled`` says which), or a study.
        split: "train", "validation", "test", or "all".
        group: A regular expression for a folder, a column for a table.
        database: Opened to write: where a reading of a test split is counted, and the sides of a
            study's images are known.

    Raises:
        NotFoundError: There are no such images.
        DefinitionError: The images are of classes that the file does not know, or cannot be read.
    """
    notes = [subject.note] if subject.note else []
    reading = None
    dataset, study = study_images(data, subject, database)
    if dataset is None:
        found = read_labelled(Path(str(data)), split=split, group=group)
        if split != EVERY_SPLIT and subject.dataset is None:
            notes.append(
                "What the file was trained on is not known here: unless the split is that of the "
                "folders or the table, it was drawn anew, and such images may be among these."
            )
    else:
        found = labelled_images(dataset, split)
        if group is not None:
            if not isinstance(dataset, ImageFolder):
                raise DefinitionError(
                    f'the images of study "{study}" are in no folder, whose paths --group would '
                    "read; leave it out, or name the groups in the study's dataset"
                )
            found = _grouped(found, dataset, group)
        if not isinstance(data, Study):
            notes.append(f'These are the images of study "{study}", split as it splits them.')
        if split in ("train", EVERY_SPLIT):
            notes.append(
                "Images that the study trains on are among these, so the figures are too good for "
                "what it found; --split test gives honest ones."
            )
        elif study == subject.study and _saw_another_split(subject, dataset, database):
            notes.append(
                f'The file was found by study "{study}" on other images or another split than '
                "these, and may have been trained on some of them: its figures may be too good."
            )
        if split == "validation" and subject.is_refit and study == subject.study:
            notes.append(
                "The file was fitted on these images, too, so the figures are too good for what "
                "the study found; --split test gives honest ones."
            )
        if split in ("test", EVERY_SPLIT) and database is None:
            notes.append("There is no database to count this reading of the test split in.")
        elif split in ("test", EVERY_SPLIT) and database is not None:
            reading = add_reading(
                database,
                data_fingerprint=dataset.fingerprint(),
                study=str(study),
                what=subject.name,
                why="to evaluate it",
            )
    classes = subject.classes
    if classes is None:
        classes = found.classes
        notes.append(
            f"The file does not name its {len(classes)} classes; they are taken for those of the "
            "images, in order of name."
        )
    judgement = judge(
        TFLiteModel(subject.file), found, classes=classes, preprocessing=subject.preprocessing
    )
    return Evaluation(
        subject=subject, judgement=judgement, data=found, test_reading=reading, notes=tuple(notes)
    )


def study_images(
    data: Path | Study, subject: Subject, database: Database | None = None
) -> tuple[Dataset | None, str | None]:
    """The dataset of a study that the images are of, with the study's name; None if of none.

    Its images are on the sides of the split where the study has them, if the subject or the
    database knows them: a folder that has grown would be split otherwise.

    Raises:
        DefinitionError: The study has no dataset.
    """
    if isinstance(data, Study):
        if data.dataset is None:
            raise DefinitionError(f'study "{data.name}" has no dataset; name images to judge on')
        return _on_its_sides(data.dataset, data.name, subject, database), data.name
    searched_on = (subject.dataset or {}).get("path")
    if searched_on is None or Path(searched_on).resolve() != data.expanduser().resolve():
        return None, None
    dataset = dataset_from_definition(subject.dataset or {})
    return _on_its_sides(dataset, subject.study, subject, database), subject.study


def _on_its_sides(
    dataset: Dataset, study: str | None, subject: Subject, database: Database | None
) -> Dataset:
    sides = _known_sides(study, subject, database)
    return dataset if sides is None else dataset.keeping_sides(sides)


def _known_sides(
    study: str | None, subject: Subject, database: Database | None
) -> Mapping[str, str] | None:
    """Where a study has each of its files; None if its images are no files, or nobody knows."""
    is_its_own = study == subject.study
    if is_its_own and subject.sides is not None:
        return subject.sides
    if study is None or database is None:
        return None
    begun_by = subject.promoted_at if is_its_own else None
    view = known_study(database, ArtifactStore.beside(database), study, begun_by=begun_by)
    return None if view is None else view.sides()


def _saw_another_split(subject: Subject, dataset: Dataset, database: Database | None) -> bool:
    """Whether a file may have been trained on what its study's name now calls another split."""
    if subject.data_fingerprint in (None, dataset.fingerprint()):
        return False
    # A folder that has grown has another fingerprint, and what was known of it is where it was.
    return _known_sides(subject.study, subject, database) is None


def _grouped(found: LabelledImages, dataset: ImageFolder, group: str) -> LabelledImages:
    """The same images by groups that the study itself need not know."""
    sources = ImageFolder(dataset.path, group=group).listing.sources
    values = {printable(source.shown): source.groups.get("group", "") for source in sources}
    return replace(found, groups={"group": [values.get(path, "") for path in found.members]})
