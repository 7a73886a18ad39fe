"""Dividing images that come in groups: stratified, seeded, and no group on two sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from autosearch.data.dataset import SPLITS, check_seed
from autosearch.errors import DefinitionError

__all__ = ["grouped_split"]

_Ints = npt.NDArray[np.int64]


def grouped_split(
    labels: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
    seed: int,
    classes: Sequence[str] | None = None,
    known: Sequence[str | None] | None = None,
    every_class_everywhere: bool = True,
) -> dict[str, _Ints]:
    """Splits whole groups so that every class has about its share in every part.

    Groups of several images are placed first, the largest first, each where it brings the class
    counts nearest to their shares (by chi-square distance); images on their own then fill up the
    shares exactly. Last, a class that is missing in a part gets its smallest group moved there.

    Args:
        labels: (n,) class indices.
        groups: (n,) whole numbers; images of one number stay together.
        fractions: The shares of train, validation and test, together 1; a share may be 0.
        seed: Draws the split; the same seed and input give the same split.
        classes: The class names, for messages; by default the labels themselves.
        known: (n,) the part in which an image must stay, or None. A new image of a group of which
            one is known follows it; into the later part, if the group is torn already.
        every_class_everywhere: Whether a class with fewer groups than parts is refused. If not,
            it is in training at least.

    Returns:
        "train", "validation" and "test", each with its ascending indices into ``labels``.

    Raises:
        DefinitionError: The fractions are no division, the seed is none, or a class is too small
            to be in every part.

    Example:
        >>> parts = grouped_split([0, 1] * 10, [i // 4 for i in range(20)], seed=0)
        >>> {name: len(indices) for name, indices in parts.items()}
        {'train': 12, 'validation': 4, 'test': 4}
    """
    check_seed(seed)
    shares = np.asarray(fractions, dtype=np.float64)
    if shares.shape != (3,) or shares.min() < 0 or shares[0] <= 0 or abs(shares.sum() - 1) > 1e-6:
        raise DefinitionError(
            f"fractions {fractions} do not divide a dataset; expected the shares of train, "
            "validation and test that add up to 1, such as (0.6, 0.2, 0.2)"
        )
    division = _Division(np.asarray(labels, np.int64), np.asarray(groups), shares, classes)
    rng = np.random.default_rng(seed)
    if known is not None:
        division.keep(known)
    division.place_groups(rng)
    division.place_singles(rng)
    division.spread_classes(every_class_everywhere)
    division.refuse_empty_parts()
    return {split: np.nonzero(division.side == index)[0] for index, split in enumerate(SPLITS)}


class _Division:
    """A split in the making: ``side`` is -1 where an image has no part yet."""

    def __init__(
        self,
        labels: _Ints,
        groups: npt.NDArray[np.generic],
        shares: npt.NDArray[np.float64],
        classes: Sequence[str] | None,
    ) -> None:
        num_classes = len(classes) if classes is not None else int(labels.max(initial=-1)) + 1
        self.names = list(classes) if classes is not None else [str(i) for i in range(num_classes)]
        self.labels = labels
        self.num_parts = int(np.count_nonzero(shares))
        counts = np.bincount(labels, minlength=num_classes)
        self.expected = [i for i in range(num_classes) if classes is not None or counts[i]]
        for index in self.expected:
            if counts[index] < self.num_parts:
                images = "image" if counts[index] == 1 else "images"
                raise DefinitionError(
                    f'class "{self.names[index]}" has {counts[index]} usable {images}, too few '
                    "for every part to get one; add images of it, or leave the class out"
                )
        _, group_of = np.unique(groups, return_inverse=True)
        self.members: list[_Ints] = np.split(
            np.argsort(group_of, kind="stable"), np.cumsum(np.bincount(group_of))[:-1]
        )
        self.shares = shares
        self.want = shares[:, np.newaxis] * counts  # (parts, classes), as is `have`
        self.have = np.zeros_like(self.want)
        self.side = np.full(len(labels), -1, np.int64)
        self.fixed = np.zeros(len(labels), bool)

    def keep(self, known: Sequence[str | None]) -> None:
        """Puts the known images, and what belongs to them, where they must be."""
        given = np.array([-1 if split is None else SPLITS.index(split) for split in known])
        for members in self.members:
            sides = given[members]
            latest = int(sides.max())
            if latest >= 0:
                self.side[members] = np.where(sides >= 0, sides, latest)
                self.fixed[members] = True
        for part in range(len(SPLITS)):
            self.have[part] = self._count(np.nonzero(self.side == part)[0])

    def place_groups(self, rng: np.random.Generator) -> None:
        """Gives every group of several images the part that needs it most."""
        open_groups = [m for m in self.members if len(m) > 1 and not self.fixed[m[0]]]
        chance = rng.permutation(len(open_groups))
        order = sorted(
            range(len(open_groups)), key=lambda i: (-len(open_groups[i]), int(chance[i]))
        )
        scale = 1.0 / np.where(self.want > 0, self.want, 1.0)
        usable = self.shares > 0
        for index in order:
            added = self._count(open_groups[index])
            change = added * (2 * (self.have - self.want) + added) * scale
            cost = np.where(usable, change.sum(axis=1), np.inf)
            self._move(open_groups[index], int(np.argmin(cost)))

    def place_singles(self, rng: np.random.Generator) -> None:
        """Deals out images on their own, class by class, by largest remainder."""
        alone = [m[0] for m in self.members if len(m) == 1 and not self.fixed[m[0]]]
        indices = np.sort(np.array(alone, dtype=np.int64))
        for label in self.expected:
            mine = rng.permutation(indices[self.labels[indices] == label])
            need = np.clip(self.want[:, label] - self.have[:, label], 0, None)
            need = np.where(self.shares > 0, need, 0)
            need = need if need.sum() > 1e-9 else self.shares
            exact = need / need.sum() * len(mine)
            quota = np.floor(exact + 1e-9).astype(int)
            for part in np.argsort(-(exact - quota), kind="stable")[: len(mine) - quota.sum()]:
                quota[part] += 1
            for part, chunk in enumerate(np.split(mine, np.cumsum(quota)[:-1])):
                self._move(chunk, part)

    def spread_classes(self, strict: bool) -> None:
        """Moves the smallest groups so that every class is in every part, if it can be."""
        open_groups: defaultdict[int, list[_Ints]] = defaultdict(list)
        for members in self.members:
            if not self.fixed[members[0]]:
                for label in np.unique(self.labels[members]).tolist():
                    open_groups[label].append(members)
        for label in self.expected:
            for part in np.nonzero(self.shares > 0)[0].tolist():
                if self.have[part, label] > 0:
                    continue
                moved = self._spare_group(open_groups[label], label, part)
                if moved is not None:
                    self._move(moved, part)
                elif strict or part == 0:
                    raise DefinitionError(
                        f'class "{self.names[label]}" has {self._num(label)} images that belong '
                        f'together (a group, copies, or pictures that look alike), so split "'
                        f'{SPLITS[part]}" gets none; add other images of it, leave the class out, '
                        "or see keep_alike_together of folders and tables"
                    )

    def refuse_empty_parts(self) -> None:
        """Of one or two large groups there are too few for three parts."""
        for part in np.nonzero(self.shares > 0)[0].tolist():
            if len(self.labels) and not self.have[part].any():
                groups = "one group" if len(self.members) == 1 else f"{len(self.members)} groups"
                raise DefinitionError(
                    f"the {len(self.labels):,} images belong to {groups}, copies of an image being "
                    f'one, so split "{SPLITS[part]}" gets none; add other images, or name smaller '
                    "groups"
                )

    def _spare_group(self, groups: list[_Ints], label: int, part: int) -> _Ints | None:
        """The smallest group whose going leaves no class without images where it was."""
        best: tuple[float, int] | None = None
        for index, members in enumerate(groups):
            source = int(self.side[members[0]])
            left = self.have[source] - self._count(members)
            present = np.unique(self.labels[members])
            # A class must be in training before it can be judged anywhere else.
            leaves_none = (left[present] <= 0).any()
            if source == part or (leaves_none and (part != 0 or len(present) > 1)):
                continue
            key = (len(members) - 0.5 * (self.have - self.want)[source, label], index)
            best = key if best is None or key < best else best
        return groups[best[1]] if best is not None else None

    def _move(self, members: _Ints, part: int) -> None:
        if not len(members):
            return
        source = int(self.side[members[0]])
        added = self._count(members)
        if source >= 0:
            self.have[source] -= added
        self.have[part] += added
        self.side[members] = part

    def _count(self, members: _Ints) -> npt.NDArray[np.float64]:
        return np.bincount(self.labels[members], minlength=len(self.names)).astype(np.float64)

    def _num(self, label: int) -> int:
        return int(np.count_nonzero(self.labels == label))
