"""Fused batch normalisation: the same training as Keras's own, and no trace of it afterwards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from autosearch.models.fused import fused_batch_normalization


def make_model(**words):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.BatchNormalization(momentum=0.7, name="norm", **words)(x)
    x = layers.GlobalMaxPooling2D()(layers.Activation("relu")(x))
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


def one_step(model, images, labels):
    """Gradients and weights after a forward pass in training mode."""
    weights = model.trainable_variables
    with tf.GradientTape() as tape:
        probabilities = model(images, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    return [g.numpy() for g in gradients], model.get_weights()


@pytest.mark.parametrize("words", [{}, {"scale": False}, {"center": False}])
def test_gradients_and_statistics_are_those_of_keras(words):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(2, 3, (8, 6, 6, 3)).astype(np.float32), rng.integers(0, 2, 8)
    expected = one_step(make_model(**words), images, labels)
    model = make_model(**words)
    with fused_batch_normalization(model):
        came = one_step(model, images, labels)
    for one, other in zip(expected, came, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_the_operator_is_used_in_training_alone_and_gone_afterwards(tmp_path):
    model = make_model()
    images = tf.ones((2, 6, 6, 3))

    def operators(training):
        function = tf.function(lambda x: model(x, training=training))
        graph = function.get_concrete_function(images).graph
        return {operation.type for operation in graph.get_operations()}

    with fused_batch_normalization(model):
        assert "FusedBatchNormV3" in operators(training=True)
        assert "FusedBatchNormV3" not in operators(training=False)
    assert "FusedBatchNormV3" not in operators(training=True)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(back(images), model(images))


def test_layers_that_it_cannot_stand_for_are_left_alone():
    class Own(layers.BatchNormalization):
        pass

    image = keras.Input((4, 4, 3))
    x = Own()(layers.BatchNormalization(axis=1)(layers.Conv2D(3, 1)(image)))
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    with fused_batch_normalization(model):
        assert not any("call" in vars(layer) for layer in model.layers)
