"""One float32 ``.tflite`` file → the file of each quantization scheme, stripped as it ships.

Needs ai-edge-quantizer and no TensorFlow. Every scheme starts from the same float file, and takes
10 to 170 ms for small networks, calibration on 200 images included.

============ ======================= ================== =====================================
scheme       weights                 computes in        input and output
============ ======================= ================== =====================================
float32      float32                 float32            float32, raw pixels 0–255
float16      float16, widened        float32            float32, raw pixels 0–255
dynamic_int8 int8 per channel        int8, ranges found float32, raw pixels 0–255
                                     while it runs
int8         int8 per channel        int8               uint8; input: scale 1, zero point 0
int16x8      int8 per channel        int16              int16; input: scale 255 / 32767
mixed        int8, or int4 by layer  int8               uint8; input: scale 1, zero point 0
============ ======================= ================== =====================================

``mixed`` is made of the int8 file by ``autosearch.evaluation.mixed_precision``.

What a scheme's kernels lack stays float between a DEQUANTIZE and a QUANTIZE: such files run, and
`is_fully_integer` tells them apart.
"""

import contextlib
import copy
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.errors import ConversionError, first_line
from autosearch.evaluation.litert import TFLiteModel, captured_stderr
from autosearch.evaluation.mixed_precision import mixed_file, narrowest_file
from autosearch.space.quantization import MIXED, SCHEMES

__all__ = ["is_fully_integer", "quantize", "quantize_all", "strip_names"]

_SMALLEST_RANGE = 1e-6
_CALIBRATED_AT_ONCE = 16
_STATIC_SCHEMES = ("int8", "int16x8")
_SIGNATURE = "serving_default"
_INPUT_NAME = "image"

_Ranges = dict[str, dict[str, npt.NDArray[Any]]]


def quantize(float_file: bytes, scheme: str, calibration: npt.NDArray[np.uint8]) -> bytes:
    """Quantize a float32 file one way, and strip it.

    Args:
        float_file: From `autosearch.evaluation.conversion.to_tflite`.
        scheme: One of `SCHEMES`, or ``mixed``.
        calibration: Images of the training split, uint8 (n, height, width, channels), whose
            activations give the static schemes their ranges; about 200 are enough. ``mixed``
            is compared with the float file on them, and the other schemes ignore them.

    Returns:
        The content of the file that would ship. The same input gives the same bytes.

    Raises:
        ConversionError: The scheme is unknown, not to be had on this platform, or the network
            cannot be quantized that way.
    """
    result = quantize_all(float_file, [scheme], calibration)[scheme]
    if isinstance(result, ConversionError):
        raise result
    return result


def quantize_all(
    float_file: bytes,
    schemes: Sequence[str],
    calibration: npt.NDArray[np.uint8],
    *,
    is_trained: bool = True,
) -> dict[str, bytes | ConversionError]:
    """Quantize a float32 file several ways, calibrating once for all static schemes.

    Args:
        float_file: As in `quantize`.
        schemes: Some of `SCHEMES`, and ``mixed``.
        calibration: As in `quantize`.
        is_trained: Whether the weights say which layers of ``mixed`` may be narrowed; otherwise
            all are.

    Returns:
        For each scheme the stripped file, or the error that says why there is none.
    """
    results: dict[str, bytes | ConversionError] = {}
    needed = dict.fromkeys("int8" if scheme == MIXED else scheme for scheme in schemes)
    ranges: _Ranges | ConversionError = {}
    if any(scheme in _STATIC_SCHEMES for scheme in needed):
        try:
            ranges = _calibrate(_with_plain_names(float_file), calibration)
        except ConversionError as error:
            ranges = error
    for scheme in needed:
        try:
            results[scheme] = _quantized(float_file, scheme, ranges)
        except ConversionError as error:
            results[scheme] = error
    if MIXED in schemes:

        def partly_float(kept: Collection[int]) -> bytes:
            return _quantized(float_file, "int8", ranges, kept)

        int8 = results["int8"]
        try:
            if isinstance(int8, ConversionError):
                raise int8
            results[MIXED] = (
                mixed_file(float_file, int8, calibration, partly_float=partly_float)
                if is_trained
                else narrowest_file(int8)
            )
        except ConversionError as error:
            results[MIXED] = error
    return {scheme: _readable(results[scheme]) for scheme in schemes}


def _readable(file: bytes | ConversionError) -> bytes | ConversionError:
    """The file, or why LiteRT refuses it: one scheme's file must not cost the others theirs."""
    if isinstance(file, ConversionError):
        return file
    try:
        TFLiteModel(file)
    except ConversionError as error:
        return error
    return file


def strip_names(file: bytes) -> bytes:
    """Remove what no interpreter needs: names, signatures, description and metadata.

    The outputs stay the same to the bit, in LiteRT and in TensorFlow Lite Micro; a file of 15 KB
    becomes 15 to 25 % smaller. Inputs and outputs are then known by their position.

    Args:
        file: The content of a ``.tflite`` file.

    Raises:
        ConversionError: The bytes are no ``.tflite`` file.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(file)
    flatbuffer_utils.strip_strings(model)
    model.metadata = None
    model.metadataBuffer = None
    _drop_unused_buffers(model)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def is_fully_integer(file: bytes) -> bool:
    """Whether a file computes in integers from its input to its output.

    Args:
        file: The content of a ``.tflite`` file.

    Returns:
        False if any tensor is a float: a float network, or a float island in an integer one.

    Raises:
        ConversionError: The bytes are no ``.tflite`` file.
    """
    from ai_edge_litert import schema_py_generated as schema

    kinds = schema.TensorType
    floats = {kinds.FLOAT16, kinds.FLOAT32, kinds.FLOAT64, kinds.BFLOAT16}
    return all(
        tensor.type not in floats for graph in _read(file).subgraphs for tensor in graph.tensors
    )


def _quantized(
    float_file: bytes,
    scheme: str,
    ranges: _Ranges | ConversionError,
    kept_in_float: Collection[int] = (),
) -> bytes:
    """One file, with some layers left as they are: those that give the tensors of that number."""
    if scheme not in SCHEMES:
        raise ConversionError(
            f"Got the quantization scheme {scheme!r}; expected one of "
            f"{', '.join((*SCHEMES, MIXED))}."
        )
    if scheme == "float32":
        return strip_names(float_file)
    is_static = scheme in _STATIC_SCHEMES
    if is_static and isinstance(ranges, ConversionError):
        raise ranges
    named = _with_plain_names(float_file)
    quantizer = _import("quantizer")
    with _quiet():
        try:
            # The quantizer changes what it is given: each scheme starts from copies.
            recipe = [*_recipe(scheme), *map(_left_alone, sorted(kept_in_float))]
            worker = quantizer.Quantizer(bytearray(named), recipe)
            result = worker.quantize(
                copy.deepcopy(ranges) if is_static else None, enable_progress_report=False
            )
        except Exception as error:
            raise ConversionError(
                f"ai-edge-quantizer cannot make a {scheme} file of this network: "
                f"{first_line(error)}."
            ) from error
    file = bytes(result.quantized_model)
    return strip_names(_with_general_sums(file) if scheme == "int16x8" else file)


def _with_general_sums(file: bytes) -> bytes:
    """Lets 16-bit sums have scales that are no powers of two, as the scales here are.

    The schema's default says that they are, ai-edge-quantizer leaves it, and LiteRT then refuses
    a sum whose input has a coarser scale than its output.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(file)
    for graph in model.subgraphs:
        for operator in graph.operators:
            if hasattr(operator.builtinOptions, "potScaleInt16"):
                operator.builtinOptions.potScaleInt16 = False
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _calibrate(named: bytes, calibration: npt.NDArray[np.uint8]) -> _Ranges:
    """The smallest and largest value of every activation over the calibration images."""
    if len(calibration) == 0:
        raise ConversionError(
            "Got no calibration images; int8 and int16x8 need some, about 200 of the training "
            "split."
        )
    calibrator = _import("calibrator")
    recipes = _import("recipe_manager")
    qsv_utils = _import("utils.qsv_utils")
    # Plain extremes, as TensorFlow's converter takes them. The library's default is a moving
    # average that forgets slowly and so starts from the first image alone: on 200 images the
    # largest error of the probabilities was 0.20 against 0.006, 0.43 against 0.05.
    with _quiet():
        try:
            worker = calibrator.Calibrator(
                named,
                num_threads=1,
                mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
                qsv_update_func=qsv_utils.min_max_update,
            )
            # A list each time, since the library counts its images first, and a short one: as
            # floats 200 images of 512 pixels are 629 MB. The extremes so far stay with the worker.
            for start in range(0, len(calibration), _CALIBRATED_AT_ONCE):
                some = calibration[start : start + _CALIBRATED_AT_ONCE]
                images = [{_INPUT_NAME: image[np.newaxis].astype(np.float32)} for image in some]
                worker.calibrate({_SIGNATURE: images}, recipes.RecipeManager())
            measured: _Ranges = dict(worker.get_model_qsvs())
        except Exception as error:
            raise ConversionError(
                f"ai-edge-quantizer cannot calibrate this network on {len(calibration)} images: "
                f"{first_line(error)}."
            ) from error
    ranges = {name: _with_a_width(extremes) for name, extremes in measured.items()}
    # Every pixel value is possible, whatever the sample holds: scale 1 and zero point 0 in uint8.
    ranges[_INPUT_NAME] = {
        "min": np.zeros(1, dtype=np.float32),
        "max": np.full(1, 255, dtype=np.float32),
    }
    return ranges


def _with_a_width(extremes: Mapping[str, Any]) -> dict[str, Any]:
    """The extremes of an activation, or -1 and 1 if it hardly moves.

    A layer whose units are all dead gives zeros. Their range would make a scale of 1e-14, with
    which LiteRT corrupts its memory while preparing the file; any scale holds a zero.
    """
    largest = max(float(np.max(np.abs(extremes["min"]))), float(np.max(np.abs(extremes["max"]))))
    if largest >= _SMALLEST_RANGE:
        return dict(extremes)
    ones = np.ones_like(np.asarray(extremes["max"], dtype=np.float32))
    return {**extremes, "min": -ones, "max": ones}


def _recipe(scheme: str) -> list[dict[str, Any]]:
    recipe = _import("recipe")
    recipes: Mapping[str, list[dict[str, Any]]] = {
        "float16": [_entry("*", {"weight_tensor_config": _tensor(16, "FLOAT")}, explicit=True)],
        "dynamic_int8": recipe.dynamic_wi8_afp32(),
        "int8": [*recipe.static_wi8_ai8(), _uint8_edge("INPUT"), _uint8_edge("OUTPUT")],
        "int16x8": recipe.static_wi8_ai16(),
    }
    return recipes[scheme]


def _uint8_edge(operation: str) -> dict[str, Any]:
    """Pixels go in, and probabilities come out, as uint8 instead of int8."""
    activations = {**_tensor(8, "UINT"), "symmetric": False}
    weights = {**_tensor(8, "INT"), "granularity": "CHANNELWISE"}
    tensors = {"activation_tensor_config": activations, "weight_tensor_config": weights}
    return _entry(operation, tensors, explicit=False)


def _left_alone(tensor: int) -> dict[str, Any]:
    """The layer that gives that tensor of ``_with_plain_names`` is not quantized."""
    return {
        "regex": f"^tensor_{tensor}(;|$)",
        "operation": "*",
        "algorithm_key": "no_quantize",
        "op_config": {},
    }


def _entry(operation: str, tensors: dict[str, Any], *, explicit: bool) -> dict[str, Any]:
    return {
        "regex": ".*",
        "operation": operation,
        "algorithm_key": "float_casting" if explicit else "min_max_uniform_quantize",
        "op_config": {
            **tensors,
            "compute_precision": "FLOAT" if explicit else "INTEGER",
            "explicit_dequantize": explicit,
        },
    }


def _tensor(num_bits: int, dtype: str) -> dict[str, Any]:
    return {"num_bits": num_bits, "symmetric": True, "granularity": "TENSORWISE", "dtype": dtype}


def _with_plain_names(float_file: bytes) -> bytes:
    """The file with a signature and a name of its own for each tensor.

    Ranges are kept by tensor name, so two tensors of one name would share them.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = _read(float_file)
    graph = model.subgraphs[0]
    if len(model.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ConversionError(
            f"The float file has {len(model.subgraphs)} graphs, {len(graph.inputs)} inputs and "
            f"{len(graph.outputs)} outputs; expected one of each."
        )
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"tensor_{number}".encode()
    graph.tensors[graph.inputs[0]].name = _INPUT_NAME.encode()
    signature = schema.SignatureDefT()
    signature.signatureKey = _SIGNATURE.encode()
    signature.subgraphIndex = 0
    signature.inputs = [_tensor_map(schema, _INPUT_NAME, graph.inputs[0])]
    signature.outputs = [_tensor_map(schema, "probabilities", graph.outputs[0])]
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _tensor_map(schema: Any, name: str, index: int) -> Any:
    mapping = schema.TensorMapT()
    mapping.name = name.encode()
    mapping.tensorIndex = index
    return mapping


def _drop_unused_buffers(model: Any) -> None:
    """Keep buffer 0, which stands for "no data", and those that a tensor reads."""
    kept = {0: 0}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = kept.setdefault(tensor.buffer, len(kept))
    model.buffers = [model.buffers[old] for old in kept]


def _read(file: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        if file[4:8] != b"TFL3":
            raise ValueError("the identifier TFL3 is missing")
        return flatbuffer_utils.read_model_from_bytearray(file)
    except Exception as error:
        raise ConversionError(
            f"These {len(file)} bytes are no .tflite file: {first_line(error)}."
        ) from error


def _import(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"ai_edge_quantizer.{module}")
    except ImportError as error:
        raise ConversionError(
            f"ai-edge-quantizer cannot be imported ({error}), and every scheme but float32 needs "
            "it; install autosearch again, or search with Quantization('float32')."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide progress bars and debugging advice, which the library offers no switch for."""
    with captured_stderr(), contextlib.redirect_stderr(io.StringIO()):
        yield
