"""What the sampler "pareto" believes of configurations that nobody has tried.

A Gaussian process for each objective, on the scale on which it predicts better what was left out,
one for feasibility, and one for how long a trial takes where time is what a study may spend.
Configurations are scored by the hypervolume that they are expected to add, within a box that
differs from trial to trial.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from autosearch import pareto
from autosearch.search.gaussian import (
    GaussianProcess,
    Geometry,
    Hyperparameters,
    fit_hyperparameters,
)
from autosearch.search.history import choose_trials
from autosearch.search.improvement import MAX_OBJECTIVES, expected_improvement
from autosearch.search.scales import AsItIs, ByRank, Scale
from autosearch.search.worth import worst_worth_having

__all__ = ["FEWEST_VALUES", "Surrogate", "Told"]

_Array = NDArray[np.float64]

FEWEST_VALUES = 5
"""With fewer known values of the objectives, nothing is said of them."""

_FITTED_TRIALS = 120
_PREDICTABLE = 0.85
_MAX_FRONT = 60
_REFERENCE = 1.01
_QUANTILES = 12
_NODES = special.ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
_NODES = _NODES / _NODES.std()

# What was fitted to the same data once need not be fitted again; it changes no result.
_fits: OrderedDict[bytes, tuple[Hyperparameters, float]] = OrderedDict()
_MAX_FITS = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of some configurations.

    Attributes:
        points: Shape ``(n, d)``, as ``Geometry.differences`` takes them.
        values: Their objectives, minimised, shape ``(n, k)``; NaN where they are not known.
        is_real: Whether values were reached, shape ``(n,)``: what is only expected of a trial that
            was pruned stands on no front.
        violations: Above 0 of what is infeasible, shape ``(n,)``.
        seconds: How long each took, shape ``(n,)``; NaN where that says nothing.
    """

    points: _Array
    values: _Array
    is_real: NDArray[np.bool_]
    violations: _Array
    seconds: _Array

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """Of which the objectives are known, shape ``(n,)``."""
        return np.asarray(np.isfinite(self.values).all(axis=1))


@dataclass(frozen=True, slots=True)
class _Modelled:
    """One objective's process and the scale that it is on."""

    process: GaussianProcess
    scale: Scale

    def predict(self, kernel: _Array) -> _Array:
        """Equally likely values of ``m`` configurations, shape ``(m, q)``."""
        mean, deviation = self.process.predict(kernel)
        return self.scale.backward(mean[:, None] + deviation[:, None] * _NODES)


class Surrogate:
    """What is known of the objectives and of feasibility.

    Args:
        now: What is known.
        then: What was known when hyperparameters were last to be fitted: to that, so that a
            resumed study, which never saw the steps between, finds the same.
        geometry: Of the space.
        rng: Weighs the objectives, if there are many.
        impatience: By which power of a trial's expected time its promise is divided; 0 where
            time does not matter.
        shares: Which objectives are accuracies, of which a part is worth having; () if none.

    Attributes:
        parents: Configurations worth varying, shape ``(p, d)``.
        is_boxed: Whether ``look_below`` makes a difference.
    """

    def __init__(
        self,
        now: Told,
        then: Told,
        geometry: Geometry,
        rng: np.random.Generator,
        impatience: float = 0.0,
        shares: Sequence[bool] = (),
    ) -> None:
        points, values = now.points, now.values
        self._geometry, self._all_points = geometry, points
        is_known, is_feasible = now.is_known, now.violations <= 0
        self._violation = None
        if not is_feasible.all():
            excess, of_then = (_excess(told.violations) for told in (now, then))
            self._violation = _process(geometry, points, excess, then.points, of_then)
        self._impatience, self._time = impatience, None
        timed = np.flatnonzero(np.isfinite(now.seconds))
        if impatience > 0 and len(timed) >= FEWEST_VALUES:
            timed_then = np.flatnonzero(np.isfinite(then.seconds))
            self._timed_points = points[timed]
            self._time = _process(
                geometry,
                self._timed_points,
                np.log(now.seconds[timed]),
                then.points[timed_then],
                np.log(then.seconds[timed_then]),
            )
        known = np.flatnonzero(is_known)
        self._points, self._modelled = points[known], list[_Modelled]()
        self.is_boxed = False
        if len(known) < FEWEST_VALUES:
            self.parents = points[np.argsort(now.violations, kind="stable")[:FEWEST_VALUES]]
            return
        known_then = np.flatnonzero(then.is_known)
        targets, of_then = values, then.values[known_then]
        if targets.shape[1] > MAX_OBJECTIVES:
            weights = rng.dirichlet(np.ones(targets.shape[1]))
            targets, of_then = (_as_one(t, values[known], weights) for t in (targets, of_then))
        real = is_known & now.is_real
        feasible = np.flatnonzero(real & is_feasible)
        ranked = feasible if len(feasible) else np.flatnonzero(real)
        worst = worst_worth_having(values[ranked], shares)
        worth_having = ranked[(values[ranked] <= worst).all(axis=1)]
        on_front = worth_having[pareto.non_dominated(values[worth_having])]
        second = np.setdiff1d(worth_having, on_front)
        second = second[pareto.non_dominated(values[second])] if len(second) else second
        self.parents = points[np.concatenate([on_front, on_front, second])]
        best = ranked[pareto.non_dominated(targets[ranked])]
        self._low, high = targets[known].min(axis=0), targets[known].max(axis=0)
        # The worst of all, not of the front: what is better and costs more must count. Of an
        # accuracy, the worst that is worth having.
        self._spread = np.where(high > self._low, high - self._low, 1.0)
        self._front = (targets[best] - self._low) / self._spread
        self._normed = (targets[known] - self._low) / self._spread
        self._reference = np.full(targets.shape[1], _REFERENCE)
        if targets.shape[1] == len(worst):
            least = (worst - self._low) / self._spread
            self._reference = np.minimum(self._reference, least + _REFERENCE - 1)
            self._front = self._front[(self._front < self._reference).all(axis=1)]
        self.is_boxed = targets.shape[1] > 1
        points_then, columns = then.points[known_then], targets[known].T
        fitted = [
            _fitted_on_scale(points_then, geometry, column_then, column)
            for column, column_then in zip(columns, of_then.T, strict=True)
        ]
        kernels = geometry.covariances(self._points, self._points, [found for found, _ in fitted])
        for (found, scale), column, kernel in zip(fitted, columns, kernels, strict=True):
            process = GaussianProcess(kernel, scale.forward(column), found)
            self._modelled.append(_Modelled(process, scale))

    def look_below(self, point: _Array) -> None:
        """Counts from now on only what is better than one configuration in every objective.

        Volume counts where the front is to be pushed. Summed over all of it, what promises most
        is where least is known, for most of a search the same end of the front.

        Args:
            point: Shape ``(d,)``.
        """
        expected = np.median(self._predicted(point[None])[0], axis=1)
        corner = np.minimum((expected - self._low) / self._spread + 1e-3, self._reference)
        self._reference = corner
        self._front = self._front[(self._front < corner).all(axis=1)]
        inside = self._points[(self._normed < corner).all(axis=1)]
        self.parents = np.concatenate([self.parents, *[inside] * 2, *[point[None]] * 4])

    def score(self, points: _Array) -> _Array:
        """What each configuration promises; more is better. Shape ``(m,)``."""
        scores = self._improvement(points) if self._modelled else np.ones(len(points))
        if self._violation is not None:
            (kernel,) = self._kernels(self._all_points, points, [self._violation])
            violation, deviation = self._violation.predict(kernel)
            scores = scores * special.ndtr(-violation / deviation)
        if self._time is not None:
            (kernel,) = self._kernels(self._timed_points, points, [self._time])
            scores = scores * np.exp(-self._impatience * self._time.predict(kernel)[0])
        return scores

    def _improvement(self, points: _Array) -> _Array:
        front = self._front
        if len(front) > _MAX_FRONT:
            order = np.argsort(front[:, 0], kind="stable")
            front = front[order[np.linspace(0, len(order) - 1, _MAX_FRONT).astype(np.intp)]]
        normed = (self._predicted(points) - self._low[:, None]) / self._spread[:, None]
        return expected_improvement(front, self._reference, normed)

    def _predicted(self, points: _Array) -> _Array:
        """Equally likely values of each objective, shape ``(m, k, q)``."""
        processes = [modelled.process for modelled in self._modelled]
        both = zip(self._modelled, self._kernels(self._points, points, processes), strict=True)
        return np.stack([modelled.predict(kernel) for modelled, kernel in both], axis=1)

    def _kernels(
        self, known: _Array, points: _Array, processes: Sequence[GaussianProcess]
    ) -> _Array:
        """Prior covariances of what is known and of configurations, shape ``(k, n, m)``."""
        found = [process.hyperparameters for process in processes]
        return self._geometry.covariances(known, points, found)


def _process(
    geometry: Geometry, points: _Array, targets: _Array, points_then: _Array, of_then: _Array
) -> GaussianProcess:
    """A process of what is known now, with the hyperparameters of what was known then."""
    found, _ = _fitted(points_then, geometry, of_then)
    (kernel,) = geometry.covariances(points, points, [found])
    return GaussianProcess(kernel, targets, found)


def _fitted_on_scale(
    points_then: _Array, geometry: Geometry, of_then: _Array, targets: _Array
) -> tuple[Hyperparameters, Scale]:
    """The scale on which the rest predicts better what is left out, and the fit on it."""
    found, agreement = _fitted(points_then, geometry, of_then)
    if agreement < _PREDICTABLE and len(np.unique(of_then)) > FEWEST_VALUES:
        # By the ranks of then, so that the hyperparameters are those of the same data.
        ranks = ByRank(of_then).forward(of_then)
        return _fitted(points_then, geometry, ranks)[0], ByRank(targets)
    return found, AsItIs(targets)


def _fitted(points: _Array, geometry: Geometry, targets: _Array) -> tuple[Hyperparameters, float]:
    """Hyperparameters, and the rank correlation of targets with what the others say of them."""
    if len(points) < FEWEST_VALUES:
        among = geometry.differences(points[:1], points[:1])
        return Hyperparameters.unknown(len(among.squared), len(among.alike)), 0.0
    told = points.tobytes() + targets.tobytes() + repr(geometry).encode()
    key = hashlib.sha256(told).digest()
    if key not in _fits:
        rows = choose_trials(targets[:, None], np.ones(len(targets), dtype=bool), _FITTED_TRIALS)
        normed = targets[rows] - targets[rows].mean()
        normed = normed / (normed.std() or 1.0)
        some = geometry.differences(points[rows], points[rows])
        found = fit_hyperparameters(some, normed)
        left_out = GaussianProcess(some.kernels([found])[0], normed, found).without_each()
        is_flat = np.ptp(normed) == 0 or np.ptp(left_out) == 0
        # scipy.stats has the correlation of ranks, too, and takes half a second to import.
        ranks = pd.Series(left_out).rank(), pd.Series(normed).rank()
        agreement = 0.0 if is_flat else float(np.corrcoef(*ranks)[0, 1])
        _fits[key] = found, agreement
        if len(_fits) > _MAX_FITS:
            _fits.popitem(last=False)
    return _fits[key]


def _excess(violations: _Array) -> _Array:
    """Violations on a scale on which twice too much and twenty times are both told apart."""
    return np.where(violations > 0, np.log1p(np.maximum(violations, 0)), np.maximum(violations, -1))


def _as_one(targets: _Array, known: _Array, weights: _Array) -> _Array:
    """Many objectives as one, weighed at random in every trial.

    The augmented Chebyshev sum of ParEGO (Knowles 2006, https://doi.org/10.1109/TEVC.2005.851274).
    """
    low, high = known.min(axis=0), known.max(axis=0)
    weighed = (targets - low) / np.where(high > low, high - low, 1.0) * weights
    return np.asarray((weighed.max(axis=1) + 0.05 * weighed.sum(axis=1))[:, None])
