"""Batches for training and evaluation, as ``tf.data``: images stay in memory, work is batched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

__all__ = [
    "AugmentationLike",
    "augment",
    "download_keras_dataset",
    "evaluation_batches",
    "training_batches",
]


class AugmentationLike(Protocol):
    """How much training images are varied; 0 or False everywhere varies nothing.

    ``autosearch.space.augmentation.AugmentationConfig`` is one.
    """

    @property
    def horizontal_flip(self) -> bool:
        """Whether every second image is mirrored."""
        ...

    @property
    def shift(self) -> float:
        """Largest shift, as a fraction of height and width."""
        ...

    @property
    def rotation(self) -> float:
        """Largest rotation either way, in degrees."""
        ...

    @property
    def zoom(self) -> float:
        """Largest zoom in or out, as a fraction."""
        ...

    @property
    def brightness(self) -> float:
        """Largest change of brightness, as a fraction of 255."""
        ...

    @property
    def contrast(self) -> float:
        """Largest change of contrast, as a fraction."""
        ...


def training_batches(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    augmentation: AugmentationLike | None = None,
    one_hot: bool = False,
    sample_weights: npt.NDArray[np.floating[Any]] | None = None,
) -> Any:
    """One epoch of shuffled batches; every iteration is another epoch, in another order.

    The orders and variations follow from the seed alone.

    Args:
        images: (n, h, w, c) uint8.
        labels: (n,) class indices.
        num_classes: How many classes there are, for one-hot labels.
        batch_size: Images a batch; the last one holds what is left.
        seed: Draws the orders and variations.
        augmentation: How images are varied; None leaves them as they are.
        one_hot: Whether labels are float32 (batch, num_classes) instead of int64 (batch,).
        sample_weights: (n,) weights in the loss, appended to every batch.

    Returns:
        A ``tf.data.Dataset`` of (float32 images 0–255, labels[, weights]).
    """
    columns = _columns(images, labels, num_classes, one_hot, sample_weights)
    # Shuffling indices and gathering whole batches is what keeps this off the Python and
    # per-element paths: 1,078 images of 8 × 8 take about 10 ms an epoch.
    batches = _orders(len(labels), seed).unbatch()
    batches = batches.batch(batch_size)
    batches = batches.map(lambda indices: _gather(columns, indices))
    vary = augment(augmentation, seed=seed) if augmentation is not None else None
    if vary is not None:
        # One call at a time: the layers' random state advances in the order of the batches.
        batches = batches.map(lambda batch, *rest: (vary(batch), *rest))
    return batches.prefetch(tf.data.AUTOTUNE)


def evaluation_batches(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    num_classes: int,
    batch_size: int = 512,
    one_hot: bool = False,
) -> Any:
    """All images once, in their order: (float32 images 0–255, labels) batches."""
    columns = _columns(images, labels, num_classes, one_hot, None)
    batches = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return batches.map(lambda indices: _gather(columns, indices)).prefetch(tf.data.AUTOTUNE)


def augment(augmentation: AugmentationLike, *, seed: int) -> Callable[[Any], Any] | None:
    """What varies a float32 batch 0–255, each image differently; None if nothing is to vary.

    Edges are filled with the nearest pixel, which suits black, white and photographed
    backgrounds alike.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(6).tolist())
    layers: list[Any] = []
    makers: tuple[tuple[float, Callable[[float, int], Any]], ...] = (
        (augmentation.horizontal_flip, lambda _, s: keras.layers.RandomFlip("horizontal", seed=s)),
        (
            augmentation.shift,
            lambda x, s: keras.layers.RandomTranslation(x, x, seed=s, fill_mode="nearest"),
        ),
        (
            augmentation.rotation / 360,
            lambda x, s: keras.layers.RandomRotation(x, seed=s, fill_mode="nearest"),
        ),
        (augmentation.zoom, lambda x, s: keras.layers.RandomZoom(x, seed=s, fill_mode="nearest")),
        (augmentation.brightness, lambda x, s: keras.layers.RandomBrightness(x, seed=s)),
        (augmentation.contrast, lambda x, s: keras.layers.RandomContrast(x, seed=s)),
    )
    # Every layer takes its seed whether it is used or not, so that switching one of them on
    # leaves the others' randomness alone.
    for amount, make in makers:
        layer_seed = next(seeds)
        if amount:
            layers.append(make(amount, layer_seed))
    if not layers:
        return None

    def vary(batch: Any) -> Any:
        for layer in layers:
            batch = layer(batch, training=True)
        return tf.clip_by_value(batch, 0.0, 255.0)

    return vary


def _orders(count: int, seed: int) -> Any:
    """A permutation of the indices, another one in every iteration.

    ``Dataset.shuffle`` would also depend on TensorFlow's global seed at the time of the call.
    """
    epoch = tf.Variable(-1, dtype=tf.int64)

    def order(indices: Any) -> Any:
        return tf.random.experimental.stateless_shuffle(
            indices, seed=tf.stack([tf.constant(seed, tf.int64), epoch.assign_add(1)])
        )

    return tf.data.Dataset.from_tensors(tf.range(count)).map(order)


def _columns(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    num_classes: int,
    one_hot: bool,
    sample_weights: npt.NDArray[np.floating[Any]] | None,
) -> tuple[Any, ...]:
    columns = [
        tf.constant(images),
        tf.one_hot(labels, num_classes) if one_hot else tf.constant(labels, tf.int64),
    ]
    if sample_weights is not None:
        columns.append(tf.constant(sample_weights, tf.float32))
    return tuple(columns)


def _gather(columns: tuple[Any, ...], indices: Any) -> tuple[Any, ...]:
    images, *rest = (tf.gather(column, indices) for column in columns)
    return (tf.cast(images, tf.float32), *rest)


def download_keras_dataset(name: str) -> Any:
    """((train images, train labels), (test images, test labels)) of ``keras.datasets``.

    Raises:
        Exception: It is not there and cannot be downloaded; Keras has no narrower one.
    """
    return getattr(keras.datasets, name).load_data()
