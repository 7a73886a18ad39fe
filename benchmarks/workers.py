"""What workers beside each other gain: trials a minute of several over those of one.

Each number of workers searches the digits for the same number of trials in a database of its own;
the configurations are drawn at random, from the same seed, and so are alike. The time runs from
the end of the first trial to that of the last, without the seconds that loading TensorFlow takes.
Prints a JSON line each and then the ratio:

    python benchmarks/workers.py --trials 24 --workers 1 2

``--latencies`` looks whether a latency that was taken beside working workers is that of a quiet
machine: every file of 0.1 ms and more is measured again afterwards, and the median and the spread
of recorded ÷ quiet are printed, each divided by the time of the reference file.

    python benchmarks/workers.py --latencies --workers 2 --trials 8

``--free`` takes a function that costs nothing in place of training, and looks for what must not
happen: a trial evaluated twice, a number missing, a trial that failed, as of a locked database.

    python benchmarks/workers.py --free --workers 8 --minutes 1

``--kills`` ends a worker by SIGKILL that many times while the digits are searched, and looks at
what is left: whether the budget was kept, and every file is whole.

    python benchmarks/workers.py --kills 20 --workers 2 --trials 60
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import autosearch
from autosearch import Budget, NoPruner, SearchSpace, Study, maximize, minimize
from autosearch.data import Digits
from autosearch.evaluation.latency import measure_latency
from autosearch.space import CNN, Augmentation, Preprocessing, Range, Training
from autosearch.values import TrialState

_NARROW = Range(4, 32, step=4)
_MIN_LATENCY_MS = 0.1

FREE = """
import pathlib
from autosearch import Budget, Study, maximize, minimize

def evaluate(trial):
    width, depth = trial.hp.Int("width", 4, 128, step=4), trial.hp.Int("depth", 1, 8)
    with (pathlib.Path(__file__).parent / "evaluated").open("a") as log:
        log.write(f"{{trial.number}}\\n")
    trial.report(1, accuracy=1 - 1 / width)
    return {{"accuracy": 1 - 1 / width, "size_bytes": width * depth}}

study = Study(name="free", evaluator=evaluate, sampler="random", budget=Budget(minutes={minutes}),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


def digits(trials: int, *, epochs: int = 10, size: int = 8, width: Range = _NARROW) -> Study:
    """The study that is searched by one worker and by several."""
    return Study(
        name="digits",
        dataset=Digits(),
        space=SearchSpace(
            preprocessing=Preprocessing(size=size, color="greyscale"),
            architecture=CNN(
                stages=2, width=width, width_growth=2.0, blocks_per_stage=1, block="plain"
            ),
            augmentation=Augmentation(),
            training=Training(epochs=epochs, batch_size=64),
        ),
        objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
        budget=Budget(trials=trials),
        sampler="random",
        pruner=NoPruner(),
        # What is compared is the trials.
        baselines=False,
        cross_validation=None,
    )


def compare_latencies(workers: int, trials: int, folder: Path) -> dict[str, Any]:
    """Recorded ÷ quiet of the files of a search, both over the reference file's time."""
    study = digits(trials, epochs=3, size=32, width=Range(16, 48, step=8))
    view = autosearch.run(study, storage=f"sqlite:///{folder / 'l.db'}", workers=workers)
    rows = view.candidates_frame().dropna(subset=["artifact_sha256"])
    ratios, in_quiet = [], 0
    for row in rows.itertuples():
        recorded = row.conditions["raw_latency_ms"]
        if recorded < _MIN_LATENCY_MS:
            continue
        files = {"file": view.artifact(row.artifact_sha256)}
        quiet = measure_latency(files, seconds_per_file=0.15)["file"]
        relative = recorded / row.conditions["reference_latency_ms"]
        ratios.append(relative / (quiet.p50_ms / quiet.reference_ms))
        in_quiet += row.conditions["latency_taken_in_quiet"]
    return {
        "workers": workers,
        "files": len(ratios),
        "taken_in_quiet": in_quiet,
        "median_recorded_over_quiet": round(float(np.median(ratios)), 3),
        "percentiles_5_95": np.percentile(ratios, [5, 95]).round(3).tolist(),
        "share_within_0.8_1.25": round(float(np.mean([0.8 <= r <= 1.25 for r in ratios])), 3),
    }


def search(workers: int, trials: int, folder: Path) -> dict[str, Any]:
    """Trials a minute of so many workers."""
    study, storage = digits(trials), f"sqlite:///{folder / f'{workers}.db'}"
    view = autosearch.run(study, storage=storage, workers=workers)
    frame = view.trials_frame()
    ends = frame["finished_at"].sort_values()
    minutes = (ends.iloc[-1] - ends.iloc[0]).total_seconds() / 60
    return {
        "workers": workers,
        "trials": len(frame),
        "complete": int((frame["state"] == TrialState.COMPLETE).sum()),
        "trials_a_minute": round((len(frame) - 1) / minutes, 2),
        "seconds_a_trial": round(float(frame["duration_s"].median()), 2),
    }


def search_freely(workers: int, minutes: float, folder: Path) -> dict[str, Any]:
    """What so many workers do to each other if nothing else takes time."""
    path = folder / "free.py"
    path.write_text(FREE.format(minutes=minutes))
    study = autosearch.load_study_file(path)
    view = autosearch.run(study, storage=f"sqlite:///{folder / 'free.db'}", workers=workers)
    frame = view.trials_frame()
    evaluated = Counter((folder / "evaluated").read_text().split())
    return {
        "workers": workers,
        "trials": len(frame),
        "evaluated_twice": sum(count > 1 for count in evaluated.values()),
        "numbers_missing": len(set(range(len(frame))) - {int(n) for n in evaluated}),
        "not_complete": int((frame["state"] != TrialState.COMPLETE).sum()),
        "errors": sorted(set(frame["error"].dropna())),
    }


def search_under_fire(workers: int, trials: int, kills: int, folder: Path) -> dict[str, Any]:
    """What is there after a search whose workers were killed, one at a time, at random moments."""
    rng, is_over, num_killed = random.Random(0), threading.Event(), 0

    def fire() -> None:
        nonlocal num_killed
        while num_killed < kills and not is_over.wait(rng.uniform(3, 12)):
            processes = [
                child
                for child in psutil.Process().children()
                if "autosearch.search.process" in child.cmdline()
            ]
            if processes:
                rng.choice(processes).kill()
                num_killed += 1

    thread = threading.Thread(target=fire)
    thread.start()
    try:
        study = digits(trials, epochs=5)
        view = autosearch.run(study, storage=f"sqlite:///{folder / 'k.db'}", workers=workers)
    finally:
        is_over.set()
        thread.join()
    frame, candidates = view.trials_frame(), view.candidates_frame()
    complete = frame[frame["state"] == TrialState.COMPLETE]
    schemes = candidates.groupby("trial")["quantization"].nunique()
    files = candidates["artifact_sha256"].dropna().unique()
    return {
        "workers": workers,
        "killed": num_killed,
        "trials": frame["state"].value_counts().to_dict(),
        "begun_again": int((frame["attempt"] > 1).sum()),
        "complete_without_all_candidates": int((schemes[complete["number"]] < schemes.max()).sum()),
        "files": len(files),
        "files_not_whole": sum(sha256(view.artifact(f)).hexdigest() != f for f in files),
    }


def main() -> None:
    """Takes one number of workers after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--latencies", action="store_true")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=0)
    words = parser.parse_args()
    rates: list[float] = []
    for workers in words.workers:
        with tempfile.TemporaryDirectory() as folder:
            if words.kills:
                fired = search_under_fire(workers, words.trials, words.kills, Path(folder))
                print(json.dumps(fired), flush=True)
                continue
            if words.free:
                print(json.dumps(search_freely(workers, words.minutes, Path(folder))), flush=True)
                continue
            if words.latencies:
                compared = compare_latencies(workers, words.trials, Path(folder))
                print(json.dumps(compared), flush=True)
                continue
            found = search(workers, words.trials, Path(folder))
            print(json.dumps(found), flush=True)
            rates.append(found["trials_a_minute"])
    if len(rates) > 1:
        print(json.dumps({"ratio": round(rates[-1] / rates[0], 2)}))


if __name__ == "__main__":
    main()
