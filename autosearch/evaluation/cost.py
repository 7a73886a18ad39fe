"""What a network costs before it is trained: parameters, multiply-accumulates, least size."""

import math
from typing import Any

import keras

from autosearch.errors import ConversionError
from autosearch.evaluation.conversion import trace

__all__ = ["count_macs", "count_parameters", "estimate_size_bytes"]

_BYTES_PER_WEIGHT = {
    "float32": 4.0,
    "float16": 2.0,
    "dynamic_int8": 1.0,
    "int8": 1.0,
    "int16x8": 1.0,
    "mixed": 0.5,
}


def count_parameters(model: keras.Model) -> int:
    """Weights of a built network, as Keras counts them: moving statistics included."""
    return int(model.count_params())


def count_macs(model: keras.Model, *, image_shape: tuple[int, int, int] | None = None) -> int:
    """Multiply-accumulates of one inference.

    Counted on the traced graph, so it makes no difference how the network is written: all
    convolutions (depthwise, separable, grouped, transposed, 1-D and 3-D), dense layers, einsums
    and attention. Not counted: what is done element by element (activations, normalization,
    pooling), and the inside of loops that stay loops in the graph. Takes about 0.05 s.

    Args:
        model: A built network with one image input.
        image_shape: (height, width, channels); needed where the network does not say it.

    Raises:
        ConversionError: The network cannot be called on one image.
    """
    graph = trace(model, image_shape=image_shape).graph
    return sum(_macs_of_node(node) for node in graph.get_operations())


def estimate_size_bytes(model: keras.Model, scheme: str) -> int:
    """A lower bound of the size of the file, without converting anything.

    Counts the trainable weights of rank 2 and more, which every scheme stores as they are;
    ``mixed`` may store each of them in half a byte.
    Biases, scales and normalization, which the converter may fold into each other, and the
    file's structure are left out, so the file is larger: by 2 to 8 kB for small networks, and by
    some 20 bytes a channel if it is quantized. The bound does not hold for a network with
    trainable weights that its inference does not use.

    Args:
        model: A built network.
        scheme: A quantization scheme.

    Raises:
        ConversionError: The scheme is unknown.
    """
    if scheme not in _BYTES_PER_WEIGHT:
        raise ConversionError(
            f"Got the quantization scheme {scheme!r}; expected one of "
            f"{', '.join(_BYTES_PER_WEIGHT)}."
        )
    num_weights: int = sum(
        math.prod(variable.shape)
        for variable in model.trainable_variables
        if len(variable.shape) >= 2
    )
    return math.ceil(num_weights * _BYTES_PER_WEIGHT[scheme])


def _macs_of_node(node: Any) -> int:
    """Multiply-accumulates of one TensorFlow graph node."""
    kind = node.type
    if kind not in _NODE_KINDS:
        return 0
    shapes: list[tuple[int, ...]] = [tuple(tensor.shape.as_list()) for tensor in node.inputs]
    output: int = math.prod(node.outputs[0].shape.as_list())
    if kind in ("Conv2D", "Conv3D"):
        return output * math.prod(shapes[1][:-1])
    if kind == "DepthwiseConv2dNative":
        return output * math.prod(shapes[1][:2])
    if kind in ("Conv2DBackpropInput", "Conv3DBackpropInputV2"):
        # Every input value meets every weight of its channel.
        return math.prod(shapes[2]) * math.prod(shapes[1][:-1])
    if kind == "MatMul":
        rows, columns = shapes[0]
        return output * (rows if node.get_attr("transpose_a") else columns)
    if kind == "Einsum":
        return _macs_of_einsum(node.get_attr("equation").decode(), shapes)
    depth: int = shapes[0][-2 if node.get_attr("adj_x") else -1]
    return output * depth


_NODE_KINDS = frozenset(
    {
        "BatchMatMul",
        "BatchMatMulV2",
        "Conv2D",
        "Conv2DBackpropInput",
        "Conv3D",
        "Conv3DBackpropInputV2",
        "DepthwiseConv2dNative",
        "Einsum",
        "MatMul",
    }
)


def _macs_of_einsum(equation: str, shapes: list[tuple[int, ...]]) -> int:
    """The product of all sizes that the equation runs over."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        before, _, after = labels.partition("...")
        sizes.update(zip(before, shape, strict=False))
        sizes.update(zip(reversed(after), reversed(shape), strict=False))
        if "..." in labels:
            shared = shape[len(before) : len(shape) - len(after)]
            for place, size in enumerate(reversed(shared)):
                sizes[f"...{place}"] = max(size, sizes.get(f"...{place}", 1))
    return math.prod(sizes.values())
