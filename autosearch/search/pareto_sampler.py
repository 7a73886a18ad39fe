"""The sampler "pareto": configurations near the front that promise most hypervolume.

``make_sampler`` takes it in turn with TPE. Each of its trials is one step of Bayesian
optimization: a Gaussian process for each objective, and the configuration of the largest expected
hypervolume improvement among mutations and crossings of the best ones. The best of a search for
networks lie close together, which a model of all parameters jointly sees and the density of each
parameter by itself does not.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy import special

from autosearch import pareto
from autosearch.search.gaussian import (
    GaussianProcess,
    Hyperparameters,
    differences,
    fit_hyperparameters,
)
from autosearch.search.history import choose_trials, minimized_values, shown_trials
from autosearch.search.improvement import MAX_OBJECTIVES, expected_improvement
from autosearch.search.vectors import Vectors

__all__ = ["ParetoSampler"]

_Array = NDArray[np.float64]

_RANDOM_TRIALS = 10
_FITTED_TRIALS = 120
_POOL = 160
_ROUNDS = 3
_MAX_FRONT = 40
_FEWEST_VALUES = 5
_REFERENCE = 1.1
_USUAL = 0.75
_REACHES = (np.inf, 2.0)

# What was fitted to the same data once need not be fitted again; it changes no result.
_fits: OrderedDict[bytes, Hyperparameters] = OrderedDict()
_MAX_FITS = 64


class ParetoSampler(optuna.samplers.BaseSampler):
    """Samples where most hypervolume is to be had, for any number of objectives.

    Parameters of any kind, conditional ones too; infeasible trials teach where not to look. What
    it proposes depends on the seed and the finished trials alone.

    Args:
        seed: Of one trial: ``make_sampler`` makes one sampler a trial.
        num_random: So many trials are drawn at random before the first is modelled.
    """

    def __init__(self, seed: int | None = None, num_random: int = _RANDOM_TRIALS) -> None:
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._num_random = num_random
        self._proposed: tuple[int, Mapping[str, Any], Mapping[str, BaseDistribution]] | None = None

    def reseed_rng(self) -> None:
        """Takes another seed, as Optuna asks of a sampler that is used in several threads."""
        self._seed = int(np.random.SeedSequence().generate_state(1)[0])

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing: which parameters a trial has shows only while it asks for them."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The value in the configuration that was chosen for the trial, or a random one."""
        if self._proposed is None or self._proposed[0] != trial.number:
            rng = np.random.default_rng([self._seed, trial.number])
            values, space = self._propose(study, trial, rng)
            self._proposed = trial.number, values, space
        _, values, space = self._proposed
        if param_name in values and space[param_name] == param_distribution:
            return values[param_name]
        seed = [self._seed, trial.number, zlib.crc32(param_name.encode())]
        single = optuna.samplers.RandomSampler(
            seed=int(np.random.SeedSequence(seed).generate_state(1)[0])
        )
        return single.sample_independent(study, trial, param_name, param_distribution)

    def _propose(
        self, study: optuna.Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> tuple[Mapping[str, Any], Mapping[str, BaseDistribution]]:
        trials = shown_trials(study)
        values = minimized_values(trials, study.directions)
        violations = np.array([max(t.constraints.values(), default=0.0) for t in trials])
        if len(trials) < self._num_random:
            return {}, {}
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        vectors = Vectors.of(trials)
        points = vectors.encode(trials)
        taken = {row.tobytes() for row in points}
        taken |= {r.tobytes() for r in vectors.encode([t for t in running if t.params])}
        model = _Model(points, values, violations, vectors.is_choice, rng)
        found: list[tuple[float, _Array]] = []
        parents = model.parents
        for round_number in range(_ROUNDS):
            pool = []
            for _ in range(_POOL):
                row = vectors.vary(parents, rng, random_share=0.15 if round_number == 0 else 0.0)
                if row.tobytes() not in taken:
                    taken.add(row.tobytes())
                    pool.append(row)
            if not pool:
                break
            scores = model.score(np.stack(pool))
            found += zip(scores.tolist(), pool, strict=True)
            found.sort(key=lambda pair: -pair[0])
            # What promises most is varied further.
            parents = np.stack([row for _, row in found[:12]])
        if not found:
            return {}, {}
        return vectors.decode(found[0][1]), vectors.space


class _Model:
    """What is known of the objectives and of feasibility."""

    def __init__(
        self,
        points: _Array,
        values: _Array,
        violations: _Array,
        is_choice: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> None:
        self._is_choice = is_choice
        self._all_points = points
        is_known, is_feasible = np.isfinite(values).all(axis=1), violations <= 0
        self._violation = None
        if not is_feasible.all():
            self._violation = self._fit(points, np.clip(violations, -1.0, 1.0))
        known = np.flatnonzero(is_known)
        self._points, self._processes = points[known], list[GaussianProcess]()
        if len(known) < _FEWEST_VALUES:
            self.parents = points[np.argsort(violations, kind="stable")[:_FEWEST_VALUES]]
            return
        reach = float(rng.choice(_REACHES))
        targets = np.stack([_capped(column, reach) for column in values.T], axis=1)
        if targets.shape[1] > MAX_OBJECTIVES:
            targets = _as_one(targets, targets[known], rng)
        feasible = np.flatnonzero(is_known & is_feasible)
        ranked = feasible if len(feasible) else known
        on_front = ranked[pareto.non_dominated(values[ranked])]
        second = np.setdiff1d(ranked, on_front)
        second = second[pareto.non_dominated(values[second])] if len(second) else second
        self.parents = points[np.concatenate([on_front, on_front, second])]
        best = ranked[pareto.non_dominated(targets[ranked])]
        low, high = targets[known].min(axis=0), targets[known].max(axis=0)
        # The worst of all, not of the front: what is better and costs more must count.
        spread = np.where(high > low, high - low, 1.0)
        self._front = (targets[best] - low) / spread
        for column in ((targets[known] - low) / spread).T:
            self._processes.append(self._fit(self._points, column))

    def _fit(self, points: _Array, targets: _Array) -> GaussianProcess:
        # Refitted when a tenth more is known: to what was known then, so that a resumed study,
        # which never saw the steps between, finds the same.
        count = _milestone(len(points))
        first, of_first = points[:count], targets[:count]
        chosen = choose_trials(of_first[:, None], np.ones(count, dtype=bool), _FITTED_TRIALS)
        normed = of_first[chosen] - of_first[chosen].mean()
        normed = normed / (normed.std() or 1.0)
        squared = differences(first[chosen], first[chosen], self._is_choice)
        key = hashlib.sha256(squared.tobytes() + normed.tobytes()).digest()
        if key not in _fits:
            _fits[key] = fit_hyperparameters(squared, normed)
            if len(_fits) > _MAX_FITS:
                _fits.popitem(last=False)
        return GaussianProcess(points, targets, self._is_choice, _fits[key])

    def score(self, points: _Array) -> _Array:
        """What each configuration promises; more is better."""
        scores = np.ones(len(points))
        if self._processes:
            scores = self._improvement(points)
        if self._violation is not None:
            squared = differences(self._all_points, points, self._is_choice)
            violation, deviation = self._violation.predict(squared)
            scores = scores * special.ndtr(-violation / deviation)
        return scores

    def _improvement(self, points: _Array) -> _Array:
        squared = differences(self._points, points, self._is_choice)
        predictions = [process.predict(squared) for process in self._processes]
        mean = np.stack([m for m, _ in predictions], axis=1)
        sd = np.stack([s for _, s in predictions], axis=1)
        front, reference = self._front, np.full(mean.shape[1], _REFERENCE)
        if len(front) > _MAX_FRONT:
            order = np.argsort(front[:, 0], kind="stable")
            front = front[order[np.linspace(0, len(order) - 1, _MAX_FRONT).astype(np.intp)]]
        return expected_improvement(front, reference, mean, sd)


def _as_one(targets: _Array, known: _Array, rng: np.random.Generator) -> _Array:
    """Many objectives as one, weighed at random in every trial.

    The augmented Chebyshev sum of ParEGO (Knowles 2006, https://doi.org/10.1109/TEVC.2005.851274).
    """
    low, high = known.min(axis=0), known.max(axis=0)
    weighed = (targets - low) / np.where(high > low, high - low, 1.0)
    weighed = weighed * rng.dirichlet(np.ones(targets.shape[1]))
    return np.asarray((weighed.max(axis=1) + 0.05 * weighed.sum(axis=1))[:, None])


def _capped(column: _Array, reach: float) -> _Array:
    """An objective whose values far past the usual are cut to a bound.

    A network that learned nothing lies so far from the others that a model of it would take the
    differences between good ones for noise.
    """
    known = column[np.isfinite(column)]
    best, usual = known.min(), float(np.quantile(known, _USUAL))
    return np.asarray(np.minimum(column, best + reach * ((usual - best) or 1.0)))


def _milestone(count: int) -> int:
    step = 1
    while count // step >= 20:
        step *= 2
    return count // step * step
