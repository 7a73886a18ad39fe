"""An ``int8`` file with the weights of some layers narrowed to four bits: the scheme ``mixed``.

Which layers is found by an inner search on the file itself, without a training. How far a file
strays is the mean total variation distance (half the sum of absolute differences) between its
class probabilities and those of the float file, rounded alike, on images that the network learned
from, so that nothing is chosen on the images that judge. It bounds how many labels drawn from the
probabilities change. Over 50 mixtures of ten networks for 8 × 8 digits it was, on training images,
0.99 correlated with the same figure on 719 images that they had not seen (median ratio 1.15).

LiteRT runs weights of four bits in convolutions and dense layers between int8 activations, and
TensorFlow Lite Micro does, within one output step; neither does in depthwise convolutions.
TensorFlow Lite Micro takes one scale for all of a dense layer's weights and refuses one a
channel; one scale is 24 bytes a unit less, too, so both get that. Both unpack the weights while
they run: a file takes 1.0 to 4.5 times as long as int8's in LiteRT, and the arena grows by the
largest narrow convolution's weights.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.errors import ConversionError
from autosearch.evaluation.layers import layers_of
from autosearch.evaluation.litert import TFLiteModel, captured_stderr

__all__ = ["MAX_DIVERGENCE", "divergence", "mixed_file", "narrowest_file", "weights_by_layer"]

MAX_DIVERGENCE = 0.02
"""How much further from the float file than ``int8`` a ``mixed`` file may stray."""

_MIN_SAVING = 0.01
"""Of the int8 file: a layer that saves less is mostly a first one, small and the most sensitive."""

_MAX_IN_FLOAT = 3
_NUM_IMAGES_TO_LOOK_AT = 50
_NOTHING_TO_NARROW = f"No layer saves {_MIN_SAVING:.0%} of the int8 file with weights of 4 bits."
_LARGEST = 7  # -8 has no counterpart


def mixed_file(
    float_file: bytes,
    int8_file: bytes,
    images: npt.NDArray[np.uint8],
    *,
    partly_float: Callable[[Collection[int]], bytes],
) -> bytes:
    """Narrows the weights of as many layers as `MAX_DIVERGENCE` allows.

    Begins with all of them. While the file strays too far, the layer is widened again that costs
    most, by itself, for each byte that it saves. Takes two runs over the images for each layer at
    most: 0.02 to 0.24 s for files up to 500 kB.

    Where int8 itself strays further than that, the layers around one to three activations are
    kept in float first, if that brings it back.

    Args:
        float_file: The network in float32.
        int8_file: The same, as the scheme ``int8`` has it.
        images: What the network learned from, uint8 (n, height, width, channels).
        partly_float: Answers the int8 file with some layers in float, by the number of the tensor
            that each gives in the float file.

    Returns:
        The file that would ship. The same input gives the same bytes.

    Raises:
        ConversionError: No layer gains, or bytes cannot be read or run.
    """
    expected = _in_steps(TFLiteModel(float_file).predict(images), int8_file)

    def strays(file: bytes) -> float:
        return divergence(expected, TFLiteModel(file).predict(images))

    wide = int8_file
    if strays(int8_file) > MAX_DIVERGENCE:
        kept: set[int] = set()
        for around in _worst_activations(float_file, images):
            kept |= around
            # What cannot be made or run in parts stays as it is.
            with contextlib.suppress(ConversionError):
                file = partly_float(kept)
                if strays(file) <= MAX_DIVERGENCE:
                    wide = file
                    break
    network = _Network(wide)
    bound = strays(wide) + MAX_DIVERGENCE
    chosen = list(range(len(network.layers)))
    alone = dict[int, float]()
    if strays(network.file(chosen)) > bound:
        alone = {number: strays(network.file([number])) for number in chosen}
        savings = {number: network.layers[number].saving_bytes for number in chosen}
        chosen = [number for number in chosen if alone[number] <= bound]
        for number in sorted(chosen, key=lambda n: alone[n] / savings[n], reverse=True):
            if strays(network.file(chosen)) <= bound:
                break
            chosen.remove(number)
    if not chosen and wide is int8_file:
        raise ConversionError(
            f"Weights of 4 bits in any layer move the probabilities by more than "
            f"{MAX_DIVERGENCE:.0%} beyond int8 (the least: {min(alone.values()):.1%} in all)."
            if alone
            else _NOTHING_TO_NARROW
        )
    return network.file(chosen)


def narrowest_file(int8_file: bytes) -> bytes:
    """The smallest file that `mixed_file` can give, whatever the weights are.

    Args:
        int8_file: Of the network, trained or not.

    Raises:
        ConversionError: No layer would gain, or the bytes are no ``.tflite`` file.
    """
    network = _Network(int8_file)
    if not network.layers:
        raise ConversionError(_NOTHING_TO_NARROW)
    return network.file(range(len(network.layers)))


def divergence(
    expected: npt.NDArray[np.floating[Any]], given: npt.NDArray[np.floating[Any]]
) -> float:
    """Mean total variation distance between class probabilities, from 0 to 1.

    Args:
        expected: One row of probabilities an image, (n, classes).
        given: The same of another file.

    Example:
        >>> divergence(np.array([[0.5, 0.5]]), np.array([[0.75, 0.25]]))
        0.25
    """
    apart = np.abs(expected.astype(np.float64) - given.astype(np.float64))
    return float(apart.sum(axis=1).mean() / 2)


def weights_by_layer(file: bytes) -> dict[str, str]:
    """The type of the weights of every layer that multiplies by some, read off the file.

    Args:
        file: The content of a ``.tflite`` file.

    Returns:
        By place among ``layers_of`` and operator, such as ``{"4 CONV_2D": "INT4"}``.

    Raises:
        ConversionError: The bytes are no ``.tflite`` file.
    """
    return {
        f"{place} {layer.operator}": layer.weights
        for place, layer in enumerate(layers_of(file))
        if layer.macs and layer.weights
    }


@dataclass(frozen=True, slots=True)
class _Content:
    """What a tensor holds: its type, its bytes and its scales."""

    kind: int
    data: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]

    def write(self, model: Any, tensor: Any) -> None:
        tensor.type = self.kind
        model.buffers[tensor.buffer].data = self.data
        tensor.quantization.scale = self.scale
        tensor.quantization.zeroPoint = np.zeros(len(self.scale), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that can be narrowed: each of its tensors, as in int8 and as with four bits.

    Attributes:
        tensors: Weights, and biases if it has any, whose scale is that of the weights.
        saving_bytes: What the file loses, padding aside.
    """

    tensors: tuple[tuple[Any, _Content, _Content], ...]
    saving_bytes: int


class _Network:
    """An int8 file whose layers can be narrowed and widened again.

    Args:
        int8_file: Its content.
    """

    def __init__(self, int8_file: bytes) -> None:
        from ai_edge_litert.tools import flatbuffer_utils

        layers_of(int8_file)  # refuses what is no such file
        self._model = flatbuffer_utils.read_model_from_bytearray(bytearray(int8_file))
        least = _MIN_SAVING * len(int8_file)
        found = _narrowable(self._model)
        self.layers = [layer for layer in found if layer.saving_bytes >= least]

    def file(self, narrow: Collection[int]) -> bytes:
        """The file with those layers narrowed, by number, and no others."""
        from ai_edge_litert.tools import flatbuffer_utils

        for number, layer in enumerate(self.layers):
            for tensor, wide, narrowed in layer.tensors:
                (narrowed if number in narrow else wide).write(self._model, tensor)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))


def _worst_activations(file: bytes, images: npt.NDArray[np.uint8]) -> list[set[int]]:
    """The layers around the activations that 256 steps suit least, the worst first.

    All channels of an activation share its steps. One channel that is a hundred times as large as
    the others leaves them a few steps, and keeping one layer in float is no help, since what it
    gives is rounded all the same: its readers have to be kept, too.

    Args:
        file: The network in float32.
        images: To run it on.

    Returns:
        For each of a few activations, the tensors that its maker and its readers give.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
    from ai_edge_litert.tools import flatbuffer_utils

    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(file)).subgraphs[0]
    with captured_stderr():
        # A delegate keeps what is inside it to itself.
        interpreter = Interpreter(
            model_content=file,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
    # The last layer stays, so that bytes come out; what it reads has one value a class.
    (last,) = (operator for operator in graph.operators if graph.outputs[0] in operator.outputs)
    makers = {int(operator.outputs[0]): operator for operator in graph.operators}
    del makers[int(last.outputs[0])]
    inner = makers.keys() - {int(place) for place in last.inputs}
    seen = {
        tensor: _Spread()
        for tensor in sorted(inner)
        if graph.tensors[tensor].type == schema.TensorType.FLOAT32
        and np.size(graph.tensors[tensor].shape) > 1
    }
    for image in images[:_NUM_IMAGES_TO_LOOK_AT]:
        interpreter.set_tensor(int(graph.inputs[0]), image[np.newaxis].astype(np.float32))
        interpreter.invoke()
        for tensor, spread in seen.items():
            value = interpreter.get_tensor(tensor)
            spread.add(value.reshape(-1, value.shape[-1]))
    drowned = {}
    for tensor, spread in seen.items():
        step, variances = spread.range / 255, spread.variances
        alive = variances[variances > 0]
        # The variance of what rounding adds, against that of each channel.
        shares = step**2 / 12 / (step**2 / 12 + alive)
        drowned[tensor] = float(shares.mean()) if len(alive) else 0.0
    worst = sorted(drowned, key=drowned.__getitem__, reverse=True)[:_MAX_IN_FLOAT]
    return [
        {tensor, *(made for made, operator in makers.items() if tensor in operator.inputs)}
        for tensor in worst
    ]


class _Spread:
    """The range of an activation, and the variance of each channel, image after image.

    Those of all images at once would be gigabytes in a network for photos. Variances of parts are
    put together as by Chan, Golub and LeVeque 1983, https://doi.org/10.1080/00031305.1983.10483115.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Adds values of one image, shape ``(n, channels)``."""
        wide = values.astype(np.float64)
        count, mean = len(wide), wide.mean(axis=0)
        both, apart = self._count + count, mean - self._mean
        self._squares += wide.var(axis=0) * count + apart**2 * (self._count * count / both)
        self._mean += apart * (count / both)
        self._count = both
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))

    @property
    def range(self) -> float:
        """From the least to the greatest value."""
        return self._high - self._low

    @property
    def variances(self) -> npt.NDArray[np.float64]:
        """Of each channel, shape ``(channels,)``."""
        return np.asarray(self._squares / self._count)


def _in_steps(
    probabilities: npt.NDArray[np.floating[Any]], file: bytes
) -> npt.NDArray[np.floating[Any]]:
    """The nearest that a file with integer output can give.

    Rounding loses the more, the more classes there are, and says nothing of the layers.
    """
    output = TFLiteModel(file).output
    if output.scale == 0:  # it ends in a layer that has no integer kernel
        return probabilities
    limits = np.iinfo(output.dtype)
    steps = np.rint(probabilities / output.scale) + output.zero_point
    nearest: npt.NDArray[np.floating[Any]] = (
        np.clip(steps, limits.min, limits.max) - output.zero_point
    ) * output.scale
    return nearest


def _narrowable(model: Any) -> list[_Layer]:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    graph = model.subgraphs[0]
    # What two share cannot be narrowed for one of them.
    readers = Counter(int(place) for op in graph.operators for place in op.inputs)
    holders = Counter(tensor.buffer for tensor in graph.tensors)
    layers = []
    for operator in graph.operators:
        name = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        if name not in ("CONV_2D", "FULLY_CONNECTED"):
            continue
        source, *own = (graph.tensors[place] for place in operator.inputs if place >= 0)
        stored = [model.buffers[tensor.buffer].data for tensor in own]
        is_alone = all(readers[int(place)] == 1 for place in operator.inputs[1:] if place >= 0)
        is_alone = is_alone and all(holders[tensor.buffer] == 1 for tensor in own)
        kinds = [tensor.type for tensor in (source, *own)]
        expected = [schema.TensorType.INT8, schema.TensorType.INT8, schema.TensorType.INT32]
        if kinds == expected[: len(kinds)] and is_alone and all(d is not None for d in stored):
            layers.append(_layer(model, source, own, per_channel=name == "CONV_2D"))
    return layers


def _layer(model: Any, source: Any, own: list[Any], *, per_channel: bool) -> _Layer:
    from ai_edge_litert import schema_py_generated as schema

    wide = [
        _Content(
            tensor.type,
            model.buffers[tensor.buffer].data,
            np.asarray(tensor.quantization.scale, dtype=np.float32),
        )
        for tensor in own
    ]
    num_channels = int(own[0].shape[0])
    integers = np.frombuffer(bytes(wide[0].data), dtype=np.int8).reshape(num_channels, -1)
    # One scale a channel, or one for all.
    weights = integers * wide[0].scale.astype(np.float64).reshape(-1, 1)
    largest = np.abs(weights).max(axis=1 if per_channel else None, keepdims=True)
    # A channel without weights has any scale.
    scale = np.where(largest > 0, largest / _LARGEST, wide[0].scale.max())
    narrowed = np.clip(np.rint(weights / scale), -_LARGEST, _LARGEST).astype(np.int8)
    scales = scale.reshape(-1).astype(np.float32)
    narrow = [_Content(schema.TensorType.INT4, _packed(narrowed), scales)]
    if len(own) > 1:
        biases = np.frombuffer(bytes(wide[1].data), dtype=np.int32) * wide[1].scale.astype(float)
        # What kernels add a bias to: products of an input and a weight.
        steps = np.float64(source.quantization.scale[0]) * scales
        integers = np.rint(biases / steps).astype(np.int32)
        data = np.frombuffer(integers.tobytes(), dtype=np.uint8)
        narrow.append(_Content(schema.TensorType.INT32, data, steps.astype(np.float32)))
    # A scale of 4 bytes and a zero point of 8.
    saving = sum(
        len(before.data) - len(after.data) + 12 * (len(before.scale) - len(after.scale))
        for before, after in zip(wide, narrow, strict=True)
    )
    return _Layer(tuple(zip(own, wide, narrow, strict=True)), saving)


def _packed(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Two integers of four bits a byte, the first in the lower half."""
    halves = np.zeros(2 * math.ceil(integers.size / 2), dtype=np.uint8)
    halves[: integers.size] = integers.ravel().astype(np.uint8) & 0x0F
    packed: npt.NDArray[np.uint8] = np.bitwise_or(halves[0::2], halves[1::2] << 4)
    return packed
