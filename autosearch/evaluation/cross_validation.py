"""A trial judged again: trained on all folds but one, and at last on everything.

A validation split on which many trials were compared flatters the best of them. Here each network
is judged on images that it has not seen and that chose nothing: not its configuration among
finalists of equal rank, and not its epoch, since the weights of the last one are kept.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

from autosearch.data.splits import fold_numbers
from autosearch.errors import ConversionError
from autosearch.evaluation.conversion import to_tflite
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.measurement import measure_candidates
from autosearch.evaluation.metrics import wilson_interval
from autosearch.evaluation.pipeline import (
    Arrays,
    KerasEvaluator,
    Plan,
    calibration_images,
    keras_file,
)
from autosearch.store.predictions import Predictions
from autosearch.values import CandidateResult, Estimate, EvaluatorTrial

if TYPE_CHECKING:
    from autosearch.data import Dataset

__all__ = ["judge_fold", "refit"]

_SPLITS = ("train", "validation")
_SHARES = ("accuracy", "balanced_accuracy")
"""Means, over images or classes, of what is right: the figures whose error follows a power law."""
_ERROR_EXPONENT = 0.309


def judge_fold(
    evaluator: KerasEvaluator,
    dataset: Dataset,
    trial: EvaluatorTrial,
    *,
    fold: int,
    num_folds: int,
    split_seed: int,
) -> dict[str, Predictions]:
    """Trains on every fold but one and predicts that one, with each scheme's own file.

    Args:
        evaluator: Of the study.
        dataset: Its images.
        trial: Samples the finalist's configuration.
        fold: From 0.
        num_folds: How many there are.
        split_seed: Draws the folds; the same for all finalists, so that they are compared on the
            same images.

    Returns:
        By scheme, its predictions of the fold; a scheme whose file cannot be made is left out.

    Raises:
        TrialError: It cannot be trained or converted.
    """
    try:
        plan = evaluator.plan(trial)
        images, labels = _everything(evaluator, plan)
        folds = fold_numbers(labels, dataset.clusters(_SPLITS), folds=num_folds, seed=split_seed)
        inside = folds == fold
        seen = images[~inside], labels[~inside]
        files = _fitted(evaluator, plan, trial, seen)
        return {
            scheme: Predictions(labels[inside], TFLiteModel(file).predict(images[inside]))
            for scheme, file in files.items()
            if not isinstance(file, ConversionError)
        }
    finally:
        _clear()


def refit(
    evaluator: KerasEvaluator,
    dataset: Dataset,
    trial: EvaluatorTrial,
    predictions: Mapping[str, Predictions],
    *,
    num_folds: int,
    split_seed: int,
) -> list[CandidateResult]:
    """Trains on the training and validation split together, and measures every file.

    Args:
        evaluator: Of the study.
        dataset: Its images.
        trial: Samples the finalist's configuration.
        predictions: By scheme, those of all folds, one after the other: the figures of accuracy
            are taken from them.
        num_folds: How many there were.
        split_seed: What they were drawn with.

    Raises:
        TrialError: It cannot be trained or converted.
    """
    try:
        plan = evaluator.plan(trial)
        everything = _everything(evaluator, plan)
        files = _fitted(evaluator, plan, trial, everything)
        folds = fold_numbers(
            everything[1], dataset.clusters(_SPLITS), folds=num_folds, seed=split_seed
        )
        keras_sha256 = trial.store_artifact(keras_file(plan.model))
        usable = {
            scheme: file if scheme in predictions else ConversionError(f"{scheme} failed in a fold")
            for scheme, file in files.items()
        }
        candidates = measure_candidates(
            plan,
            usable,
            predictions,
            _groups(dataset, np.argsort(folds, kind="stable")),
            trial,
            classes=dataset.classes,
            target=evaluator.target,
            estimate=Estimate.CROSS_VALIDATION,
            conditions={
                "num_folds": num_folds,
                "fitted_on": "training and validation split together",
                "interval": "Wilson, 90 %, widened for the final training",
            },
            keras_sha256=keras_sha256,
        )
        trial.describe(target=evaluator.described_target)
        return [_as_final(candidate, num_folds=num_folds) for candidate in candidates]
    finally:
        _clear()


def _of_final_network(shares: Mapping[str, float], num_folds: int) -> dict[str, float]:
    """Shares of right answers, as they are to be expected of the network that saw every image.

    Those of the folds missed one in k. An error falls as a power of the number of images; on
    ImageNet its exponent is -0.309 (Hestness et al. 2017, Deep Learning Scaling is Predictable,
    Empirically, arXiv:1712.00409, image classification, top-1).
    """
    left = ((num_folds - 1) / num_folds) ** _ERROR_EXPONENT
    return {name: 1 - (1 - share) * left for name, share in shares.items()}


def _interval(share: float, *, num_images: int, num_folds: int) -> tuple[float, float]:
    """Where the accuracy of the final network lies, nine times in ten.

    The figure is the mean over the folds' networks, the file is one more, trained anew. Nadeau and
    Bengio (2003), Inference for the Generalization Error, Machine Learning 52, 239-281, take the
    variance of such a mean as 1/k + (test images / training images) times that of a fold, where
    independent folds would have 1/k. With k folds that makes n images worth n (k - 1) / (2k - 1).

    The lower end is that of the folds' networks: that more images help is likely, and not certain.

    Args:
        share: Of the folds' images that their networks had right.
        num_images: In all folds.
        num_folds: How many.
    """
    effective = max(1, round(num_images * (num_folds - 1) / (2 * num_folds - 1)))
    final = _of_final_network({"accuracy": share}, num_folds)["accuracy"]
    low, _ = wilson_interval(share * effective, effective)
    _, high = wilson_interval(final * effective, effective)
    return low, high


def _as_final(candidate: CandidateResult, *, num_folds: int) -> CandidateResult:
    """The candidate with what is to be expected of its file, beside what the folds showed."""
    seen = {name: candidate.metrics.get(name) for name in _SHARES}
    of_folds = {name: share for name, share in seen.items() if share is not None}
    if "accuracy" not in of_folds:
        return candidate
    low, high = _interval(
        of_folds["accuracy"],
        num_images=candidate.conditions["num_validation_images"],
        num_folds=num_folds,
    )
    return dataclasses.replace(
        candidate,
        metrics={**candidate.metrics, **_of_final_network(of_folds, num_folds)},
        accuracy_low=low,
        accuracy_high=high,
        conditions={
            **candidate.conditions,
            **{f"{name}_of_folds": share for name, share in of_folds.items()},
        },
    )


def _groups(dataset: Dataset, order: npt.NDArray[np.int64]) -> dict[str, list[str]]:
    """Each group column with its values, in that order of the images of both splits."""
    of_split = [dataset.groups(split) for split in _SPLITS]
    joined = {column: [v for of in of_split for v in of[column]] for column in of_split[0]}
    return {column: [values[index] for index in order] for column, values in joined.items()}


def _everything(evaluator: KerasEvaluator, plan: Plan) -> Arrays:
    parts = [evaluator.arrays(split, plan) for split in _SPLITS]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _fitted(
    evaluator: KerasEvaluator, plan: Plan, trial: EvaluatorTrial, seen: Arrays
) -> dict[str, bytes | ConversionError]:
    images, labels = seen
    # Every epoch is looked at for outputs that are not finite, on images that it learns from.
    few = slice(0, len(calibration_images(images)))
    evaluator.fit(
        plan,
        trial,
        train_arrays=seen,
        validation=(images[few], labels[few]),
        best_by="last",
    )
    return evaluator.quantize(plan, to_tflite(plan.model), images)


def _clear() -> None:
    keras.backend.clear_session()
    gc.collect()
