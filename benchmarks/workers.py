"""What workers beside each other gain: trials a minute of several over those of one.

Each number of workers searches the digits for the same number of trials in a database of its own;
the configurations are drawn at random, from the same seed, and so are alike. The time runs from
the end of the first trial to that of the last, without the seconds that loading TensorFlow takes.
Prints a JSON line each and then the ratio:

    python benchmarks/workers.py --trials 24 --workers 1 2

``--free`` takes a function that costs nothing in place of training, and looks for what must not
happen: a trial evaluated twice, a number missing, a trial that failed, as of a locked database.

    python benchmarks/workers.py --free --workers 8 --minutes 1
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Training
from autosearch.values import TrialState

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


def digits(trials: int) -> Study:
    """The study that is searched by one worker and by several."""
    return Study(
        name="digits",
        dataset=Digits(),
        space=SearchSpace(
            architecture=CNN(stages=[1, 3], width=[4, 32], width_growth=2.0),
            training=Training(epochs=12),
        ),
        objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
        budget=Budget(trials=trials),
        sampler="random",
    )


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


def main() -> None:
    """Takes one number of workers after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--minutes", type=float, default=1.0)
    words = parser.parse_args()
    rates: list[float] = []
    for workers in words.workers:
        with tempfile.TemporaryDirectory() as folder:
            if words.free:
                print(json.dumps(search_freely(workers, words.minutes, Path(folder))), flush=True)
                continue
            found = search(workers, words.trials, Path(folder))
            print(json.dumps(found), flush=True)
            rates.append(found["trials_a_minute"])
    if len(rates) > 1:
        print(json.dumps({"ratio": round(rates[-1] / rates[0], 2)}))


if __name__ == "__main__":
    main()
