import tracemalloc

import keras
import numpy as np
import pytest

from autosearch.errors import ConversionError
from autosearch.evaluation import quantization
from autosearch.evaluation.arena import measure_arena
from autosearch.evaluation.conversion import random_weights, to_tflite
from autosearch.evaluation.latency import reference_file
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.quantization import (
    SCHEMES,
    is_fully_integer,
    quantize,
    quantize_all,
    strip_names,
)

layers = keras.layers


def plain() -> keras.Model:
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def depthwise() -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.Conv2D(16, 3, padding="same", strides=2, use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("hard_swish")(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("hard_swish")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="relu")(gate)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(gate)
    x = layers.Conv2D(24, 1)(layers.Multiply()([x, gate]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(5, activation="softmax")(x))


def residual() -> keras.Model:
    image = keras.Input((12, 12, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(12, 3, padding="same", activation="silu")(x)
    y = layers.SeparableConv2D(12, 3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    y = layers.ReLU(6.0)(y)
    y = layers.Conv2D(12, 3, padding="same")(y)
    y = layers.BatchNormalization()(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def attention() -> keras.Model:
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Reshape((4, 16))(layers.Conv2D(16, 4, strides=4)(x))
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


class Case:
    """A network, the float file of random weights, and every quantization of it."""

    def __init__(self, build) -> None:
        self.model = build()
        shape = self.model.input_shape[1:]
        generator = np.random.default_rng(0)
        brightness = generator.uniform(0.2, 1.0, (60, 1, 1, 1))
        pixels = generator.integers(0, 256, (60, *shape)) * brightness
        self.images = pixels.astype(np.uint8)
        self.float_file = to_tflite(self.model, weights=random_weights(self.model, 0))
        self.files = quantize_all(self.float_file, SCHEMES, self.images)


@pytest.fixture(scope="module", params=[plain, depthwise, residual, attention])
def case(request):
    return Case(request.param)


def test_every_scheme_gives_a_file(case):
    assert list(case.files) == list(SCHEMES)
    assert all(isinstance(file, bytes) for file in case.files.values())


def test_size_does_not_depend_on_the_random_weights(case):
    # Other seed, other distribution, other calibration images: what training would leave.
    generator = np.random.default_rng(5)
    trained = [
        value * generator.normal(1.0, 0.2, value.shape).astype(value.dtype)
        if value.ndim > 1
        else value + generator.uniform(0, 0.3, value.shape).astype(value.dtype)
        for value in random_weights(case.model, 99)
    ]
    files = quantize_all(to_tflite(case.model, weights=trained), SCHEMES, case.images[:20])
    assert {name: len(file) for name, file in files.items()} == {
        name: len(file) for name, file in case.files.items()
    }


def test_same_input_gives_the_same_bytes(case):
    assert quantize_all(case.float_file, SCHEMES, case.images) == case.files


def test_calibration_holds_few_images_as_floats_and_looks_at_all_of_them():
    file = reference_file()
    shape = TFLiteModel(file).input.shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (120, *shape), dtype=np.uint8)
    images[:-1] //= 4  # The widest ranges are those of the last image.
    quantize(file, "int8", images[-1:])  # what is imported is no part of it
    tracemalloc.start()
    quantized = quantize(file, "int8", images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * images.nbytes / 2
    assert quantized == quantize(file, "int8", images[::-1])


def test_stripping_shrinks_a_file_and_keeps_its_outputs(case):
    stripped = strip_names(case.float_file)
    assert len(stripped) < len(case.float_file)
    assert strip_names(stripped) == stripped
    np.testing.assert_array_equal(
        TFLiteModel(stripped).predict(case.images),
        TFLiteModel(case.float_file).predict(case.images),
    )


def test_stripping_quantized_files_keeps_their_outputs(case, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(quantization, "strip_names", lambda file: file)
        named = quantize_all(case.float_file, SCHEMES, case.images)
    for scheme, file in case.files.items():
        assert len(file) < len(named[scheme])
        np.testing.assert_array_equal(
            TFLiteModel(file).predict(case.images), TFLiteModel(named[scheme]).predict(case.images)
        )


def test_int8_takes_raw_bytes_and_gives_bytes(case):
    runner = TFLiteModel(case.files["int8"])
    assert (runner.input.dtype, runner.input.scale, runner.input.zero_point) == (np.uint8, 1.0, 0)
    assert runner.output.dtype == np.uint8
    assert runner.output.scale == pytest.approx(1 / 256)


def test_int16x8_takes_and_gives_int16(case):
    runner = TFLiteModel(case.files["int16x8"])
    assert (runner.input.dtype, runner.input.zero_point) == (np.int16, 0)
    assert runner.input.scale == pytest.approx(255 / 32767)
    assert runner.output.dtype == np.int16


def test_sums_of_int16x8_take_any_scale():
    inputs = keras.Input((8, 8, 1))
    # An offset that makes the sum's range narrower than its input's.
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(x))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    float_file = to_tflite(model, weights=random_weights(model, 0))
    calibration = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    file = quantize(float_file, "int16x8", calibration)
    expected = TFLiteModel(float_file).predict(calibration)
    np.testing.assert_allclose(TFLiteModel(file).predict(calibration), expected, atol=0.01)
    assert measure_arena(file).memory_bytes is not None


def test_a_network_whose_units_are_all_dead_is_quantized_and_runs():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, activation="relu", name="dying")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    weights = random_weights(model, 0)
    weights[1][:] = -100.0  # the biases of the first convolution: nothing passes its ReLU
    weights[3][:] = 0.0
    float_file = to_tflite(model, weights=weights)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    expected = TFLiteModel(float_file).predict(images)
    for scheme in ("int8", "int16x8"):
        file = quantize(float_file, scheme, images)
        np.testing.assert_allclose(TFLiteModel(file).predict(images), expected, atol=0.01)


def test_quantized_files_stay_near_the_float_file(case):
    expected = TFLiteModel(case.files["float32"]).predict(case.images)
    tolerance = {"float16": 0.002, "dynamic_int8": 0.1, "int8": 0.12, "int16x8": 0.06}
    for scheme, bound in tolerance.items():
        given = TFLiteModel(case.files[scheme]).predict(case.images)
        assert np.abs(given - expected).max() < bound, scheme
        agreement = (given.argmax(axis=1) == expected.argmax(axis=1)).mean()
        assert agreement >= 0.85, scheme


def test_narrow_weights_make_smaller_files(case):
    sizes = {name: len(file) for name, file in case.files.items()}
    assert sizes["int8"] < sizes["float32"]
    assert sizes["float16"] < sizes["float32"]


def test_float_islands_are_told_from_integer_files(case):
    assert not is_fully_integer(case.files["float32"])
    assert not is_fully_integer(case.files["float16"])
    assert not is_fully_integer(case.files["dynamic_int8"])
    # Layer normalization of attention has operators without int8 kernels.
    has_island = any(isinstance(layer, layers.LayerNormalization) for layer in case.model.layers)
    assert is_fully_integer(case.files["int8"]) is not has_island


def test_one_scheme_alone_is_the_same_file(case, capfd):
    assert quantize(case.float_file, "int8", case.images) == case.files["int8"]
    assert capfd.readouterr().err == ""


def test_errors_are_answered_by_scheme():
    file = to_tflite(plain())
    none = np.zeros((0, 8, 8, 1), dtype=np.uint8)
    results = quantize_all(file, ["float32", "int8", "int3"], none)
    assert isinstance(results["float32"], bytes)
    assert "no calibration images" in str(results["int8"])
    assert "'int3'; expected one of float32" in str(results["int3"])
    with pytest.raises(ConversionError, match="cannot calibrate"):
        quantize(file, "int8", np.zeros((2, 9, 9, 3), dtype=np.uint8))
    with pytest.raises(ConversionError, match=r"no \.tflite file"):
        quantize(b"not a model at all", "float16", none)
    with pytest.raises(ConversionError, match=r"no \.tflite file"):
        strip_names(b"")


def test_missing_quantizer_leaves_float32(monkeypatch):
    import sys

    file = to_tflite(plain())
    for module in ("quantizer", "calibrator", "recipe"):
        monkeypatch.setitem(sys.modules, f"ai_edge_quantizer.{module}", None)
    images = np.zeros((2, 8, 8, 1), dtype=np.uint8)
    results = quantize_all(file, SCHEMES, images)
    assert isinstance(results.pop("float32"), bytes)
    assert all("cannot be imported" in str(error) for error in results.values())


def test_a_file_that_cannot_be_read_costs_the_other_schemes_nothing(monkeypatch, case):
    from autosearch.evaluation import quantization

    whole = quantization.TFLiteModel

    def refusing(file, **words):
        if file == case.files["int8"]:
            raise ConversionError("LiteRT cannot read or prepare this file")
        return whole(file, **words)

    monkeypatch.setattr(quantization, "TFLiteModel", refusing)
    files = quantize_all(case.float_file, ["float32", "int8"], case.images)
    assert isinstance(files["int8"], ConversionError)
    assert files["float32"] == case.files["float32"]
