"""Your own photos: a folder with a sub-folder for each class, named by AUTOSEARCH_DATA.

Look first, then search::

    export AUTOSEARCH_DATA=photos
    autosearch data inspect photos --html photos.html
    autosearch run studies/photos.py
"""

import os

from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import ImageFolder
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Quantization,
    Range,
    Training,
)

study = Study(
    name="photos",
    dataset=ImageFolder(os.environ.get("AUTOSEARCH_DATA", "photos")),
    space=SearchSpace(
        preprocessing=Preprocessing(size=[32, 48, 64]),
        architecture=CNN(
            stages=(3, 4),
            width=[8, 16, 24],
            width_growth=[1.0, 1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=[3, 5],
            block=["plain", "separable", "residual", "inverted_residual"],
            attention=["none", "squeeze_excite"],
            dropout=(0.0, 0.3),
        ),
        augmentation=Augmentation(
            horizontal_flip=[False, True], shift=[0.0, 0.1], zoom=[0.0, 0.2], brightness=[0.0, 0.2]
        ),
        weighting=ClassWeighting(method=["none", "balanced", "oversample", "logit_adjustment"]),
        training=Training(
            epochs=30,
            optimizer=["adam", "sgd"],
            learning_rate=Range(1e-3, 3e-2, log=True),
            schedule=["constant", "cosine"],
            batch_size=[32, 64],
            label_smoothing=[0.0, 0.1],
        ),
        quantization=Quantization("float32", "dynamic_int8", "int8"),
    ),
    objectives=[maximize("balanced_accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 200_000)],
    budget=Budget(trials=30),
)
