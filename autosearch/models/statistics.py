"""Batch normalisation whose moving statistics have not caught up yet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

__all__ = ["BatchStatistics", "batch_normalizations", "images_at_once"]

_NUM_IMAGES = 512
_NUM_PIXELS = _NUM_IMAGES * 32 * 32
_FEWEST_IMAGES = 32
_OUR_MOMENTUM = 0.9


class BatchStatistics:
    """Recomputes a network's batch statistics while a high momentum makes them lag.

    Keras's default of 0.99 leaves validation accuracy at chance for about 250 steps, so that an
    early epoch would say nothing of the network. A network of ours has none above 0.9, and
    nothing happens to it.

    Args:
        model: The network.
        train_batches: Yields tuples that begin with float32 images; 512 of them are used, fewer
            of larger ones, since all are in memory at once.
        steps_per_epoch: Batches an epoch, from which follows when the statistics have caught up.
    """

    def __init__(self, model: Any, train_batches: Any, steps_per_epoch: int) -> None:
        self._model = model
        self._batches = train_batches
        self._layers = [
            layer for layer in batch_normalizations(model) if layer.momentum > _OUR_MOMENTUM
        ]
        slowest = max((layer.momentum for layer in self._layers), default=0.0)
        lag_steps = 3 / (1 - min(slowest, 0.9999))
        self._last_epoch = math.ceil(lag_steps / steps_per_epoch) if self._layers else 0
        self._forward: Any = None

    def __call__(self, epoch: int) -> None:
        """Sets the statistics to those of the images, at the end of an early epoch (from 1)."""
        if epoch > self._last_epoch:
            return
        if self._forward is None:
            self._trace()
        self._forward()

    def _trace(self) -> None:
        parts, count, wanted = [], 0, _NUM_IMAGES
        for images, *_ in self._batches:
            parts.append(images)
            count += len(images)
            wanted = max(_FEWEST_IMAGES, images_at_once(images))
            if count >= wanted:
                break
        images = tf.concat(parts, 0)[:wanted]
        forward = tf.function(lambda: self._model(images, training=True))
        momenta = [layer.momentum for layer in self._layers]
        try:
            for layer in self._layers:
                layer.momentum = 0.0  # the trace keeps it: statistics become those of the images
            self._forward = forward.get_concrete_function()
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum


def images_at_once(images: Any) -> int:
    """How many such images (n, h, w, c) a network is shown at once: fewer of larger ones.

    The maps of its first layers are many times as large as they are.
    """
    height, width = images.shape[1:3]
    return int(min(_NUM_IMAGES, max(1, _NUM_PIXELS // (height * width))))


def batch_normalizations(model: Any) -> Iterator[Any]:
    """The layers of a network, and of networks within it, that learn batch statistics."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from batch_normalizations(layer)
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            yield layer
