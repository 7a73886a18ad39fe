"""Training one network: compile, fit, validate after every epoch, keep the best weights."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from autosearch.errors import ConversionError, TrainingError
from autosearch.evaluation.cost import count_macs
from autosearch.evaluation.latency_gate import give_way
from autosearch.evaluation.losses import LossTerms, make_loss
from autosearch.evaluation.metrics import normalised
from autosearch.models.fused import fused_batch_normalization
from autosearch.models.pretrained import FineTuning
from autosearch.models.statistics import BatchStatistics, images_at_once
from autosearch.models.user import ends_the_trial

if TYPE_CHECKING:
    from autosearch.space.training import TrainingConfig

__all__ = ["BestBy", "EpochResult", "TrainingResult", "compile_model", "train", "wants_one_hot"]

BestBy = Literal["accuracy", "balanced_accuracy", "validation_loss", "last"]
"""Which epoch's weights are kept. "last" chooses nothing, so its figures are not flattered."""

FurtherFigures = Callable[[npt.NDArray[np.int64], npt.NDArray[np.float64]], Mapping[str, float]]

_KNOWN_AFTER_S = 2.0
_MOST_STEPS_AT_ONCE = 32
_MACS_AT_ONCE = 2e9
"""Of inference: about half a second of training on one core."""
_OUT_OF_MEMORY = (tf.errors.ResourceExhaustedError, MemoryError)

_PLAIN = LossTerms()


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What one epoch came to.

    Attributes:
        epoch: From 1.
        train_loss: The mean loss over the epoch's batches; None if a user's ``fit`` says none.
        train_accuracy: Likewise, in [0, 1].
        validation_loss: Mean cross-entropy over the validation images: their ``log_loss``.
        accuracy: The share of validation images whose largest probability is at their class,
            ties to the lowest index.
        balanced_accuracy: The mean of that share over the classes that have images.
        learning_rate: At the end of the epoch; None without an optimizer.
        seconds: Wall-clock time, validation included.
        further: Other figures of the validation images, by name.
        planned_epochs: Of how many epochs it is one; None if a user's ``fit`` does not say.
    """

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    validation_loss: float
    accuracy: float
    balanced_accuracy: float
    learning_rate: float | None
    seconds: float
    further: Mapping[str, float] = field(default_factory=dict)
    planned_epochs: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The epochs of a training that came to its end, and which of them the weights are from."""

    epochs: tuple[EpochResult, ...]
    best: EpochResult


def train(
    model: Any,
    train_batches: Any,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    *,
    config: TrainingConfig,
    steps_per_epoch: int,
    on_epoch: Callable[[EpochResult], None],
    on_steps: Callable[[float], None] = lambda seconds_left: None,
    seed: int,
    further: FurtherFigures | None = None,
    terms: LossTerms = _PLAIN,
    one_hot: bool | None = None,
    best_by: BestBy = "accuracy",
    fit: Callable[..., Any] | None = None,
    user_compiled: bool = False,
    train_arrays: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None = None,
    fine_tuning: FineTuning | None = None,
) -> TrainingResult:
    """Trains a model and leaves it with the weights of its best validation epoch.

    The best epoch is the one of highest ``best_by``; of several, the one of lowest validation
    loss. With "last" it is the last one, whatever its figures.

    Args:
        model: A built ``keras.Model`` from pixels 0–255 to probabilities.
        train_batches: What ``data.pipeline.training_batches`` answers.
        validation: uint8 images (n, h, w, c) and labels (n,).
        config: How to train; of a user-compiled model only ``epochs`` and ``batch_size`` count.
        steps_per_epoch: Batches an epoch.
        on_epoch: Called after every epoch; whatever it raises ends the training and is raised.
        on_steps: Called every half a second or so with how many seconds of training are left,
            once that is known, which it never is of a user's own ``fit``; likewise.
        further: Told the validation labels (n,) and the network's outputs (n, classes), answers
            other figures of an epoch.
        seed: Of Python's, NumPy's and TensorFlow's generators, for what has no seed of its own.
        terms: What counts more in the loss; of a user-compiled model only class weights can.
        one_hot: Whether the labels of ``train_batches`` are one-hot; None: as ``wants_one_hot``
            says. A network of ours takes either.
        best_by: What the best epoch is best in.
        fit: A user's own, called as ``fit(model, x=…, validation_data=…, epochs=…,
            callbacks=…, verbose=0)``, and with ``class_weight=…`` if the model is user-compiled and
            there are class weights. An argument of the first that it fixes itself is left out.
            Validation takes place in the callbacks; it need not pass them on to get one at the
            end.
        user_compiled: Whether the user compiled the model, which is then left as it is.
        train_arrays: The training images and labels, for a user's ``fit`` where nothing is
            augmented: it then gets ``x`` as float32 0–255 and ``y`` as arrays, as from
            ``keras_tuner.Tuner.search(x, y)``, and may choose a batch size. Otherwise ``x`` is
            ``train_batches`` and there is no ``y``.
        fine_tuning: What of a network of ours was trained before, and learns more slowly.

    Raises:
        TrainingError: The loss is not finite, memory ran out, or the user's code failed.
    """
    keras.utils.set_random_seed(seed % 2**32)
    if one_hot is None:
        one_hot = wants_one_hot(model, config, user_compiled=user_compiled, terms=terms)
    if not user_compiled:
        compile_model(
            model, config, steps_per_epoch, terms=terms, one_hot=one_hot, fine_tuning=fine_tuning
        )
    elif not tf.config.list_physical_devices("GPU"):
        # Keras turns XLA on by itself; on a CPU it compiles for seconds and makes depthwise
        # convolutions 5 to 6 times slower.
        model.jit_compile = False
    watcher = _Watcher(
        model, train_batches, validation, steps_per_epoch, on_epoch, best_by, further
    )
    ahead = train_batches.prefetch(tf.data.AUTOTUNE)
    arguments: dict[str, Any] = {
        "epochs": config.epochs,
        "callbacks": [
            watcher,
            _BetweenSteps(config.epochs, steps_per_epoch, on_steps if fit is None else None),
        ],
        "verbose": 0,
    }
    if user_compiled and terms.class_weights is not None:
        arguments["class_weight"] = dict(enumerate(terms.class_weights.tolist()))
    try:
        with fused_batch_normalization(model):
            if fit is None:
                model.fit(ahead, shuffle=False, **arguments)  # they are shuffled already
            else:
                arguments |= _user_data(model, ahead, train_arrays, validation, one_hot)
                _call_fit(fit, model, arguments, watcher)
        if watcher.ended_by is None and not watcher.epochs:
            watcher.on_epoch_end(0)
    except BaseException as error:
        if watcher.ended_by is None:
            _raise_clearly(error, watcher, config, is_users=user_compiled or fit is not None)
    if watcher.ended_by is not None:
        reason, cause = watcher.ended_by
        if isinstance(reason, _OUT_OF_MEMORY):
            # Validation takes more images at once than a step does.
            _raise_clearly(reason, watcher, config, is_users=False)
        raise reason from cause
    return watcher.result()


def compile_model(
    model: Any,
    config: TrainingConfig,
    steps_per_epoch: int,
    *,
    terms: LossTerms = _PLAIN,
    one_hot: bool = False,
    fine_tuning: FineTuning | None = None,
) -> None:
    """Compiles a model as the configuration says.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter, arXiv:1711.05101) and
    leaves biases and normalisation alone. "adam" has none, since with it Keras's Adam is its
    AdamW. "sgd" has Nesterov momentum of 0.9. What is fine-tuned learns at its share of the rate.
    """
    rate = _learning_rate(config, config.epochs * steps_per_epoch)
    decay = (config.weight_decay or None) if config.optimizer != "adam" else None
    kind: Any
    words: dict[str, Any]
    if config.optimizer == "sgd":
        kind, words = keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}
        words["weight_decay"] = decay
    elif config.optimizer == "adamw":
        kind, words = keras.optimizers.AdamW, {"weight_decay": decay or 0.0}
    else:
        kind, words = keras.optimizers.Adam, {}
    if fine_tuning is not None and fine_tuning.learning_rate_ratio != 1.0:
        kind = _slowed(kind, fine_tuning)
    optimizer = kind(rate, **words)
    if decay is not None:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    smoothing = config.label_smoothing or 0.0
    one_hot = one_hot or bool(smoothing) or not terms.is_plain
    model.compile(
        optimizer,
        make_loss(terms, label_smoothing=smoothing, one_hot=one_hot),
        metrics=["accuracy"],
        jit_compile=False,
        steps_per_execution=_steps_at_once(model, config.batch_size, steps_per_epoch),
    )
    # A training step that makes variables is traced twice, at one to three seconds each: so the
    # optimizer's and the metrics' are made here.
    optimizer.build(model.trainable_variables)
    num_classes = model.output_shape[-1]
    label = tf.zeros((1, num_classes) if one_hot else (1,))
    model.compute_metrics(None, label, tf.zeros((1, num_classes)))
    model.reset_metrics()


def _steps_at_once(model: Any, batch_size: int, steps_per_epoch: int) -> int:
    """How many steps are taken before Python is asked again, which tiny networks wait for.

    Another worker that takes a latency waits for all of them, so large networks take few.
    """
    most = min(steps_per_epoch, _MOST_STEPS_AT_ONCE)
    if not tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(ConversionError):
            most = min(most, int(_MACS_AT_ONCE / max(count_macs(model) * batch_size, 1)))
    return max(most, 1)


def wants_one_hot(
    model: Any, config: TrainingConfig, *, user_compiled: bool, terms: LossTerms = _PLAIN
) -> bool:
    """Whether the loss takes labels (batch, num_classes) instead of indices (batch,).

    A user's own loss function takes indices; of Keras's losses, the "sparse" ones.
    """
    if not user_compiled:
        return bool(config.label_smoothing) or not terms.is_plain
    loss = model.loss
    while isinstance(loss, list | tuple | dict) and loss:
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if loss is None or isinstance(loss, list | tuple | dict):
        return False
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    kind = loss if hasattr(loss, "__name__") else type(loss)
    return kind.__module__.startswith("keras.") and "sparse" not in kind.__name__.lower()


def _slowed(kind: Any, fine_tuning: FineTuning) -> Any:
    """An optimizer that takes smaller steps with some variables.

    The step is scaled and not the gradient, to whose scale Adam is blind. Such an optimizer is
    never saved: the ``.keras`` file holds the network alone.
    """
    slow = {id(variable.value) for variable in fine_tuning.variables}

    class Slowed(kind):  # type: ignore[misc]  # Keras has no types
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            ratio = fine_tuning.learning_rate_ratio if id(variable) in slow else 1.0
            super().update_step(gradient, variable, learning_rate * ratio)

    return Slowed


def _learning_rate(config: TrainingConfig, steps: int) -> Any:
    rate = config.learning_rate or 1e-3
    schedules = keras.optimizers.schedules
    if config.schedule == "cosine":
        return schedules.CosineDecay(rate, max(1, steps), alpha=0.01)
    if config.schedule == "cosine_warmup":
        warmup = max(1, steps // 10)
        return schedules.CosineDecay(
            rate / 100,
            max(1, steps - warmup),
            alpha=0.01,
            warmup_target=rate,
            warmup_steps=warmup,
        )
    if config.schedule == "exponential":
        return schedules.ExponentialDecay(rate, max(1, steps), decay_rate=0.01)
    return rate


class _BetweenSteps(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Lets another worker of this machine take a latency, and says how long the rest takes."""

    def __init__(
        self, num_epochs: int, steps_per_epoch: int, on_steps: Callable[[float], None] | None
    ) -> None:
        super().__init__()
        self._num_steps, self._steps_per_epoch = num_epochs * steps_per_epoch, steps_per_epoch
        self._on_steps = on_steps
        self._steps_before, self._reached = 0, 0
        self._first: tuple[float, int] | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Waits while one does."""
        del logs
        give_way()
        if self._on_steps is None:
            return
        # Of several steps at once Keras names the last one, though an epoch may end before it.
        reached = min(batch + 1, self._steps_per_epoch)
        if reached <= self._reached:  # The count starts over with every epoch.
            self._steps_before += self._reached
        self._reached = reached
        steps, now = self._steps_before + reached, time.perf_counter()
        if self._first is None:
            # The first steps are slow: the network is traced.
            self._first = now, steps
            return
        started, first = self._first
        if now - started >= _KNOWN_AFTER_S:
            self._on_steps((now - started) / (steps - first) * max(self._num_steps - steps, 0))


class _Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Validates after every epoch, keeps the best weights, and stops what must stop.

    A user's loop may call ``set_model`` and ``on_epoch_end`` alone, and restart the count of
    epochs; so neither is relied on.
    """

    def __init__(
        self,
        model: Any,
        train_batches: Any,
        validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
        steps_per_epoch: int,
        on_epoch: Callable[[EpochResult], None],
        best_by: BestBy,
        further: FurtherFigures | None,
    ) -> None:
        super().__init__()
        self._best_by = best_by
        self._further = further
        self.epochs: list[EpochResult] = []
        self.ended_by: tuple[BaseException, BaseException | None] | None = None
        self._trained = model
        self._images, self._labels = validation
        self._on_epoch = on_epoch
        self._best_weights: list[npt.NDArray[Any]] = []
        self._predict = tf.function(
            lambda images: model(images, training=False),
            input_signature=[tf.TensorSpec((None, *self._images.shape[1:]), tf.float32)],
        )
        self._refresh = BatchStatistics(model, train_batches, steps_per_epoch)
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Validates, reports, and remembers the weights if they are the best so far."""
        try:
            self._end_epoch(logs or {})
        except BaseException as error:
            # Keras and users' loops wrap exceptions or drop their cause: train() raises this one.
            self.ended_by = (error, error.__cause__)
            raise

    def result(self) -> TrainingResult:
        """The epochs so far, with the best one's weights put back."""
        best = max(self.epochs, key=self._rank)
        # Of the last epoch too: a user's fit may have put back others in the end.
        self._trained.set_weights(self._best_weights)
        return TrainingResult(tuple(self.epochs), best)

    def _end_epoch(self, logs: dict[str, Any]) -> None:
        number = len(self.epochs) + 1
        train_loss = _number(logs, "loss")
        if train_loss is not None and not math.isfinite(train_loss):
            raise TrainingError(
                f"the training loss is {train_loss} in epoch {number}; lower the learning rate"
            )
        self._refresh(number)
        accuracy, balanced_accuracy, loss, further = self._validate(number)
        now = time.perf_counter()
        result = EpochResult(
            epoch=number,
            train_loss=train_loss,
            train_accuracy=_number(
                logs, "accuracy", "acc", "sparse_categorical_accuracy", "categorical_accuracy"
            ),
            validation_loss=loss,
            accuracy=accuracy,
            balanced_accuracy=balanced_accuracy,
            learning_rate=_current_rate(self._trained),
            seconds=now - self._started,
            further=further,
            planned_epochs=(self.params or {}).get("epochs"),
        )
        self._started = now
        if not self.epochs or self._rank(result) > max(map(self._rank, self.epochs)):
            self._best_weights = self._trained.get_weights()
        self.epochs.append(result)
        self._on_epoch(result)

    def _rank(self, result: EpochResult) -> tuple[float, float]:
        if self._best_by == "last":
            return result.epoch, 0.0
        if self._best_by == "validation_loss":
            return -result.validation_loss, result.accuracy
        return getattr(result, self._best_by), -result.validation_loss

    def _validate(self, number: int) -> tuple[float, float, float, Mapping[str, float]]:
        batch = images_at_once(self._images)
        outputs = [
            self._predict(tf.cast(self._images[start : start + batch], tf.float32))
            for start in range(0, len(self._images), batch)
        ]
        probabilities = np.concatenate([output.numpy() for output in outputs]).astype(np.float64)
        if not np.isfinite(probabilities).all():
            raise TrainingError(
                f"the network gives values that are not finite after epoch {number}; lower the "
                "learning rate"
            )
        right = probabilities.argmax(axis=-1) == self._labels
        counts = np.bincount(self._labels)
        recalls = np.bincount(self._labels, weights=right)[counts > 0] / counts[counts > 0]
        # As the file's own log loss is taken, of a user's logits or single outputs, too: another
        # one would keep another epoch.
        chosen = normalised(probabilities)[np.arange(len(self._labels)), self._labels]
        further = self._further(self._labels, probabilities) if self._further is not None else {}
        loss = float(-np.log(chosen).mean())
        return float(np.mean(right)), float(np.mean(recalls)), loss, further


def _number(logs: dict[str, Any], *names: str) -> float | None:
    return next((float(logs[name]) for name in names if name in logs), None)


def _current_rate(model: Any) -> float | None:
    optimizer = getattr(model, "optimizer", None)
    return None if optimizer is None else float(optimizer.learning_rate)


def _user_data(
    model: Any,
    train_batches: Any,
    train_arrays: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]] | None,
    validation: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
    one_hot: bool,
) -> dict[str, Any]:
    """What a user's ``fit`` gets its data as."""
    num_classes = model.output_shape[-1]

    def given(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        coded = keras.utils.to_categorical(labels, num_classes) if one_hot else labels
        return images.astype(np.float32), coded

    data: dict[str, Any] = {"x": train_batches, "validation_data": given(*validation)}
    if train_arrays is not None:
        data["x"], data["y"] = given(*train_arrays)
    return data


def _call_fit(
    fit: Callable[..., Any], model: Any, arguments: dict[str, Any], watcher: _Watcher
) -> None:
    """Calls a user's ``fit``, leaving out what it fixes itself, such as ``epochs``.

    ``model.fit(*args, epochs=hp.Int("epochs", 5, 20), **kwargs)`` is how Keras Tuner's own
    documentation writes it, and it refuses our ``epochs`` before anything is trained.
    """
    for _ in range(3):
        try:
            fit(model, **arguments)
            return
        except TypeError as error:
            fixed = [
                name
                for name in ("epochs", "verbose", "validation_data")
                if name in arguments
                and f"multiple values for keyword argument '{name}'" in str(error)
            ]
            if not fixed or watcher.epochs:
                raise
            del arguments[fixed[0]]
    fit(model, **arguments)


def _raise_clearly(
    error: BaseException, watcher: _Watcher, config: TrainingConfig, *, is_users: bool
) -> None:
    """Raises what a failure means, or the failure itself if that says it already."""
    epoch = len(watcher.epochs) + 1
    if isinstance(error, _OUT_OF_MEMORY):
        raise TrainingError(
            f"memory ran out in epoch {epoch} with batches of {config.batch_size}; narrow the "
            "network, the image size or the batch size"
        ) from error
    if is_users and not ends_the_trial(error):
        raise TrainingError(
            f"training the model of build(hp) raised {type(error).__name__} in epoch {epoch}: "
            f"{error}"
        ) from error
    raise error
