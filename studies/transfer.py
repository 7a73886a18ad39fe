"""Your own photos, with networks that have learned from others: see AUTOSEARCH_DATA.

A MobileNetV2 with ImageNet's weights, which Keras downloads once, beside small networks that begin
from nothing. Where the network does not allow the download, AUTOSEARCH_WEIGHTS names a file of
weights without the top layers, for a width multiplier of 0.35::

    export AUTOSEARCH_DATA=photos
    autosearch run studies/transfer.py

What another study has promoted can be gone on from too: ``Pretrained.promoted("photos")``.
"""

import os

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import ImageFolder
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Pretrained,
    Quantization,
    Range,
    Training,
)

weights = os.environ.get("AUTOSEARCH_WEIGHTS", "imagenet")

study = Study(
    name="transfer",
    dataset=ImageFolder(os.environ.get("AUTOSEARCH_DATA", "photos")),
    space=SearchSpace(
        preprocessing=Preprocessing(size=[64, 96]),
        architecture=[
            Pretrained(
                "MobileNetV2",
                weights=weights,
                alpha=0.35,
                cut=[0.4, 0.6, 0.8, 1.0],
                fine_tuned=[0.0, 0.3, 1.0],
                learning_rate_ratio=Range(0.01, 1.0, log=True),
                dropout=(0.0, 0.5),
            ),
            CNN(
                stages=(3, 4),
                width=[8, 16],
                width_growth=[1.5, 2.0],
                block=["plain", "separable", "inverted_residual"],
                dropout=(0.0, 0.3),
            ),
        ],
        augmentation=Augmentation(horizontal_flip=True, shift=[0.0, 0.1], zoom=[0.0, 0.2]),
        weighting=ClassWeighting(method=["none", "balanced"]),
        training=Training(
            epochs=20,
            optimizer="adam",
            learning_rate=Range(5e-4, 1e-2, log=True),
            schedule="cosine",
            batch_size=32,
        ),
        quantization=Quantization("float32", "dynamic_int8", "int8"),
    ),
    objectives=[maximize("balanced_accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 1_000_000)],
    budget=Budget(trials=30),
)
