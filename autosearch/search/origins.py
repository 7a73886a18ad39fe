"""Networks that a study goes on from, and which of its images they have learned from already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autosearch.data.dataset import SPLITS
from autosearch.errors import DefinitionError
from autosearch.space.pretrained import Pretrained

if TYPE_CHECKING:
    from autosearch.data import Dataset
    from autosearch.space.pretrained import Origin
    from autosearch.study import Study

__all__ = ["check_origins", "goes_on_from_its_own_images"]

_SPLIT_WORDS = (
    "split_seed", "fractions", "validation", "group", "keep_alike_together", "known_sides",
)  # fmt: skip
"""What of a dataset's definition says how it is split, and not which images it has."""


def check_origins(study: Study) -> None:
    """Refuses to go on from a network that was fitted on images which are to judge it.

    Raises:
        DefinitionError: A promoted candidate that the space begins from has seen validation or
            test images of the study.
    """
    for origin in _origins(study):
        if not _learned_from(origin, study.dataset) - {"train"}:
            continue
        if not _learned_from(replace(origin, is_refit=False), study.dataset) - {"train"}:
            raise DefinitionError(
                f'study "{study.name}" begins from a finalist of "{origin.study}" that was fitted '
                "on the validation images, too, so its figures would be too good; promote a "
                "candidate without -refit and begin from that, or from another network"
            )
        raise DefinitionError(
            f'study "{study.name}" begins from a network of "{origin.study}" that was trained on '
            "images which are for validation or test here, so its figures would be too good; "
            f'split the images as "{origin.study}" does, or begin from another network'
        )


def goes_on_from_its_own_images(study: Study) -> bool:
    """Whether a network that the space begins from has seen images that folds would judge on."""
    return any(_learned_from(origin, study.dataset) for origin in _origins(study))


def _origins(study: Study) -> list[Origin]:
    if study.space is None or study.dataset is None:
        return []
    begun_from = [one.origin for one in study.space.architectures if isinstance(one, Pretrained)]
    return [origin for origin in begun_from if origin is not None]


def _learned_from(origin: Origin, dataset: Dataset) -> set[str]:
    """The splits of a dataset that hold images which a network was fitted on."""
    learned = {"train", "validation"} if origin.is_refit else {"train"}
    if origin.fingerprint == dataset.fingerprint():
        return learned
    sides = dataset.sides()
    if origin.sides is not None and sides is not None:
        before = origin.sides
        return {split for sha256, split in sides.items() if before.get(sha256) in learned}
    return set(SPLITS) if _is_split_otherwise(origin.definition, dataset.definition()) else set()


def _is_split_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether two definitions are of the same images in another split, as far as they say."""
    now = json.loads(json.dumps(now))  # as the database gives the other one back
    # That of arrays in memory is of images and split together.
    beside = {*_SPLIT_WORDS, "fingerprint"}
    rest_before, rest_now = (
        {word: value for word, value in of.items() if word not in beside} for of in (before, now)
    )
    return rest_before == rest_now and split_words(before) != split_words(now)


def split_words(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What of a dataset's definition says how it is split."""
    return {word: definition.get(word) for word in _SPLIT_WORDS}
