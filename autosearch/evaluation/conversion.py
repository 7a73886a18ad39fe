"""Keras network → float32 ``.tflite`` file, the one from which every quantization starts.

The network is traced once with its weights as constants and handed to the converter as a frozen
graph. That takes 0.15 to 0.25 s for small networks, against 0.8 to 1.3 s by way of a SavedModel
(``model.export``), for the same operators and the same outputs. Giving
``from_concrete_functions`` the network itself is no way: Keras's variables then stay variables,
uninitialized in the file.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from autosearch.errors import ConversionError, first_line
from autosearch.evaluation.litert import captured_stderr

__all__ = ["random_weights", "to_tflite", "trace"]

_LOGGER = logging.getLogger(__name__)

Weights = Sequence[npt.NDArray[Any]]


def to_tflite(
    model: keras.Model,
    *,
    weights: Weights | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> bytes:
    """Convert a network to a float32 file: one image of raw pixels 0–255 in, probabilities out.

    The file has batch 1, static shapes, TFLite's built-in operators only, and the behaviour of
    ``training=False``. The same network with the same weights gives the same bytes.

    Args:
        model: A built network with one image input and one output of class probabilities.
        weights: Values to convert with instead of the network's own, in the order of
            ``model.variables`` (see `random_weights`); the network is not changed.
        image_shape: (height, width, channels); needed where the network does not say it, as
            with a subclassed one.

    Returns:
        The content of the file, tensor names included.

    Raises:
        ConversionError: The network cannot be traced, or has an operator that TFLite lacks.
    """
    function = trace(model, weights=weights, image_shape=image_shape)
    shape = function.structured_outputs.shape
    if shape.rank != 2 or shape[0] != 1 or shape[1] is None:
        raise ConversionError(
            f"The network gives an output of shape {tuple(shape)} for one image; expected "
            "(1, classes)."
        )
    absl = logging.getLogger("absl")
    level = absl.level
    with captured_stderr():
        try:
            absl.setLevel(logging.ERROR)
            converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            return bytes(converter.convert())
        except Exception as error:
            # Pages of MLIR, which would drown the traceback that a failed trial keeps.
            _LOGGER.debug("The converter's words: %s", error)
            raise ConversionError(_converter_sentence(str(error))) from None
        finally:
            absl.setLevel(level)


def random_weights(model: keras.Model, seed: int) -> list[npt.NDArray[Any]]:
    """Random values for every weight, so that an untrained network converts to its final size.

    Biases, offsets and means start as constants that the converter folds away, which makes an
    untrained file 3 to 21 % too small. None of these values is constant, and those of rank 0 or
    1 and all variances are positive, so the file has the size of the trained one.

    Args:
        model: A built network; it is not changed.
        seed: Of the values. Weights that are not floating-point keep theirs.

    Returns:
        One array for each of ``model.variables``, in that order.
    """
    generator = np.random.default_rng(seed)
    values = []
    for variable in model.variables:
        value = np.asarray(variable)
        if np.issubdtype(value.dtype, np.floating):
            if value.ndim <= 1 or "variance" in variable.path:
                drawn = generator.uniform(0.5, 1.5, value.shape)
            else:
                fan_in = float(np.prod(value.shape[:-1]))
                drawn = generator.normal(0.0, fan_in**-0.5, value.shape)
            value = np.asarray(drawn, dtype=value.dtype)
        values.append(value)
    return values


def trace(
    model: keras.Model,
    *,
    weights: Weights | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> Any:
    """The network's inference on one float32 image as a TensorFlow concrete function.

    Args:
        model: A built network.
        weights: As in `to_tflite`.
        image_shape: As in `to_tflite`.

    Returns:
        A ``ConcreteFunction`` whose weights are constants.

    Raises:
        ConversionError: The network cannot be called on one image of that shape.
    """
    if weights is None:
        weights = [np.asarray(variable) for variable in model.variables]
    variables = list(model.variables)
    if len(weights) != len(variables):
        raise ConversionError(
            f"Got {len(weights)} arrays for a network with {len(variables)} variables; give one "
            "for each of model.variables, in that order."
        )
    value_of = dict(zip((id(variable) for variable in variables), weights, strict=True))
    shape = (1, *(_image_shape(model) if image_shape is None else image_shape))

    def infer(image: Any) -> Any:
        outputs, _ = model.stateless_call(
            [tf.constant(value_of[id(v)], v.dtype) for v in model.trainable_variables],
            [tf.constant(value_of[id(v)], v.dtype) for v in model.non_trainable_variables],
            image,
            training=False,
        )
        return outputs

    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    try:
        function = tf.function(infer, input_signature=signature, autograph=False)
        function = function.get_concrete_function()
    except Exception as error:
        raise ConversionError(
            f"The network cannot be called on one image of shape {shape}: {first_line(error)}"
        ) from error
    if not isinstance(function.structured_outputs, tf.TensorSpec | tf.Tensor):
        raise ConversionError(
            f"The network gives a {type(function.structured_outputs).__name__} of outputs; "
            "expected one tensor of class probabilities."
        )
    return function


def _image_shape(model: keras.Model) -> tuple[int, int, int]:
    try:
        shape = model.input_shape
    except (AttributeError, ValueError):
        shape = None
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ConversionError(
            f"The network's input shape is {shape}; expected (None, height, width, channels) with "
            "fixed sizes: build it with keras.Input, or pass image_shape."
        )
    _, height, width, channels = shape
    return int(height), int(width), int(channels)


def _converter_sentence(text: str) -> str:
    if re.search(r"\bb?f16>|xb?f16>", text):
        return (
            "The network computes in 16-bit floats, which TFLite's operators do not; build it "
            "under Keras's float32 policy."
        )
    operators = re.findall(r"'tf\.(\w+)' op is neither", text)
    for listed in re.findall(r"(?:Custom|Select|Flex) ops?: (.+)", text):
        operators += [name.strip() for name in listed.split(",")]
    if operators:
        names = ", ".join(sorted(set(operators)))
        return (
            f"TFLite has no built-in operator for {names}; replace the layer that uses it by one "
            "that TFLite can run."
        )
    complaint = re.search(r"error: (.+)", text) or re.search(r"(\S.*)", text)
    return f"TensorFlow's converter refused the network: {complaint[1] if complaint else '?'}"
