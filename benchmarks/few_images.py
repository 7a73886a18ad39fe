"""Whether the figure shown for a pick holds on images that nobody has seen, when images are few.

Usage: python benchmarks/few_images.py FOLDER [--images 800] [--seeds 10] [--trials 12]

FOLDER has a sub-folder of photos for each class. For each seed some of the photos, drawn by class,
are searched on; what is suggested, and what a plain search would pick (the highest validation
figure), are then judged on all the others. One JSON line a seed, and one with medians, are
printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from autosearch import Budget, SearchSpace, Study, maximize, minimize, run
from autosearch.data import ImageFolder, prepare_all
from autosearch.data.photos import Photos
from autosearch.evaluation.litert import TFLiteModel
from autosearch.space import CNN, Augmentation, Preprocessing, Quantization, Range, Training
from autosearch.suggestion import suggest


def main() -> None:
    """Runs one search a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=15)
    words = parser.parse_args()
    rows = []
    for seed in range(words.seeds):
        with tempfile.TemporaryDirectory() as place:
            row = _one_search(words, seed, Path(place))
        rows.append(row)
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    summary = {"searches": len(rows)}
    for kind in ("plain", "suggested"):
        errors = [row[f"{kind}_shown"] - row[f"{kind}_true"] for row in rows]
        covered = [row[f"{kind}_covers"] for row in rows]
        summary |= {
            f"{kind}_median_error_points": round(100 * statistics.median(errors), 2),
            f"{kind}_median_distance_points": round(100 * statistics.median(map(abs, errors)), 2),
            f"{kind}_coverage": sum(covered) / len(covered),
            f"{kind}_median_true": statistics.median(row[f"{kind}_true"] for row in rows),
        }
    sys.stdout.write(json.dumps(summary) + "\n")


def _one_search(words: argparse.Namespace, seed: int, place: Path) -> dict[str, float]:
    others = _divide(words.folder, place / "photos", words.images, seed)
    study = Study(
        name="few",
        dataset=ImageFolder(place / "photos", split_seed=seed),
        space=SearchSpace(
            preprocessing=Preprocessing(size=32),
            architecture=CNN(
                stages=(2, 3), width=[8, 16], width_growth=2.0, kernel_size=3,
                block=["plain", "separable", "residual"], activation="relu", attention="none",
            ),
            augmentation=Augmentation(horizontal_flip=[False, True], shift=[0.0, 0.1]),
            training=Training(
                epochs=words.epochs, optimizer="adam", learning_rate=Range(1e-3, 1e-2, log=True),
                schedule="cosine", batch_size=32,
            ),
            quantization=Quantization("float32", "int8"),
        ),
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        budget=Budget(trials=words.trials),
    )  # fmt: skip
    view = run(study, storage=f"sqlite:///{place}/few.db", seed=seed)
    frame = view.candidates_frame().set_index("candidate")
    plain = view.front_frame().iloc[0]["candidate"]
    suggestion = suggest(view)
    if suggestion is None:
        raise SystemExit("the study suggests nothing")
    row: dict[str, float] = {"seed": seed}
    for kind, name in (("plain", plain), ("suggested", suggestion.candidate)):
        shown = frame.loc[name]
        true = _accuracy(view.artifact(shown["artifact_sha256"]), study, others)
        row |= {
            f"{kind}_shown": round(float(shown["accuracy"]), 4),
            f"{kind}_true": round(true, 4),
            f"{kind}_covers": bool(shown["accuracy_low"] <= true <= shown["accuracy_high"]),
        }
        row[f"{kind}_size_bytes"] = int(shown["size_bytes"])
    return row


def _divide(folder: Path, place: Path, num_images: int, seed: int) -> list[tuple[Path, str]]:
    """Links as many photos into a folder of their own, by class, and answers all the others."""
    rng = np.random.default_rng(seed)
    by_class = {d.name: sorted(d.iterdir()) for d in sorted(folder.iterdir()) if d.is_dir()}
    total = sum(map(len, by_class.values()))
    others = []
    for name, paths in by_class.items():
        (place / name).mkdir(parents=True)
        shuffled = [paths[i] for i in rng.permutation(len(paths))]
        count = round(len(paths) * num_images / total)
        for path in shuffled[:count]:
            (place / name / path.name).symlink_to(path.absolute())
        others += [(path, name) for path in shuffled[count:]]
    return others


def _accuracy(file: bytes, study: Study, others: list[tuple[Path, str]]) -> float:
    images = prepare_all(
        Photos([path for path, _ in others]), size=32, color="rgb", resize="bilinear",
        fit="stretch",
    )  # fmt: skip
    labels = np.array([study.dataset.classes.index(name) for _, name in others])
    return float(np.mean(TFLiteModel(file).predict(images).argmax(axis=1) == labels))


if __name__ == "__main__":
    main()
