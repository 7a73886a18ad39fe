"""The study to begin with: scikit-learn's 1,797 handwritten digits, 8 × 8 pixels, no download.

Run it with ``autosearch run studies/digits.py``; copy it to begin your own.
"""

from autosearch import (
    Budget,
    CrossValidation,
    SearchSpace,
    Study,
    at_most,
    maximize,
    minimize,
)
from autosearch.data import Digits
from autosearch.space import (
    CNN,
    Augmentation,
    Preprocessing,
    Quantization,
    Range,
    Training,
)

study = Study(
    name="digits",
    dataset=Digits(),
    space=SearchSpace(
        # The digits are 8 × 8 pixels of grey; a list such as size=[8, 16] would be sampled.
        preprocessing=Preprocessing(size=8, color="greyscale"),
        architecture=CNN(
            stages=(1, 3),
            width=[8, 16, 24],
            width_growth=[1.0, 1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=[3, 5],
            block=["plain", "separable", "residual", "inverted_residual"],
            expansion=2,
            attention=["none", "squeeze_excite"],
            dropout=(0.0, 0.3),
        ),
        # A fraction of the image's side.
        augmentation=Augmentation(shift=[0.0, 0.05]),
        training=Training(
            epochs=15,
            optimizer=["adam", "sgd"],
            learning_rate=Range(2e-3, 3e-2, log=True),
            schedule=["constant", "cosine"],
            batch_size=[32, 64],
            label_smoothing=[0.0, 0.1],
        ),
        # "dynamic_int8" is the fifth: small and quick on a host, but no microcontroller runs it.
        quantization=Quantization("float32", "float16", "int8", "int16x8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 64_000)],
    budget=Budget(trials=30),
    # 359 validation images flatter the best of 30 trials: it is judged again, and fitted again on
    # all of them. Ten folds and two finalists, the default, take 22 trainings in place of 6.
    cross_validation=CrossValidation(finalists=1, folds=5),
)
