"""Fashion-MNIST: 70,000 greyscale pictures of clothes, 28 × 28 pixels, in an hour on two cores.

Debian and Ubuntu have the images: ``apt-get install dataset-fashion-mnist``. Elsewhere Keras
downloads them. Run it with ``autosearch run studies/fashion_mnist.py``.
"""

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Dataset, Idx, KerasDataset
from autosearch.errors import NotFoundError
from autosearch.space import (
    CNN,
    Augmentation,
    Preprocessing,
    Quantization,
    Range,
    Training,
)


def fashion_mnist() -> Dataset:
    try:
        return Idx()
    except NotFoundError:
        return KerasDataset("fashion_mnist")


study = Study(
    name="fashion-mnist",
    dataset=fashion_mnist(),
    space=SearchSpace(
        preprocessing=Preprocessing(size=28, color="greyscale"),
        architecture=CNN(
            stages=(2, 3),
            width=[8, 12, 16],
            width_growth=[1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=[3],
            # Two cores take 29 s an epoch for plain blocks with 36,000 weights, and 26 s for
            # separable ones with 6,000: the budget goes to the weights.
            block=["plain", "residual"],
            dropout=(0.0, 0.3),
        ),
        augmentation=Augmentation(horizontal_flip=[False, True], shift=[0.0, 0.05, 0.1]),
        training=Training(
            epochs=8,
            optimizer=["adam", "sgd"],
            learning_rate=Range(2e-3, 3e-2, log=True),
            schedule=["cosine"],
            batch_size=[128],
            label_smoothing=[0.0, 0.1],
        ),
        quantization=Quantization("float32", "int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 64_000)],
    budget=Budget(minutes=60),
)
