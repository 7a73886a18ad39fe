"""A study of your own network: ``build(hp)`` beside the built-in CNN, on the same digits.

Run it with ``autosearch run studies/own_model.py``. The contract of ``build(hp)``:

* ``hp`` has Keras Tuner's names and meaning (``Int``, ``Float``, ``Choice``, ``Boolean``,
  ``Fixed``, ``conditional_scope``, ``name_scope``), so a ``build(hp)`` or a
  ``keras_tuner.HyperModel`` written for Keras Tuner runs unchanged. Besides, ``hp.input_shape``
  is (height, width, channels) and ``hp.num_classes`` the number of classes.
* The input is float32 pixels from 0 to 255, a batch of them. Rescaling belongs into the network,
  since the exported file takes raw pixels. The output is one probability a class.
* A model that is returned uncompiled is compiled by the study's ``Training``, whose optimizer,
  learning rate and so on are sampled. One that is returned compiled keeps its own optimizer and
  loss; of ``Training`` only the batch size is then sampled.
* A ``HyperModel`` whose class overrides ``fit`` has it called, as
  ``fit(hp, model, x=…, validation_data=…, epochs=…, callbacks=…, verbose=0)``.
* Built from Keras's own layers, as ``keras.Sequential`` or ``keras.Model(inputs, outputs)``: the
  exported ``model.keras`` then opens anywhere.
* A name used twice with different ranges is an error, under different conditions it is allowed.
"""

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Preprocessing, Quantization, Range, Training


def build(hp):
    """A few convolutions, then either one pooled vector or a dense layer."""
    # Keras takes seconds to load: imported here, only the worker waits for it.
    import keras
    from keras import layers

    num_convolutions = hp.Int("convolutions", 1, 2)
    kernel_size = hp.Choice("kernel_size", [3, 5])
    head = hp.Choice("head", ["pooled", "dense"])
    # What stands in a conditional scope is sampled where the condition holds, and None elsewhere.
    with hp.conditional_scope("head", ["dense"]):
        units = hp.Int("units", 16, 64, step=16)
        has_dropout = hp.Boolean("has_dropout")
        with hp.conditional_scope("has_dropout", [True]):
            dropout = hp.Float("dropout", 0.1, 0.5)

    x = image = keras.Input(hp.input_shape)
    x = layers.Rescaling(1 / 255)(x)
    for index in range(num_convolutions):
        filters = hp.Choice(f"filters_{index + 1}", [16, 24, 32])
        x = layers.Conv2D(filters, kernel_size, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(padding="same")(x)
    if head == "dense":
        x = layers.Flatten()(x)
        x = layers.Dense(units, activation="relu")(x)
        if has_dropout:
            x = layers.Dropout(dropout)(x)
    else:
        x = layers.GlobalAveragePooling2D()(x)
    probabilities = layers.Dense(hp.num_classes, activation="softmax")(x)
    # Uncompiled: Training below says how it is trained.
    return keras.Model(image, probabilities)


study = Study(
    name="own-model",
    dataset=Digits(),
    space=SearchSpace(
        preprocessing=Preprocessing(size=8, color="greyscale"),
        # Of a list, one is sampled for every trial; architecture=build alone will do too.
        architecture=[build, CNN(stages=(1, 2), width=[16, 24], block=["plain", "separable"])],
        training=Training(
            epochs=15,
            optimizer="adam",
            learning_rate=Range(3e-3, 2e-2, log=True),
            schedule="cosine",
            batch_size=[32, 64],
        ),
        quantization=Quantization("float32", "int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes")],
    constraints=[at_most("size_bytes", 64_000)],
    budget=Budget(trials=10),
)
