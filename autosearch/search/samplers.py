"""Samplers by name, made anew for every trial so that a run can be repeated and resumed."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from autosearch.errors import DefinitionError
from autosearch.search.history import BoundedHistory
from autosearch.search.keras_tuner_sampler import ORACLES, KerasTunerSampler, OracleName
from autosearch.search.pareto_sampler import ParetoSampler
from autosearch.search.sight import Describe

__all__ = ["SAMPLERS", "check_sampler", "make_sampler", "trial_seed"]


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    # Optuna itself looks for it only once ten trials have come to their end.
    if find_spec("torch") is None:
        raise DefinitionError(
            'sampler "gp" needs PyTorch, which is not installed; '
            'install it with: pip install torch, or write sampler="tpe"'
        )
    return optuna.samplers.GPSampler(seed=seed)


def _keras_tuner(name: OracleName) -> Callable[[int], optuna.samplers.BaseSampler]:
    return lambda seed: KerasTunerSampler(name, seed=seed)


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "pareto": lambda seed: ParetoSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
    "gp": _gp,
    **{f"keras_tuner.{name}": _keras_tuner(name) for name in ORACLES},
}

# The others stay fast however many trials there are, and a genetic one needs its whole populations.
_LOOK_AT_ALL = ("tpe", "gp", "keras_tuner.bayesian")


def trial_seed(seed: int, number: int) -> int:
    """A trial's own seed, from the study's seed and the trial's number.

    One generator for all trials would start over in every resumed run and every further
    worker, and propose the same configurations again.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def check_sampler(sampler: Any, *, num_objectives: int) -> None:
    """Refuses what is no sampler, or none for so many objectives.

    Raises:
        DefinitionError: With what to write instead.
    """
    made = make_sampler(sampler, seed=0, number=0)
    if num_objectives > 1 and _is_keras_tuner(made):
        shown = f'"{sampler}"' if isinstance(sampler, str) else "from Keras Tuner"
        raise DefinitionError(
            f"sampler {shown} works towards one objective, and the study has {num_objectives}; "
            'write sampler="tpe", "pareto", "nsga2" or "nsga3", or keep one objective and bound '
            "the other metrics with at_most"
        )


def make_sampler(
    sampler: Any,
    *,
    seed: int,
    number: int,
    impatience: float = 0.0,
    shares: Sequence[bool] = (),
    describe: Describe | None = None,
) -> optuna.samplers.BaseSampler:
    """The sampler of one trial.

    Args:
        sampler: A name of ``SAMPLERS``, or an instance, which is used as it is.
        seed: The study's seed.
        number: The trial's number.
        impatience: How much a trial's time counts, from 0 to 1; "pareto" alone asks for it.
        shares: Which objectives are accuracies; likewise.
        describe: What is known of a configuration before it is tried; likewise.

    Raises:
        DefinitionError: There is no sampler of that name, or it is no sampler.
    """
    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    if not isinstance(sampler, str) or sampler not in SAMPLERS:
        shown = f'"{sampler}"' if isinstance(sampler, str) else type(sampler).__name__
        raise DefinitionError(
            f"sampler {shown} is not known; expected one of: {', '.join(SAMPLERS)}, "
            "or an optuna.samplers.BaseSampler"
        )
    own_seed = trial_seed(seed, number)
    if sampler == "pareto":
        return ParetoSampler(
            seed=own_seed,
            design_seed=seed,
            impatience=impatience,
            shares=shares,
            describe=describe,
        )
    # A quasi-random sequence is one sequence: its scrambling must not change with the trial.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
        whole = SAMPLERS[sampler](seed if sampler == "qmc" else own_seed)
    seeded = whole if isinstance(whole, KerasTunerSampler) else _SeededByName(whole, own_seed)
    return BoundedHistory(seeded) if sampler in _LOOK_AT_ALL else seeded


def _is_keras_tuner(sampler: optuna.samplers.BaseSampler) -> bool:
    inner = sampler.sampler if isinstance(sampler, BoundedHistory) else sampler
    return isinstance(inner, KerasTunerSampler)


class _SeededByName(optuna.samplers.BaseSampler):
    """Draws each parameter that is sampled by itself with a seed of its own.

    A trial that was cut off between two parameters keeps the ones it has; the others must come
    out as if it had not been, however often the generator was used before.
    """

    def __init__(self, whole: optuna.samplers.BaseSampler, seed: int) -> None:
        self._whole = whole
        self._seed = seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._whole.infer_relative_search_space(study, trial)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return self._whole.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        seed = trial_seed(self._seed, zlib.crc32(param_name.encode()))
        # All but TPE draw at random what they do not draw together.
        is_tpe = isinstance(self._whole, optuna.samplers.TPESampler)
        single = SAMPLERS["tpe" if is_tpe else "random"](seed)
        return single.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        self._whole.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        state: optuna.trial.TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._whole.after_trial(study, trial, state, values)
