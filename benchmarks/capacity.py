"""What it is worth that the sampler sees a network's capacity, on simulated searches.

Networks of the space of ``ablation.py`` are sampled as a search of twenty minutes samples them;
what comes of each is made up from its weights, multiply-accumulates and training: an error that
falls with both as powers do, noise of 6 %, bytes and milliseconds, and seconds that grow with the
multiply-accumulates. What would take more than a twelfth of the time is given up, as the engine
does. The same seeds search with the sampler that sees weights and multiply-accumulates and with the
one that sees parameters alone:

    python benchmarks/capacity.py --seeds 8

Prints a JSON line a seed, and one of the means: the hypervolume after shares of the time (error in
[0.12, 0.3], log10 of bytes in [3.5, 5.3], log10 of milliseconds in [-2.2, 0], each scaled to
[0, 1]), and in how many seeds seeing was better. Nothing is trained: it says how well the sampler
finds its way, if accuracy follows capacity. About three minutes a seed.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings

import ablation
import numpy as np
import optuna

from autosearch import SearchSpace, pareto
from autosearch.search.capacities import Capacities
from autosearch.search.finished import SECONDS
from autosearch.search.samplers import make_sampler
from autosearch.search.sight import Describe
from autosearch.search.warm_start import StartingSampler
from autosearch.space.capacity import capacity_of
from autosearch.space.first_guesses import first_guesses
from autosearch.space.hyperparameters import HyperParameters

_SECONDS = 1200.0
_LONGEST_SHARE, _TIMES_THE_USUAL, _GIVEN_UP_AFTER_S = 1 / 12, 4.0, 12.0
_CHECKPOINTS = (0.25, 0.5, 0.75, 1.0)
_BOX = np.array([[0.12, 0.3], [3.5, 5.3], [-2.2, 0.0]])
_SHARES = (True, False, False)
_SLOWER = {"plain": 1.0, "separable": 3.0, "residual": 1.3, "inverted_residual": 2.5}
_WORSE = {"plain": 0.0, "separable": 0.02, "residual": 0.005, "inverted_residual": 0.015}


def search(seed: int, describe: Describe | None) -> list[float]:
    """The hypervolume after each share of the time."""
    space = ablation.study_of("all").space
    assert space is not None
    guesses = first_guesses(space)
    rng = np.random.default_rng(seed)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    found, looks, spent_s, number = [], list[float](), 0.0, 0
    while spent_s < _SECONDS:
        sampler = make_sampler(
            "pareto", seed=seed, number=number, shares=_SHARES, describe=describe,
            impatience=1 - spent_s / _SECONDS,
        )  # fmt: skip
        if number < len(guesses):
            sampler = StartingSampler(guesses[number], sampler)
        study.sampler = sampler
        trial = study.ask()
        error, size_bytes, latency_ms, seconds = _network(space, trial, rng)
        trial.set_user_attr(SECONDS, seconds)
        usual_s = float(np.median(looks)) if looks else math.inf
        number += 1
        if number > len(guesses) and seconds > max(
            _LONGEST_SHARE * _SECONDS, _TIMES_THE_USUAL * usual_s
        ):
            spent_s += _GIVEN_UP_AFTER_S
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        spent_s += seconds
        looks.append(seconds)
        study.tell(trial, [1 - error, size_bytes, latency_ms])
        found.append((spent_s, error, math.log10(size_bytes), math.log10(latency_ms)))
    figures = np.array(found)
    scaled = np.maximum((figures[:, 1:] - _BOX[:, 0]) / (_BOX[:, 1] - _BOX[:, 0]), 0.0)
    return [
        pareto.hypervolume(scaled[figures[:, 0] < share * _SECONDS], [1.0] * 3)
        for share in _CHECKPOINTS
    ]


def _network(
    space: SearchSpace, trial: optuna.Trial, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """What is made up of one: error, bytes, milliseconds, seconds of training."""
    hp = HyperParameters(trial)
    space.preprocessing.sample(hp)
    config, training = space.architecture.sample(hp), space.training.sample(hp)
    capacity = capacity_of(config, (28, 28, 1))
    error = 0.07 + capacity.macs**-0.22 + 0.9 * capacity.parameters**-0.4 + _WORSE[config.block]
    error += 0.03 * abs(math.log10(training.learning_rate) + 2.4) ** 2 + 0.02 * config.dropout
    error += 0.01 * (config.activation == "relu") + 0.02 * (config.pooling == "stride")
    computing = capacity.macs * _SLOWER[config.block]
    return (
        min(0.9, error * math.exp(rng.normal(0, 0.06))),
        2500 + 1.1 * capacity.parameters + 60 * config.stages * config.blocks_per_stage,
        0.004 + computing / 4e7,
        8 + computing / 1e5,
    )


def main() -> None:
    """Runs both for every seed and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = ablation.study_of("all").space
    assert space is not None
    arms: dict[str, Describe | None] = {"seeing": Capacities(space), "blind": None}
    volumes: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    for seed in range(words.seeds):
        for arm, describe in arms.items():
            volumes[arm].append(search(seed, describe))
        line = {arm: [round(v, 4) for v in of[-1]] for arm, of in volumes.items()}
        print(json.dumps({"seed": seed, **line}), flush=True)
    seeing, blind = (np.array(volumes[arm]) for arm in ("seeing", "blind"))
    print(json.dumps({
        "shares_of_the_time": _CHECKPOINTS,
        "seeing": np.mean(seeing, axis=0).round(4).tolist(),
        "blind": np.mean(blind, axis=0).round(4).tolist(),
        "seeds_where_seeing_is_better": (seeing > blind).sum(axis=0).tolist(),
        "seeds": words.seeds,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
