"""One trial from sample to candidates: build, cost check, train, convert, quantize, measure.

Nothing is trained whose size, memory, latency or arithmetic breaks a constraint: none of these
depends on the weights. What is trained once is quantized every way that the space names, and
every file is measured as it would ship.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from autosearch.data.cache import ImageCache, load_prepared
from autosearch.data.pipeline import training_batches
from autosearch.errors import ConversionError, DefinitionError
from autosearch.evaluation.arena import measure_arena
from autosearch.evaluation.conversion import random_weights, to_tflite
from autosearch.evaluation.cost import count_macs, count_parameters, estimate_size_bytes
from autosearch.evaluation.groups import WORST_GROUP, group_figures, why_no_worst_group
from autosearch.evaluation.latency import host_target, measure_latency
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.losses import loss_terms
from autosearch.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    class_figures,
    classification_metrics,
    wilson_interval,
)
from autosearch.evaluation.quantization import is_fully_integer, quantize_all
from autosearch.evaluation.training import BestBy, EpochResult, train, wants_one_hot
from autosearch.models.cnn import batch_norm_momentum, build_cnn
from autosearch.models.pretrained import FineTuning, build_pretrained
from autosearch.models.user import build_user_model, overrides_fit
from autosearch.space.architecture import CNN, CNNConfig, architecture_scope, choose_architecture
from autosearch.space.augmentation import AugmentationConfig
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.preprocessing import PreprocessingConfig
from autosearch.space.pretrained import Pretrained
from autosearch.space.training import TrainingConfig
from autosearch.space.weighting import ClassWeightingConfig, oversampled
from autosearch.store.predictions import Predictions
from autosearch.study import Study
from autosearch.values import (
    CandidateResult,
    Constraint,
    Estimate,
    EvaluatorTrial,
    ParetoPruner,
)

__all__ = ["Arrays", "KerasEvaluator", "Plan", "calibration_images", "keras_file", "significant"]

_NUM_CALIBRATION_IMAGES = 200
_MAX_CLASSES_IN_CONDITIONS = 50  # a confusion matrix grows with the square
_OF_EVERY_EPOCH = {"accuracy", "balanced_accuracy"}
_BALANCED = {"balanced_accuracy", "macro_f1", "worst_class_recall"}
_ANALYTIC = ("parameters", "macs")
_TIMES = ("latency_ms", "latency_p90_ms")
_FROM_FILE = ("size_bytes", "memory_bytes", *_TIMES)

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Arrays = tuple[Pixels, Labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sampled configuration with its network, not yet trained.

    Attributes:
        model: The network, from raw pixels to probabilities.
        architecture: What built it.
        architecture_name: Its name within the space.
        is_compiled: Whether the user's ``build`` compiled it, and so decides how it is trained.
        preprocessing: What turns an image into its input.
        augmentation: How training images are varied.
        weighting: How classes are weighted.
        training: How it is trained.
        quantization: The scheme that was sampled.
        hp: What it was sampled with.
        fine_tuning: What of the network was trained before; None if nothing was.
    """

    model: Any
    architecture: Any
    architecture_name: str
    is_compiled: bool
    preprocessing: PreprocessingConfig
    augmentation: AugmentationConfig
    weighting: ClassWeightingConfig
    training: TrainingConfig
    quantization: str
    hp: HyperParameters
    fine_tuning: FineTuning | None = None


def _wilson(seen: Predictions) -> tuple[float, float]:
    return wilson_interval(int(seen.right.sum()), len(seen.labels))


class KerasEvaluator:
    """Trains what a trial samples, and measures every file that comes of it.

    Args:
        study: Has a dataset and a space.
        max_epochs: Train no longer than that, whatever the space says.
        max_images: Use no more images of a split than that.

    Attributes:
        target: Where latency and memory are taken.
    """

    def __init__(
        self, study: Study, *, max_epochs: int | None = None, max_images: int | None = None
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
        self._metrics = metrics
        # A trial is compared by all objectives while it trains.
        self._is_compared = isinstance(study.chosen_pruner, ParetoPruner)
        self._max_epochs = max_epochs
        self._first_epochs = study.train_on.first_epochs if study.train_on is not None else None
        self._max_images = max_images
        self._cache = ImageCache()
        self._split = lru_cache(maxsize=4)(self._load_split)
        self.target = host_target()
        if WORST_GROUP in metrics | {constraint.metric for constraint in self._constraints}:
            reason = why_no_worst_group(self._dataset.groups("validation"))
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
                trial.describe(target=self.target, classes=list(self._dataset.classes))
                return self._measure(plan, files, trial)
        finally:
            # Every graph that Keras keeps is memory that the next trial lacks.
            keras.backend.clear_session()
            gc.collect()

    def plan(self, trial: EvaluatorTrial) -> Plan:
        """Samples a configuration and builds its network.

        Training is sampled last: a network that the user's ``build`` compiled brings its own
        optimizer and loss, and parameters without effect would only mislead the sampler.
        """
        space, hp = self._space, trial.hp
        keras.utils.set_random_seed(trial.seed)
        preprocessing = space.preprocessing.sample(hp)
        hp.input_shape = preprocessing.input_shape
        hp.num_classes = len(self._dataset.classes)
        name, architecture = choose_architecture(hp, space.architectures)
        config = model = fine_tuning = None
        with architecture_scope(hp, space.architectures, name):
            if isinstance(architecture, CNN | Pretrained):
                config = architecture.sample(hp)
            else:
                model = build_user_model(architecture, hp, seed=trial.seed)
        augmentation = space.augmentation.sample(hp, num_channels=preprocessing.input_shape[-1])
        weighting = space.weighting.sample(hp)
        is_compiled = bool(model is not None and model.compiled)
        training = space.training.sample(hp, compiled=is_compiled)
        quantization = space.quantization.sample(hp)
        if config is not None:
            num_images = len(self._split("train", preprocessing)[1])
            words: dict[str, Any] = {
                "input_shape": preprocessing.input_shape,
                "num_classes": len(self._dataset.classes),
                "batch_norm_momentum": batch_norm_momentum(-(-num_images // training.batch_size)),
                "seed": trial.seed,
            }
            if isinstance(config, CNNConfig):
                model = build_cnn(config, **words)
            elif isinstance(architecture, Pretrained):
                model, fine_tuning = build_pretrained(architecture, config, **words)
        trial.describe(
            architecture=name,
            preprocessing=asdict(preprocessing),
            parameters=count_parameters(model),
            macs=count_macs(model, image_shape=preprocessing.input_shape),
        )
        return Plan(
            model=model,
            architecture=architecture,
            architecture_name=name,
            is_compiled=is_compiled,
            preprocessing=preprocessing,
            augmentation=augmentation,
            weighting=weighting,
            training=training,
            quantization=quantization,
            hp=hp,
            fine_tuning=fine_tuning,
        )

    def schemes(self, plan: Plan) -> list[str]:
        """The quantization schemes of the space, the sampled one first."""
        others = [scheme for scheme in self._space.quantization.schemes
                  if scheme != plan.quantization]  # fmt: skip
        return [plan.quantization, *others]

    def untrained_files(self, plan: Plan, *, seed: int) -> dict[str, bytes]:
        """The files of the untrained network, by scheme; one that cannot be made is left out.

        The weights are random, so that every file has the size of the trained one.
        """
        weights = random_weights(plan.model, seed)
        file = to_tflite(plan.model, weights=weights, image_shape=plan.preprocessing.input_shape)
        files = quantize_all(file, self.schemes(plan), self._calibration(plan.preprocessing))
        return {s: f for s, f in files.items() if not isinstance(f, ConversionError)}

    def costs(
        self, plan: Plan, *, seed: int, files: Mapping[str, bytes] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """For each scheme, whichever figures the constraints name, without training.

        Of the sampled scheme also those that are objectives, if trials are compared by them.

        In order of price: arithmetic from the graph, a lower bound of the size from the weights,
        and only if neither settles it the untrained network's files.

        Args:
            plan: What was sampled.
            seed: Of the random weights of the untrained network.
            files: The untrained files, if they are at hand.
        """
        constrained = {constraint.metric for constraint in self._constraints}
        named = constrained | self._metrics if self._is_compared else constrained
        model, shape = plan.model, plan.preprocessing.input_shape
        analytic: dict[str, float | None] = {}
        if "parameters" in named:
            analytic["parameters"] = count_parameters(model)
        if "macs" in named:
            analytic["macs"] = count_macs(model, image_shape=shape)
        schemes = self.schemes(plan)
        costs = {scheme: dict(analytic) for scheme in schemes}
        if not named.intersection(_FROM_FILE):
            return costs
        if "size_bytes" in named:
            for scheme in schemes:
                costs[scheme]["size_bytes"] = estimate_size_bytes(model, scheme)
        if not any(self._keeps_constraints(cost) for cost in costs.values()):
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
                latency = latencies.get(scheme)
                p50, p90 = (latency.p50_ms, latency.p90_ms) if latency else (None, None)
                costs[scheme]["latency_ms"] = p50 if p50 is None else significant(p50)
                costs[scheme]["latency_p90_ms"] = p90 if p90 is None else significant(p90)
        return costs

    def _keeps_constraints(self, cost: Mapping[str, float | None]) -> bool:
        return not any(
            constraint.violation(cost[constraint.metric]) > 0
            for constraint in self._constraints
            if constraint.metric in cost
        )

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
        length = self._first_epochs if going_on is None else going_on.epochs
        limits = [n for n in (config.epochs, self._max_epochs, length) if n is not None]
        config = replace(config, epochs=min(limits))
        epochs_before = 0 if going_on is None else going_on.epochs_before
        num_classes = len(self._dataset.classes)
        terms = loss_terms(plan.weighting, np.bincount(labels, minlength=num_classes))
        if plan.is_compiled and terms.needs_our_loss:
            raise DefinitionError(
                f'the model of "{plan.architecture_name}" is compiled with a loss of its own, '
                f'which "{plan.weighting.method}" would replace; leave that out of '
                "ClassWeighting(method=...) or compile no model in build(hp)"
            )
        order = oversampled(plan.weighting, labels, seed=trial.seed)
        if len(order) > len(labels):
            images, labels = images[order], labels[order]
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
        )

        def on_epoch(epoch: EpochResult) -> None:
            figures = asdict(epoch)
            further = figures.pop("further")
            trial.report(epochs_before + figures.pop("epoch"), **figures, **further)

        trial.describe(num_epochs=config.epochs)
        if going_on is not None:
            origin = {"trial": going_on.trial, "epochs_before": epochs_before}
            trial.describe(continues=origin)

        def users_fit(model: Any, **words: Any) -> Any:
            return plan.architecture.fit(plan.hp, model, **words)

        train(
            plan.model,
            batches,
            validation,
            config=config,
            steps_per_epoch=-(-len(labels) // config.batch_size),
            on_epoch=on_epoch,
            further=self._further_figures if self._is_compared else None,
            seed=trial.seed,
            terms=terms,
            one_hot=one_hot,
            best_by=best_by,
            fit=users_fit if overrides_fit(plan.architecture) else None,
            user_compiled=plan.is_compiled,
            train_arrays=(images, labels) if plan.augmentation.is_none else None,
            fine_tuning=plan.fine_tuning,
        )

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
        # Of the same rows as the images: both are cut off from the front.
        columns = self._dataset.groups("validation").items()
        groups = {column: values[: self._max_images] for column, values in columns}
        return self.candidates(plan, files, predictions, groups, trial)

    def candidates(
        self,
        plan: Plan,
        files: Mapping[str, bytes | ConversionError],
        predictions: Mapping[str, Predictions],
        groups: Mapping[str, Sequence[str]],
        trial: EvaluatorTrial,
        *,
        estimate: Estimate = Estimate.VALIDATION,
        conditions: Mapping[str, Any] | None = None,
        interval: Callable[[Predictions], tuple[float, float]] = _wilson,
        keras_sha256: str | None = None,
    ) -> list[CandidateResult]:
        """Measures files and puts what is known of each together.

        Args:
            plan: What was sampled.
            files: The file of each scheme, or why there is none.
            predictions: By scheme, what its figures of accuracy are taken from.
            groups: Each group column with the value of every predicted image.
            trial: Where files are stored.
            estimate: What kind of figures those are.
            conditions: How they were taken, besides what is always recorded.
            interval: Answers the 90 % interval of the accuracy.
            keras_sha256: The network's ``.keras`` file, if it is not the trial's own.
        """
        usable = {s: f for s, f in files.items() if not isinstance(f, ConversionError)}
        latencies = measure_latency(usable)
        candidates = []
        for scheme, file in files.items():
            if isinstance(file, ConversionError):
                candidates.append(_without_file(scheme, str(file), estimate))
                continue
            seen = predictions[scheme]
            low, high = interval(seen)
            by_group = group_figures(seen.labels, seen.probabilities, groups)
            arena = measure_arena(file)
            latency = latencies[scheme]
            reasons = {"memory_bytes": arena.reason, WORST_GROUP: by_group.reason}
            candidates.append(
                CandidateResult(
                    quantization=scheme,
                    estimate=estimate,
                    metrics={
                        **classification_metrics(seen.labels, seen.probabilities),
                        WORST_GROUP: by_group.worst_accuracy,
                        "size_bytes": len(file),
                        "latency_ms": significant(latency.p50_ms),
                        "latency_p90_ms": significant(latency.p90_ms),
                        "memory_bytes": arena.memory_bytes,
                        "parameters": count_parameters(plan.model),
                        "macs": count_macs(plan.model, image_shape=plan.preprocessing.input_shape),
                    },
                    accuracy_low=low,
                    accuracy_high=high,
                    artifact=trial.store_artifact(file),
                    keras=keras_sha256,
                    predictions=seen.stored(trial.store_artifact),
                    conditions={
                        "num_validation_images": len(seen.labels),
                        **(conditions or {"interval": "Wilson, 90 %"}),
                        "num_latency_runs": latency.num_runs,
                        "reference_latency_ms": latency.reference_ms,
                        "raw_latency_ms": latency.p50_ms,
                        "fully_integer": is_fully_integer(file),
                        **self._class_figures(seen.labels, seen.probabilities),
                        **by_group.figures,
                    },
                    reasons={name: why for name, why in reasons.items() if why is not None},
                )
            )
        return candidates

    def _class_figures(
        self, labels: Labels, probabilities: npt.NDArray[np.float32]
    ) -> dict[str, Any]:
        classes = self._dataset.classes
        if len(classes) > _MAX_CLASSES_IN_CONDITIONS:
            return {}
        return class_figures(labels, probabilities, classes)

    def _load_split(self, split: str, preprocessing: PreprocessingConfig) -> tuple[Pixels, Labels]:
        """A search reads the training and the validation split, and never the test split."""
        return load_prepared(
            self._dataset,
            split,
            asdict(preprocessing),
            cache=self._cache,
            max_images=self._max_images,
        )

    def _calibration(self, preprocessing: PreprocessingConfig) -> Pixels:
        return calibration_images(self._split("train", preprocessing)[0])


def calibration_images(images: Pixels) -> Pixels:
    """Some of the images that a network learned from, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(images))[:_NUM_CALIBRATION_IMAGES]
    return images[np.sort(chosen)]


def significant(value: float, digits: int = 2) -> float:
    """The value with as many digits as a measured time deserves.

    Two latencies that differ by less than a measurement repeats are then equal, and dominance
    compares what it is given without a tolerance, which would not be transitive.

    Example:
        >>> significant(0.012345), significant(1.96)
        (0.012, 2.0)
    """
    return float(f"{value:.{digits - 1}e}")


def _without_file(scheme: str, reason: str, estimate: Estimate) -> CandidateResult:
    metrics: dict[str, float | None] = dict.fromkeys(
        (*CLASSIFICATION_METRICS, WORST_GROUP, *_FROM_FILE, *_ANALYTIC)
    )
    return CandidateResult(
        quantization=scheme,
        estimate=estimate,
        metrics=metrics,
        reasons=dict.fromkeys(metrics, reason),
    )


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
