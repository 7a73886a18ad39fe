"""Batches for training and evaluation, as ``tf.data``: images stay in memory, work is batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from autosearch.errors import DefinitionError

__all__ = [
    "AUGMENTATIONS",
    "AugmentationStepLike",
    "augment",
    "download_keras_dataset",
    "training_batches",
]

AUGMENTATIONS: tuple[str, ...] = (
    "horizontal_flip",
    "vertical_flip",
    "shift",
    "rotation",
    "zoom",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "randaugment",
    "erasing",
    "mixup",
    "cutmix",
)
"""What ``augment`` knows."""

_MIXES = ("mixup", "cutmix")
_LEAST_ALPHA = 0.02
_COLOR_ONLY = ("saturation", "hue")


class AugmentationStepLike(Protocol):
    """One thing that is done to training images.

    ``autosearch.space.augmentation.AugmentationStep`` is one.
    """

    @property
    def name(self) -> str:
        """One of ``AUGMENTATIONS``."""
        ...

    @property
    def strength(self) -> float:
        """How far, above 0, in the unit of ``autosearch.space.Augmentation``."""
        ...

    @property
    def probability(self) -> float:
        """Share of the images that it is done to."""
        ...

    @property
    def repeats(self) -> int:
        """How many layers "randaugment" draws for an image."""
        ...


Vary = Callable[[Any, Any], tuple[Any, Any]]
"""Images and labels of a batch, before and after."""


def training_batches(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    augmentation: Sequence[AugmentationStepLike] = (),
    one_hot: bool = False,
    sample_weights: npt.NDArray[np.floating[Any]] | None = None,
    rows: npt.NDArray[np.intp] | None = None,
) -> Any:
    """One epoch of shuffled batches; every iteration is another epoch, in another order.

    The orders and variations follow from the seed and from what was taken so far. Nothing is
    prepared ahead: whoever takes only the first of an epoch would leave it to chance how far
    the random state of the next one has come.

    Args:
        images: (n, h, w, c) uint8.
        labels: (n,) class indices.
        num_classes: How many classes there are, for one-hot labels.
        batch_size: Images a batch; the last one holds what is left.
        seed: Draws the orders and variations.
        augmentation: What is done to images, in this order.
        one_hot: Whether labels are float32 (batch, num_classes) instead of int64 (batch,).
        sample_weights: (n,) weights in the loss, appended to every batch. A mixture has that of
            the image that another was mixed into.
        rows: Which images make an epoch, some more than once; all once by default. They are not
            copied for it.

    Returns:
        A ``tf.data.Dataset`` of (float32 images 0–255, labels[, weights]).

    Raises:
        DefinitionError: Images are mixed, and the labels are not one-hot.
    """
    columns = _columns(images, labels, sample_weights)
    # Shuffling indices and gathering whole batches is what keeps this off the Python and
    # per-element paths: 1,078 images of 8 × 8 take about 10 ms an epoch.
    batches = _orders(len(labels if rows is None else rows), seed).unbatch()
    batches = batches.batch(batch_size)
    if rows is not None:
        every_row = tf.constant(rows, tf.int64)
        batches = batches.map(lambda indices: tf.gather(every_row, indices))
    batches = batches.map(lambda indices: _gather(columns, indices, num_classes, one_hot))
    if not one_hot and any(step.name in _MIXES for step in augmentation):
        raise DefinitionError(
            "mixup and cutmix mix labels, which a loss of class indices (a sparse one) cannot "
            "take; compile the model with categorical_crossentropy, or leave them out"
        )
    vary = augment(augmentation, seed=seed, num_channels=images.shape[-1])
    if vary is not None:
        # One call at a time: the layers' random state advances in the order of the batches.
        batches = batches.map(lambda batch, coded, *rest: (*vary(batch, coded), *rest))
    return batches


def augment(steps: Sequence[AugmentationStepLike], *, seed: int, num_channels: int) -> Vary | None:
    """What varies a float32 batch 0–255 and its labels, each image differently.

    Edges are filled with the nearest pixel, which suits black, white and photographed
    backgrounds alike. Random numbers follow from the seed and a step's name, so that switching
    one of them on leaves the others' alone.

    Args:
        steps: What is done, in this order.
        seed: Draws what happens to each image.
        num_channels: Of the images; what concerns colour leaves an image of 1 channel as it is.

    Returns:
        A function of images and labels; None if nothing is to vary.

    Raises:
        ValueError: A step is not one of ``AUGMENTATIONS``.
    """
    varies = []
    for step in steps:
        if step.name not in AUGMENTATIONS:
            raise ValueError(
                f'Got augmentation "{step.name}"; expected one of {", ".join(AUGMENTATIONS)}.'
            )
        if num_channels == 1 and step.name in _COLOR_ONLY:
            continue
        key = [seed, AUGMENTATIONS.index(step.name)]
        layer_seed, chance_seed = np.random.SeedSequence(key).generate_state(2).tolist()
        if step.name in _MIXES:
            vary = _mix(step, layer_seed)
        elif step.name == "randaugment":
            vary = _rand_augment(step, layer_seed, num_channels)
        else:
            vary = _images_only(_layer(step.name, step.strength, layer_seed))
        varies.append(vary if step.probability >= 1 else _some(vary, step, _draws(chance_seed)))
    if not varies:
        return None

    def vary_all(images: Any, labels: Any) -> tuple[Any, Any]:
        for vary in varies:
            images, labels = vary(images, labels)
            images = tf.clip_by_value(images, 0.0, 255.0)
        return images, labels

    return vary_all


def _layer(name: str, strength: float, seed: int) -> Callable[[Any], Any]:
    """What does one thing to every image of a batch, to each at its own random strength."""
    edges = {"seed": seed, "fill_mode": "nearest"}
    layers = keras.layers
    if name == "horizontal_flip":
        return lambda images: keras.ops.flip(images, axis=2)
    if name == "vertical_flip":
        return lambda images: keras.ops.flip(images, axis=1)
    if name == "shift":
        layer = layers.RandomTranslation(strength, strength, **edges)
    elif name == "shear":
        layer = layers.RandomShear(strength, strength, **edges)
    elif name == "rotation":
        layer = layers.RandomRotation(strength / 360, **edges)
    elif name == "zoom":
        layer = layers.RandomZoom(strength, **edges)
    elif name == "brightness":
        layer = layers.RandomBrightness(strength, seed=seed)
    elif name == "contrast":
        # Of one number Keras makes a range that begins at no change.
        layer = layers.RandomContrast((strength, strength), seed=seed)
    elif name == "sharpness":
        sharpness = layers.RandomSharpness(_around_half(strength), seed=seed)
        around = [[0, 0], [1, 1], [1, 1], [0, 0]]
        # Beyond the edge Keras sees black, and would draw a frame around what is bright.
        return lambda images: sharpness(tf.pad(images, around, "SYMMETRIC"), training=True)[
            :, 1:-1, 1:-1
        ]
    elif name == "saturation":
        # The range is only what the saturation is clipped to, and that is a fraction.
        layer = layers.RandomSaturation(_around_half(strength), value_range=(0, 1), seed=seed)
    elif name == "hue":
        layer = layers.RandomHue(strength, seed=seed)
    else:  # "erasing"
        layer = layers.RandomErasing((1.0, 1.0), scale=(min(0.02, strength), strength), seed=seed)
    return lambda images: layer(images, training=True)


def _around_half(strength: float) -> tuple[float, float]:
    """Keras's factor for colour and sharpness: 0.5 leaves an image as it is, 0 takes all away."""
    return 0.5 - strength / 2, 0.5 + strength / 2


def _images_only(vary: Callable[[Any], Any]) -> Vary:
    return lambda images, labels: (vary(images), labels)


def _mix(step: AugmentationStepLike, seed: int) -> Vary:
    """MixUp or CutMix of one-hot labels; the strength is alpha of Beta(alpha, alpha)."""
    alpha = step.strength
    if alpha < _LEAST_ALPHA:
        # Beta(alpha, alpha) hardly ever mixes then, and Keras half and half: it divides one gamma
        # variate by the sum of two, and both come out as float32's least number. From here down
        # no mixing is nearer to the distribution (by the mean of 4 λ (1 - λ)) than Keras's.
        return _images_only(lambda images: images)
    layer = (
        keras.layers.MixUp(alpha, seed=seed)
        if step.name == "mixup"
        else keras.layers.CutMix((alpha, alpha), seed=seed)
    )

    def vary(images: Any, labels: Any) -> tuple[Any, Any]:
        mixed = layer({"images": images, "labels": labels}, training=True)
        return mixed["images"], mixed["labels"]

    return vary


def _rand_augment(step: AugmentationStepLike, seed: int, num_channels: int) -> Vary:
    """Each image goes through some layers, drawn for it alone, or through none in their place.

    ``keras.layers.RandAugment`` puts the whole batch through every layer; here a layer gets only
    the images that drew it. Its slowest layers are left out, and flips are apart, as in the
    paper.
    """
    strength = step.strength
    strengths = {
        "shift": 0.3 * strength,
        "shear": 0.3 * strength,
        "rotation": 30.0 * strength,
        "zoom": 0.5 * strength,
        "brightness": 0.5 * strength,
        "contrast": 0.9 * strength,
        "sharpness": 0.9 * strength,
        "saturation": 0.9 * strength,
    }
    if num_channels == 1:
        del strengths["saturation"]
    *seeds, choice_seed = np.random.SeedSequence(seed).generate_state(len(strengths) + 1).tolist()
    layers = [
        _layer(name, amount, layer_seed)
        for (name, amount), layer_seed in zip(strengths.items(), seeds, strict=True)
    ]
    draw = _draws(choice_seed)
    num_choices = len(layers) + 1

    def vary(images: Any, labels: Any) -> tuple[Any, Any]:
        shape = images.shape
        for _ in range(step.repeats):
            count = tf.shape(images)[0]
            choices = tf.cast(draw(count) * num_choices, tf.int32)
            places = tf.dynamic_partition(tf.range(count), choices, num_choices)
            kept, *parts = tf.dynamic_partition(images, choices, num_choices)
            varied = [layer(part) for layer, part in zip(layers, parts, strict=True)]
            images = tf.ensure_shape(tf.dynamic_stitch(places, [kept, *varied]), shape)
            images = tf.clip_by_value(images, 0.0, 255.0)
        return images, labels

    return vary


def _some(vary: Vary, step: AugmentationStepLike, draw: Callable[[Any], Any]) -> Vary:
    """Varies each image with the step's probability: Keras's layers vary all or decide anew."""

    def vary_some(images: Any, labels: Any) -> tuple[Any, Any]:
        chosen = draw(tf.shape(images)[0]) < step.probability
        varied, coded = vary(images, labels)
        images = tf.where(chosen[:, tf.newaxis, tf.newaxis, tf.newaxis], varied, images)
        if step.name in _MIXES:
            labels = tf.where(chosen[:, tf.newaxis], coded, labels)
        return images, labels

    return vary_some


def _draws(seed: int) -> Callable[[Any], Any]:
    """Draws that many numbers in [0, 1), others at every call, from the seed alone."""
    calls = tf.Variable(-1, dtype=tf.int64)

    def draw(count: Any) -> Any:
        key = tf.stack([tf.constant(seed, tf.int64), calls.assign_add(1)])
        return tf.random.stateless_uniform([count], seed=key)

    return draw


def _orders(count: int, seed: int) -> Any:
    """A permutation of the indices, another one in every iteration.

    ``Dataset.shuffle`` would also depend on TensorFlow's global seed at the time of the call.
    """
    epoch = tf.Variable(-1, dtype=tf.int64)

    def order(indices: Any) -> Any:
        return tf.random.experimental.stateless_shuffle(
            indices, seed=tf.stack([tf.constant(seed, tf.int64), epoch.assign_add(1)])
        )

    return tf.data.Dataset.from_tensors(tf.range(count)).map(order)


def _columns(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    sample_weights: npt.NDArray[np.floating[Any]] | None,
) -> tuple[Any, ...]:
    columns = [_as_tensor(images), tf.constant(labels, tf.int64)]
    if sample_weights is not None:
        columns.append(tf.constant(sample_weights, tf.float32))
    return tuple(columns)


def _as_tensor(images: npt.NDArray[np.uint8]) -> Any:
    """The images for TensorFlow, without a copy where their memory is aligned as it needs it.

    Mapped files are: ``tf.constant`` would read them whole into this process's own memory.
    """
    is_aligned = images.ctypes.data % 64 == 0 and images.flags.c_contiguous
    if images.size and is_aligned and images.flags.writeable:
        return tf.experimental.dlpack.from_dlpack(images.__dlpack__())
    return tf.constant(images)


def _gather(
    columns: tuple[Any, ...], indices: Any, num_classes: int, one_hot: bool
) -> tuple[Any, ...]:
    images, labels, *rest = (tf.gather(column, indices) for column in columns)
    if one_hot:  # Batch by batch: of all images and a thousand classes it would be gigabytes.
        labels = tf.one_hot(labels, num_classes)
    return (tf.cast(images, tf.float32), labels, *rest)


def read_tensorflow_dataset(
    name: str, data_dir: str | None
) -> tuple[list[str], dict[str, tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int64]]]]:
    """Class names, and images (h, w, c) and labels by split, of a prepared TensorFlow Dataset.

    Images whose class is not told are left out; those of 16 bits are scaled to 8.

    Raises:
        KeyError: It has no ``image`` and ``label``.
        DefinitionError: Its pixels are no whole numbers of 8 or 16 bits.
        Exception: It is not there and cannot be downloaded; there is no narrower one.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    builder.download_and_prepare()
    classes = builder.info.features["label"].names
    parts = {}
    for split in builder.info.splits:
        # In the order of its files: interleaving them would change it with the number of cores.
        config = tfds.ReadConfig(interleave_cycle_length=1, shuffle_seed=None)
        rows = builder.as_dataset(split=split, shuffle_files=False, read_config=config)
        images, labels = [], []
        for row in tfds.as_numpy(rows):
            if row["label"] < 0:  # Its class is kept secret, as of the test images of contests.
                continue
            images.append(_eight_bits(row["image"], name))
            labels.append(int(row["label"]))
        parts[split] = images, np.array(labels, np.int64)
    return list(classes), parts


def _eight_bits(image: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    if image.dtype == np.uint16:
        return np.rint(image / 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise DefinitionError(
            f'TensorFlow dataset "{name}" has images of {image.dtype}; expected uint8 or uint16'
        )
    return image


def download_keras_dataset(name: str) -> Any:
    """((train images, train labels), (test images, test labels)) of ``keras.datasets``.

    Raises:
        Exception: It is not there and cannot be downloaded; Keras has no narrower one.
    """
    return getattr(keras.datasets, name).load_data()
