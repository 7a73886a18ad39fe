"""Batch normalisation in one pass over memory while a network is trained on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import keras
import tensorflow as tf

from autosearch.models.statistics import batch_normalizations

__all__ = ["fused_batch_normalization"]


@contextmanager
def fused_batch_normalization(model: Any) -> Iterator[None]:
    """Trains a network's batch normalisations with TensorFlow's fused operator.

    Keras takes mean, variance and the normalised values in separate passes over memory, and as
    many again for the gradients, which makes up about half of a small network's training on a
    CPU. The layers stay Keras's own, so that nothing of this reaches a saved network; inference
    is untouched. On a GPU nothing is changed: XLA fuses there.

    Args:
        model: The network; traced functions of its training must be made inside.
    """
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    layers = [layer for layer in batch_normalizations(model) if _can_be_fused(layer)]
    for layer in layers:
        layer.call = MethodType(_call, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def _can_be_fused(layer: Any) -> bool:
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.built
        and not layer.renorm
        and layer.compute_dtype == "float32"
        and layer.axis in (-1, 3)
    )


def _call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    if not (training and layer.trainable) or mask is not None or inputs.shape.rank != 4:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    num_channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma if layer.scale else tf.ones(num_channels),
        offset=layer.beta if layer.center else tf.zeros(num_channels),
        mean=[],
        variance=[],
        epsilon=layer.epsilon,
        is_training=True,
    )
    # The operator answers the unbiased variance, Keras keeps the one of the batch.
    count = tf.cast(tf.size(inputs) / num_channels, tf.float32)
    variance *= (count - 1) / count
    for average, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + batch * (1 - layer.momentum))
    return outputs
