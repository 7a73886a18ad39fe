from types import SimpleNamespace

import keras
import numpy as np
import pytest

from autosearch.data.pipeline import augment, evaluation_batches, training_batches

OFF = {
    "horizontal_flip": False,
    "shift": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
}
COUNT = 50
# The image number is in the pixels and in the label, so that what belongs together is known.
IMAGES = np.repeat(np.arange(COUNT, dtype=np.uint8), 64).reshape(COUNT, 8, 8, 1)
LABELS = np.arange(COUNT) % 10


def batches(**words):
    return training_batches(IMAGES, LABELS, **{"num_classes": 10, "batch_size": 16, "seed": 1,
                                               **words})  # fmt: skip


def order(dataset):
    return np.concatenate([images.numpy()[:, 0, 0, 0] for images, *_ in dataset]).tolist()


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


def test_an_augmentation_of_nothing_changes_nothing():
    assert augment(SimpleNamespace(**OFF), seed=0) is None
    assert order(batches(augmentation=SimpleNamespace(**OFF))) == order(batches())


@pytest.mark.parametrize(
    "words",
    [
        {"horizontal_flip": True},
        {"shift": 0.2},
        {"rotation": 30.0},
        {"zoom": 0.3},
        {"brightness": 0.3},
        {"contrast": 0.5},
    ],
    ids=lambda words: next(iter(words)),
)
def test_each_augmentation_varies_images_differently_within_the_range(words):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1))
    copies = np.repeat(image[np.newaxis], 32, axis=0).astype(np.float32)
    varied = augment(SimpleNamespace(**{**OFF, **words}), seed=3)(copies).numpy()
    assert varied.shape == copies.shape
    assert 0 <= varied.min() < varied.max() <= 255
    assert len(np.unique(varied.reshape(32, -1), axis=0)) >= 2
    if "horizontal_flip" in words:
        mirrored = [np.array_equal(v, copies[0, :, ::-1]) for v in varied]
        kept = [np.array_equal(v, copies[0]) for v in varied]
        assert all(m or k for m, k in zip(mirrored, kept, strict=True))


def test_augmentation_follows_from_the_seed_alone():
    everything = SimpleNamespace(
        horizontal_flip=True, shift=0.1, rotation=10.0, zoom=0.1, brightness=0.1, contrast=0.1
    )

    def epoch(seed):
        dataset = batches(seed=seed, augmentation=everything)
        return np.concatenate([images.numpy() for images, _ in dataset])

    first = epoch(1)
    keras.utils.set_random_seed(5)
    assert np.array_equal(epoch(1), first)
    assert not np.array_equal(epoch(2), first)


def test_evaluation_keeps_the_order_and_the_last_images():
    dataset = evaluation_batches(IMAGES, LABELS, num_classes=10, batch_size=16)
    assert order(dataset) == list(range(COUNT))
    assert np.array_equal(np.concatenate([labels.numpy() for _, labels in dataset]), LABELS)
