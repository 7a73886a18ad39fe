"""Hypervolume after a number of evaluations, on a table of trained networks: no training.

The table has one row a cell of NAS-Bench-201: its six operations, the validation accuracy, the
parameters and a measured latency. autosearch's samplers and Optuna's own, used plainly, search it
in turn with the same seeds. Prints a JSON line for each sampler and scale with the median and the
quartiles at each number of evaluations, then the ratio of evaluations that the judged one needs for
the median that the best plain peer reaches at each:

    python benchmarks/tabular.py nb201_cifar10.parquet --seeds 20

The scales: "linear" takes error, parameters and latency from the best to the worst of the table;
"log" the same with the logarithm of parameters and latency. The reference point is the worst.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable

import numpy as np
import optuna
import pandas as pd

from autosearch import pareto
from autosearch.search.samplers import make_sampler

_OPERATIONS = ("op0", "op1", "op2", "op3", "op4", "op5")
_SHARES = (True, False, False)
_CHECKPOINTS = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800)

PEERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "optuna.tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna.nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "optuna.random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


class Table:
    """The table as a function of a trial, and its scales.

    Args:
        path: A Parquet file.
        accuracy: Its column of validation accuracy in percent.
        latency: Its column of latency.
        parameters: Its column of parameters.
    """

    def __init__(self, path: str, accuracy: str, latency: str, parameters: str) -> None:
        frame = pd.read_parquet(path)
        figures = frame[[accuracy, parameters, latency]].to_numpy(dtype=float)
        keys = frame[list(_OPERATIONS)].itertuples(index=False, name=None)
        self._rows = dict(zip(keys, figures.tolist(), strict=True))
        self._scales = {name: self.on(figures, name) for name in ("linear", "log")}

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        """The row's accuracy, parameters and latency."""
        return tuple(
            self._rows[tuple(trial.suggest_categorical(n, [0, 1, 2, 3, 4]) for n in _OPERATIONS)]
        )

    @staticmethod
    def on(figures: np.ndarray, scale: str) -> np.ndarray:
        """Error, parameters and latency on a scale, minimised."""
        costs = figures[:, 1:]
        costs = np.log10(np.maximum(costs, 1e-2)) if scale == "log" else costs
        return np.concatenate([100 - figures[:, :1], costs], axis=1)

    def hypervolumes(self, figures: np.ndarray, counts: list[int], scale: str) -> list[float]:
        """The hypervolume of the first so many evaluations, as a share of the whole box."""
        whole = self._scales[scale]
        low, high = whole.min(axis=0), whole.max(axis=0)
        points = (self.on(figures, scale) - low) / (high - low)
        return [pareto.hypervolume(points[:count], [1.0] * 3) for count in counts]


def search(table: Table, sampler: str, seed: int, evaluations: int) -> tuple[np.ndarray, float]:
    """The figures of every evaluation in its turn, and the seconds of processor time of all."""
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"])
    if sampler in PEERS:
        study.sampler = PEERS[sampler](seed)
    started = time.process_time()
    for number in range(evaluations):
        if sampler not in PEERS:
            # As the engine does it: a sampler a trial, told which objective is an accuracy.
            study.sampler = make_sampler(sampler, seed=seed, number=number, shares=_SHARES)
        trial = study.ask()
        study.tell(trial, table(trial))
    return np.array([t.values for t in study.trials]), time.process_time() - started


def evaluations_to_reach(curve: np.ndarray, value: float) -> int | None:
    """How many evaluations a median curve needs for a hypervolume."""
    reached = np.flatnonzero(curve >= value)
    return int(reached[0]) + 1 if len(reached) else None


def main() -> None:
    """Runs every sampler and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="a Parquet file with op0…op5 and the columns below")
    parser.add_argument("--accuracy", default="cifar10_val200")
    parser.add_argument("--parameters", default="cifar10_params")
    parser.add_argument("--latency", default="lat_raspi4_ms")
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--judged", default="pareto", help="is judged against the plain peers")
    parser.add_argument("--samplers", nargs="*", default=["pareto", "tpe", *PEERS])
    words = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = Table(words.table, words.accuracy, words.latency, words.parameters)
    counts = list(range(1, words.evaluations + 1))
    medians: dict[tuple[str, str], np.ndarray] = {}
    for sampler in words.samplers:
        runs = [search(table, sampler, seed, words.evaluations) for seed in range(words.seeds)]
        for scale in ("linear", "log"):
            curves = np.array([table.hypervolumes(run, counts, scale) for run, _ in runs])
            medians[sampler, scale] = np.median(curves, axis=0)
            at = [count for count in _CHECKPOINTS if count <= words.evaluations]
            low, middle, high = np.quantile(curves[:, np.array(at) - 1], [0.25, 0.5, 0.75], axis=0)
            print(json.dumps({
                "sampler": sampler, "scale": scale, "seeds": words.seeds,
                "ms_a_trial": round(1000 * np.mean([s for _, s in runs]) / words.evaluations, 1),
                "hypervolume": {
                    n: [round(float(v), 5) for v in row]
                    for n, row in zip(at, zip(low, middle, high, strict=True), strict=True)
                },
            }), flush=True)  # fmt: skip
    peers = [sampler for sampler in words.samplers if sampler in PEERS]
    if not peers or words.judged not in words.samplers:
        return
    for scale in ("linear", "log"):
        for count in (c for c in _CHECKPOINTS if c <= words.evaluations):
            best = max(peers, key=lambda peer: medians[peer, scale][count - 1])
            needed = evaluations_to_reach(
                medians[words.judged, scale], medians[best, scale][count - 1]
            )
            print(json.dumps({
                "scale": scale, "best_peer": best, "evaluations": count, "judged_needs": needed,
                "ratio": None if needed is None else round(needed / count, 3),
            }), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
