"""What a ``.tflite`` file is made of: its operators, where its bytes lie, where its time goes."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autosearch.errors import ConversionError, first_line
from autosearch.evaluation.litert import captured_stderr

__all__ = ["Layer", "layer_times_ms", "layers_of"]

_MAX_REPEATS = 200
_MAX_LOADED_BYTES = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator of a file, or its input.

    Attributes:
        operator: Its kind, such as ``CONV_2D``; ``INPUT`` for what goes in.
        detail: Filter and stride, such as ``3 × 3, stride 2``; empty where it has none.
        activation: What is applied to its output at once, such as ``relu``; empty for nothing.
        shape: Of its output, without the batch.
        kind: The type of its output, such as ``INT8``.
        reads: The layers whose output it reads, by place.
        weights: The type that its largest constant is stored in, such as ``INT4``; empty where it
            has none.
        weight_bytes: What its weights take in the file, of those that no earlier layer has.
        macs: Multiply-accumulates of one inference.
    """

    operator: str
    detail: str
    activation: str
    shape: tuple[int, ...]
    kind: str
    reads: tuple[int, ...]
    weights: str
    weight_bytes: int
    macs: int


def layers_of(file: bytes) -> tuple[Layer, ...]:
    """The input of a file and its operators, in the order in which they run.

    An operator that only unpacks weights, as the 16-bit ones of a float16 file, counts as part of
    the layer that they belong to.

    Args:
        file: The content of a ``.tflite`` file.

    Raises:
        ConversionError: The bytes are no ``.tflite`` file.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(file)
    graph = model.subgraphs[0]
    kinds = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    activations = {
        value: name.lower()
        for name, value in vars(schema.ActivationFunctionType).items()
        if name.isupper() and name != "NONE"
    }
    # Tensor to the bytes that it stands for, and to the layer that makes it.
    weights = {place: _stored(model, t) for place, t in enumerate(graph.tensors)}
    constant = {place for place, size in weights.items() if size}
    stored_as = {place: kinds.get(graph.tensors[place].type, "") for place in constant}
    maker = {int(place): 0 for place in graph.inputs}
    counted: set[int] = set()
    first = int(graph.inputs[0])
    layers = [
        Layer(
            operator="INPUT",
            detail="",
            activation="",
            shape=_shape(graph, first)[1:],
            kind=kinds.get(graph.tensors[first].type, ""),
            reads=(),
            weights="",
            weight_bytes=0,
            macs=0,
        )
    ]
    for operator in graph.operators:
        inputs = [int(place) for place in operator.inputs if place >= 0]
        outputs = [int(place) for place in operator.outputs]
        if inputs and constant.issuperset(inputs):
            constant.update(outputs)
            weights[outputs[0]] = sum(weights[place] for place in inputs)
            stored_as[outputs[0]] = stored_as[inputs[0]]
            continue
        own = [p for p in inputs if p in constant and p not in counted]
        counted.update(own)
        largest = max(constant.intersection(inputs), key=weights.__getitem__, default=-1)
        name = str(flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex))
        shapes = [_shape(graph, int(place)) for place in operator.inputs]
        output = graph.tensors[outputs[0]]
        options = operator.builtinOptions
        layers.append(
            Layer(
                operator=name,
                detail=_detail(name, shapes, options),
                activation=activations.get(getattr(options, "fusedActivationFunction", 0), ""),
                shape=_shape(graph, outputs[0])[1:],
                kind=kinds.get(output.type, ""),
                reads=tuple(dict.fromkeys(maker[p] for p in inputs if p in maker)),
                weights=stored_as.get(largest, ""),
                weight_bytes=sum(weights[place] for place in own),
                macs=_macs(name, shapes, _shape(graph, outputs[0]), operator),
            )
        )
        maker.update(dict.fromkeys(outputs, len(layers) - 1))
    return tuple(layers)


def layer_times_ms(file: bytes, *, seconds: float = 1.0) -> tuple[float, ...]:
    """About how long each of ``layers_of`` takes on this machine; 0 for the input.

    LiteRT's Python package has no profiler, so the file is cut after each layer, and a layer's
    time is what it adds to the median time of the cut before, or 0 where that is lost in noise.
    The cuts take turns, so that a busy moment of the machine falls on all of them; of a large file
    some dozens of megabytes at a time. Kernels that LiteRT would fuse across a cut count where
    they are cut.

    Args:
        file: The content of a ``.tflite`` file.
        seconds: About how long to measure.

    Returns:
        Milliseconds a layer.

    Raises:
        ConversionError: LiteRT cannot run the file.
    """
    ends = _ends(file)
    # Each cut has all of the file's weights.
    at_once = max(2, _MAX_LOADED_BYTES // len(file))
    totals: list[float] = []
    try:
        for first in range(0, len(ends), at_once):
            cuts = [_up_to(end, file) for end in ends[first : first + at_once]]
            totals += _medians_ms(cuts, seconds * len(cuts) / len(ends))
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            f"LiteRT cannot run this file layer by layer: {first_line(error)}."
        ) from error
    # A cut is no quicker than the one before: what it was measured below it is noise.
    reached, result = 0.0, [0.0]
    for total in totals:
        result.append(max(0.0, total - reached))
        reached = max(reached, total)
    return tuple(result)


def _up_to(end: int, file: bytes) -> Any:
    """An interpreter of the file without what comes after one of its operators."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(file)
    graph = model.subgraphs[0]
    graph.operators = graph.operators[: end + 1]
    graph.outputs = graph.operators[-1].outputs
    model.signatureDefs = None
    cut = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with captured_stderr():
        interpreter = Interpreter(model_content=cut, num_threads=1)
        interpreter.allocate_tensors()
        interpreter.invoke()
    return interpreter


def _medians_ms(cuts: Sequence[Any], seconds: float) -> list[float]:
    """The median time of each, in turns."""
    times: list[list[int]] = [[] for _ in cuts]
    until = time.perf_counter() + seconds
    while len(times[0]) < _MAX_REPEATS and (time.perf_counter() < until or len(times[0]) < 3):
        for place, interpreter in enumerate(cuts):
            begin = time.perf_counter_ns()
            interpreter.invoke()
            times[place].append(time.perf_counter_ns() - begin)
    return [statistics.median(one) / 1e6 for one in times]


def _ends(file: bytes) -> list[int]:
    """The place among all operators of each of ``layers_of`` but the input."""
    model = _read(file)
    graph = model.subgraphs[0]
    constant = {place for place, t in enumerate(graph.tensors) if _stored(model, t)}
    ends = []
    for place, operator in enumerate(graph.operators):
        inputs = [int(one) for one in operator.inputs if one >= 0]
        if inputs and constant.issuperset(inputs):
            constant.update(int(one) for one in operator.outputs)
        else:
            ends.append(place)
    return ends


def _read(file: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
        if not model.subgraphs:
            raise ValueError("it holds no network")
    except Exception as error:
        raise ConversionError(
            f"These {len(file)} bytes are no .tflite file: {str(error).rstrip('.')}."
        ) from error
    return model


def _stored(model: Any, tensor: Any) -> int:
    """Bytes of a tensor's content in the file; 0 where it is computed."""
    data = model.buffers[tensor.buffer].data
    return 0 if data is None else len(data)


def _shape(graph: Any, place: int) -> tuple[int, ...]:
    if place < 0 or graph.tensors[place].shape is None:
        return ()
    return tuple(int(size) for size in graph.tensors[place].shape)


def _detail(name: str, shapes: Sequence[tuple[int, ...]], options: Any) -> str:
    size: tuple[int, ...] = ()
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        size = shapes[1][1:3]
    elif name in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        size = (options.filterHeight, options.filterWidth)
    if not size:
        return ""
    strides = (options.strideH, options.strideW)
    text = " × ".join(map(str, size))
    if math.prod(strides) == 1:
        return text
    return f"{text}, stride {' × '.join(map(str, dict.fromkeys(strides)))}"


def _macs(
    name: str, inputs: Sequence[tuple[int, ...]], output: tuple[int, ...], operator: Any
) -> int:
    """Multiply-accumulates of one operator, whose filters put the output channel first."""
    if name in ("CONV_2D", "FULLY_CONNECTED"):
        return math.prod(output) * math.prod(inputs[1][1:])
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(output) * math.prod(inputs[1][1:3])
    if name == "TRANSPOSE_CONV":
        return math.prod(inputs[2]) * math.prod(inputs[1][:3])
    if name == "BATCH_MATMUL":
        depth = inputs[0][-2 if operator.builtinOptions.adjX else -1]
        return math.prod(output) * depth
    return 0
