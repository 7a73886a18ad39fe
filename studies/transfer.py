"""Your own photos, by networks that were trained before: MobileNets, cut off and fine-tuned.

``AUTOSEARCH_DATA`` names a folder with a sub-folder for each class::

    export AUTOSEARCH_DATA=photos
    autosearch run studies/transfer.py

Keras downloads the ImageNet weights once. Without the internet, ``AUTOSEARCH_WEIGHTS`` names a file
of MobileNetV2 of width 0.35 without its top, saved elsewhere with ``keras.applications.MobileNetV2(
alpha=0.35, include_top=False, input_shape=(96, 96, 3)).save_weights("mobilenet_v2.weights.h5")``.
"""

import os

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import ImageFolder
from autosearch.space import (
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Pretrained,
    Quantization,
    Range,
    Training,
)

CUT = (0.3, 0.8)
WEIGHTS = os.environ.get("AUTOSEARCH_WEIGHTS")


def backbones() -> list[Pretrained]:
    if WEIGHTS:
        return [Pretrained("MobileNetV2", weights=WEIGHTS, width=0.35, cut=CUT)]
    return [
        Pretrained("MobileNetV2", width=[0.35, 0.5], cut=CUT),
        Pretrained("MobileNet", width=[0.25, 0.5], cut=CUT),
    ]


study = Study(
    name="transfer",
    dataset=ImageFolder(os.environ.get("AUTOSEARCH_DATA", "photos")),
    space=SearchSpace(
        preprocessing=Preprocessing(size=[64, 96]),
        architecture=backbones(),
        augmentation=Augmentation(
            horizontal_flip=[False, True], shift=[0.0, 0.1], zoom=[0.0, 0.2], brightness=[0.0, 0.2]
        ),
        weighting=ClassWeighting(method=["none", "balanced"]),
        training=Training(
            epochs=15,
            optimizer=["adam", "sgd"],
            learning_rate=Range(1e-3, 3e-2, log=True),
            schedule=["constant", "cosine"],
            batch_size=[32],
        ),
        quantization=Quantization("float32", "dynamic_int8", "int8"),
    ),
    objectives=[maximize("balanced_accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 500_000)],
    budget=Budget(trials=20),
)
