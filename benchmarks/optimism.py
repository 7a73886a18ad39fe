"""How far the best validation figure flatters, by the number of validation images.

Usage: python benchmarks/optimism.py STUDY --storage URL [--draws 2000]

STUDY was searched with many validation images, thousands of them: the predictions of its
candidates are stored, so nothing is trained here. Again and again n of these images are drawn, by
class, the candidate with the best accuracy on them is picked, and that figure is compared with the
same candidate's accuracy on the images that were not drawn. One JSON line a number of images is
printed. ``CrossValidation(below=...)`` rests on it.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import numpy.typing as npt

from autosearch import open_study
from autosearch.evaluation.metrics import wilson_interval
from autosearch.store.predictions import Predictions
from autosearch.values import Estimate

_NUM_IMAGES = (50, 100, 200, 400, 700, 1000, 1500, 2000, 3000)


def main() -> None:
    """Draws from the stored predictions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--storage", required=True)
    parser.add_argument("--draws", type=int, default=2000)
    words = parser.parse_args()
    right, labels = _right(words.study, words.storage)
    rng = np.random.default_rng(0)
    for num_images in _NUM_IMAGES:
        if num_images > len(labels) / 2:
            break
        errors, covered = [], []
        for _ in range(words.draws):
            drawn = _by_class(labels, num_images, rng)
            shown = right[:, drawn].mean(axis=1)
            best = int(shown.argmax())
            true = right[best, ~drawn].mean()
            low, high = wilson_interval(int(right[best, drawn].sum()), int(drawn.sum()))
            errors.append(shown[best] - true)
            covered.append(low <= true <= high)
        row = {
            "validation_images": num_images,
            "candidates": len(right),
            "mean_error_points": round(100 * float(np.mean(errors)), 2),
            "median_distance_points": round(100 * float(np.median(np.abs(errors))), 2),
            "coverage": round(float(np.mean(covered)), 3),
        }
        sys.stdout.write(json.dumps(row) + "\n")


def _right(name: str, storage: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(candidates, images) whether each is right, and the labels (images,)."""
    view = open_study(name, storage=storage)
    frame = view.candidates_frame()
    frame = frame[(frame["estimate"] == Estimate.VALIDATION) & frame["predictions_sha256"].notna()]
    # Schemes of one network agree on nearly every image: one a trial is what is chosen among.
    frame = frame.drop_duplicates("trial")
    all_of = [Predictions.from_bytes(view.artifact(sha)) for sha in frame["predictions_sha256"]]
    return np.stack([one.right for one in all_of]), all_of[0].labels


def _by_class(
    labels: npt.NDArray[np.int64], num_images: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """(images,) which are drawn: of each class its share."""
    drawn = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(num_images * len(members) / len(labels))
        drawn[rng.choice(members, size=count, replace=False)] = True
    return drawn


if __name__ == "__main__":
    main()
