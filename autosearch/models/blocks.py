"""The building blocks of the CNN space, of plain Keras layers with names that never change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from autosearch.space.capacity import MAX_ATTENTION_SIDE

__all__ = ["BLOCKS", "LayerFactory", "self_attention"]


@dataclass(frozen=True, slots=True)
class LayerFactory:
    """Makes layers of one style, each named by its place and seeded from one generator.

    Attributes:
        kernel_size: Height and width of a spatial convolution.
        normalization: "batch", "layer", "group" or "none".
        activation: "relu", "relu6", "hard_swish", "silu", "elu" or "gelu".
        squeeze_excite: Whether every block ends in squeeze-and-excitation.
        expansion: How much wider an inverted residual is inside.
        batch_norm_momentum: How slowly batch statistics move, below 1.
        rng: Draws the seeds of initial weights and dropout, in the order of the layers.
    """

    kernel_size: int
    normalization: str
    activation: str
    squeeze_excite: bool
    expansion: int
    batch_norm_momentum: float
    rng: np.random.Generator

    def seed(self) -> int:
        """The next seed."""
        return int(self.rng.integers(2**31))

    def conv(
        self,
        x: Any,
        channels: int,
        name: str,
        *,
        kernel_size: int | None = None,
        stride: int = 1,
        activate: bool = True,
    ) -> Any:
        """Convolution, normalisation and, if asked, activation."""
        x = layers.Conv2D(
            channels,
            kernel_size or self.kernel_size,
            strides=stride,
            padding="same",
            use_bias=self.normalization == "none",
            kernel_initializer=keras.initializers.HeNormal(self.seed()),
            name=f"{name}_conv",
        )(x)
        return self._finish(x, name, activate)

    def depthwise(self, x: Any, name: str, *, stride: int = 1) -> Any:
        """Depthwise convolution, normalisation and activation."""
        x = layers.DepthwiseConv2D(
            self.kernel_size,
            strides=stride,
            padding="same",
            use_bias=self.normalization == "none",
            depthwise_initializer=keras.initializers.HeUniform(self.seed()),
            name=f"{name}_conv",
        )(x)
        return self._finish(x, name, activate=True)

    def activate(self, x: Any, name: str) -> Any:
        """The activation as a layer of its own."""
        return layers.Activation(self.activation, name=f"{name}_{self.activation}")(x)

    def excite(self, x: Any, name: str) -> Any:
        """Squeeze-and-excitation if the style has it (Hu et al., arXiv:1709.01507)."""
        if not self.squeeze_excite:
            return x
        channels = x.shape[-1]
        squeezed = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        for step, width, activation in (
            ("reduce", max(4, channels // 4), "relu"),
            ("expand", channels, "sigmoid"),
        ):
            squeezed = layers.Conv2D(
                width,
                1,
                activation=activation,
                kernel_initializer=keras.initializers.GlorotUniform(self.seed()),
                name=f"{name}_{step}",
            )(squeezed)
        return layers.Multiply(name=f"{name}_excite")([x, squeezed])

    def shortcut(self, x: Any, channels: int, name: str, *, stride: int) -> Any:
        """The input as it is if its shape fits, otherwise through a 1 × 1 convolution."""
        if stride == 1 and x.shape[-1] == channels:
            return x
        name = f"{name}_shortcut"
        return self.conv(x, channels, name, kernel_size=1, stride=stride, activate=False)

    def _finish(self, x: Any, name: str, activate: bool) -> Any:
        if self.normalization == "batch":
            x = layers.BatchNormalization(momentum=self.batch_norm_momentum, name=f"{name}_norm")(x)
        elif self.normalization == "layer":
            x = layers.LayerNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        elif self.normalization == "group":
            groups = _num_groups(x.shape[-1])
            x = layers.GroupNormalization(groups, name=f"{name}_norm")(x)
        return self.activate(x, name) if activate else x


def _num_groups(channels: int) -> int:
    """At most eight groups of equal size, and four channels in each.

    A channel that is a group by itself has the same mean in every image. Where no activation
    follows, as at the end of an inverted residual block, the average over the map is then the
    same too, and the network's answer does not depend on the image.
    """
    return next((n for n in (8, 4, 2) if channels % n == 0 and channels // n >= 4), 1)


def plain(make: LayerFactory, x: Any, channels: int, stride: int, name: str) -> Any:
    """One convolution (VGG: Simonyan and Zisserman, arXiv:1409.1556)."""
    return make.excite(make.conv(x, channels, f"{name}_a", stride=stride), name)


def separable(make: LayerFactory, x: Any, channels: int, stride: int, name: str) -> Any:
    """Depthwise, then 1 × 1 convolution (MobileNet: Howard et al., arXiv:1704.04861)."""
    x = make.depthwise(x, f"{name}_a", stride=stride)
    return make.excite(make.conv(x, channels, f"{name}_b", kernel_size=1), name)


def residual(make: LayerFactory, x: Any, channels: int, stride: int, name: str) -> Any:
    """Two convolutions beside a shortcut (ResNet: He et al., arXiv:1512.03385)."""
    shortcut = make.shortcut(x, channels, name, stride=stride)
    x = make.conv(x, channels, f"{name}_a", stride=stride)
    x = make.conv(x, channels, f"{name}_b", activate=False)
    x = layers.Add(name=f"{name}_add")([make.excite(x, name), shortcut])
    return make.activate(x, f"{name}_out")


def inverted_residual(make: LayerFactory, x: Any, channels: int, stride: int, name: str) -> Any:
    """Widen, filter, project (MobileNetV2: Sandler et al., arXiv:1801.04381)."""
    entrance = x
    if make.expansion > 1:
        x = make.conv(x, x.shape[-1] * make.expansion, f"{name}_a", kernel_size=1)
    x = make.depthwise(x, f"{name}_b", stride=stride)
    x = make.conv(x, channels, f"{name}_c", kernel_size=1, activate=False)
    x = make.excite(x, name)
    if stride == 1 and entrance.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([x, entrance])
    return x


BLOCKS: dict[str, Callable[[LayerFactory, Any, int, int, str], Any]] = {
    "plain": plain,
    "separable": separable,
    "residual": residual,
    "inverted_residual": inverted_residual,
}
"""Block kind to what builds it from (factory, input, channels, stride, name)."""


def self_attention(make: LayerFactory, x: Any, name: str) -> Any:
    """Multi-head attention over the pixels of a feature map, added to it.

    Vaswani et al., arXiv:1706.03762, with the normalisation first. A map of more than 16 × 16
    pixels is pooled until it is not. Shapes are static, for the converter.

    Args:
        make: The style.
        x: A feature map (batch, h, w, c).
        name: The prefix of the layers' names.

    Returns:
        A feature map of the same shape, or of the pooled one.
    """
    pooled = 0
    while max(x.shape[1:3]) > MAX_ATTENTION_SIDE:
        pooled += 1
        x = layers.AveragePooling2D(2, padding="same", name=f"{name}_pool{pooled}")(x)
    _, height, width, channels = x.shape
    tokens = layers.Reshape((height * width, channels), name=f"{name}_tokens")(x)
    heads = 2 if channels >= 16 else 1
    normalized = layers.LayerNormalization(epsilon=1e-3, name=f"{name}_norm")(tokens)
    attended = layers.MultiHeadAttention(
        heads,
        max(4, channels // heads),
        kernel_initializer=keras.initializers.GlorotUniform(make.seed()),
        name=name,
    )(normalized, normalized)
    tokens = layers.Add(name=f"{name}_add")([tokens, attended])
    return layers.Reshape((height, width, channels), name=f"{name}_map")(tokens)
