"""What the engine adds to a trial: seconds over a plain Optuna loop on the same kind of database.

Both sample ten parameters at random, evaluate a function that costs nothing, and write to a
SQLite file of their own in one folder. Prints a JSON line for each number of trials:

    python benchmarks/overhead.py 100 1000 10000
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import optuna

import autosearch
from autosearch import Budget, Study, maximize, minimize

_LAST = 100


def plain(trial: optuna.Trial) -> tuple[float, float]:
    """The function as Optuna takes it."""
    values = [trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(10)]
    return sum(values), values[0]


def ours(trial: Any) -> dict[str, float]:
    """The same function as autosearch takes it."""
    values = [trial.hp.Float(f"x{i}", 0.0, 1.0) for i in range(10)]
    return {"gain": sum(values), "cost": values[0]}


def seconds_of_plain(trials: int, folder: Path) -> tuple[float, float]:
    """Seconds a trial, of all and of the last hundred."""
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'plain.db'}",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    started = time.perf_counter()
    study.optimize(plain, n_trials=trials - _LAST)
    before_last = time.perf_counter()
    study.optimize(plain, n_trials=_LAST)
    ended = time.perf_counter()
    return (ended - started) / trials, (ended - before_last) / _LAST


def seconds_of_ours(trials: int, folder: Path) -> tuple[float, float]:
    """Seconds a trial, of all and of the last hundred."""
    study = Study(
        name="overhead",
        evaluator=ours,
        objectives=(maximize("gain"), minimize("cost")),
        budget=Budget(trials=trials),
        sampler="random",
    )
    storage = f"sqlite:///{folder / 'autosearch.db'}"
    started = time.perf_counter()
    if trials > _LAST:
        autosearch.run(study, storage=storage, trials=trials - _LAST)
    before_last = time.perf_counter()
    autosearch.run(study, storage=storage, trials=_LAST)
    ended = time.perf_counter()
    return (ended - started) / trials, (ended - before_last) / _LAST


def main() -> None:
    """Takes the two in turn for each number of trials."""
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for trials in [int(word) for word in sys.argv[1:]] or [100, 1000]:
        with tempfile.TemporaryDirectory() as folder:
            of_plain, last_plain = seconds_of_plain(trials, Path(folder))
            of_ours, last_ours = seconds_of_ours(trials, Path(folder))
        figures = {
            "trials": trials,
            "plain_ms": 1000 * of_plain,
            "autosearch_ms": 1000 * of_ours,
            "overhead_ms": 1000 * (of_ours - of_plain),
            "overhead_of_last_ms": 1000 * (last_ours - last_plain),
            "ratio": of_ours / of_plain,
        }
        print(json.dumps({k: round(v, 2) for k, v in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
