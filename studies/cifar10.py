"""CIFAR-10: 60,000 colour pictures of animals and vehicles, 32 × 32 pixels.

Keras downloads it once (170 MB). Run it with ``autosearch run studies/cifar10.py``; two hours on
two cores are a beginning, a graphics card gets further.
"""

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import KerasDataset
from autosearch.space import (
    CNN,
    Augmentation,
    Preprocessing,
    Quantization,
    Range,
    Training,
)

study = Study(
    name="cifar10",
    dataset=KerasDataset("cifar10"),
    space=SearchSpace(
        preprocessing=Preprocessing(size=32),
        architecture=CNN(
            stages=(3, 4),
            width=[16, 24, 32],
            width_growth=[1.5, 2.0],
            blocks_per_stage=(1, 3),
            kernel_size=3,
            block=["plain", "residual", "inverted_residual"],
            pooling=["max", "stride"],
            head="average",
            dropout=(0.0, 0.3),
        ),
        augmentation=Augmentation(
            horizontal_flip=True, shift=[0.0, 0.1], erasing=[0.0, 0.25], cutmix=[0.0, 1.0]
        ),
        training=Training(
            epochs=40,
            optimizer=["adamw", "sgd"],
            learning_rate=Range(1e-3, 5e-2, log=True),
            schedule=["cosine", "cosine_warmup"],
            batch_size=128,
            label_smoothing=[0.0, 0.1],
        ),
        quantization=Quantization("float32", "int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 250_000)],
    budget=Budget(minutes=120),
)
