"""Makes a database of a study that was never run, to see how the dashboard bears its size.

    python benchmarks/make_database.py large.db --trials 10000 --epochs 20

Three candidates a trial. The figures follow a made-up law with noise, the same for a seed.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

import numpy as np
from sqlalchemy import insert

from autosearch.store.database import Database
from autosearch.store.recorder import utc_now
from autosearch.store.tables import (
    CandidateRow,
    EpochRow,
    MeasurementRow,
    StudyRow,
    TargetRow,
    TrialRow,
    WorkerRow,
)

SCHEMES = {"float32": (4.0, 1.0, 0.0), "float16": (2.0, 1.0, 0.0), "int8": (1.0, 0.5, 0.01)}
CLASSES = [f"class {number}" for number in range(10)]
BLOCKS = ("plain", "residual", "separable", "inverted_residual")


def make_database(path: Path, *, trials: int, epochs: int, seed: int = 0) -> None:
    """Writes the database, in pieces of a thousand trials."""
    generator = np.random.default_rng(seed)
    database = Database.open_to_write(f"sqlite:///{path}")
    start = utc_now() - timedelta(seconds=trials)
    with database.session() as session:
        study = StudyRow(
            name="large",
            created_at=start,
            seed=seed,
            definition={
                "name": "large",
                "dataset": {"kind": "digits", "split_seed": 0},
                "objectives": [
                    {"metric": "accuracy", "direction": "maximize"},
                    {"metric": "size_bytes", "direction": "minimize"},
                    {"metric": "latency_ms", "direction": "minimize"},
                ],
                "constraints": [{"metric": "size_bytes", "bound": 200_000.0}],
                "budget": {"trials": trials, "minutes": None, "total_epochs": None},
            },
            definition_sha256="0" * 64,
            data_fingerprint="0" * 64,
            environment={},
            run_seconds=float(trials),
        )
        target = TargetRow(key="0" * 64, name="host", description={"cpu": "made up"})
        session.add_all([study, target])
        session.flush()
        worker = WorkerRow(
            study_id=study.id,
            host="nowhere",
            pid=1,
            started_at=start,
            lease_until=start,
            ended_at=utc_now(),
        )
        session.add(worker)
        session.flush()
        ids = study.id, target.id, worker.id
    for begin in range(0, trials, 1000):
        _piece(database, generator, ids, range(begin, min(trials, begin + 1000)), epochs)


def _piece(
    database: Database,
    generator: np.random.Generator,
    ids: tuple[int, int, int],
    numbers: range,
    epochs: int,
) -> None:
    study_id, target_id, worker_id = ids
    now = utc_now()
    trials, curves, candidates, measurements = [], [], [], []
    for number in numbers:
        width = float(2 ** generator.uniform(3, 7))
        depth = int(generator.integers(1, 6))
        rate = float(10 ** generator.uniform(-4, -1))
        block = BLOCKS[int(generator.integers(len(BLOCKS)))]
        weights = width * width * depth * (9 if block == "plain" else 4)
        skill = 1 - 0.35 * np.exp(-np.log(weights) / 4) - 0.03 * abs(np.log10(rate) + 2.5)
        skill = float(np.clip(skill + generator.normal(0, 0.01), 0.1, 0.999))
        started = now + timedelta(seconds=number)
        trials.append(
            {
                "id": number + 1,
                "study_id": study_id,
                "number": number,
                "state": "complete",
                "config": {"width": width, "depth": depth, "rate": rate, "block": block},
                "worker_id": worker_id,
                "attempt": 1,
                "started_at": started,
                "finished_at": started + timedelta(seconds=1),
                "duration_s": 1.0,
                "stage_seconds": {"train": 1.0},
                "parameters": int(weights),
                "macs": int(weights * 64),
                "facts": {},
            }
        )
        curves += [
            {
                "trial_id": number + 1,
                "epoch": epoch,
                "accuracy": skill * (1 - 0.8**epoch),
                "train_accuracy": skill * (1 - 0.75**epoch),
                "metrics": {},
            }
            for epoch in range(1, epochs + 1)
        ]
        for place, (scheme, (scale, speed, loss)) in enumerate(SCHEMES.items()):
            key = 3 * number + place + 1
            accuracy = max(0.0, skill - loss)
            size = weights * scale + 3000
            candidates.append(
                {
                    "id": key,
                    "study_id": study_id,
                    "trial_id": number + 1,
                    "quantization": scheme,
                    "is_representative": place == 2,
                    "is_feasible": size <= 200_000,
                    "accuracy": accuracy,
                    "accuracy_low": max(0.0, accuracy - 0.02),
                    "accuracy_high": min(1.0, accuracy + 0.02),
                    "size_bytes": size,
                    "parameters": weights,
                    "macs": weights * 64,
                    "metrics": {"balanced_accuracy": accuracy, "macro_f1": accuracy},
                    "conditions": {
                        "per_class": {
                            name: {"precision": accuracy, "recall": accuracy, "support": 100}
                            for name in CLASSES
                        }
                    },
                    "reasons": {},
                }
            )
            measurements.append(
                {
                    "candidate_id": key,
                    "target_id": target_id,
                    "is_measured": True,
                    "latency_ms": float(f"{weights * speed * 2e-6 + 0.001:.2g}"),
                    "latency_p90_ms": float(f"{weights * speed * 2.4e-6 + 0.001:.2g}"),
                    "memory_bytes": width * 400,
                    "measured_at": now,
                }
            )
    with database.session() as session:
        for table, rows in (
            (TrialRow, trials),
            (EpochRow, curves),
            (CandidateRow, candidates),
            (MeasurementRow, measurements),
        ):
            if rows:
                session.execute(insert(table), rows)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Makes a large database for the dashboard.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    make_database(words.path, trials=words.trials, epochs=words.epochs, seed=words.seed)


if __name__ == "__main__":
    main()
