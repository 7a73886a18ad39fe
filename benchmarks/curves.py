"""Hypervolume after so many epochs, on simulated learning curves: what pruning is worth.

The final accuracy, parameters and latency of a network are those of a table (NAS-Bench-201);
how it gets there is made up: a learning rate that each network likes differently, a speed of its
own (large networks and low rates are slower), noise that dies down as a cosine schedule ends. Of
random configurations the accuracy after 1, 3, 9 and 18 of 27 epochs has a rank correlation of 0.35,
0.49, 0.71 and 0.95 with the last one. autosearch with each pruner and its default sampler, and
plain Optuna, which cannot prune with several objectives, search with the same seeds for the same
number of epochs:

    python benchmarks/curves.py nb201_cifar10.parquet --seeds 5

Prints a JSON line for each with the median and the quartiles of the hypervolume of what came to its
end (error, logarithms of parameters and latency, from the best to the worst of the table), then the
share of the epochs that each needs for what the best plain peer has at each checkpoint.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd

import autosearch
from autosearch import Budget, NoPruner, ParetoPruner, Study, maximize, minimize, pareto

LENGTH = 27
_OPERATIONS = ("op0", "op1", "op2", "op3", "op4", "op5")
_OBJECTIVES = (maximize("accuracy"), minimize("parameters"), minimize("latency_ms"))

PRUNERS: dict[str, Any] = {
    "none": NoPruner(),
    "mo_asha": ParetoPruner(),
    "mo_asha, from 3 epochs": ParetoPruner(min_epochs=3),
}
PEERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "optuna.tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna.nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
}


class Curves:
    """Trains nothing, and tells after every epoch how far it would be.

    Args:
        path: A Parquet file.
        accuracy: Its column of validation accuracy in percent.
        latency: Its column of latency.
        parameters: Its column of parameters.
        seed: Of the noise.
    """

    def __init__(self, path: str, accuracy: str, latency: str, parameters: str, seed: int) -> None:
        frame = pd.read_parquet(path)
        self.figures = frame[[accuracy, parameters, latency]].to_numpy(dtype=float)
        keys = frame[list(_OPERATIONS)].itertuples(index=False, name=None)
        self._rows = dict(zip(keys, self.figures.tolist(), strict=True))
        self._seed = seed

    def sample(self, trial: Any) -> tuple[np.ndarray, float, float]:
        """The accuracy after each epoch, parameters and latency of a configuration."""
        key = tuple(trial.suggest_categorical(name, [0, 1, 2, 3, 4]) for name in _OPERATIONS)
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        accuracy, parameters, latency = self._rows[key]
        rng = np.random.default_rng([self._seed, trial.number])
        return learning_curve(accuracy, parameters, rate, rng) / 100, parameters, latency

    def __call__(self, trial: Any) -> dict[str, float]:
        """One trial of autosearch."""
        curve, parameters, latency = self.sample(trial)
        trial.describe(num_epochs=LENGTH)
        trial.check_cost(parameters=parameters, latency_ms=latency)
        for epoch, accuracy in enumerate(curve.tolist(), 1):
            trial.report(epoch, accuracy=accuracy)
        return {"accuracy": float(curve.max())}

    def hypervolume(self, points: np.ndarray) -> float:
        """Of rows of accuracy, parameters and latency, as a share of the whole box."""
        whole = _minimized(self.figures / [100, 1, 1])
        low, high = whole.min(axis=0), whole.max(axis=0)
        return pareto.hypervolume((_minimized(points) - low) / (high - low), [1.0] * 3)


def learning_curve(
    accuracy: float, parameters: float, rate: float, rng: np.random.Generator
) -> np.ndarray:
    """Validation accuracy in percent after each epoch, shape ``(LENGTH,)``.

    Args:
        accuracy: In the end, with the rate that the network likes best.
        parameters: Of the network.
        rate: Learning rate.
        rng: Of its speed and the noise.
    """
    size = (np.log10(parameters) - 5) / 1.2
    miss = np.log10(rate) - (-2.3 - 0.5 * size)
    final = max(100 - (100 - accuracy) * (1 + 0.35 * miss**2), 10.0)
    slowness = rng.normal(0, 0.25) + 0.4 * (size - 0.5) + 0.35 * max(0.0, -miss) + 0.1 * miss**2
    time_left = 1 - np.arange(1, LENGTH + 1) / LENGTH
    missing = time_left**0.7 * np.exp(-(1 - time_left) / (0.18 * np.exp(slowness)))
    noise = np.zeros(LENGTH)
    for epoch, shock in enumerate(rng.normal(0, 1, LENGTH)):
        noise[epoch] = 0.5 * (noise[epoch - 1] if epoch else 0.0) + shock
    noise *= 3.0 * time_left * np.exp(-3 * (1 - time_left)) + 0.25
    return np.clip(final - (final - 10) * missing + noise, 8, 99)


def search(curves: Curves, pruner: Any, sampler: str, seed: int, epochs: int) -> list[Any]:
    """Epochs spent so far with what came to its end then, by trial."""
    study = Study(
        name="curves",
        evaluator=curves,
        objectives=_OBJECTIVES,
        budget=Budget(total_epochs=epochs),
        sampler=sampler,
        pruner=pruner,
    )
    with tempfile.TemporaryDirectory() as folder:
        view = autosearch.run(study, storage=f"sqlite:///{Path(folder) / 'curves.db'}", seed=seed)
        lengths = view.epochs_frame().groupby("trial")["epoch"].max().sort_index().cumsum()
        ended = view.candidates_frame().set_index("trial")
    columns = [objective.metric for objective in _OBJECTIVES]
    return [
        (int(spent), ended.loc[number, columns].to_numpy(float) if number in ended.index else None)
        for number, spent in lengths.items()
    ]


def plain(curves: Curves, sampler: optuna.samplers.BaseSampler, epochs: int) -> list[Any]:
    """The same of a plain loop over Optuna, which trains every trial to its end."""
    study = optuna.create_study(
        directions=[objective.direction.value for objective in _OBJECTIVES], sampler=sampler
    )
    ended = []
    for number in range(-(-epochs // LENGTH)):
        trial = study.ask()
        curve, parameters, latency = curves.sample(trial)
        figures = [float(curve.max()), parameters, latency]
        study.tell(trial, figures)
        ended.append(((number + 1) * LENGTH, np.array(figures)))
    return ended


def main() -> None:
    """Runs every search and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="a Parquet file with op0…op5 and the columns below")
    parser.add_argument("--accuracy", default="cifar10_val200")
    parser.add_argument("--parameters", default="cifar10_params")
    parser.add_argument("--latency", default="lat_raspi4_ms")
    parser.add_argument("--sampler", default="pareto", help="autosearch's")
    parser.add_argument("--trials", type=int, default=60, help="whole trainings' worth of epochs")
    parser.add_argument("--seeds", type=int, default=5)
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    epochs = words.trials * LENGTH
    at = np.arange(LENGTH, epochs + 1, LENGTH)
    medians: dict[str, np.ndarray] = {}
    for name in [*PRUNERS, *PEERS]:
        started, traces, counts = time.perf_counter(), [], []
        for seed in range(words.seeds):
            curves = Curves(words.table, words.accuracy, words.latency, words.parameters, seed)
            if name in PRUNERS:
                run = search(curves, PRUNERS[name], words.sampler, seed, epochs)
            else:
                run = plain(curves, PEERS[name](seed), epochs)
            traces.append([_hypervolume_after(curves, run, spent) for spent in at])
            counts.append((len(run), sum(figures is not None for _, figures in run)))
        low, medians[name], high = np.quantile(traces, [0.25, 0.5, 0.75], axis=0)
        shown = [words.trials // part - 1 for part in (8, 4, 2, 1) if words.trials >= part]
        print(json.dumps({
            "pruner" if name in PRUNERS else "peer": name, "seeds": words.seeds,
            "sampler": words.sampler if name in PRUNERS else None,
            "trials": float(np.mean([n for n, _ in counts])),
            "ended": float(np.mean([n for _, n in counts])),
            "hypervolume": {int(at[i]): [round(float(q[i]), 4) for q in (low, medians[name], high)]
                            for i in shown},
            "seconds": round(time.perf_counter() - started, 1),
        }), flush=True)  # fmt: skip
    for name in PRUNERS:
        for index in shown:
            goal = max(medians[peer][index] for peer in PEERS)
            reached = np.flatnonzero(medians[name] >= goal)
            needed = int(at[reached[0]]) if len(reached) else None
            print(json.dumps({
                "pruner": name, "best_peer_epochs": int(at[index]), "needs_epochs": needed,
                "ratio": None if needed is None else round(needed / int(at[index]), 3),
            }), flush=True)  # fmt: skip


def _hypervolume_after(curves: Curves, run: list[Any], epochs: int) -> float:
    ended = [figures for spent, figures in run if spent <= epochs and figures is not None]
    return curves.hypervolume(np.array(ended).reshape(-1, 3))


def _minimized(points: np.ndarray) -> np.ndarray:
    return np.stack([1 - points[:, 0], *np.log10(np.maximum(points[:, 1:], 1e-2)).T], axis=1)


if __name__ == "__main__":
    main()
