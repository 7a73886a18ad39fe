"""CIFAR-10: 60,000 small colour photos of ten kinds of things.

Keras downloads the images once, 170 MB, into ``~/.keras``; where the network does not allow that,
the study stops at once and says so. Run it with ``autosearch run studies/cifar10.py``.
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
            width=[12, 16, 24],
            width_growth=[1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=3,
            block=["plain", "residual", "inverted_residual"],
            attention=["none", "squeeze_excite"],
            dropout=(0.0, 0.3),
        ),
        augmentation=Augmentation(
            horizontal_flip=True, shift=[0.0, 0.1], erasing=[0.0, 0.2], mixup=[0.0, 0.2]
        ),
        training=Training(
            epochs=15,
            optimizer=["adam", "sgd"],
            learning_rate=Range(1e-3, 5e-2, log=True),
            schedule="cosine",
            batch_size=[128],
            label_smoothing=[0.0, 0.1],
        ),
        quantization=Quantization("float32", "int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 250_000)],
    budget=Budget(minutes=240),
)
