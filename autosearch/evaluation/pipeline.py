"""One trial from sample to candidates: build, cost check, train, convert, quantize, measure.

Nothing is trained whose size, memory, latency or arithmetic breaks a constraint: none of these
depends on the weights. What is trained once is quantized every way that the space names, and
every file is measured as it would ship.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from autosearch.data.cache import ImageCache, load_prepared, some_rows
from autosearch.data.pipeline import training_batches
from autosearch.errors import ConversionError, DefinitionError
from autosearch.evaluation.arena import measure_arena, why_no_arena
from autosearch.evaluation.conversion import random_weights, to_tflite
from autosearch.evaluation.cost import estimate_size_bytes
from autosearch.evaluation.groups import WORST_GROUP, Groups
from autosearch.evaluation.identity import training_identity
from autosearch.evaluation.latency import host_target, measure_latency, times_at_rest
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.losses import loss_terms
from autosearch.evaluation.measurement import measure_candidates
from autosearch.evaluation.metrics import CLASSIFICATION_METRICS, classification_metrics
from autosearch.evaluation.plan import Plan, make_plan
from autosearch.evaluation.quantization import quantize_all
from autosearch.evaluation.training import BestBy, EpochResult, train, wants_one_hot
from autosearch.models.user import fit_takes, overrides_fit
from autosearch.space.preprocessing import PreprocessingConfig
from autosearch.space.quantization import MIXED
from autosearch.space.weighting import oversampled
from autosearch.store.predictions import Predictions
from autosearch.study import Study
from autosearch.values import (
    CandidateResult,
    Constraint,
    EvaluatorTrial,
    NoPruner,
    ParetoPruner,
    keeps,
)

__all__ = ["Arrays", "KerasEvaluator", "Plan", "calibration_images", "keras_file"]

_NUM_CALIBRATION_IMAGES = 200
_OF_EVERY_EPOCH = {"accuracy", "balanced_accuracy"}
_BALANCED = {"balanced_accuracy", "macro_f1", "worst_class_recall"}
_CALIBRATED = {"log_loss", "expected_calibration_error"}
_TIMES = ("latency_ms", "latency_p90_ms")
_FROM_FILE = ("size_bytes", "memory_bytes", *_TIMES)

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Arrays = tuple[Pixels, Labels]


class KerasEvaluator:
    """Trains what a trial samples, and measures every file that comes of it.

    Args:
        study: Has a dataset and a space.
        max_epochs: Train no longer than that, whatever the space says.
        max_images: Use no more images of a split than that.
        validates_on_all: Judge on the whole validation split all the same.

    Attributes:
        target: Where the files will run.
        described_target: What latency and memory hold for, as a trial's record keeps it.
    """

    def __init__(
        self,
        study: Study,
        *,
        max_epochs: int | None = None,
        max_images: int | None = None,
        validates_on_all: bool = False,
    ) -> None:
        if study.space is None or study.dataset is None:
            raise DefinitionError(f'study "{study.name}" has no dataset and space to train on')
        self._space = study.space
        self._dataset = study.dataset
        self._constraints: tuple[Constraint, ...] = study.constraints
        metrics = {objective.metric for objective in study.objectives}
        rewards_balance = bool(metrics & _BALANCED) and "accuracy" not in metrics
        # What the study does not ask for must not decide which epoch's weights it gets.
        self._best_by: BestBy = "balanced_accuracy" if rewards_balance else "accuracy"
        if metrics & _CALIBRATED and not metrics & {*_BALANCED, "accuracy"}:
            self._best_by = "validation_loss"
        self._metrics = metrics
        # A trial is compared by all objectives while it trains.
        self._is_compared = isinstance(study.chosen_pruner, ParetoPruner)
        self._prunes = not isinstance(study.chosen_pruner, NoPruner)
        self._max_epochs = max_epochs
        self._first_epochs = study.train_on.first_epochs if study.train_on is not None else None
        self._max_images = {
            "train": max_images,
            "validation": None if validates_on_all else max_images,
        }
        self._cache = ImageCache()
        self._split = lru_cache(maxsize=4)(self._load_split)
        self.target = study.target
        self.described_target = host_target()
        if self.target.is_microcontroller:
            self.described_target = self.target.description()
        constrained = {constraint.metric for constraint in self._constraints}
        missing = why_no_arena()
        needs_arena = self.target.is_microcontroller or "memory_bytes" in metrics | constrained
        if missing is not None and needs_arena:
            raise DefinitionError(
                f'study "{study.name}" asks for memory_bytes, as every microcontroller does, which '
                f"is measured with TensorFlow Lite Micro: {missing} Search on Linux x86-64, or "
                'without it and with Target("host")'
            )
        if WORST_GROUP in metrics | constrained:
            reason = Groups(self._dataset.groups("validation")).reason
            if reason is not None:
                raise DefinitionError(
                    f'study "{study.name}" asks for {WORST_GROUP}, which its validation split '
                    f"does not give: {reason}; ask for another metric, or give it larger groups"
                )

    def evaluate(self, trial: EvaluatorTrial) -> list[CandidateResult]:
        """Evaluates one trial, stage by stage.

        Returns:
            One candidate for each quantization scheme of the space, the sampled one first.

        Raises:
            TrialError: The trial failed.
            DefinitionError: The space is at fault.
        """
        try:
            with trial.stage("build"):
                plan = self.plan(trial)
                # What a user's fit samples is known only once it is called.
                is_known = not overrides_fit(plan.architecture)
                epochs = self._num_epochs(plan, trial)
                identity = training_identity(plan, epochs=epochs) if is_known else None
            if identity is not None and trial.continues is None:
                # Ends here if an earlier trial has trained the same.
                trial.identify(identity, quantization=plan.quantization)
            with trial.stage("cost"):
                # Ends here if no scheme keeps the constraints.
                trial.check_costs(self.costs(plan, seed=trial.seed))
            if trial.continues is not None:
                with trial.stage("load"):
                    _take_weights(plan.model, trial.load_artifact(trial.continues.keras_sha256))
            with trial.stage("train"):
                self.fit(
                    plan,
                    trial,
                    train_arrays=self.arrays("train", plan),
                    validation=self.arrays("validation", plan),
                    best_by=self._best_by,
                )
            with trial.stage("convert"):
                float_file = to_tflite(plan.model)
                trial.describe(keras_sha256=trial.store_artifact(keras_file(plan.model)))
            with trial.stage("quantize"):
                files = self.quantize(plan, float_file)
            with trial.stage("measure"):
                trial.describe(target=self.described_target, classes=list(self._dataset.classes))
                return self._measure(plan, files, trial)
        finally:
            # Every graph that Keras keeps is memory that the next trial lacks.
            keras.backend.clear_session()
            gc.collect()

    def plan(self, trial: EvaluatorTrial) -> Plan:
        """Samples a configuration and builds its network."""
        return make_plan(
            self._space,
            trial,
            num_classes=len(self._dataset.classes),
            count_images=lambda preprocessing: len(self._split("train", preprocessing)[1]),
        )

    def schemes(self, plan: Plan) -> list[str]:
        """The quantization schemes of the space, the sampled one first."""
        others = [scheme for scheme in self._space.quantization.schemes
                  if scheme != plan.quantization]  # fmt: skip
        return [plan.quantization, *others]

    def untrained_files(self, plan: Plan, *, seed: int) -> dict[str, bytes]:
        """The files of the untrained network, by scheme.

        One that cannot be made, or that the target's runtime cannot run, is left out.

        The weights are random, so that every file has the size of the trained one. That of
        ``mixed`` depends on the weights after all: it is the smallest that it can become.
        """
        weights = random_weights(plan.model, seed)
        file = to_tflite(plan.model, weights=weights, image_shape=plan.preprocessing.input_shape)
        schemes = [scheme for scheme in self.schemes(plan) if self.target.why_not(scheme) is None]
        calibration = self._calibration(plan.preprocessing)
        files = quantize_all(file, schemes, calibration, is_trained=False)
        return {s: f for s, f in files.items() if not isinstance(f, ConversionError)}

    def costs(
        self, plan: Plan, *, seed: int, files: Mapping[str, bytes] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """For each scheme, whichever figures the constraints name, without training.

        Of the sampled scheme also those that are objectives, if trials are compared by them.

        In order of price: arithmetic from the graph, a lower bound of the size from the weights,
        and only if neither settles it the untrained network's files. Of ``mixed`` the figures
        are the best that it can have.

        Args:
            plan: What was sampled.
            seed: Of the random weights of the untrained network.
            files: The untrained files, if they are at hand.
        """
        constrained = {constraint.metric for constraint in self._constraints}
        named = constrained | self._metrics if self._is_compared else constrained
        analytic: dict[str, float | None] = {}
        if "parameters" in named:
            analytic["parameters"] = plan.parameters
        if "macs" in named:
            analytic["macs"] = plan.macs
        schemes = self.schemes(plan)
        costs = {scheme: dict(analytic) for scheme in schemes}
        if not named.intersection(_FROM_FILE):
            return costs
        for scheme in schemes:
            if self.target.why_not(scheme) is not None:
                costs[scheme]["memory_bytes"] = None
            if "size_bytes" in named:
                costs[scheme]["size_bytes"] = estimate_size_bytes(plan.model, scheme)
        if not any(keeps(self._constraints, cost) for cost in costs.values()):
            return costs
        usable = files if files is not None else self.untrained_files(plan, seed=seed)
        for scheme in schemes:
            costs[scheme]["size_bytes"] = len(usable[scheme]) if scheme in usable else None
        if "memory_bytes" in named:
            for scheme in schemes if "memory_bytes" in constrained else schemes[:1]:
                arena = measure_arena(usable[scheme]) if scheme in usable else None
                costs[scheme]["memory_bytes"] = arena.memory_bytes if arena is not None else None
        if named.intersection(_TIMES):
            timed = schemes if constrained.intersection(_TIMES) else schemes[:1]
            latencies = measure_latency({s: usable[s] for s in timed if s in usable})
            for scheme in timed:
                costs[scheme] |= times_at_rest(latencies.get(scheme))
        if MIXED in usable:
            # It lies between the two: fewer bytes, but more time and memory, to unpack them.
            costs[MIXED] = _least(costs[MIXED], costs["int8"])
        return costs

    def arrays(self, split: str, plan: Plan) -> Arrays:
        """The images of a split as the network takes them, and their labels."""
        return self._split(split, plan.preprocessing)

    def fit(
        self,
        plan: Plan,
        trial: EvaluatorTrial,
        *,
        train_arrays: Arrays,
        validation: Arrays,
        best_by: BestBy,
    ) -> None:
        """Trains the network of a plan.

        Args:
            plan: What was sampled.
            trial: Is told of every epoch.
            train_arrays: uint8 images (n, h, w, c) and labels (n,) to learn from.
            validation: The same to judge every epoch on.
            best_by: Which epoch's weights are kept.
        """
        images, labels = train_arrays
        config = plan.training
        going_on = trial.continues
        config = replace(config, epochs=self._num_epochs(plan, trial))
        epochs_before = 0 if going_on is None else going_on.epochs_before
        num_classes = len(self._dataset.classes)
        terms = loss_terms(plan.weighting, np.bincount(labels, minlength=num_classes))
        if plan.is_compiled and terms.needs_our_loss:
            raise DefinitionError(
                f'the model of "{plan.architecture_name}" is compiled with a loss of its own, '
                f'which "{plan.weighting.method}" would replace; leave that out of '
                "ClassWeighting(method=...) or compile no model in build(hp)"
            )
        fits_itself = overrides_fit(plan.architecture)
        is_given_weights = fits_itself and plan.is_compiled and terms.class_weights is not None
        if is_given_weights and not fit_takes(plan.architecture, "class_weight"):
            raise DefinitionError(
                f'fit of "{plan.architecture_name}" does not take class_weight, by which '
                f'"{plan.weighting.method}" weighs the classes of a compiled model; add **kwargs '
                "to its arguments and to those of its model.fit(...), or leave that out of "
                "ClassWeighting(method=...)"
            )
        order = oversampled(plan.weighting, labels, seed=trial.seed)
        rows = order if len(order) > len(labels) else None
        one_hot = wants_one_hot(plan.model, config, user_compiled=plan.is_compiled, terms=terms)
        if plan.augmentation.mixes_labels and not plan.is_compiled:
            one_hot = True
        batches = training_batches(
            images,
            labels,
            num_classes=num_classes,
            batch_size=config.batch_size,
            seed=trial.seed,
            augmentation=plan.augmentation.steps,
            one_hot=one_hot,
            rows=rows,
        )
        given = None
        if fits_itself and plan.augmentation.is_none:
            # A user's own fit is given arrays, and with them copies of what comes several times.
            given = (images, labels) if rows is None else (images[rows], labels[rows])

        def on_epoch(epoch: EpochResult) -> None:
            figures = asdict(epoch)
            further, planned = figures.pop("further"), figures.pop("planned_epochs")
            number = figures.pop("epoch")
            if fits_itself and planned is not None:
                # A user's fit may say by itself how long it trains, and train in several turns.
                trial.describe(num_epochs=max(planned, number))
            trial.report(epochs_before + number, **figures, **further)

        trial.describe(num_epochs=config.epochs)
        if going_on is not None:
            origin = {"trial": going_on.trial, "epochs_before": epochs_before}
            trial.describe(continues=origin)

        def users_fit(model: Any, **words: Any) -> Any:
            return plan.architecture.fit(plan.hp, model, **words)

        trained = train(
            plan.model,
            batches,
            validation,
            config=config,
            steps_per_epoch=-(-len(order) // config.batch_size),
            on_epoch=on_epoch,
            on_steps=trial.check_time,
            further=self._further_figures if self._prunes else None,
            seed=trial.seed,
            terms=terms,
            one_hot=one_hot,
            best_by=best_by,
            fit=users_fit if fits_itself else None,
            user_compiled=plan.is_compiled,
            train_arrays=given,
            fine_tuning=plan.fine_tuning,
        )
        if fits_itself:
            trial.describe(num_epochs=len(trained.epochs))

    def _num_epochs(self, plan: Plan, trial: EvaluatorTrial) -> int:
        length = self._first_epochs if trial.num_epochs is None else trial.num_epochs
        limits = [n for n in (plan.training.epochs, self._max_epochs, length) if n is not None]
        return min(limits)

    def _further_figures(
        self, labels: Labels, probabilities: npt.NDArray[np.floating]
    ) -> dict[str, float]:
        """The objectives of quality that no epoch has by itself, but for groups."""
        wanted = self._metrics.intersection(CLASSIFICATION_METRICS) - _OF_EVERY_EPOCH
        figures = classification_metrics(labels, probabilities) if wanted else {}
        return {metric: figures[metric] for metric in wanted}

    def quantize(
        self, plan: Plan, float_file: bytes, train_images: Pixels | None = None
    ) -> dict[str, bytes | ConversionError]:
        """The file of a trained network, by scheme, or why it cannot be made.

        Args:
            plan: What was sampled.
            float_file: The network in float32.
            train_images: What it learned from, to calibrate on; by default the training split.

        Raises:
            ConversionError: None can be made.
        """
        calibration = (
            self._calibration(plan.preprocessing)
            if train_images is None
            else calibration_images(train_images)
        )
        files = quantize_all(float_file, self.schemes(plan), calibration)
        failures = [file for file in files.values() if isinstance(file, ConversionError)]
        if len(failures) == len(files):
            raise failures[0]
        return files

    def _measure(
        self, plan: Plan, files: Mapping[str, bytes | ConversionError], trial: EvaluatorTrial
    ) -> list[CandidateResult]:
        images, labels = self._split("validation", plan.preprocessing)
        predictions = {
            scheme: Predictions(labels, TFLiteModel(file).predict(images))
            for scheme, file in files.items()
            if not isinstance(file, ConversionError)
        }
        columns = self._dataset.groups("validation").items()
        # Of the same rows as the images.
        groups = {
            column: [values[row] for row in some_rows(len(values), self._max_images["validation"])]
            for column, values in columns
        }
        return measure_candidates(
            plan,
            files,
            predictions,
            groups,
            trial,
            classes=self._dataset.classes,
            target=self.target,
        )

    def _load_split(self, split: str, preprocessing: PreprocessingConfig) -> tuple[Pixels, Labels]:
        """A search reads the training and the validation split, and never the test split."""
        return load_prepared(
            self._dataset,
            split,
            asdict(preprocessing),
            cache=self._cache,
            max_images=self._max_images[split],
        )

    def _calibration(self, preprocessing: PreprocessingConfig) -> Pixels:
        return calibration_images(self._split("train", preprocessing)[0])


def _least(
    one: Mapping[str, float | None], other: Mapping[str, float | None]
) -> dict[str, float | None]:
    """The smaller of each figure of ``one`` and the same of ``other``, if both are known."""
    pairs = {name: (value, other.get(name)) for name, value in one.items()}
    known = {name: [v for v in pair if v is not None] for name, pair in pairs.items()}
    return {name: min(values, default=None) for name, values in known.items()}


def calibration_images(images: Pixels) -> Pixels:
    """Some of the images that a network learned from, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(images))[:_NUM_CALIBRATION_IMAGES]
    return images[np.sort(chosen)]


def _take_weights(model: Any, file: bytes) -> None:
    """Gives a network the weights of a ``.keras`` file that ``keras_file`` made of one like it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(file)
        keras.Model(model.inputs, model.outputs, name=model.name).load_weights(path)


def keras_file(model: Any) -> bytes:
    """The ``.keras`` file of the network alone: no optimizer and no loss, so no foreign class."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        keras.Model(model.inputs, model.outputs, name=model.name).save(path)
        return path.read_bytes()
