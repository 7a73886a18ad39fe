"""A folder of photos, one sub-folder a class."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autosearch.data.dataset import SPLIT_NAMES
from autosearch.data.files import FileDataset, Listing, Source, printable
from autosearch.data.photos import IMAGE_SUFFIXES, MAX_PIXELS
from autosearch.errors import DefinitionError, NotFoundError

__all__ = ["ImageFolder"]


class ImageFolder(FileDataset):
    r"""Photos in class sub-folders, optionally with train, val and test above them.

    JPEG, PNG, BMP, GIF, WebP and TIFF of any size and mode but floating-point numbers, decoded by
    Pillow when they are needed. Unusable files are left out and listed by ``autosearch data
    inspect``; hidden files and what has no image's suffix are ignored.

    Args:
        path: The folder.
        split_seed: Draws the split.
        fractions: The shares of train, validation and test.
        group: A regular expression, searched for in each path relative to the folder; images for
            which it finds the same stay on one side of the split. Its groups are compared if it
            has any, otherwise the whole match. A path without a match is its own group.
        max_pixels: An image of more pixels (width times height) is left out.
        keep_alike_together: Whether pictures that look alike, and bursts, are on one side of the
            split. Without it only exact duplicates are: for images that all look much the same.
        known_sides: What ``sides`` answered for an earlier state of the folder: images known by
            their contents stay where they were.

    Raises:
        NotFoundError: There is no such folder.
        DefinitionError: An argument makes no sense, or there are fewer than two classes. A class
            too small to be split is refused when the first split is loaded.

    Example:
        >>> dataset = ImageFolder("photos", group=r"patient_\d+")  # doctest: +SKIP
        >>> images, labels = dataset.load("validation")  # doctest: +SKIP
        >>> images[0].shape  # doctest: +SKIP
        (480, 640, 3)
    """

    kind = "image_folder"

    def __init__(
        self,
        path: str | Path,
        *,
        split_seed: int = 0,
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        group: str | None = None,
        max_pixels: int = MAX_PIXELS,
        keep_alike_together: bool = True,
        known_sides: Mapping[str, str] | None = None,
    ) -> None:
        self.group = group
        try:
            self._pattern = re.compile(group) if group is not None else None
        except (re.error, TypeError) as error:
            raise DefinitionError(
                f"group {group!r} is no regular expression ({error}); expected one that finds "
                r"the group in a path, such as r'patient_\d+'"
            ) from error
        super().__init__(
            path,
            split_seed=split_seed,
            fractions=fractions,
            max_pixels=max_pixels,
            keep_alike_together=keep_alike_together,
            known_sides=known_sides,
            has_groups=group is not None,
        )
        sources = self.listing.sources
        if group is not None and sources and not self.group_columns:
            raise DefinitionError(
                f"group {group!r} is in none of the {len(sources)} paths, such as "
                f'"{printable(sources[0].shown)}"; expected a regular expression that finds the '
                "group in a path, or none"
            )

    def definition(self) -> dict[str, Any]:
        """The absolute path and how it is split, from which the dataset is made again."""
        return {**super().definition(), "group": self.group}

    def _split_by(self) -> Sequence[str]:
        return ("group",)

    def _list(self) -> Listing:
        root = self.path
        if not root.is_dir():
            raise NotFoundError(
                f'there is no folder "{root}"; expected one with a sub-folder for each class'
            )
        files = sorted(_files(root))
        images = [parts for parts in files if _is_image(parts)]
        folders = set(_sub_folders(root))
        given = {name for name in folders if any(len(p) > 2 and p[0] == name for p in images)}
        others = {p[0] for p in images if len(p) > 1} - given
        has_splits = _has_splits(root, given, others)
        depth = 2 if has_splits else 1
        sources, ignored = [], []
        for parts in files:
            if (
                not _is_image(parts)
                or len(parts) <= depth
                or (has_splits and parts[0] not in given)
            ):
                ignored.append("/".join(parts))
                continue
            shown = "/".join(parts)
            sources.append(
                Source(
                    path=root.joinpath(*parts),
                    shown=shown,
                    label=parts[depth - 1],
                    split=SPLIT_NAMES[parts[0].lower()] if has_splits else None,
                    groups=self._groups(shown),
                )
            )
        names = folders
        if has_splits:
            names = {name for split in given for name in _sub_folders(root / split)}
        classes = sorted(names)
        if len(classes) < self.fewest_classes:
            raise DefinitionError(_about_few_classes(root, classes, self.fewest_classes))
        return Listing(tuple(sources), tuple(ignored), tuple(classes))

    def _groups(self, shown: str) -> dict[str, str]:
        match = self._pattern.search(shown) if self._pattern is not None else None
        if match is None:
            return {}
        return {"group": "/".join(g or "" for g in match.groups()) or match.group(0)}


def _has_splits(root: Path, given: set[str], others: set[str]) -> bool:
    """Whether the folders with images two levels down are train, val and test.

    Raises:
        DefinitionError: Several are, or one is beside a part that is no such folder, and they
            make no split; "train" and "test" would be classes.
    """
    meant = sorted(name for name in given if name.lower() in SPLIT_NAMES)
    named = {name: SPLIT_NAMES[name.lower()] for name in meant}
    if len(named) < 2:
        besides = _other_parts(root, meant[0], given, others) if meant else []
        if not besides:
            # A class may be called "train" as well, beside "bus".
            return list(named.values()) == ["train"] and given == set(named) and not others
    else:
        besides = sorted((given | others) - set(named))
    found = ", ".join(named)
    if besides:
        raise DefinitionError(
            f'"{root}" gives a split ({found}) and has images in "{besides[0]}" beside it; '
            "expected nothing else there: move it away, or name another folder"
        )
    if "train" not in named.values():
        raise DefinitionError(
            f'"{root}" gives a split ({found}) without train; expected train, and val, test or '
            "both beside it"
        )
    if len(set(named.values())) < len(named):
        raise DefinitionError(
            f'"{root}" gives a split with two folders for the same part ({found}); expected one '
            "each of train, val and test: merge the two, or move one of them away"
        )
    return True


def _other_parts(root: Path, name: str, given: set[str], others: set[str]) -> list[str]:
    """The folders beside a part that are parts too, although not as they should be.

    Such are one called "test" whose images are in no class, and one beside the training part that
    has folders called as those of its classes are.
    """
    found = [other for other in others if other.lower() in SPLIT_NAMES]
    if SPLIT_NAMES[name.lower()] == "train":
        classes = set(_sub_folders(root / name))
        found += [x for x in given - {name} if classes & set(_sub_folders(root / x))]
    return sorted(found)


def _about_few_classes(root: Path, classes: list[str], fewest: int) -> str:
    expected = f"at least {fewest}, each named after its class and holding its images"
    if len(classes) != 1:
        return f'"{root}" has {len(classes)} sub-folders for classes; expected {expected}'
    inner = root / classes[0]
    instead = f'; did you mean "{inner}"?' if len(_sub_folders(inner)) >= fewest else ""
    return f'"{root}" has one sub-folder, "{classes[0]}"; expected {expected}{instead}'


def _is_image(parts: tuple[str, ...]) -> bool:
    return not any(map(_is_hidden, parts)) and Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(name: str) -> bool:
    """Hidden, or what macOS, Python and network storages leave, thumbnails of photos included."""
    return name.startswith(".") or name in ("__MACOSX", "__pycache__", "@eaDir")


def _sub_folders(folder: Path) -> list[str]:
    """The names of a folder's folders that are not hidden."""
    try:
        entries = [entry for entry in os.scandir(folder) if _is_folder(entry)]
    except OSError:  # Not ours to read: its files are listed as ignored.
        return []
    return [entry.name for entry in entries if not _is_hidden(entry.name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link to itself, for one.
        return False


def _files(root: Path) -> list[tuple[str, ...]]:
    """The parts of every file's path below the root; a folder that holds itself is left alone."""
    found: list[tuple[str, ...]] = []
    waiting: list[tuple[Path, tuple[str, ...], frozenset[tuple[int, int]]]] = [
        (root, (), frozenset())
    ]
    while waiting:
        folder, parts, above = waiting.pop()
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            entries = list(os.scandir(folder))
        except OSError:  # Not ours to read; listed as ignored rather than passed over.
            found.append(parts)
            continue
        for entry in entries:
            if _is_folder(entry):
                waiting.append((Path(entry.path), (*parts, entry.name), above | {identity}))
            else:
                found.append((*parts, entry.name))
    return found
