"""Any file that can be judged, on any labelled images: an incident's, or last year's model's."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data import Dataset, ImageFolder, dataset_from_definition
from autosearch.data.files import printable
from autosearch.data.labelled import EVERY_SPLIT, LabelledImages, labelled_images, read_labelled
from autosearch.data.photos import Photos
from autosearch.errors import DefinitionError
from autosearch.evaluation.judging import Judgement, judge, labels_by
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.subjects import Subject
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.readings import add_reading
from autosearch.store.view import StudyView, known_study
from autosearch.study import Study

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A file judged on images.

    Attributes:
        subject: The file.
        judgement: How it did.
        data: The images.
        test_reading: If images of a study's test split are among them, how often that was read by
            now; None if none are, or if there is no database to count it in.
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
    then taken. Photos anywhere else are told by their contents: how many of them the file was
    trained on is a note, and one of the study's test split makes it a reading.

    Args:
        subject: What is judged, from ``find_subject``.
        data: A folder, table or ``.npz`` file (``read_labelled`` says which), or a study.
        split: "train", "validation", "test", or "all".
        group: A regular expression for a folder, a column for a table.
        database: Where the sides of a study's images are known, and a reading of its test split
            is counted, for which it is opened to write.

    Raises:
        NotFoundError: There are no such images.
        DefinitionError: The images are of classes that the file does not know, or cannot be read.
    """
    notes = [subject.note] if subject.note else []
    # The study whose test split is among the images, and the fingerprint of its images.
    tested: tuple[str | None, str | None] | None = None
    dataset, study = _study_images(data, subject, database)
    if dataset is None:
        found = read_labelled(Path(str(data)), split=split, group=group)
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
        if split == "validation" and subject.is_refit and _is_own(dataset, study, subject):
            notes.append(
                "The file was fitted on these images, too, so the figures are too good for what "
                "the study found; --split test gives honest ones."
            )
        if split in ("test", EVERY_SPLIT):
            tested = study, dataset.fingerprint()
    if dataset is None or not _is_own(dataset, study, subject):
        seen = _seen(subject, found, database)
        is_drawn = dataset is None and split != EVERY_SPLIT
        notes += _about_seen(seen, subject, len(found), is_drawn=is_drawn)
        if tested is None and seen is not None and seen["test"]:
            tested = subject.study, subject.data_fingerprint
    classes = subject.classes
    if classes is None:
        classes = found.classes
        notes.append(
            f"The file does not name its {len(classes)} classes; they are taken for those of the "
            "images, in order of name."
        )
    lite = TFLiteModel(subject.file, pixels=subject.pixels)
    # Images that the file cannot be judged on are no reading.
    labels_by(lite, found, classes)
    reading = None
    if tested is not None and database is None:
        notes.append("There is no database to count this reading of the test split in.")
    elif tested is not None and database is not None:
        reading = _count_reading(database, *map(str, tested), what=subject.name)
    judgement = judge(lite, found, classes=classes, preprocessing=subject.preprocessing)
    return Evaluation(
        subject=subject, judgement=judgement, data=found, test_reading=reading, notes=tuple(notes)
    )


def _count_reading(database: Database, study: str, data_fingerprint: str, *, what: str) -> int:
    """Counts a reading of a study's test split, and answers how many there are by now."""
    writable = Database.open_existing(database.url)
    try:
        return add_reading(
            writable,
            data_fingerprint=data_fingerprint,
            study=study,
            what=what,
            why="to evaluate it",
        )
    finally:
        writable.close()


def _is_own(dataset: Dataset, study: str | None, subject: Subject) -> bool:
    """Whether the split of a study's images says which of them a file was trained on."""
    return study == subject.study or subject.data_fingerprint == dataset.fingerprint()


def _seen(
    subject: Subject, found: LabelledImages, database: Database | None
) -> Counter[str] | None:
    """How many of some images are in each split of the study that found a file.

    Returns:
        None if the study's images are no photos or nobody knows them, or these are none.
    """
    sides = _known_sides(subject.study, subject, database)
    if sides is None or not isinstance(found.images, Photos):
        return None
    return Counter(sides[sha256] for sha256 in found.images.sha256s if sha256 in sides)


def _about_seen(
    seen: Counter[str] | None, subject: Subject, num_images: int, *, is_drawn: bool
) -> list[str]:
    """What a reader must know of images that the study which found a file had, too."""
    if seen is None:
        return [
            "Whether the file was trained on some of these images is not known here"
            + (
                ": unless the split is that of the folders or the table, it was drawn anew."
                if is_drawn
                else "."
            )
        ]
    notes = []
    num_learned = seen["train"] + (seen["validation"] if subject.is_refit else 0)
    if num_learned:
        notes.append(
            f"{num_learned} of these {num_images} images {_were(num_learned)} trained on, so the "
            "figures are too good."
        )
    num_chose = 0 if subject.is_refit else seen["validation"]
    if num_chose:
        notes.append(
            f"{num_chose} of these {num_images} images {_were(num_chose)} in the validation split "
            "by which the file was chosen among others, so the figures are a little too good."
        )
    return notes


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _study_images(
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
    if view is None or (is_its_own and not _found(view, subject)):
        return None
    return view.sides()


def _found(view: StudyView, subject: Subject) -> bool:
    """Whether a study of the name that a bundle bears is the one that the bundle came from."""
    if view.data_fingerprint == subject.data_fingerprint:
        return True
    # It may have grown since.
    known = view.candidates_frame()["artifact_sha256"]
    return bool((known == hashlib.sha256(subject.file).hexdigest()).any())


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
