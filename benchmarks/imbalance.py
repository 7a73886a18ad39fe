"""What class weighting is worth: paired searches with it and without it, on unbalanced photos.

Usage: python benchmarks/imbalance.py FOLDER [--ratio 25] [--seeds 3] [--trials 8] [--epochs 20]

FOLDER has a sub-folder of photos for each class. Of the training split, and of it alone, each
class keeps fewer images than the one before, from the commonest on, down to 1 in ``ratio``, as in
Cui et al. (2019, section 5.1): validation and test stay large enough to tell a difference.
``--ratio 0`` takes the folder as it is.

For each seed two studies of the same budget search the same space on the same split, one of them
with class weighting as a part of the space. The best candidate of each by balanced accuracy on the
validation split is judged on the test split. One JSON line a seed, and one with the mean
difference, are printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from autosearch import Budget, SearchSpace, Study, maximize, run
from autosearch.data import SPLITS, Dataset, ImageFolder, Manifest, prepare_all
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.metrics import classification_metrics
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Quantization,
    Range,
    Training,
)

_METHODS = {
    "without": ["none"],
    "with": ["none", "balanced", "oversample", "logit_adjustment"],
}
_SIZE = 32


def main() -> None:
    """Runs two searches a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ratio", type=float, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    words = parser.parse_args()
    differences: dict[str, list[float]] = {"validation": [], "test": []}
    for seed in range(words.seeds):
        row: dict[str, object] = {"seed": seed}
        for arm in _METHODS:
            row |= {f"{arm}_{key}": value for key, value in _search(words, arm, seed).items()}
        for split, of in differences.items():
            of.append(float(row[f"with_{split}"]) - float(row[f"without_{split}"]))
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    summary = {
        f"{split}_{what}_points": round(100 * take(of), 2)
        for split, of in differences.items()
        for what, take in (("mean_gain", statistics.mean), ("least_gain", min))
    }
    sys.stdout.write(json.dumps({"searches": 2 * words.seeds, **summary}) + "\n")


def _unbalanced(folder: Path, ratio: float, seed: int, place: Path) -> Dataset:
    """The folder's own split, its training part thinned class by class."""
    dataset = ImageFolder(folder, split_seed=seed)
    if not ratio:
        return dataset
    rows = []
    for split in SPLITS:
        paths = dataset.members(split)
        labels = dataset.load(split)[1]
        counts = np.bincount(labels)
        by_rank = np.argsort(-counts)
        for rank, label in enumerate(by_rank):
            members = np.flatnonzero(labels == label)
            if split == "train":
                share = ratio ** (-rank / (len(counts) - 1))
                kept = min(len(members), max(1, round(counts.max() * share)))
                members = np.random.default_rng([seed, label]).permutation(members)[:kept]
            rows += [(folder / paths[i], dataset.classes[label], split) for i in members]
    with (place / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *rows])
    return Manifest(place / "photos.csv")


def _search(words: argparse.Namespace, arm: str, seed: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        return _search_in(Path(place), words, arm, seed)


def _search_in(place: Path, words: argparse.Namespace, arm: str, seed: int) -> dict[str, object]:
    dataset = _unbalanced(words.folder.absolute(), words.ratio, seed, place)
    study = Study(
        name=arm,
        dataset=dataset,
        space=SearchSpace(
            preprocessing=Preprocessing(size=_SIZE),
            architecture=CNN(
                stages=3, width=[8, 16], width_growth=2.0, kernel_size=3, activation="relu",
                block=["plain", "residual"], attention="none", head="average",
                dropout=(0.0, 0.3),
            ),
            augmentation=Augmentation(horizontal_flip=True, shift=0.1),
            weighting=ClassWeighting(method=_METHODS[arm]),
            training=Training(
                epochs=words.epochs, optimizer="adam", learning_rate=Range(2e-3, 1e-2, log=True),
                schedule="cosine", batch_size=32,
            ),
            quantization=Quantization("int8"),
        ),
        objectives=[maximize("balanced_accuracy")],
        budget=Budget(trials=words.trials),
        cross_validation=None,
    )  # fmt: skip
    view = run(study, storage=f"sqlite:///{place}/{arm}.db", seed=seed)
    best = view.front_frame().iloc[0]
    file = view.artifact(best["artifact_sha256"])
    config = view.candidate(best["candidate"])["config"]
    images, labels = dataset.load("test")
    pixels = prepare_all(images, size=_SIZE, color="rgb", resize="bilinear", fit="stretch")
    figures = classification_metrics(np.asarray(labels), TFLiteModel(file).predict(pixels))
    return {
        "validation": round(float(best["balanced_accuracy"]), 4),
        "test": round(figures["balanced_accuracy"], 4),
        "test_worst_class_recall": round(figures["worst_class_recall"], 4),
        "method": config["weighting/method"],
    }


if __name__ == "__main__":
    main()
