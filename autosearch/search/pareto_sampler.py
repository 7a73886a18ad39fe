"""The sampler "pareto": configurations near the front that promise most hypervolume.

After a few spread trials each is one step of Bayesian optimization: a Gaussian process for each
objective, and the configuration of the largest expected hypervolume improvement among random ones
and mutations and crossings of the best. What volume counts differs from trial to trial: that which
is better in every objective than what a configuration drawn at random is expected to have.

Where a study has so many minutes, and not so many trials, it is the improvement per second that
counts at first, and per trial at last (Lee et al. 2020, "Cost-aware Bayesian Optimization",
https://arxiv.org/abs/2003.10870): many quick trials teach more than one slow one, and towards the
end there is nothing left to learn for.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from autosearch.search.finished import num_sampled_before, number_of, teaching_trials
from autosearch.search.history import SHOWN_TRIALS, choose_trials
from autosearch.search.sight import Describe, Sight
from autosearch.search.surrogate import Surrogate, Told
from autosearch.search.vectors import Vectors, spread_value

__all__ = ["ParetoSampler"]

_Array = NDArray[np.float64]

_SPREAD_TRIALS = 10
_SPREAD_TRIALS_IN_HASTE = 6
_POOL = 1_600
_DESCRIBED = 320
"""A smaller pool, where what is known of each configuration has to be worked out."""
_FEWEST = 64
_COMPARED = 480_000
_SHOWN_VALUES = 3_000
_FEWEST_SHOWN = 100
_ROUNDS = 3
_RANDOM_SHARE = 0.3
_MOST_LOOKED_UP = 20


class ParetoSampler(optuna.samplers.BaseSampler):
    """Samples where most hypervolume is to be had, for any number of objectives.

    Parameters of any kind, conditional ones too; infeasible trials teach where not to look. What
    it proposes depends on the seed and the finished trials alone.

    Args:
        seed: Of one trial: ``make_sampler`` makes one sampler a trial.
        design_seed: Of the whole study: the first trials are spread together.
        num_spread: So many trials are spread over the space before the first is modelled; None
            for ten, or for six where time counts.
        impatience: How much time counts, from 0, which is not at all, to 1.
        shares: Which objectives are accuracies: what has less than nine tenths of the best is
            looked for no further. () if none is.
        describe: What is known of a configuration before it is tried.
    """

    def __init__(
        self,
        seed: int | None = None,
        design_seed: int = 0,
        num_spread: int | None = None,
        impatience: float = 0.0,
        shares: Sequence[bool] = (),
        describe: Describe | None = None,
    ) -> None:
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._design_seed = design_seed
        if num_spread is None:
            num_spread = _SPREAD_TRIALS_IN_HASTE if impatience > 0 else _SPREAD_TRIALS
        self._num_spread = num_spread
        self._impatience = impatience
        self._shares = tuple(shares)
        self._describe = describe
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
            # Matrices are small: a second thread costs as much as it saves, and more beside others.
            with _linear_algebra().limit(limits=1, user_api="blas"):
                values, space = self._propose(study, trial, rng)
            self._proposed = trial.number, values, space
        _, values, space = self._proposed
        if param_name in values and space[param_name] == param_distribution:
            return values[param_name]
        # Another block is another design, or its trials would be those of the first one again. What
        # was trained on has no place in it, or the places that it took would stay empty.
        number = num_sampled_before(study, trial.number)
        block = number // self._num_spread
        rng = np.random.default_rng([self._design_seed, zlib.crc32(param_name.encode()), block])
        return spread_value(param_distribution, number, self._num_spread, rng)

    def _propose(
        self, study: optuna.Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> tuple[Mapping[str, Any], Mapping[str, BaseDistribution]]:
        told = teaching_trials(study, with_failed=True)
        every, violations = told.trials, told.violations
        if len(every) < self._num_spread:
            return {}, {}
        expected = told.expected_values()
        is_real = np.asarray(np.isfinite(told.values).all(axis=1))
        limit = _num_shown(every)
        now = choose_trials(told.values, violations <= 0, limit)
        count = _milestone(len(every))
        then = _chosen_then(told.values[:count], violations[:count] <= 0, limit)
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        vectors = Vectors.of([every[i] for i in now])
        points = vectors.points
        taken = {row.tobytes() for row in points}
        taken |= {r.tobytes() for r in vectors.encode([t for t in running if t.params])}
        # Most of what was shown then is shown now.
        gone = np.setdiff1d(then, now)
        encoded = dict(zip(now.tolist(), points, strict=True))
        encoded |= zip(gone.tolist(), vectors.encode([every[i] for i in gone]), strict=True)

        points_then = np.stack([encoded[i] for i in then.tolist()])
        sight = Sight(vectors, points_then, self._describe)

        def tell(rows: NDArray[np.intp], encoded: _Array) -> Told:
            seen = sight.of(encoded)
            return Told(seen, expected[rows], is_real[rows], violations[rows], told.seconds[rows])

        surrogate = Surrogate(
            tell(now, points),
            tell(then, points_then),
            sight.geometry,
            rng,
            self._impatience,
            self._shares,
        )
        if surrogate.is_boxed:
            surrogate.look_below(sight.of(vectors.draw(rng, 1))[0])
        found: list[tuple[float, _Array]] = []
        parents = sight.without(surrogate.parents)
        # As many as can be compared with the trials shown in a tenth of a second.
        most = _DESCRIBED if sight.knows_any else _POOL
        size = min(max(_COMPARED // max(points.size, 1), _FEWEST), most)
        for round_number in range(_ROUNDS):
            share = 0.0 if round_number else _RANDOM_SHARE
            rows = vectors.vary(parents, rng, size, random_share=share)
            pool = {row.tobytes(): row for row in rows}
            fresh = [row for key, row in pool.items() if key not in taken]
            if not fresh:
                break
            taken |= pool.keys()
            scores = surrogate.score(sight.of(np.stack(fresh)))
            found += zip(scores.tolist(), fresh, strict=True)
            found.sort(key=lambda pair: -pair[0])
            # What promises most is varied further.
            parents = np.stack([row for _, row in found[:12]])
        for _, row in found[:_MOST_LOOKED_UP]:
            params = vectors.decode(row)
            # Of a long study not all trials are shown.
            if number_of(params) not in told.configurations:
                return params, vectors.space
        return {}, {}


@lru_cache(maxsize=1)
def _linear_algebra() -> ThreadpoolController:
    return ThreadpoolController()


def _chosen_then(values: _Array, is_feasible: NDArray[np.bool_], limit: int) -> NDArray[np.intp]:
    """As ``choose_trials``, kept until the next milestone."""
    return _chosen(values.tobytes(), values.shape, is_feasible.tobytes(), limit)


@lru_cache(maxsize=4)
def _chosen(
    values: bytes, shape: tuple[int, int], is_feasible: bytes, limit: int
) -> NDArray[np.intp]:
    told = np.frombuffer(values, dtype=np.float64).reshape(shape)
    return choose_trials(told, np.frombuffer(is_feasible, dtype=np.bool_), limit)


def _num_shown(trials: list[FrozenTrial]) -> int:
    """Fewer trials of more parameters, so that asking takes as long.

    Of 25 parameters 120 trials are shown; up to 12 parameters the usual number is.
    """
    newest = trials[-SHOWN_TRIALS:]
    num_parameters = len({name for trial in newest for name in trial.distributions})
    return min(SHOWN_TRIALS, max(_FEWEST_SHOWN, _SHOWN_VALUES // max(num_parameters, 1)))


def _milestone(count: int) -> int:
    """How many trials there were when one in ten or twenty had come on top."""
    step = 1
    while count // step >= 20:
        step *= 2
    return count // step * step
