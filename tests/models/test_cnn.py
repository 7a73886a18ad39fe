from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from autosearch.models.cnn import batch_norm_momentum, build_cnn
from autosearch.space.architecture import CNNConfig

CONFIG = CNNConfig(
    stages=2,
    width=4,
    width_growth=2.0,
    blocks_per_stage=1,
    kernel_size=3,
    block="plain",
    expansion=1,
    normalization="batch",
    activation="relu",
    pooling="max",
    head="average",
    attention="none",
    dropout=0.1,
)
VARIED = [
    CONFIG,
    replace(CONFIG, block="separable", activation="hard_swish", attention="squeeze_excite",
            pooling="average"),
    replace(CONFIG, block="residual", activation="silu", normalization="group", pooling="stride",
            head="max", blocks_per_stage=2),
    replace(CONFIG, block="inverted_residual", expansion=2, activation="relu6",
            normalization="layer", attention="self_attention", width=8),
    replace(CONFIG, activation="elu", normalization="none", pooling="average", dropout=0.0),
    replace(CONFIG, activation="gelu", kernel_size=5, pooling="stride"),
]  # fmt: skip


def build(config, shape=(8, 8, 1), seed=0):
    return build_cnn(config, input_shape=shape, num_classes=3, seed=seed)


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)


@pytest.mark.parametrize("config", VARIED)
def test_pixels_become_probabilities(config):
    model = build(config)
    assert model.input_shape == (None, 8, 8, 1)
    probabilities = model(pixels(5, 8, 8, 1)).numpy()
    assert probabilities.shape == (5, 3)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("config", VARIED)
def test_names_and_weights_depend_on_configuration_and_seed_alone(config):
    first = build(config)
    keras.layers.Conv2D(2, 3)
    keras.utils.set_random_seed(9)
    again = build(config)
    assert [layer.name for layer in first.layers] == [layer.name for layer in again.layers]
    assert [w.path for w in first.weights] == [w.path for w in again.weights]
    pairs = zip(first.get_weights(), again.get_weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    other_seed = build(config, seed=1)
    image = pixels(1, 8, 8, 1)
    assert not np.allclose(first(image), other_seed(image))


@pytest.mark.parametrize("pooling", ["max", "average", "stride"])
@pytest.mark.parametrize("block", ["plain", "separable", "residual", "inverted_residual"])
def test_a_map_is_halved_until_two_pixels_are_left(block, pooling):
    model = build(replace(CONFIG, block=block, pooling=pooling, stages=5, width_growth=1.0))
    sides = [layer.output.shape[1] for layer in model.layers if len(layer.output.shape) == 4]
    assert sorted(set(sides), reverse=True) == [8, 4, 2]
    assert sides == sorted(sides, reverse=True)


def test_any_shape_of_image_can_be_built():
    for shape in ((1, 1, 1), (3, 5, 3), (33, 20, 3)):
        config = replace(CONFIG, stages=3, attention="self_attention", pooling="stride")
        assert build(config, shape).output_shape == (None, 3)


def test_self_attention_pools_a_map_that_is_too_large_for_it():
    model = build(replace(CONFIG, stages=1, attention="self_attention"), (40, 40, 1))
    assert model.get_layer("attention_tokens").output.shape[1] == 10 * 10


def test_width_grows_from_stage_to_stage_in_round_numbers():
    model = build(replace(CONFIG, stages=3, width=10, width_growth=2.0))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [12, 20, 40]


@pytest.mark.parametrize("width", [4, 8, 12])
def test_a_network_with_group_normalisation_tells_images_apart(width):
    # A block that halves its map has no shortcut beside it, and so ends in a normalisation.
    config = replace(CONFIG, block="inverted_residual", normalization="group", width=width,
                     width_growth=1.0, pooling="stride")  # fmt: skip
    one, other = build(config)(pixels(2, 8, 8, 1)).numpy()
    assert np.abs(one - other).max() > 1e-3


def test_an_inverted_residual_is_wider_inside_by_its_expansion():
    model = build(replace(CONFIG, block="inverted_residual", expansion=4, stages=1))
    assert model.get_layer("stage1_block1_b_conv").output.shape[-1] == 4 * 4
    assert model.get_layer("stage1_block1_add").output.shape[-1] == 4


def test_the_momentum_of_batch_normalisation_is_what_was_asked():
    model = build_cnn(CONFIG, input_shape=(8, 8, 1), num_classes=3, batch_norm_momentum=0.7, seed=0)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert [layer.momentum for layer in norms] == [0.7, 0.7]


@pytest.mark.parametrize("steps", [0, 1, 5, 17, 28, 1000])
def test_the_momentum_forgets_within_an_epoch_and_stays_in_bounds(steps):
    momentum = batch_norm_momentum(steps)
    assert 0.5 <= momentum <= 0.9
    assert momentum ** max(steps, 5) <= 0.0501 or momentum == 0.9


@pytest.mark.parametrize("config", VARIED)
def test_it_converts_to_built_in_operators_and_gives_the_same(config):
    model = build(config)
    function = tf.function(
        lambda image: model(image, training=False),
        input_signature=[tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image")],
    ).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    image = pixels(1, 8, 8, 1)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.allclose(answer, model(image), atol=1e-5)


def test_it_opens_in_plain_keras_in_safe_mode(tmp_path):
    image = pixels(1, 8, 8, 1)
    for number, config in enumerate(VARIED):
        model = build(config)
        model.save(tmp_path / f"{number}.keras")
        opened = keras.models.load_model(tmp_path / f"{number}.keras", safe_mode=True)
        assert np.allclose(opened(image), model(image), atol=1e-6)
        assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
