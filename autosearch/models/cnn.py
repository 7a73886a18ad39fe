"""From a configuration of the CNN space to a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers

from autosearch.models.blocks import BLOCKS, LayerFactory, self_attention
from autosearch.space.capacity import round_channels

if TYPE_CHECKING:
    from autosearch.space.architecture import CNNConfig

__all__ = ["batch_norm_momentum", "build_cnn"]


def build_cnn(
    config: CNNConfig,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.9,
    seed: int,
) -> Any:
    """Builds the network: a stem where the block needs one, stages of blocks, a head.

    Every stage but the first halves the map, as long as it is larger than 2 pixels. The model is
    functional, made of Keras's own layers, and every layer has a name that depends on its place
    alone, so that the same configuration gives the same file in any process.

    Args:
        config: The network's configuration.
        input_shape: (height, width, channels) of the images.
        num_classes: How many probabilities it gives.
        batch_norm_momentum: See the function of that name.
        seed: Draws initial weights and dropout.

    Returns:
        A ``keras.Model`` from raw pixels (batch, h, w, c) float32 0–255 to probabilities (batch,
        num_classes); rescaling is part of it. It is not compiled.
    """
    make = LayerFactory(
        kernel_size=config.kernel_size,
        normalization=config.normalization,
        activation=config.activation,
        squeeze_excite=config.attention == "squeeze_excite",
        expansion=config.expansion,
        batch_norm_momentum=batch_norm_momentum,
        rng=np.random.default_rng(seed),
    )
    block = BLOCKS[config.block]
    image = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescaling")(image)
    if config.block != "plain":  # these filter channels, and pixels have but one or three
        x = make.conv(x, round_channels(config.width), "stem")
    for stage in range(config.stages):
        channels = round_channels(config.width * config.width_growth**stage)
        halve = stage > 0 and min(x.shape[1:3]) > 2
        if halve and config.pooling != "stride":
            pool = layers.MaxPooling2D if config.pooling == "max" else layers.AveragePooling2D
            x = pool(2, padding="same", name=f"stage{stage + 1}_pool")(x)
        for index in range(config.blocks_per_stage):
            stride = 2 if halve and index == 0 and config.pooling == "stride" else 1
            x = block(make, x, channels, stride, f"stage{stage + 1}_block{index + 1}")
    if config.attention == "self_attention":
        x = self_attention(make, x, "attention")
    head = layers.GlobalMaxPooling2D if config.head == "max" else layers.GlobalAveragePooling2D
    x = head(name="head_pool")(x)
    if config.dropout:
        x = layers.Dropout(config.dropout, seed=make.seed(), name="head_dropout")(x)
    probabilities = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(make.seed()),
        name="probabilities",
    )(x)
    return keras.Model(image, probabilities, name="cnn")


def batch_norm_momentum(steps_per_epoch: int) -> float:
    """The momentum with which the first epoch's end has forgotten the initial statistics.

    After one epoch the initial value weighs 5 %; never above 0.9, since Keras's 0.99 leaves the
    validation accuracy at chance for about 250 steps, and never below 0.5.

    Example:
        >>> [round(batch_norm_momentum(steps), 2) for steps in (1, 17, 1000)]
        [0.5, 0.84, 0.9]
    """
    return float(np.clip(0.05 ** (1 / max(1, steps_per_epoch)), 0.5, 0.9))
