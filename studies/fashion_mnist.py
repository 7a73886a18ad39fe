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
            # In 12 epochs plain blocks and max pooling came to 0.925, residual blocks to 0.922 in
            # 1.4 times the time, and strides in place of pooling to 0.918. Separable blocks take
            # as long as plain ones with a sixth of their weights. An hour is a handful of
            # trainings: it goes to what is left open.
            stages=3,
            width=[12, 16],
            width_growth=[1.5, 1.75, 2.0],
            blocks_per_stage=2,
            kernel_size=3,
            block="plain",
            activation="relu",
            pooling="max",
            head="average",
            attention="none",
            dropout=(0.0, 0.2),
        ),
        augmentation=Augmentation(horizontal_flip=True, shift=[0.0, 0.05]),
        training=Training(
            epochs=24,
            optimizer="adam",
            learning_rate=Range(2e-3, 8e-3, log=True),
            schedule="cosine",
            batch_size=128,
            label_smoothing=[0.0, 0.1],
        ),
        quantization=Quantization("float32", "int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 64_000)],
    budget=Budget(minutes=60),
)
