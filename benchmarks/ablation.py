"""What each lever of the search is worth: Fashion-MNIST with one of them changed in turn.

Usage: python benchmarks/ablation.py [--minutes 5] [--seeds 0 1 2] [--workers 2] [--folder FOLDER]
           [--arms all no_cost_check no_training_on no_pareto pruning]

Each arm runs the study of ``fashion.py`` for the same minutes, with three schemes in place of one
and a space so wide that most of its networks take longer than that:

* ``all``: every lever that is on by default.
* ``no_cost_check``: without the bounds that stop a network before it is trained; what breaks them
  lies outside the box and counts for nothing.
* ``no_training_on``: every trial is trained for the full number of epochs, unless it is pruned by
  its rank among those that trained as long, as is the default then.
* ``no_pareto``: Optuna's TPE samples in place of "pareto", so there are no first guesses either,
  and nobody asks what a trial's time is worth.
* ``pruning``: trials are pruned by their rank besides being trained on.

A fifth row, ``no_siblings``, is the files of ``all`` in the scheme that each trial had sampled.
The files are judged on the test split in the same box as in ``fashion.py``. One JSON line an arm
and seed, then one an arm with the median hypervolume and its ratio to that of ``all`` on the same
seeds. ``--folder`` keeps what was found: arms and seeds that are in it are not run again, so that
the benchmark can be cut off and gone on with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import fashion

from autosearch import ParetoPruner, SearchSpace, Study
from autosearch.space import CNN, Quantization

_CHANGED: dict[str, dict[str, Any]] = {
    "all": {},
    "no_cost_check": {"constraints": ()},
    "no_training_on": {"train_on": None},
    "no_pareto": {"sampler": "tpe"},
    "pruning": {"pruner": ParetoPruner()},
}
_SCHEMES = ("int8", "dynamic_int8", "float16")
_WIDER = {"width": [4, 8, 16, 24, 32], "kernel_size": [3, 5]}
_EPOCHS = 20


def main() -> None:
    """Runs the arms of each seed one after the other, then judges their files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--arms", nargs="+", choices=_CHANGED, default=list(_CHANGED))
    parser.add_argument("--arm", choices=_CHANGED, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.arm is not None:
        fashion.search(study_of(words.arm), words, fashion.Files(words.folder, words.minutes))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (words.folder or Path(scratch)).absolute()
        for seed in words.seeds:
            for arm in words.arms:
                fashion.run_arm(__file__, arm, folder / f"{arm}-{seed}", words, seed=seed)
        _judge(words, folder)


def study_of(arm: str) -> Study:
    """The study of ``fashion.py`` in a wider space, with one lever changed."""
    space = fashion.study.space
    assert space is not None
    space = SearchSpace(
        preprocessing=space.preprocessing,
        architecture=CNN(**{**dict(space.architecture), **_WIDER}),
        training=space.training.model_copy(update={"epochs": _EPOCHS}),
        quantization=Quantization(*_SCHEMES),
    )
    return fashion.study.model_copy(update={"space": space, **_CHANGED[arm]})


def _judge(words: argparse.Namespace, folder: Path) -> None:
    volumes: dict[str, list[float]] = {}
    places = [f"{arm}-{seed}" for seed in words.seeds for arm in words.arms]
    judged = fashion.judged({place: folder / place for place in places})
    for seed in words.seeds:
        for arm in words.arms:
            figures = judged[f"{arm}-{seed}"]
            rows = {arm: figures}
            if arm == "all":
                rows["no_siblings"] = [f for f in figures if f["label"].endswith(" sampled")]
            for name, of in rows.items():
                line = fashion.summary(of, words.minutes)
                volumes.setdefault(name, []).append(line["hypervolume"])
                print(json.dumps({"arm": name, "seed": seed, **line}), flush=True)
    for name, reached in volumes.items():
        row: dict[str, Any] = {"arm": name, "median_hypervolume": statistics.median(reached)}
        if "all" in volumes:
            ratios = [a / b for a, b in zip(reached, volumes["all"], strict=True) if b]
            row["median_ratio_to_all"] = round(statistics.median(ratios), 3) if ratios else None
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
