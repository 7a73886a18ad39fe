"""From a trained network to a new one: cut off at a block's end, partly frozen, with a new head."""

from __future__ import annotations

import hashlib
import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import keras
import numpy as np
from keras import layers

from autosearch.errors import BuildError, StudyError, first_line

if TYPE_CHECKING:
    from autosearch.space.pretrained import Pretrained, PretrainedConfig

__all__ = ["FineTuning", "block_ends", "build_pretrained"]

# ImageNet's mean and deviation of red, green and blue, for pixels from 0 to 1.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

_HEADS = (
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Flatten,
    layers.Dense,
)
# What may stand between a convolution and the end of its block.
_FOLLOWERS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.Activation,
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    layers.Dropout,
)
_OPENERS = (
    layers.InputLayer,
    layers.Rescaling,
    layers.Normalization,
    layers.Concatenate,
    layers.ZeroPadding2D,
)


@dataclass(frozen=True, slots=True)
class FineTuning:
    """What of a network was trained before and is trained on, and how fast.

    Attributes:
        variables: Of the backbone, the ones that are trained.
        learning_rate_ratio: Their learning rate relative to that of the head.
    """

    variables: tuple[Any, ...]
    learning_rate_ratio: float


def build_pretrained(
    space: Pretrained,
    config: PretrainedConfig,
    *,
    input_shape: tuple[int, int, int],
    num_classes: int,
    batch_norm_momentum: float = 0.9,
    seed: int,
) -> tuple[Any, FineTuning]:
    """Builds the network: a backbone up to a block's end, average pooling, dropout, a dense layer.

    Args:
        space: Says where the backbone comes from.
        config: The network's configuration.
        input_shape: (height, width, channels) of the images. Of a grey image the one channel is
            repeated where the backbone takes three.
        num_classes: How many probabilities it gives.
        batch_norm_momentum: Of batch normalization that is trained on.
        seed: Draws the head's initial weights and the dropout; of a backbone without weights,
            those too.

    Returns:
        A ``keras.Model`` from raw pixels (batch, h, w, c) float32 0–255 to probabilities (batch,
        num_classes), flat and not compiled; and what of it is fine-tuned.

    Raises:
        StudyError: The weights or the file are not to be had, or are not what they were.
        BuildError: The backbone does not take images of that shape.
    """
    # Otherwise the names of the layers count up from model to model.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed % 2**32)
    backbone = (
        _application(space, config, input_shape)
        if space.application is not None
        else _from_file(space)
    )
    nested = next((one for one in backbone.layers if isinstance(one, keras.Model)), None)
    if nested is not None:
        raise StudyError(
            f'"{space.source}" holds the network "{nested.name}" within it, which cannot be cut '
            f'from here; save that one: model.get_layer("{nested.name}").save(FILE)'
        )
    ends = block_ends(backbone)
    if not ends:
        raise StudyError(
            f'"{space.source}" has no block of convolutions to cut at; expected a network of Keras '
            "layers from an image to feature maps"
        )
    kept = keras.Model(
        backbone.inputs, ends[max(1, math.ceil(config.cut * len(ends) - 1e-9)) - 1].output
    )
    _freeze(kept, config.fine_tune_depth, batch_norm_momentum)
    image = keras.Input(input_shape, name="image")
    x = _as_backbone_takes(image, backbone.input_shape[-1], space)
    try:
        # Not kept(x): the layers then stand in the new network one by one, at its image size. And
        # not kept.call(x), which adds an operation that clashes with itself the next time.
        x = kept._run_through_graph([x], operation_fn=lambda operation: operation)
        x = x[0] if isinstance(x, list | tuple) else x
    except Exception as error:
        raise BuildError(
            f'"{space.source}" does not take images of {input_shape[0]} × {input_shape[1]} pixels '
            f"({first_line(error)}); change Preprocessing(size=...)"
        ) from error
    rng = np.random.default_rng(seed)
    x = layers.GlobalAveragePooling2D(name="new_pool")(x)
    if config.dropout:
        dropout_seed = int(rng.integers(2**31))
        x = layers.Dropout(config.dropout, seed=dropout_seed, name="new_dropout")(x)
    probabilities = layers.Dense(
        num_classes,
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(int(rng.integers(2**31))),
        name="new_probabilities",
    )(x)
    model = keras.Model(image, probabilities, name="pretrained")
    return model, FineTuning(tuple(kept.trainable_variables), config.learning_rate_ratio)


def block_ends(network: Any) -> list[Any]:
    """The layers at which a network can be cut: all that is known of the image is in their output.

    Those are the layers that no connection passes by, whose output is a feature map, and that end
    a block: after them comes a convolution, pooling, several branches, or nothing. The inside of a
    residual or of squeeze-and-excitation, and what only a depthwise convolution has filtered, are
    none; the head, from global pooling or flattening on, is left out.

    Args:
        network: A functional or sequential ``keras.Model``, built.

    Returns:
        The layers, from the image on.
    """
    order, inputs_of = _graph(network)
    place = {id(layer): index for index, layer in enumerate(order)}
    consumers: dict[int, list[Any]] = {id(layer): [] for layer in order}
    for layer in order:
        for source in inputs_of[id(layer)]:
            consumers[id(source)].append(layer)
    ends, furthest = [], 0
    has_convolved = False
    for index, layer in enumerate(order):
        is_passed_by = furthest > index
        # What rescales or varies images before that is no block.
        has_convolved |= any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))
        following = consumers[id(layer)]
        furthest = max([furthest, *(place[id(one)] for one in following)])
        if is_passed_by or isinstance(layer, _OPENERS):
            continue
        if isinstance(layer, _HEADS):
            break
        is_map = len(getattr(layer.output, "shape", ())) == 4
        continues = len(following) == 1 and isinstance(following[0], _FOLLOWERS)
        if is_map and has_convolved and not continues and not _is_depthwise(layer, inputs_of):
            ends.append(layer)
    return ends


def _graph(network: Any) -> tuple[list[Any], dict[int, list[Any]]]:
    """A network's layers, each after those that it takes its input from, and those of each."""
    functional = keras.Model(network.inputs, network.outputs)
    ours = {id(layer): layer for layer in functional.operations}
    nodes = {id(node) for of_depth in functional._nodes_by_depth.values() for node in of_depth}
    inputs_of: dict[int, list[Any]] = {}
    for layer in functional.operations:
        tensors = [
            tensor
            for node in layer._inbound_nodes
            if id(node) in nodes
            for tensor in node.input_tensors
        ]
        sources = [tensor._keras_history.operation for tensor in tensors]
        inputs_of[id(layer)] = [ours[id(source)] for source in sources]
    order: list[Any] = []
    done: set[int] = set()
    waiting = list(functional.operations)
    while waiting:
        ready = next(one for one in waiting if all(id(s) in done for s in inputs_of[id(one)]))
        order.append(ready)
        done.add(id(ready))
        waiting.remove(ready)
    return order, inputs_of


def _is_depthwise(layer: Any, inputs_of: dict[int, list[Any]]) -> bool:
    while isinstance(layer, _FOLLOWERS) and inputs_of[id(layer)]:
        layer = inputs_of[id(layer)][0]
    return isinstance(layer, layers.DepthwiseConv2D)


def _freeze(kept: Any, depth: float, batch_norm_momentum: float) -> None:
    """Trains the upper share of the layers that have weights; the others stay as they are."""
    weighted = [layer for layer in kept.layers if layer.weights]
    num_frozen = len(weighted) - math.ceil(depth * len(weighted) - 1e-9)
    for index, layer in enumerate(weighted):
        # Frozen batch normalization runs in inference mode: its statistics stay, too.
        layer.trainable = index >= num_frozen
        if layer.trainable and isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, batch_norm_momentum)


def _as_backbone_takes(image: Any, num_channels: int, space: Pretrained) -> Any:
    """Raw pixels as the backbone's first layer was trained to see them."""
    x = image
    if image.shape[-1] == 1 and num_channels == 3:
        x = layers.Concatenate(name="grey_as_rgb")([x, x, x])
    elif image.shape[-1] != num_channels:
        raise BuildError(
            f'"{space.source}" takes images of {num_channels} channel(s), not '
            f"{image.shape[-1]}; write Preprocessing(color="
            f'"{"greyscale" if num_channels == 1 else "rgb"}")'
        )
    application = space.application
    pixels = space.rescaling if application is None else application.pixels
    name = "pretrained_rescaling"  # a file may have a layer "rescaling" of its own
    if pixels == "unit":
        return layers.Rescaling(1 / 255, name=name)(x)
    if pixels == "symmetric":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name=name)(x)
    if pixels == "standardized":
        scale = [1 / (255 * deviation) for deviation in _DEVIATION]
        offset = [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
        return layers.Rescaling(scale, offset=offset, name=name)(x)
    return x


def _application(
    space: Pretrained, config: PretrainedConfig, input_shape: tuple[int, int, int]
) -> Any:
    application = space.application
    assert application is not None
    size = min(input_shape[:2])
    if size < application.least_size:
        raise BuildError(
            f"{space.source} takes images of at least {application.least_size} pixels, not {size}; "
            f"write Preprocessing(size={application.least_size}) or more"
        )
    if space.weights_sha256 is not None:
        _checked_content(str(space.weights), space.weights_sha256)
    words: dict[str, Any] = {"alpha": config.width} if application.widths else {}
    make = getattr(keras.applications, space.source)
    shape = (*input_shape[:2], 3)
    with warnings.catch_warnings():
        # Of weights made for 224 × 224 pixels, which every other size can use too.
        warnings.simplefilter("ignore")
        try:
            return make(input_shape=shape, include_top=False, weights=space.weights, **words)
        except Exception as error:
            if space.weights is None:
                raise
            if space.weights_sha256 is not None:
                raise StudyError(
                    f'the weights of "{space.weights}" do not fit {space.source} of width '
                    f"{config.width} without its top ({first_line(error)}); save them with "
                    f"keras.applications.{space.source}(include_top=False, ...).save_weights(FILE)"
                ) from error
            raise StudyError(
                f'the "{space.weights}" weights of {space.source} are not on this machine and '
                f"cannot be downloaded ({first_line(error)}); connect to the network, or name a "
                f'local file: Pretrained("{space.source}", weights="FILE.weights.h5")'
            ) from error


def _from_file(space: Pretrained) -> Any:
    content = _checked_content(space.source, str(space.source_sha256))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source.keras"
        path.write_bytes(content)
        try:
            network = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:
            raise StudyError(
                f'"{space.source}" cannot be opened ({first_line(error)}); expected a .keras file '
                "of Keras's own layers"
            ) from error
    shape = getattr(network, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in (1, 3):
        raise StudyError(
            f'"{space.source}" takes an input of shape {shape}; expected images (None, height, '
            "width, 1 or 3)"
        )
    return network


def _checked_content(place: str, sha256: str) -> bytes:
    try:
        with fsspec.open(place, "rb") as file:
            content: bytes = file.read()
    except (OSError, ValueError, ImportError) as error:
        raise StudyError(
            f'"{place}" cannot be read ({error}); bring it back, or name another file'
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StudyError(
            f'"{place}" has changed since the study was declared; bring the old file back, or give '
            "the study a new name"
        )
    return content
