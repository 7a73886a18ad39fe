"""What a network of the CNN space costs, from its configuration alone.

Building one takes 50 ms; a sampler that weighs a thousand configurations has no time for that.
The arithmetic is that of ``autosearch.models``, layer by layer; a test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

from autosearch.space.architecture import CNNConfig

__all__ = ["MAX_ATTENTION_SIDE", "Capacity", "capacity_of", "round_channels"]

MAX_ATTENTION_SIDE = 16
"""Beyond it the square of the pixels outgrows a small device's memory."""

_NORM_WEIGHTS = {"batch": 4, "layer": 2, "group": 2, "none": 0}


@dataclass(slots=True)
class Capacity:
    """What one network has and does, up to the vector that its classes are told from.

    Attributes:
        parameters: Its weights, moving statistics included.
        macs: Multiply-accumulates of one inference.
        features: How long the vector is.
    """

    parameters: int = 0
    macs: int = 0
    features: int = 0


def capacity_of(config: CNNConfig, input_shape: tuple[int, int, int]) -> Capacity:
    """Counts a network without building it.

    Args:
        config: Its configuration.
        input_shape: (height, width, channels) of the images.
    """
    count = _Count(config, *input_shape)
    if config.block != "plain":
        count.conv(round_channels(config.width))
    for stage in range(config.stages):
        channels = round_channels(config.width * config.width_growth**stage)
        halve = stage > 0 and min(count.height, count.width) > 2
        if halve and config.pooling != "stride":
            count.halve()
        for index in range(config.blocks_per_stage):
            stride = 2 if halve and index == 0 and config.pooling == "stride" else 1
            count.block(channels, stride)
    if config.attention == "self_attention":
        count.attend()
    count.total.features = count.channels
    return count.total


class _Count:
    """A feature map's shape on its way through the network, and what it has cost so far."""

    def __init__(self, config: CNNConfig, height: int, width: int, channels: int) -> None:
        self._config = config
        self.height, self.width, self.channels = height, width, channels
        self.total = Capacity()

    def block(self, channels: int, stride: int) -> None:
        entrance = self.channels
        match self._config.block:
            case "plain":
                self.conv(channels, stride=stride)
                self._excite()
            case "separable":
                self._depthwise(stride)
                self.conv(channels, kernel_size=1)
                self._excite()
            case "residual":
                if stride != 1 or entrance != channels:
                    height, width = -(-self.height // stride), -(-self.width // stride)
                    self._add_conv(entrance, channels, 1, height * width)
                self.conv(channels, stride=stride)
                self.conv(channels)
                self._excite()
            case "inverted_residual":
                if self._config.expansion > 1:
                    self.conv(entrance * self._config.expansion, kernel_size=1)
                self._depthwise(stride)
                self.conv(channels, kernel_size=1)
                self._excite()

    def conv(self, channels: int, *, kernel_size: int | None = None, stride: int = 1) -> None:
        self._stride(stride)
        size = kernel_size or self._config.kernel_size
        self._add_conv(self.channels, channels, size, self.height * self.width)
        self.channels = channels

    def halve(self) -> None:
        self._stride(2)

    def attend(self) -> None:
        while max(self.height, self.width) > MAX_ATTENTION_SIDE:
            self.halve()
        channels, tokens = self.channels, self.height * self.width
        heads = 2 if channels >= 16 else 1
        inside = heads * max(4, channels // heads)
        self.total.parameters += 2 * channels
        self._add(3 * channels * inside, biases=3 * inside, places=tokens)
        self._add(inside * channels, biases=channels, places=tokens)
        self.total.macs += 2 * tokens * tokens * inside

    def _depthwise(self, stride: int) -> None:
        self._stride(stride)
        weights = self._config.kernel_size**2 * self.channels
        self._add(weights, biases=self._biases(self.channels), places=self.height * self.width)

    def _excite(self) -> None:
        if self._config.attention == "squeeze_excite":
            inside = max(4, self.channels // 4)
            self._add(2 * self.channels * inside, biases=inside + self.channels, places=1)

    def _add_conv(self, before: int, channels: int, kernel_size: int, places: int) -> None:
        self._add(kernel_size**2 * before * channels, biases=self._biases(channels), places=places)

    def _biases(self, channels: int) -> int:
        """What stands behind a convolution: its biases, or the normalization's weights."""
        return channels * (_NORM_WEIGHTS[self._config.normalization] or 1)

    def _add(self, weights: int, *, biases: int, places: int) -> None:
        self.total.parameters += weights + biases
        self.total.macs += weights * places

    def _stride(self, stride: int) -> None:
        self.height, self.width = -(-self.height // stride), -(-self.width // stride)


def round_channels(channels: float) -> int:
    """Channels as a device likes them: a multiple of 4, from 32 on of 8; at least 4.

    Example:
        >>> [round_channels(c) for c in (1, 6, 18, 45)]
        [4, 8, 20, 48]
    """
    step = 8 if channels >= 32 else 4
    return max(4, int(channels / step + 0.5) * step)
