import keras
import numpy as np
import pytest
import tensorflow as tf

from autosearch.errors import ConversionError
from autosearch.evaluation.conversion import random_weights, to_tflite, trace
from autosearch.evaluation.litert import TFLiteModel

layers = keras.layers
SHAPE = (8, 8, 1)


def plain_network() -> keras.Model:
    image = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(image, layers.Dense(4, activation="softmax")(x))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.conv = layers.Conv2D(4, 3, activation="relu")
        self.norm = layers.BatchNormalization()
        self.dense = layers.Dense(3, activation="softmax")

    def call(self, image, training=False):
        x = self.norm(self.conv(image), training=training)
        return self.dense(keras.ops.mean(x, axis=(1, 2)))


@pytest.fixture(scope="module")
def model():
    return plain_network()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (20, *SHAPE), dtype=np.uint8)


def test_file_gives_the_networks_probabilities_for_raw_pixels(model, images):
    runner = TFLiteModel(to_tflite(model))
    expected = model(images.astype("float32"), training=False).numpy()
    np.testing.assert_allclose(runner.predict(images), expected, atol=1e-5)
    assert runner.input.shape == (1, *SHAPE)
    assert runner.input.dtype == np.float32


def test_file_uses_no_variables_and_only_built_in_operators(model):
    from ai_edge_litert.tools import flatbuffer_utils

    content = flatbuffer_utils.read_model_from_bytearray(to_tflite(model))
    names = {
        flatbuffer_utils.opcode_to_name(content, number)
        for number in range(len(content.operatorCodes))
    }
    assert "CONV_2D" in names
    assert not names & {"VAR_HANDLE", "READ_VARIABLE", "CUSTOM"}


def test_same_network_gives_the_same_bytes(model):
    assert to_tflite(model) == to_tflite(model)


def test_random_weights_are_repeatable_and_leave_the_network_alone(model, images):
    before = [variable.numpy() for variable in model.variables]
    first, second = random_weights(model, 1), random_weights(model, 1)
    to_tflite(model, weights=first)
    for variable, old, one, two in zip(model.variables, before, first, second, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
        np.testing.assert_array_equal(one, two)
    other = random_weights(model, 2)
    assert any((one != two).any() for one, two in zip(first, other, strict=True))


def test_random_weights_are_not_constant_and_variances_are_positive(model):
    for variable, value in zip(model.variables, random_weights(model, 0), strict=True):
        if not np.issubdtype(value.dtype, np.floating):
            continue
        assert value.shape == tuple(variable.shape)
        assert value.std() > 0
        if "variance" in variable.path or "gamma" in variable.path:
            assert value.min() > 0


def test_given_weights_are_those_of_the_file(images):
    model = plain_network()
    values = random_weights(model, 3)
    file = to_tflite(model, weights=values)
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
    assert file == to_tflite(model)


def test_subclassed_network_converts_when_told_its_image_shape(images):
    model = Subclassed()
    expected = model(images.astype("float32")).numpy()
    with pytest.raises(ConversionError, match="pass image_shape"):
        to_tflite(model)
    file = to_tflite(model, image_shape=SHAPE)
    np.testing.assert_allclose(TFLiteModel(file).predict(images), expected, atol=1e-5)


def test_operator_that_tflite_lacks_is_named(capfd):
    class Beta(layers.Layer):
        def call(self, x):
            return tf.math.betainc(tf.abs(x) + 1.0, tf.abs(x) + 1.0, tf.sigmoid(x))

    image = keras.Input(SHAPE)
    x = layers.Flatten()(Beta()(image))
    with pytest.raises(ConversionError, match="no built-in operator for Betainc"):
        to_tflite(keras.Model(image, layers.Dense(2)(x)))
    assert capfd.readouterr() == ("", "")


def test_network_in_16_bit_floats_is_told_the_remedy():
    image = keras.Input(SHAPE)
    x = layers.Conv2D(2, 3, dtype="mixed_bfloat16")(image)
    x = layers.GlobalAveragePooling2D()(x)
    with pytest.raises(ConversionError, match="float32 policy"):
        to_tflite(keras.Model(image, layers.Dense(2)(x)))


def test_network_without_a_row_of_probabilities_is_refused():
    image = keras.Input(SHAPE)
    with pytest.raises(ConversionError, match=r"expected \(1, classes\)"):
        to_tflite(keras.Model(image, layers.Conv2D(2, 3)(image)))
    with pytest.raises(ConversionError, match="expected one tensor"):
        to_tflite(keras.Model(image, [layers.Flatten()(image), image]))


def test_network_of_unknown_image_size_or_wrong_weights_is_refused(model):
    image = keras.Input((None, None, 1))
    free = keras.Model(image, layers.GlobalAveragePooling2D()(image))
    with pytest.raises(ConversionError, match="fixed sizes"):
        trace(free)
    with pytest.raises(ConversionError, match=r"one for each of model\.variables"):
        trace(model, weights=[])
    with pytest.raises(ConversionError, match="cannot be called on one image"):
        trace(model, image_shape=(8, 8, 7))
