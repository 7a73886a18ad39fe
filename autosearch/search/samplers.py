"""Samplers by name, made anew for every trial so that a run can be repeated and resumed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna

from autosearch.errors import DefinitionError

__all__ = ["SAMPLERS", "make_sampler", "trial_seed"]


def _gp(seed: int) -> optuna.samplers.BaseSampler:
    try:
        return optuna.samplers.GPSampler(seed=seed)
    except ImportError as error:
        raise DefinitionError(
            'sampler "gp" needs PyTorch, which is not installed; '
            'install it with: pip install torch, or write sampler="tpe"'
        ) from error


SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "nsga3": lambda seed: optuna.samplers.NSGAIIISampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed),
    "gp": _gp,
}


def trial_seed(seed: int, number: int) -> int:
    """A trial's own seed, from the study's seed and the trial's number.

    One generator for all trials would start over in every resumed run and every further
    worker, and propose the same configurations again.
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def make_sampler(sampler: Any, *, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """The sampler of one trial.

    Args:
        sampler: A name of ``SAMPLERS``, or an instance, which is used as it is.
        seed: The study's seed.
        number: The trial's number.

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
    # A quasi-random sequence is one sequence: its scrambling must not change with the trial.
    return SAMPLERS[sampler](seed if sampler == "qmc" else trial_seed(seed, number))
