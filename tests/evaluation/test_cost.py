import keras
import numpy as np
import pytest

from autosearch.errors import ConversionError
from autosearch.evaluation.conversion import random_weights, to_tflite
from autosearch.evaluation.cost import (
    count_macs,
    count_parameters,
    estimate_size_bytes,
)
from autosearch.evaluation.layers import layer_times_ms, layers_of
from autosearch.evaluation.quantization import quantize_all
from autosearch.space.quantization import SCHEMES

layers = keras.layers


def convolutions(image):
    x = layers.Conv2D(8, 3, padding="same", strides=2, use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.SeparableConv2D(12, 3, depth_multiplier=2)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    return layers.GlobalMaxPooling2D()(x)


def transposed(image):
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same")(x)
    return layers.GlobalAveragePooling2D()(x)


def attention(image):
    x = layers.Conv2D(16, 4, strides=4)(image)
    x = layers.Reshape((-1, 16))(x)
    x = layers.Conv1D(16, 3, padding="same")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 12))(x)
    return layers.GlobalAveragePooling1D()(x)


def nested(image):
    inner_input = keras.Input((14, 14, 4))
    x = layers.Conv2D(4, 3, dilation_rate=2)(inner_input)
    inner = keras.Model(inner_input, layers.Add()([x, layers.Conv2D(4, 5)(inner_input)]))
    return layers.Flatten()(inner(layers.Conv2D(4, 3)(image)))


def network(body) -> keras.Model:
    image = keras.Input((16, 16, 3))
    features = body(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(7, activation="softmax")(features))


@pytest.fixture(scope="module", params=[convolutions, transposed, attention, nested])
def model(request):
    return network(request.param)


def test_convolutions_are_counted_by_the_textbook():
    expected = (
        8 * 8 * 8 * (9 * 3)  # convolution
        + 6 * 6 * 16 * 9  # separable: depthwise
        + 6 * 6 * 12 * 16  # separable: pointwise
        + 6 * 6 * 12 * 9  # depthwise
        + 12 * 7  # dense
    )
    assert count_macs(network(convolutions)) == expected


def test_attention_is_counted_by_the_textbook():
    expected = (
        16 * 16 * 48  # patches
        + 16 * 16 * 48  # 1-D convolution of width 3
        + 4 * 16 * 16 * 16  # query, key, value and output of 2 heads of 8
        + 2 * (2 * 16 * 16 * 8)  # scores, and their use
        + 16 * 12 * 16  # einsum
        + 12 * 7  # dense
    )
    assert count_macs(network(attention)) == expected


def macs_of(file):
    return sum(layer.macs for layer in layers_of(file))


def test_graph_and_file_are_counted_alike(model):
    assert count_macs(model) == macs_of(to_tflite(model)) > 0


def test_quantized_files_are_counted_alike():
    model = network(convolutions)
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    for file in quantize_all(to_tflite(model), SCHEMES, images).values():
        assert macs_of(file) == count_macs(model)


def test_parameters_are_those_of_keras():
    model = network(nested)
    assert count_parameters(model) == model.count_params() > 0


def test_estimated_size_never_exceeds_the_file(model):
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    files = quantize_all(to_tflite(model, weights=random_weights(model, 0)), SCHEMES, images)
    for scheme, file in files.items():
        assert isinstance(file, bytes), file
        assert 0 < estimate_size_bytes(model, scheme) < len(file)


def test_estimated_size_is_close_for_a_large_network():
    image = keras.Input((8, 8, 1))
    x = layers.Dense(300, activation="relu")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(x))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), dtype=np.uint8)
    files = quantize_all(to_tflite(model, weights=random_weights(model, 0)), SCHEMES, images)
    for scheme, file in files.items():
        assert estimate_size_bytes(model, scheme) > 0.6 * len(file)


def test_unknown_schemes_and_unreadable_files_are_refused():
    with pytest.raises(ConversionError, match="'int2'; expected one of float32"):
        estimate_size_bytes(network(transposed), "int2")
    with pytest.raises(ConversionError, match=r"no \.tflite file"):
        layers_of(b"nothing")


def test_layers_hold_the_weights_the_shapes_and_the_paths_of_a_file(monkeypatch):
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", strides=2, activation="relu")(image)
    y = layers.Conv2D(4, 1)(x)
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, activation="softmax")(x))
    file = to_tflite(model, weights=random_weights(model, 0))
    found = layers_of(file)
    assert (found[0].operator, found[0].shape) == ("INPUT", (8, 8, 3))
    first, second = (layer for layer in found if layer.operator == "CONV_2D")
    assert (first.detail, first.activation, first.shape) == ("3 × 3, stride 2", "relu", (4, 4, 4))
    assert first.weight_bytes == 4 * (3 * 3 * 3 * 4 + 4)
    assert (found[0].weights, first.weights, found[-1].weights) == ("", "FLOAT32", "")
    assert second.detail == "1 × 1"
    (joined,) = (layer for layer in found if layer.operator == "ADD")
    assert set(joined.reads) == {found.index(first), found.index(second)}
    assert sum(layer.weight_bytes for layer in found) < len(file)
    for at_once in (10, 1):
        monkeypatch.setattr("autosearch.evaluation.layers._MAX_LOADED_BYTES", at_once * len(file))
        times = layer_times_ms(file, seconds=0.05)
        assert len(times) == len(found)
        assert sum(times) > 0


def test_unpacked_weights_belong_to_the_layer_that_needs_them():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(image)))
    float_file = to_tflite(model, weights=random_weights(model, 0))
    images = np.zeros((1, 8, 8, 3), np.uint8)
    found = layers_of(quantize_all(float_file, ["float16"], images)["float16"])
    assert "DEQUANTIZE" not in {layer.operator for layer in found}
    (dense,) = (layer for layer in found if layer.operator == "FULLY_CONNECTED")
    assert dense.weight_bytes >= 2 * 8 * 8 * 3 * 2
    assert dense.weights == "FLOAT16"
