import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from autosearch.data.pipeline import (
    AUGMENTATIONS,
    augment,
    training_batches,
)
from autosearch.errors import DefinitionError

COUNT = 50
# The image number is in the pixels and in the label, so that what belongs together is known.
IMAGES = np.repeat(np.arange(COUNT, dtype=np.uint8), 64).reshape(COUNT, 8, 8, 1)
LABELS = np.arange(COUNT) % 10
STRENGTHS = {
    "horizontal_flip": 1.0,
    "vertical_flip": 1.0,
    "shift": 0.2,
    "rotation": 30.0,
    "zoom": 0.3,
    "brightness": 0.3,
    "contrast": 0.5,
    "saturation": 0.8,
    "hue": 0.5,
    "randaugment": 0.8,
    "erasing": 0.5,
    "mixup": 1.0,
    "cutmix": 1.0,
}


def step(name, strength=None, probability=1.0, repeats=1):
    strength = STRENGTHS[name] if strength is None else strength
    return SimpleNamespace(name=name, strength=strength, probability=probability, repeats=repeats)


def vary(copies, *steps, seed=3):
    labels = tf.one_hot(np.arange(len(copies)) % 10, 10)
    images, coded = augment(steps, seed=seed, num_channels=copies.shape[-1])(copies, labels)
    return images.numpy(), coded.numpy()


def photos(count, channels=3):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, 8, 8, channels)).astype(np.float32)


def batches(**words):
    return training_batches(IMAGES, LABELS, **{"num_classes": 10, "batch_size": 16, "seed": 1,
                                               **words})  # fmt: skip


def order(dataset):
    return np.concatenate([images.numpy()[:, 0, 0, 0] for images, *_ in dataset]).tolist()


def test_images_that_come_several_times_are_those_of_copied_arrays():
    rows = np.concatenate([np.arange(len(LABELS)), np.arange(0, len(LABELS), 3)])
    words = {"num_classes": 10, "batch_size": 16, "seed": 1}
    picked = training_batches(IMAGES, LABELS, rows=rows, **words)
    copied = training_batches(IMAGES[rows], LABELS[rows], **words)
    for _ in range(2):
        for one, other in zip(picked, copied, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_an_epoch_holds_every_image_once_with_its_label():
    seen = list(batches())
    assert [len(images) for images, _ in seen] == [16, 16, 16, 2]
    for images, labels in seen:
        assert images.dtype.name == "float32"
        assert np.array_equal(images.numpy()[:, 0, 0, 0] % 10, labels.numpy())
    assert sorted(order(batches())) == list(range(COUNT))


def test_orders_change_from_epoch_to_epoch_and_follow_from_the_seed_alone():
    first = batches()
    epochs = [order(first), order(first)]
    keras.utils.set_random_seed(77)
    again = batches()
    assert [order(again), order(again)] == epochs
    assert epochs[0] != epochs[1]
    assert order(batches(seed=2)) != epochs[0]


def test_labels_can_be_one_hot_and_weights_follow_their_image():
    weights = np.arange(COUNT) / 10
    for images, labels, weight in batches(one_hot=True, sample_weights=weights):
        numbers = images.numpy()[:, 0, 0, 0].astype(int)
        assert np.array_equal(labels.numpy(), np.eye(10)[numbers % 10])
        assert np.allclose(weight.numpy(), weights[numbers])


def test_labels_of_all_images_are_never_one_hot_at_once(monkeypatch):
    lengths, one_hot = [], tf.one_hot

    def noted(labels, depth):
        lengths.append(labels.shape[0])
        return one_hot(labels, depth)

    monkeypatch.setattr(tf, "one_hot", noted)
    seen = [*batches(one_hot=True)]
    assert lengths == [None]
    assert {labels.shape[1] for _, labels in seen} == {10}


def test_an_augmentation_of_nothing_changes_nothing():
    assert augment((), seed=0, num_channels=3) is None
    assert order(batches(augmentation=())) == order(batches())


def test_every_augmentation_is_tested():
    assert tuple(STRENGTHS) == AUGMENTATIONS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", STRENGTHS)
def test_each_augmentation_varies_images_differently_within_the_range(name, channels):
    copies = np.repeat(photos(1, channels), 32, axis=0)
    if name in ("mixup", "cutmix"):
        copies = photos(32, channels)
    if name in ("saturation", "hue") and channels == 1:
        assert augment([step(name)], seed=3, num_channels=1) is None
        return
    varied, _ = vary(copies, step(name, probability=0.5 if "flip" in name else 1.0, repeats=2))
    assert varied.shape == copies.shape
    assert 0 <= varied.min() < varied.max() <= 255
    assert not np.array_equal(varied, copies)
    assert len(np.unique(varied.reshape(32, -1), axis=0)) >= 2


@pytest.mark.parametrize(
    ("name", "flipped"), [("horizontal_flip", np.s_[:, :, ::-1]), ("vertical_flip", np.s_[:, ::-1])]
)
def test_a_flip_mirrors_the_share_of_images_that_it_should(name, flipped):
    copies = photos(200)
    assert np.array_equal(vary(copies, step(name))[0], copies[flipped])
    varied, _ = vary(copies, step(name, probability=0.3))
    mirrored = (varied == copies[flipped]).all(axis=(1, 2, 3))
    kept = (varied == copies).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 0.2 < mirrored.mean() < 0.4


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixed_images_have_labels_to_match(name):
    # Image i is white where its label says 1: the mean of each channel is the label itself.
    images = np.zeros((10, 20, 20, 10), np.float32)
    images[np.arange(10), :, :, np.arange(10)] = 255.0
    varied, labels = vary(images, step(name))
    assert labels.sum(axis=1) == pytest.approx(1.0)
    assert ((labels > 0) & (labels < 1)).any()
    # CutMix cuts whole pixels, and its label knows of fractions.
    assert varied.mean(axis=(1, 2)) / 255 == pytest.approx(labels, abs=0.1)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_images_that_are_not_chosen_keep_their_label(name):
    copies = photos(64)
    varied, labels = vary(copies, step(name, probability=0.5))
    kept = (varied == copies).all(axis=(1, 2, 3))
    assert 10 < kept.sum() < 60
    assert np.array_equal(labels[kept], np.eye(10)[np.arange(64) % 10][kept])


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_a_small_alpha_mixes_as_little_as_its_distribution(name, alpha):
    images = np.zeros((1000, 32, 32, 1), np.float32)
    _, labels = vary(images, step(name, strength=alpha))
    # Of two classes that were mixed; a pair of one class has a single entry, of 1.
    weights = np.sort(labels, axis=1)[:, -1]
    assert (4 * weights * (1 - weights)).mean() < 2 * alpha / (2 * alpha + 1) + 0.05


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_class_indices_cannot_be_mixed(name):
    with pytest.raises(DefinitionError, match="cannot take; compile the model with categorical"):
        batches(augmentation=[step(name)])


def test_rand_augment_keeps_images_in_their_places():
    copies = np.repeat(np.arange(40, dtype=np.float32) * 5, 192).reshape(40, 8, 8, 3)
    varied, _ = vary(copies, step("randaugment", strength=0.01, repeats=2))
    assert varied.mean(axis=(1, 2, 3)) == pytest.approx(copies.mean(axis=(1, 2, 3)), abs=4.0)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match='Got augmentation "blur"; expected one of hor'):
        augment([step("blur", strength=1.0)], seed=0, num_channels=3)


def test_augmentation_follows_from_the_seed_alone():
    everything = [step(name, probability=0.5) for name in STRENGTHS]

    def epochs(seed):
        dataset = batches(seed=seed, augmentation=everything, one_hot=True)
        parts = [part.numpy().ravel() for _ in range(2) for batch in dataset for part in batch]
        return np.concatenate(parts)

    first = epochs(1)
    keras.utils.set_random_seed(5)
    assert np.array_equal(epochs(1), first)
    assert not np.array_equal(epochs(2), first)
    half = len(first) // 2
    assert not np.array_equal(first[:half], first[half:])


def test_a_step_draws_the_same_whatever_else_is_done():
    copies = photos(32)
    alone, _ = vary(copies, step("vertical_flip", probability=0.5))
    both, _ = vary(copies, step("horizontal_flip"), step("vertical_flip", probability=0.5))
    assert np.array_equal(both, alone[:, :, ::-1])


def test_a_mapped_file_gives_the_batches_of_an_array_and_is_not_copied(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="c")
    labels = np.arange(len(images)) % 10

    def epoch(of):
        words = {"num_classes": 10, "batch_size": 100, "seed": 4}
        return [b[0].numpy() for b in training_batches(of, labels, **words)]

    for one, other in zip(epoch(images), epoch(np.asarray(mapped)), strict=True):
        assert np.array_equal(one, other)
    kept = training_batches(np.asarray(mapped), labels, num_classes=10, batch_size=100, seed=4)
    mapped[:] = 0  # Seen only if TensorFlow has these very pages.
    assert not any(images.numpy().any() for images, *_ in kept)
    assert np.array_equal(np.load(tmp_path / "images.npy"), images)


def test_what_is_taken_of_an_epoch_alone_decides_what_the_next_one_draws():
    """However long somebody waits in between: nothing is drawn ahead."""

    def next_epoch(wait_s):
        taken = batches(augmentation=[step("shift")])
        for _ in taken:
            time.sleep(wait_s)
            break
        return [images.numpy() for images, *_ in taken]

    for one, other in zip(next_epoch(0.0), next_epoch(0.3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_contrast_shrinks_as_well_as_grows():
    copies = np.repeat(photos(1), 64, axis=0) / 2 + 64
    varied, _ = vary(copies, step("contrast"))
    spreads = varied.std(axis=(1, 2, 3)) / copies.std(axis=(1, 2, 3))
    assert spreads.min() < 0.7
    assert spreads.max() > 1.3


def test_randaugment_draws_no_frame_around_what_is_bright():
    # What moves an image repeats its edge; only brightness and contrast change an even one.
    even = np.full((256, 8, 8, 1), 200, np.float32)
    varied, _ = vary(even, step("randaugment"))
    assert np.ptp(varied, axis=(1, 2, 3)).max() < 1e-3
