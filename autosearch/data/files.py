"""Datasets whose images are files: what is usable, what belongs together, and how it is split."""

from __future__ import annotations

import hashlib
import json
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from autosearch.data.dataset import SPLITS, Dataset, Labels, check_seed, check_split
from autosearch.data.duplicates import bursts, clusters, exact_duplicates, near_duplicates
from autosearch.data.grouping import grouped_split
from autosearch.data.photos import LARGEST_MAX_PIXELS, Photo, Photos, examine_all
from autosearch.errors import DefinitionError

__all__ = ["FileDataset", "Listing", "Source", "Survey", "describe_growth", "printable"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is said to be an image of a class.

    Attributes:
        path: Where it is.
        shown: Its path as people and listings see it, relative to the dataset's root.
        label: Its class's name.
        split: The part that it is given to, or None.
        groups: What each group column says of it.
        problem: Why it cannot be used, if that shows without reading it.
    """

    path: Path
    shown: str
    label: str
    split: str | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a dataset says that it holds, before any file is read.

    Attributes:
        sources: The images.
        ignored: Relative paths of other files, which are no part of it.
        classes: Every class's name, those without images included.
    """

    sources: tuple[Source, ...]
    ignored: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """What looking at every file found.

    Attributes:
        sources: The usable images, ordered by contents, so that names decide nothing.
        photos: What was found of each.
        unusable: Relative path and reason of each file that is left out.
        duplicates: Sets of the same bytes, as indices into ``sources``.
        near_duplicates: Pairs that look alike, as indices, few enough to join all that do.
        bursts: Runs of photos shot within seconds, as indices.
    """

    sources: tuple[Source, ...]
    photos: tuple[Photo, ...]
    unusable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[int, ...], ...]
    near_duplicates: tuple[tuple[int, int], ...]
    bursts: tuple[tuple[int, ...], ...]


class FileDataset(Dataset):
    """Labelled image files; ``ImageFolder`` and ``Manifest`` are the two kinds.

    Files are listed at once, and looked at when the first split is asked for. Broken ones are
    left out. What is the same picture, to the byte or to the eye, or was shot in one burst, stays
    on one side of the split, as do groups; a split that is given is respected as it is, and an
    image of which none is given follows its like into validation or test.

    Args:
        path: The folder or file.
        split_seed: Draws the split.
        fractions: The shares of train, validation and test. Where some of them are given, the
            missing ones are drawn from train.
        max_pixels: An image of more pixels is left out.
        keep_alike_together: Whether pictures that look alike, and bursts, are on one side too.
        known_sides: SHA-256 of a file → its split, as ``sides`` answered for an earlier state:
            those images stay where they were, and only new ones are assigned.
        has_groups: Whether the user asked for groups, so that a class may miss a part.

    Attributes:
        kind: What its definition is known by.
        fewest_classes: It is refused with fewer.
    """

    kind: str
    fewest_classes: int = 2

    def __init__(
        self,
        path: str | Path,
        *,
        split_seed: int,
        fractions: Sequence[float],
        max_pixels: int,
        keep_alike_together: bool,
        known_sides: Mapping[str, str] | None,
        has_groups: bool,
    ) -> None:
        check_seed(split_seed)
        if not isinstance(max_pixels, int) or not 0 < max_pixels <= LARGEST_MAX_PIXELS:
            raise DefinitionError(
                f"max_pixels is {max_pixels!r}; expected from 1 to {LARGEST_MAX_PIXELS:,}, beyond "
                "which Pillow takes an image for a decompression bomb"
            )
        for split in set((known_sides or {}).values()):
            check_split(split)
        given = tuple(fractions) if isinstance(fractions, Iterable) else (fractions,)
        shares = tuple(share for share in given if isinstance(share, int | float))
        is_division = len(given) == len(shares) == 3 and min(shares) > 0
        if not is_division or abs(sum(shares) - 1) > 1e-6:
            raise DefinitionError(
                f"fractions {given} do not divide a dataset; expected three positive shares of "
                "train, validation and test that add up to 1, such as (0.6, 0.2, 0.2)"
            )
        self.path = Path(path).expanduser().absolute()
        self.name = self.path.stem
        self.split_seed = split_seed
        self.fractions = (shares[0], shares[1], shares[2])
        self.max_pixels = max_pixels
        self.keep_alike_together = keep_alike_together
        self.known_sides = dict(known_sides) if known_sides is not None else None
        self._kept_sides = self.known_sides
        self._has_groups = has_groups
        self.listing = self._list()
        self.classes = self.listing.classes
        columns = dict.fromkeys(c for source in self.listing.sources for c in source.groups)
        self.group_columns = tuple(columns)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}, split_seed={self.split_seed})"

    @property
    def is_drawn(self) -> bool:
        """Whether at least a part of the split is not the user's own."""
        given = {source.split for source in self.listing.sources}
        return None in given or not given.issuperset(SPLITS)

    @abstractmethod
    def _list(self) -> Listing:
        """Finds the files; sources in any order, classes in that of their labels."""

    @cached_property
    def survey(self) -> Survey:
        """Every file looked at, on all cores."""
        sources = self.listing.sources
        to_read = [source for source in sources if source.problem is None]
        photos = examine_all([source.path for source in to_read], max_pixels=self.max_pixels)
        found = sorted(
            zip(to_read, photos, strict=True), key=lambda pair: (pair[1].sha256, pair[0].shown)
        )
        usable = [(source, photo) for source, photo in found if photo.problem is None]
        unusable = [(source.shown, source.problem) for source in sources if source.problem]
        unusable += [(source.shown, photo.problem) for source, photo in found if photo.problem]
        good = tuple(photo for _, photo in usable)
        return Survey(
            sources=tuple(source for source, _ in usable),
            photos=good,
            unusable=tuple(sorted(unusable)),
            duplicates=tuple(map(tuple, exact_duplicates(good))),
            near_duplicates=tuple(near_duplicates(good)),
            bursts=tuple(map(tuple, bursts(good))),
        )

    def load(self, split: str) -> tuple[Photos, Labels]:
        """One split; its images are decoded when they are indexed or iterated over."""
        check_split(split)
        part = self._parts[split]
        return self._photos(part.tolist()), self._labels[part]

    def everything(self) -> tuple[Photos, Labels, list[str], dict[str, list[str]]]:
        """Every usable image, whatever its split: images, labels, paths and groups.

        It need not be possible to split them.
        """
        sources = self.survey.sources
        groups = self._groups_of(range(len(sources)))
        shown = [source.shown for source in sources]
        return self._photos(range(len(sources))), self._labels, shown, groups

    def _photos(self, indices: Sequence[int]) -> Photos:
        paths = [self.survey.sources[i].path for i in indices]
        sha256s = [self.survey.photos[i].sha256 for i in indices]
        return Photos(paths, sha256s, max_pixels=self.max_pixels)

    def paths(self, split: str) -> list[str]:
        """The files of one split, relative to the dataset's root, in the order of ``load``."""
        check_split(split)
        return [self.survey.sources[index].shown for index in self._parts[split]]

    def members(self, split: str) -> list[str]:
        """The same as ``paths``."""
        return self.paths(split)

    def clusters(self, splits: Sequence[str]) -> Labels:
        """(n,) numbers: the same for pictures that look alike, and for those of one group."""
        return np.concatenate([self._clusters[self._parts[split]] for split in splits])

    def groups(self, split: str) -> dict[str, list[str]]:
        """Each group column with the value of every image, in the order of ``load``."""
        check_split(split)
        return self._groups_of(self._parts[split].tolist())

    def _groups_of(self, indices: Sequence[int]) -> dict[str, list[str]]:
        sources = self.survey.sources
        return {c: [sources[i].groups.get(c, "") for i in indices] for c in self.group_columns}

    def split_counts(self) -> dict[str, int]:
        """The number of images in each split."""
        return {split: len(self._parts[split]) for split in SPLITS}

    def sides(self) -> dict[str, str]:
        """SHA-256 of each file → its split: what ``known_sides`` of a grown folder takes.

        Where given splits put one picture on two sides, the later one counts; where one is given
        and one was drawn, that which was drawn.
        """
        photos = self.survey.photos
        sides = [(split, i) for split in SPLITS for i in self._parts[split]]
        given = self._given_sides()
        if not set(SPLITS[1:]) <= set(given):
            # A given side can be read off the files again, a drawn one is known from here alone.
            sides.sort(key=lambda side: given[side[1]] in (None, "train"))
        return {photos[i].sha256: split for split, i in sides}

    def keeping_sides(self, sides: Mapping[str, str]) -> FileDataset:
        """The dataset with those images where they were; only new ones are assigned.

        ``known_sides`` of the definition count for more. Files are not looked at again.
        """
        kept = copy(self)
        kept.__dict__.pop("_parts", None)
        kept._kept_sides = {**sides, **(self.known_sides or {})}
        return kept

    def fingerprint(self) -> str:
        """SHA-256 over the classes and, in each split, every file's class and contents.

        Names and places of files are not in it; nothing is decoded for it.
        """
        digest = hashlib.sha256(json.dumps(list(self.classes)).encode())
        for split in SPLITS:
            digest.update(split.encode())
            for index in self._parts[split]:
                digest.update(f" {self._labels[index]}:{self.survey.photos[index].sha256}".encode())
        return digest.hexdigest()

    def definition(self) -> dict[str, Any]:
        """The absolute path and how it is split, from which the dataset is made again."""
        definition: dict[str, Any] = {
            "kind": self.kind,
            "path": str(self.path),
            "split_seed": self.split_seed,
            "fractions": list(self.fractions),
            "max_pixels": self.max_pixels,
            "keep_alike_together": self.keep_alike_together,
        }
        if self.known_sides is not None:
            definition["known_sides"] = self.known_sides
        return definition

    @cached_property
    def _labels(self) -> Labels:
        index_of = {name: index for index, name in enumerate(self.classes)}
        return np.array([index_of[s.label] for s in self.survey.sources], dtype=np.int64)

    @cached_property
    def _parts(self) -> dict[str, Labels]:
        sources = self.survey.sources
        if len(self.classes) < 2:
            raise DefinitionError(
                f'"{self.path}" has {len(self.classes)} classes with images; expected at least 2'
            )
        counts = np.bincount(self._labels, minlength=len(self.classes))
        for name, count in zip(self.classes, counts, strict=True):
            if not count:
                raise DefinitionError(self._about_no_images(name))
        if not any(source.split for source in sources):
            return self._divided(np.arange(len(sources)), self.fractions)
        given = self._given_sides()
        parts = {
            split: np.array([i for i, side in enumerate(given) if side == split], dtype=np.int64)
            for split in SPLITS
        }
        drawn = [split for split in SPLITS[1:] if not len(parts[split])]
        pool = np.array([i for i, side in enumerate(given) if side in (None, "train")], np.int64)
        if drawn:
            shares = [
                share if split == "train" or split in drawn else 0.0
                for split, share in zip(SPLITS, self.fractions, strict=True)
            ]
            total = sum(shares)
            fresh = self._divided(pool, (shares[0] / total, shares[1] / total, shares[2] / total))
            parts |= {split: fresh[split] for split in ("train", *drawn)}
        else:
            parts["train"] = pool
        missing = np.nonzero(~np.isin(np.arange(len(counts)), self._labels[parts["train"]]))[0]
        if len(missing):
            raise DefinitionError(
                f'class "{self.classes[missing[0]]}" has no usable image in the training split '
                f'that "{self.path}" gives; add some, or leave the class out'
            )
        return parts

    def _given_sides(self) -> list[str | None]:
        """The part that each image is given to, by itself or by one that belongs to it.

        Where a cluster has images in validation or test, those of which nothing is said follow,
        into the later part if it is torn. What an earlier state of the dataset had in a part that
        is drawn stays there, unless the very same picture is given to another.
        """
        photos, cluster_of = self.survey.photos, self._clusters.tolist()
        given = [source.split for source in self.survey.sources]
        latest: dict[int, int] = {}
        given_contents: set[str] = set()
        for cluster, side, photo in zip(cluster_of, given, photos, strict=True):
            if side in SPLITS[1:]:
                latest[cluster] = max(latest.get(cluster, 0), SPLITS.index(side))
                given_contents.add(photo.sha256)
        drawn = {"train", *(split for split in SPLITS[1:] if split not in given)}
        stays = {sha256 for sha256, side in (self._kept_sides or {}).items() if side in drawn}
        stays -= given_contents
        for index, (cluster, photo) in enumerate(zip(cluster_of, photos, strict=True)):
            if given[index] is None and cluster in latest and photo.sha256 not in stays:
                given[index] = SPLITS[latest[cluster]]
        return given

    def _about_no_images(self, name: str) -> str:
        of_class = {source.shown for source in self.listing.sources if source.label == name}
        reasons = [f"{path} is {why}" for path, why in self.survey.unusable if path in of_class]
        first = f" ({len(reasons):,} unusable: {reasons[0]})" if reasons else ""
        return (
            f'class "{name}" of "{self.path}" has 0 usable images{first}; add some, or remove '
            "the class (autosearch data inspect lists what is unusable and why)"
        )

    def _divided(self, pool: Labels, shares: tuple[float, float, float]) -> dict[str, Labels]:
        sides = self._kept_sides
        known: list[str | None] | None = None
        if sides is not None:
            # A part that is given by now draws nothing, whatever was in it before.
            drawn_parts = {split for split, share in zip(SPLITS, shares, strict=True) if share}
            known = [sides.get(self.survey.photos[index].sha256) for index in pool]
            known = [side if side in drawn_parts else None for side in known]
        drawn = grouped_split(
            self._labels[pool],
            self._clusters[pool],
            fractions=shares,
            seed=self.split_seed,
            classes=self.classes,
            known=known,
            every_class_everywhere=not self._has_groups,
        )
        return {split: pool[part] for split, part in drawn.items()}

    @cached_property
    def _clusters(self) -> Labels:
        survey = self.survey
        together: list[Iterable[int]] = [*survey.duplicates]
        if self.keep_alike_together:
            together += [*survey.near_duplicates, *survey.bursts]
        together += self.kept_groups().values()
        return clusters(len(survey.sources), together)

    def kept_groups(self) -> dict[tuple[str, str], list[int]]:
        """Column and value of each group that a split is to keep on one side.

        Returns:
            Its images as indices into the survey's sources.
        """
        groups: dict[tuple[str, str], list[int]] = {}
        for index, source in enumerate(self.survey.sources):
            for column in self._split_by():
                if source.groups.get(column):
                    groups.setdefault((column, source.groups[column]), []).append(index)
        return groups

    def _split_by(self) -> Sequence[str]:
        """The group columns that the split keeps on one side."""
        return ()


def describe_growth(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Says in a few words how a dataset changed, from its ``sides`` before and after.

    Example:
        >>> describe_growth({"a": "train", "b": "test"}, {"a": "train", "c": "test", "d": "train"})
        '2 images were added, 1 removed, 0 moved to another split'
    """
    added = len(after.keys() - before.keys())
    removed = len(before.keys() - after.keys())
    moved = sum(1 for key in before.keys() & after.keys() if before[key] != after[key])
    if not added and not removed and not moved:
        return "the images are the same, but labels were changed or copies of them added or removed"
    were = "image was" if added == 1 else "images were"
    return f"{added} {were} added, {removed} removed, {moved} moved to another split"


def printable(path: str) -> str:
    """The same as text that any encoding can write: file names may hold any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")
