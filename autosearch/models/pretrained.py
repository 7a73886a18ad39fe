"""From a configuration of ``Pretrained`` to a Keras model."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
from keras import layers

from autosearch.errors import BuildError, DefinitionError

if TYPE_CHECKING:
    from autosearch.space.pretrained import PretrainedConfig

__all__ = ["build_pretrained"]

# What keras.applications.imagenet_utils has for "torch".
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_BLOCK_ENDS = (
    layers.Activation,
    layers.Add,
    layers.BatchNormalization,
    layers.Concatenate,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.Multiply,
    layers.ReLU,
    keras.Model,
)


def build_pretrained(
    config: PretrainedConfig,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
) -> tuple[Any, dict[str, float]]:
    """Builds the network: what the backbone takes, the backbone up to its cut, a new head.

    Args:
        config: The network's configuration.
        input_shape: (height, width, channels) of the images; greyscale ones are given to a
            backbone of three channels as three times the same.
        num_classes: How many probabilities it gives.
        seed: Draws the new layers' initial weights and dropout.

    Returns:
        A ``keras.Model`` from raw pixels (batch, h, w, c) float32 0–255 to probabilities (batch,
        num_classes), with what does not learn frozen, and for each weight of the backbone that
        does, by its path, its learning rate relative to the new layers'.

    Raises:
        DefinitionError: The file or the weights cannot be had, or do not fit.
        BuildError: Images of this size do not fit the backbone.
    """
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed % 2**32)
    backbone = _cut_off(_whole(config, input_shape), config.cut)
    learned = _freeze(backbone, config)
    image = keras.Input(input_shape, name="image")
    x = image
    if backbone.input_shape[-1] == 3 and input_shape[-1] == 1:
        x = layers.Concatenate(name="as_rgb")([x, x, x])
    x = backbone(_rescaled(x, config.pixels))
    x = layers.GlobalAveragePooling2D(name="new_pool")(x)
    if config.dropout:
        x = layers.Dropout(config.dropout, seed=seed % 2**31, name="new_dropout")(x)
    probabilities = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed % 2**31),
        name="new_probabilities",
    )(x)
    model = keras.Model(image, probabilities, name="pretrained")
    ratios = {w.path: config.learning_rate_ratio for w in learned}
    return model, ratios


def _whole(config: PretrainedConfig, input_shape: tuple[int, int, int]) -> Any:
    """The backbone with its weights, for images of that height and width."""
    if config.is_file:
        return _resized(_opened(config.source), input_shape)
    words: dict[str, Any] = {"include_top": False, "input_shape": (*input_shape[:2], 3)}
    if config.alpha is not None:
        words["alpha"] = config.alpha
    make = getattr(keras.applications, config.source)
    if config.weights == "imagenet":
        words["weights"] = "imagenet"
    else:
        words["weights"] = None
    try:
        model = make(**words)
    except ValueError as error:
        raise BuildError(
            f"{config.source} does not take images of {input_shape[0]} × {input_shape[1]} pixels "
            f"({_first_line(error)}); write a larger Preprocessing(size=...)"
        ) from error
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        raise DefinitionError(
            f"the ImageNet weights of {config.source} are not on this machine and cannot be "
            f"downloaded ({_first_line(error)}); connect to the network, or name a file of them: "
            f'Pretrained("{config.source}", weights="FILE")'
        ) from error
    if config.weights not in (None, "imagenet"):
        try:
            model.load_weights(config.weights)
        except Exception as error:  # as many kinds as there are ways not to fit
            raise DefinitionError(
                f'"{config.weights}" does not hold weights of {config.source} without its top '
                f"layers at alpha {config.alpha} ({_first_line(error)}); name the file for them"
            ) from error
    return model


def _opened(path: str) -> Any:
    """A ``.keras`` file, whatever it is called, without running anything of it."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.keras"
            shutil.copyfile(path, copy)
            return keras.models.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras and zipfile raise what they come upon
        raise DefinitionError(
            f'"{path}" cannot be opened as a .keras file ({_first_line(error)}); expected one of '
            "Keras's own layers, without lambdas or classes of its own"
        ) from error


def _resized(model: Any, input_shape: tuple[int, int, int]) -> Any:
    if not isinstance(model, keras.Sequential | keras.Model) or len(model.inputs) != 1:
        raise DefinitionError("the .keras file takes several inputs; expected one image")
    channels = model.input_shape[-1]
    if channels == 1 and input_shape[-1] == 3:
        raise DefinitionError(
            "the .keras file takes greyscale images and the study's are in colour; write "
            'Preprocessing(color="greyscale")'
        )
    wanted = (*input_shape[:2], channels)
    if tuple(model.input_shape[1:]) == wanted:
        return model
    try:
        resized = keras.models.clone_model(model, input_tensors=keras.Input(wanted))
        resized.set_weights(model.get_weights())
    except Exception as error:
        raise BuildError(
            f"the .keras file was made for images of {model.input_shape[1:3]} and cannot take "
            f"{input_shape[:2]} ({_first_line(error)}); write Preprocessing(size="
            f"{model.input_shape[1]})"
        ) from error
    return resized


def _cut_off(model: Any, share: float) -> Any:
    """The model up to the end of a block, so that about that share of its blocks is kept.

    A block ends where everything later depends on one feature map alone.
    """
    order = {id(layer): index for index, layer in enumerate(model.layers)}
    is_crossed = [0] * (len(model.layers) + 1)
    for layer in model.layers:
        for producer in _producers(layer):
            if id(producer) in order:
                start, stop = order[id(producer)] + 1, order[id(layer)]
                for index in range(start, stop):
                    is_crossed[index] = 1
    ends = [
        layer
        for index, layer in enumerate(model.layers)
        if not is_crossed[index]
        and isinstance(layer, _BLOCK_ENDS)
        and len(_output(layer).shape) == 4
    ]
    if not ends:
        raise DefinitionError(
            "the network has no feature map that a new head could follow; expected a "
            "convolutional one"
        )
    last = ends[max(0, math.ceil(share * len(ends)) - 1)]
    return keras.Model(model.inputs, _output(last), name="backbone")


def _output(layer: Any) -> Any:
    """What a layer gives in the graph around it; a network's own ``output`` is within it."""
    return layer._inbound_nodes[0].output_tensors[0]


def _producers(layer: Any) -> list[Any]:
    return [tensor._keras_history.operation for node in layer._inbound_nodes[:1]
            for tensor in node.input_tensors]  # fmt: skip


def _freeze(backbone: Any, config: PretrainedConfig) -> list[Any]:
    """Freezes what is not to learn, and answers the weights that are."""
    flat = list(_leaves(backbone))
    with_weights = [layer for layer in flat if layer.weights]
    num_learning = math.ceil(config.fine_tuned * len(with_weights))
    learning = with_weights[len(with_weights) - num_learning :]
    for layer in with_weights:
        is_statistics = config.has_learned and isinstance(layer, layers.BatchNormalization)
        layer.trainable = any(layer is one for one in learning) and not is_statistics
    return [weight for layer in learning for weight in layer.trainable_weights]


def _leaves(model: Any) -> list[Any]:
    found = []
    for layer in model.layers:
        found += _leaves(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def _rescaled(x: Any, pixels: str) -> Any:
    """Raw pixels as the backbone takes them."""
    if pixels == "raw":
        return x
    scale: Any = 1 / 255
    offset: Any = 0.0
    if pixels == "symmetric":
        scale, offset = 1 / 127.5, -1.0
    elif pixels == "normalized":
        scale = [1 / 255 / deviation for deviation in _IMAGENET_DEVIATION]
        pairs = zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)
        offset = [-mean / deviation for mean, deviation in pairs]
    return layers.Rescaling(scale, offset, name="new_rescaling")(x)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
