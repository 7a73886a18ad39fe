"""Configurations as vectors: numbers from 0 to 1, choices by index, NaN for what is absent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from autosearch.search.gaussian import Geometry, Group

__all__ = ["Vectors", "spread_value"]

_Array = NDArray[np.float64]

_MOST_LEVELS = 64
_STEPS = np.array([0.05, 0.15, 0.4])


@dataclass(frozen=True, slots=True)
class _Axis:
    """One parameter: its distribution, and the positions it can take if they are few."""

    distribution: BaseDistribution
    levels: int | None
    is_choice: bool
    is_log: bool = False
    low: float = 0.0  # of the scale, logarithmic or not
    high: float = 0.0

    @classmethod
    def of(cls, distribution: BaseDistribution) -> _Axis:
        if isinstance(distribution, CategoricalDistribution):
            return cls(distribution, len(distribution.choices), is_choice=True)
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        low, high, is_log = distribution.low, distribution.high, distribution.log
        if distribution.step is None or is_log:
            levels = int(high - low) + 1 if isinstance(distribution, IntDistribution) else None
        else:
            levels = round((high - low) / distribution.step) + 1
        if low == high:
            levels = 1
        if is_log:
            low, high = math.log(low), math.log(high)
        return cls(distribution, levels, False, is_log, float(low), float(high))

    def encode(self, internal: float) -> float:
        if self.is_choice:
            return internal
        value = math.log(internal) if self.is_log else internal
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0

    def decode(self, position: float) -> Any:
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return d.choices[round(position)]
        assert isinstance(d, (FloatDistribution, IntDistribution))
        value = self.low + position * (self.high - self.low)
        value = math.exp(value) if self.is_log else value
        if d.step is not None and not (self.is_log and isinstance(d, FloatDistribution)):
            value = d.low + round((value - d.low) / d.step) * d.step
        value = min(max(value, d.low), d.high)
        return round(value) if isinstance(d, IntDistribution) else float(value)

    def snapped(self, positions: _Array) -> _Array:
        """The nearest positions that values have."""
        if self.is_choice or self.levels is None:
            return positions
        # One by one, to the last bit as ``encode`` has it: a configuration is known by its bytes.
        return np.array([self.encode(self.decode(position)) for position in positions.tolist()])

    def draw(self, rng: np.random.Generator, count: int) -> _Array:
        """So many positions at random."""
        if self.is_choice:
            assert self.levels is not None
            return rng.integers(self.levels, size=count).astype(np.float64)
        return self.snapped(rng.random(count))

    def near(self, positions: _Array, rng: np.random.Generator) -> _Array:
        """Other positions than these, of a number more likely close ones."""
        if self.levels == 1:
            return positions
        if self.is_choice:
            assert self.levels is not None
            return (positions + rng.integers(1, self.levels, size=len(positions))) % self.levels
        # What stays where it was eight times is drawn anew.
        others = self.draw(rng, len(positions))
        left = np.arange(len(positions))
        for _ in range(8):
            count = len(left)
            moved = positions[left] + rng.normal(size=count) * _STEPS[rng.integers(3, size=count)]
            if self.levels is not None and self.levels <= 8:
                moved = np.where(rng.random(count) < 0.5, rng.random(count), moved)
            snapped = self.snapped(np.clip(moved, 0.0, 1.0))
            is_other = snapped != positions[left]
            others[left[is_other]] = snapped[is_other]
            left = left[~is_other]
        return others


@dataclass(frozen=True, slots=True)
class _Condition:
    """Which positions of another parameter make this one present."""

    parent: int
    positions: frozenset[float]


class Vectors:
    """How configurations of a study are written as vectors.

    A parameter that only some trials have is taken to hang on the one parameter whose values
    tell those trials from the others; if no single one does, it is kept as its parent had it.

    Attributes:
        space: Name to distribution, of every parameter that was sampled so far.
        geometry: What makes two of the vectors alike.
        points: The trials that ``of`` was given as rows, shape ``(n, d)``.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], points: _Array | None) -> None:
        self.space = dict(space)
        self._axes = [_Axis.of(distribution) for distribution in space.values()]
        is_choice = np.array([axis.is_choice for axis in self._axes], dtype=np.bool_)
        self.geometry = Geometry(is_choice, _groups(self._axes))
        self.points = np.empty((0, len(self._axes))) if points is None else points
        self._conditions: dict[int, _Condition] = {}
        if points is not None:
            self._conditions = _conditions(points, self._axes)
        self._depths = sorted(range(len(self._axes)), key=self._depth)

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial]) -> Vectors:
        """The vectors of what these trials sampled; the newest distribution of a name counts."""
        space: dict[str, BaseDistribution] = {}
        for trial in trials:
            space.update(trial.distributions)
        flat = cls(space, None)
        return cls(space, flat.encode(trials))

    def encode(self, trials: Sequence[FrozenTrial]) -> _Array:
        """Trials as rows, shape ``(n, d)``; a value out of today's range counts as absent."""
        rows = np.full((len(trials), len(self._axes)), np.nan)
        for row, trial in zip(rows, trials, strict=True):
            params = trial.params
            for column, (name, axis) in enumerate(zip(self.space, self._axes, strict=True)):
                if name not in params:
                    continue
                distribution = axis.distribution
                try:
                    internal = distribution.to_internal_repr(params[name])
                except ValueError:
                    continue
                if distribution._contains(internal):
                    row[column] = axis.encode(internal)
        return rows

    def decode(self, row: _Array) -> dict[str, Any]:
        """Name to value, of what is present."""
        return {
            name: axis.decode(position)
            for name, axis, position in zip(self.space, self._axes, row.tolist(), strict=True)
            if not math.isnan(position)
        }

    def conditions(self) -> dict[str, tuple[str, tuple[Any, ...]]]:
        """Of what is only sometimes present: the parameter it hangs on, and at which values."""
        names = list(self.space)
        return {
            names[column]: (
                names[condition.parent],
                tuple(self._axes[condition.parent].decode(p) for p in sorted(condition.positions)),
            )
            for column, condition in self._conditions.items()
        }

    def vary(
        self, parents: _Array, rng: np.random.Generator, count: int, *, random_share: float
    ) -> _Array:
        """New configurations: at random, or from one or two others with a few changes.

        Args:
            parents: The others, shape ``(n, d)``.
            rng: Where chance comes from.
            count: How many.
            random_share: How likely one is entirely random.

        Returns:
            Shape ``(count, d)``; some may be alike.
        """
        rows, others = (parents[rng.integers(len(parents), size=count)] for _ in range(2))
        is_crossed = rng.random((count, 1)) < 0.3
        rows = np.where(is_crossed & (rng.random(rows.shape) < 0.5), others, rows)
        is_present = ~np.isnan(rows)
        num_changes = np.minimum(rng.geometric(0.6, size=count), is_present.sum(axis=1))
        order = np.where(is_present, rng.random(rows.shape), np.inf).argsort(axis=1)
        is_changed = order.argsort(axis=1) < num_changes[:, None]
        for column, axis in enumerate(self._axes):
            changed = np.flatnonzero(is_changed[:, column])
            rows[changed, column] = axis.near(rows[changed, column], rng)
        is_random = rng.random(count) < random_share
        rows[is_random] = self._random(rng, int(is_random.sum()))
        return self._complete(rows, rng)

    def draw(self, rng: np.random.Generator, count: int) -> _Array:
        """Configurations at random, shape ``(count, d)``."""
        return self._complete(self._random(rng, count), rng)

    def _random(self, rng: np.random.Generator, count: int) -> _Array:
        rows = np.empty((count, len(self._axes)))
        for column, axis in enumerate(self._axes):
            rows[:, column] = axis.draw(rng, count)
        return rows

    def _complete(self, rows: _Array, rng: np.random.Generator) -> _Array:
        """Adds what the rows' choices bring in, and takes out what they leave out."""
        for column in self._depths:
            condition = self._conditions.get(column)
            if condition is None:
                continue
            is_wanted = np.isin(rows[:, condition.parent], list(condition.positions))
            missing = np.flatnonzero(is_wanted & np.isnan(rows[:, column]))
            rows[~is_wanted, column] = np.nan
            rows[missing, column] = self._axes[column].draw(rng, len(missing))
        return rows

    def _depth(self, column: int) -> int:
        depth = 0
        while column in self._conditions and depth <= len(self._axes):
            column, depth = self._conditions[column].parent, depth + 1
        return depth


def spread_value(
    distribution: BaseDistribution, number: int, block: int, rng: np.random.Generator
) -> Any:
    """A trial's value, such that those of a block of trials are spread over the whole range.

    A Latin hypercube (McKay et al. 1979, https://doi.org/10.2307/1268522) that is drawn a
    parameter at a time, whichever trial asks for it.

    Args:
        distribution: What to draw from.
        number: The trial's number.
        block: So many trials in a row are spread.
        rng: Of the parameter, the study and the block: the same for every trial of it.
    """
    axis = _Axis.of(distribution)
    place = number % block
    if axis.is_choice:
        assert axis.levels is not None
        rounds = -(-block // axis.levels)
        order = np.concatenate([rng.permutation(axis.levels) for _ in range(rounds)])
        return axis.decode(float(order[place]))
    position = (rng.permutation(block) + rng.random(block)) / block
    return axis.decode(float(position[place]))


def _groups(axes: Sequence[_Axis]) -> tuple[Group, ...]:
    alike: dict[str, list[int]] = {}
    for column, axis in enumerate(axes):
        alike.setdefault(repr(axis.distribution), []).append(column)
    return tuple(
        Group(tuple(columns), (axes[columns[0]].levels or 0) if axes[columns[0]].is_choice else 0)
        for columns in alike.values()
        if len(columns) > 1 and (axes[columns[0]].levels or 0) <= _MOST_LEVELS
    )


def _conditions(points: _Array, axes: Sequence[_Axis]) -> dict[int, _Condition]:
    present = ~np.isnan(points)
    found: dict[int, _Condition] = {}
    few = [c for c, axis in enumerate(axes) if (axis.levels or _MOST_LEVELS + 1) <= _MOST_LEVELS]
    share = present.mean(axis=0)
    for column in np.flatnonzero(share < 1.0).tolist():
        is_there = present[:, column]
        # The nearest first: of two that tell, the one that is itself seldom present.
        for parent in sorted(few, key=lambda c: share[c]):
            if share[parent] <= share[column] or not present[is_there, parent].all():
                continue
            positions = set(points[is_there, parent].tolist())
            if positions.isdisjoint(points[~is_there, parent].tolist()):
                found[column] = _Condition(parent, frozenset(positions))
                break
    return found
