"""What anyone gets without a search: three figures that it has to beat."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from autosearch.data.cache import ImageCache, load_prepared
from autosearch.evaluation.metrics import classification_metrics, wilson_interval
from autosearch.evaluation.pipeline import KerasEvaluator
from autosearch.space import CNN, Preprocessing, Quantization, SearchSpace, Training
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.preprocessing import PreprocessingConfig
from autosearch.study import Study
from autosearch.values import Budget, CandidateResult, EvaluatorTrial

__all__ = ["judge_logistic_regression", "judge_majority_class", "judge_plain_cnn"]

_MOST_PIXELS_ACROSS = 16
_MOST_IMAGES = 5_000
_MOST_PRODUCTS = 100_000_000
"""Of images, pixels and classes: what a regression may cost in one step, a few hundredths of a
second."""

_MOST_PIXELS_SEEN = 60_000_000
_SECONDS_FOR_THEM = 20.0
"""As many as 60,000 images of 32 × 32, which take 10 to 30 seconds on two cores."""

_SHARE_OF_TRAININGS = 0.1
_SHARE_OF_MINUTES = 0.03


def judge_majority_class(study: Study) -> CandidateResult:
    """Always the most frequent class of the training split, with the classes' shares."""
    num_classes = len(study.dataset.classes)
    learned, labels = (np.asarray(study.dataset.load(s)[1]) for s in ("train", "validation"))
    shares = np.bincount(learned, minlength=num_classes) / len(learned)
    return _result(labels, np.tile(shares, (len(labels), 1)), len(learned))


def judge_logistic_regression(study: Study) -> CandidateResult:
    """A linear classifier of the pixels, of images shrunk to 16 pixels across at most.

    It learns from 5,000 images at most, fewer with many classes, in 50 steps at most.
    """
    preprocessing = _preprocessing(study)
    cache = ImageCache()
    (images, labels), (others, truth) = (
        load_prepared(study.dataset, split, asdict(preprocessing), cache=cache)
        for split in ("train", "validation")
    )
    num_classes = len(study.dataset.classes)
    shrink = math.ceil(preprocessing.size / _MOST_PIXELS_ACROSS)
    num_pixels = (preprocessing.size // shrink) ** 2 * images.shape[-1]
    limit = max(min(_MOST_IMAGES, _MOST_PRODUCTS // (num_pixels * num_classes)), 10 * num_classes)
    chosen = np.sort(np.random.default_rng(0).permutation(len(images))[:limit])
    model = LogisticRegression(max_iter=50)
    with warnings.catch_warnings():
        # Fifty steps tell what pixels alone are worth; the last digit is not asked for.
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        model.fit(_pixels(images[chosen], shrink), labels[chosen])
    probabilities = np.zeros((len(truth), num_classes))
    for start in range(0, len(truth), 1000):
        seen = model.predict_proba(_pixels(others[start : start + 1000], shrink))
        probabilities[start : start + len(seen), model.classes_] = seen
    return _result(truth, probabilities, len(chosen))


def judge_plain_cnn(study: Study, trial: EvaluatorTrial) -> CandidateResult:
    """Three convolutions with pooling, trained briefly and measured as an int8 file.

    It sees 60 million pixels at most, no image more than ten times, and fewer where the budget is
    small: a tenth of the images that all trials will see, or what 3 % of the minutes give.

    Args:
        study: Says the data, and what the smallest input of its space is.
        trial: Stores the file, and is told of every epoch.
    """
    preprocessing = _preprocessing(study)
    num_images = len(study.dataset.members("train"))
    epochs_of_trial = study.space.training.epochs if study.space is not None else 1
    most_images = min(
        _MOST_PIXELS_SEEN // preprocessing.size**2,
        *_bounds_by_budget(study.budget, epochs_of_trial, num_images, preprocessing.size),
    )
    epochs = min(max(1, most_images // num_images), 10, epochs_of_trial)
    space = SearchSpace(
        preprocessing=Preprocessing(**asdict(preprocessing)),
        architecture=CNN(
            stages=3,
            width=16,
            width_growth=1.5,
            blocks_per_stage=1,
            kernel_size=3,
            block="plain",
            normalization="batch",
            activation="relu",
            pooling="max",
            head="average",
            attention="none",
            dropout=0.0,
        ),
        training=Training(
            epochs=epochs, optimizer="adam", learning_rate=5e-3, schedule="cosine", batch_size=64
        ),
        quantization=Quantization("int8"),
    )
    evaluator = KerasEvaluator(
        study.model_copy(update={"space": space, "constraints": (), "train_on": None}),
        max_images=max(most_images, 1),
        validates_on_all=True,
    )
    (candidate,) = evaluator.evaluate(trial)
    return candidate


def _bounds_by_budget(
    budget: Budget, epochs_of_trial: int, num_images: int, size: int
) -> Iterator[int]:
    """How many images a budget lets a plain network see, by each of its limits."""
    if budget.minutes is not None:
        seconds = _SHARE_OF_MINUTES * 60 * budget.minutes
        yield int(_MOST_PIXELS_SEEN * seconds / _SECONDS_FOR_THEM) // size**2
    if budget.trials is not None:
        yield int(_SHARE_OF_TRAININGS * budget.trials * epochs_of_trial * num_images)
    if budget.total_epochs is not None:
        yield int(_SHARE_OF_TRAININGS * budget.total_epochs * num_images)


def _preprocessing(study: Study) -> PreprocessingConfig:
    """The smallest input of the study's space, which the search prepares images for anyway."""
    space: Any = study.space
    config: PreprocessingConfig = space.preprocessing.sample(HyperParameters())
    return replace(config, size=space.least_size)


def _pixels(images: npt.NDArray[np.uint8], shrink: int) -> npt.NDArray[np.float32]:
    """Means of ``shrink`` × ``shrink`` pixels, from -0.5 to 0.5, one row an image."""
    count, across, _, channels = images.shape
    kept = across // shrink
    cut = images[:, : kept * shrink, : kept * shrink]
    blocks = cut.reshape(count, kept, shrink, kept, shrink, channels)
    means = blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1)
    pixels: npt.NDArray[np.float32] = means / np.float32(255) - np.float32(0.5)
    return pixels


def _result(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], num_learned: int
) -> CandidateResult:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(right, len(labels))
    return CandidateResult(
        metrics=dict(classification_metrics(labels, probabilities)),
        accuracy_low=low,
        accuracy_high=high,
        conditions={"num_validation_images": len(labels), "num_training_images": num_learned},
    )
