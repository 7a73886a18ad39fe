"""Labelled images in a file that ``numpy.savez`` wrote."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import as_texts, checked_classes
from autosearch.errors import DefinitionError, NotFoundError

__all__ = ["NpzImages", "read_npz"]

_Array = npt.NDArray[Any]
_CLASSES = "classes"


@dataclass(frozen=True, slots=True, kw_only=True)
class NpzImages:
    """What such a file holds, not checked yet to be images that can be searched on.

    Attributes:
        images: As they are in the file.
        labels: Likewise; of texts, their indices into ``classes``.
        classes: The class names, if there are any.
        groups: Group column → its array.
    """

    images: _Array
    labels: _Array
    classes: tuple[str, ...] | None
    groups: dict[str, _Array]


def read_npz(
    path: Path,
    *,
    images: str = "images",
    labels: str = "labels",
    classes: Iterable[Any] | None = None,
    groups: Sequence[str] = (),
) -> NpzImages:
    """Reads images, labels, class names and groups from an ``.npz`` file.

    Args:
        path: The file.
        images: The name of the image array.
        labels: The name of the label array: whole numbers, or texts.
        classes: The class names; by default the array "classes" of the file, otherwise the labels
            themselves if they are texts, in their order.
        groups: The names of arrays with a group for each image.

    Raises:
        NotFoundError: There is no such file.
        DefinitionError: It is another kind of file, lacks an array, or has a label of no class.
    """
    wanted = (images, labels, *groups)
    has_names = classes is None and _CLASSES not in wanted
    names, arrays = _read(path, (*wanted, *([_CLASSES] if has_names else [])))
    if not set(wanted) <= set(arrays):
        raise DefinitionError(
            f'"{path}" holds the arrays {names}; expected "' + '" and "'.join(wanted) + '": '
            "rename them, or say which they are with "
            'Arrays.from_npz(path, images="x", labels="y")'
        )
    known = checked_classes(classes) if classes is not None else None
    if has_names and _CLASSES in arrays:
        known = _names(path, arrays[_CLASSES])
    found = arrays[labels]
    if found.dtype.kind in "US":
        known, found = _indices(path, np.array(as_texts(found)), known)
    return NpzImages(
        images=arrays[images],
        labels=found,
        classes=known,
        groups={column: arrays[column] for column in groups},
    )


def _read(path: Path, wanted: Iterable[str]) -> tuple[list[str], dict[str, _Array]]:
    """The names of all arrays, and those of the wanted ones that are there."""
    if not path.is_file():
        raise NotFoundError(f'there is no file "{path}"; name an .npz file')
    if not is_zipfile(path):
        raise DefinitionError(
            f'"{path}" is no .npz file; write one with numpy.savez("photos.npz", images=images, '
            "labels=labels)"
        )
    what = f'"{path}"'
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = list(arrays.files)
            found = {}
            for name in wanted:
                if name in names:
                    what = f'"{name}" of "{path}"'
                    found[name] = arrays[name]
            return names, found
    except (OSError, EOFError, BadZipFile, ValueError, zlib.error) as error:
        raise DefinitionError(
            f"{what} holds no plain arrays ({error}); write it with numpy.savez"
        ) from error


def _names(path: Path, classes: _Array) -> tuple[str, ...]:
    """The class names that a file holds."""
    instead = "or say them with Arrays.from_npz(path, classes=[...])"
    if classes.ndim != 1:
        raise DefinitionError(
            f'"{path}" has classes of shape {classes.shape}; expected (n,), a name for each, '
            + instead
        )
    try:
        return checked_classes(classes)
    except DefinitionError as error:
        raise DefinitionError(
            f'in the array "{_CLASSES}" of "{path}" {error} for each class, {instead}'
        ) from error


def _indices(
    path: Path, texts: npt.NDArray[np.str_], classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], _Array]:
    present, places = np.unique(texts, return_inverse=True)
    names = tuple(present.tolist())
    if classes is None:
        return names, places
    unknown = next((name for name in names if name not in classes), None)
    if unknown is not None:
        raise DefinitionError(
            f'"{path}" has labels "{unknown}", which is none of the classes '
            f"{', '.join(classes)}; expected a name of these for each image"
        )
    return classes, np.array([classes.index(name) for name in names])[places]
