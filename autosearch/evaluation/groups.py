"""How a classifier does on each group of images: each camera, site or patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.evaluation.metrics import classification_metrics, wilson_interval

__all__ = [
    "MIN_GROUP_IMAGES",
    "SMALL_GROUPS",
    "WORST_GROUP",
    "GroupFigures",
    "Groups",
]

WORST_GROUP = "worst_group_accuracy"

MIN_GROUP_IMAGES = 20
"""A group of fewer images does not stand by itself: among many of them one is at 0 by chance."""

SMALL_GROUPS = f"(groups of fewer than {MIN_GROUP_IMAGES} images)"
"""What those of a column are called, taken together."""

_MAX_GROUPS_SHOWN = 50
_SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """What became of groups.

    Attributes:
        worst_accuracy: The lowest accuracy of a group that counts; None if there is none.
        reason: Why there is none.
        figures: JSON-friendly, empty where no group counts. ``per_group``: column → value → its
            ``accuracy`` with ``accuracy_low`` and ``accuracy_high`` (90 %), ``balanced_accuracy``,
            ``macro_f1``, ``log_loss``, ``support`` (its images) and ``counts`` (whether it stands
            in the worst group's choice). ``worst_group``: ``column``, ``group``, and the same
            figures. ``num_groups_not_shown``: column → how many, where there are too many.
    """

    worst_accuracy: float | None
    reason: str | None
    figures: Mapping[str, Any]


class Groups:
    """Images by group: worked out once, and asked for the figures of every file that saw them.

    A group counts if it has at least ``MIN_GROUP_IMAGES`` images. Smaller groups of a column are
    taken together as one, named "(groups of fewer than 20 images)", which counts if it has as
    many and another group of that column does. An image whose value is "" is in no group. A column
    in which no group counts is left out: it names single images, or says nothing of any group.

    Args:
        columns: Group column → the value of each image.

    Attributes:
        reason: Why the images have no ``worst_group_accuracy``; None if they have one.
    """

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self._lengths = {column: len(values) for column, values in columns.items()}
        members = {column: _members(values) for column, values in columns.items()}
        self._columns = {
            column: groups
            for column, groups in members.items()
            if any(counts for _, counts in groups.values())
        }
        self.reason: str | None = None
        if not any(members.values()):
            self.reason = "the dataset has no groups"
        elif not self._columns:
            self.reason = (
                f"no group has {MIN_GROUP_IMAGES} images, so the worst would be one by chance"
            )

    def counted(self) -> npt.NDArray[np.int32] | None:
        """The group that each image counts in, (n, columns), -1 for none; None where none counts.

        It has those columns alone in which a group counts.
        """
        columns = []
        for column, groups in self._columns.items():
            codes = np.full(self._lengths[column], -1, np.int32)
            counted = [rows for rows, counts in groups.values() if counts]
            for code, rows in enumerate(counted):
                codes[rows] = code
            columns.append(codes)
        return np.stack(columns, axis=1) if columns else None

    def figures(
        self, labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
    ) -> GroupFigures:
        """Figures of each group, and which group is worst.

        Of a column with more than 50 groups the largest are shown, and the worst.

        Args:
            labels: True class indices, shape (n,), n > 0.
            probabilities: Shape (n, classes).

        Raises:
            ValueError: A column has not one value for each image.
        """
        for column, length in self._lengths.items():
            if length != len(labels):
                raise ValueError(
                    f'Got {length} values of the group column "{column}"; expected '
                    f"{len(labels)}, one for each image."
                )
        is_right = probabilities.argmax(axis=1) == labels
        per_group: dict[str, Any] = {}
        not_shown: dict[str, int] = {}
        worst: dict[str, Any] | None = None
        for column, members in self._columns.items():
            counted = {
                g: float(is_right[rows].mean()) for g, (rows, counts) in members.items() if counts
            }
            worst_here = min(counted, key=counted.__getitem__)
            shown = sorted(members, key=lambda g: -len(members[g][0]))[:_MAX_GROUPS_SHOWN]
            if worst_here not in shown:
                shown.append(worst_here)
            per_group[column] = {
                group: _figures(labels, probabilities, *members[group]) for group in sorted(shown)
            }
            if len(shown) < len(members):
                not_shown[column] = len(members) - len(shown)
            found = {"column": column, "group": worst_here, **per_group[column][worst_here]}
            if worst is None or found["accuracy"] < worst["accuracy"]:
                worst = found
        figures: dict[str, Any] = {"per_group": per_group} if per_group else {}
        if worst is not None:
            figures["worst_group"] = worst
        if not_shown:
            figures["num_groups_not_shown"] = not_shown
        return GroupFigures(
            worst_accuracy=worst["accuracy"] if worst is not None else None,
            reason=self.reason,
            figures=figures,
        )


def _members(values: Sequence[str]) -> dict[str, tuple[npt.NDArray[np.intp], bool]]:
    """Each group's rows, and whether it counts; the small ones also taken together."""
    names, codes = np.unique(np.asarray(values, dtype=np.str_), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    bounds = np.cumsum(np.bincount(codes, minlength=len(names)))[:-1]
    rows_of = dict(zip(names.tolist(), np.split(order, bounds), strict=True))
    rows_of.pop("", None)
    members = {name: (rows, len(rows) >= MIN_GROUP_IMAGES) for name, rows in rows_of.items()}
    small = [rows for rows, counts in members.values() if not counts]
    if 0 < len(small) < len(members):
        together = np.concatenate(small)
        members[SMALL_GROUPS] = (together, len(together) >= MIN_GROUP_IMAGES)
    return members


def _figures(
    labels: npt.NDArray[np.integer],
    probabilities: npt.NDArray[np.floating],
    rows: npt.NDArray[np.intp],
    counts: bool,
) -> dict[str, Any]:
    metrics = classification_metrics(labels[rows], probabilities[rows])
    low, high = wilson_interval(round(metrics["accuracy"] * len(rows)), len(rows))
    return {
        **{name: metrics[name] for name in _SHOWN},
        "accuracy_low": low,
        "accuracy_high": high,
        "support": len(rows),
        "counts": counts,
    }
