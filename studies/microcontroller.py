"""Handwritten digits for a Raspberry Pi Pico: what fits into its flash and RAM, with least work.

The target brings two constraints, on the file and on the tensor arena. The time on a
microcontroller is not measured, and this machine's says nothing of it: multiply-accumulates stand
in for it. ``float16`` and ``dynamic_int8`` are left out, since TensorFlow Lite Micro runs neither.

Run it with ``autosearch run studies/microcontroller.py``, on Linux x86-64: nowhere else can the
arena be measured.
"""

from autosearch import Budget, CrossValidation, SearchSpace, Study, Target, maximize, minimize
from autosearch.data import Digits
from autosearch.space import CNN, Augmentation, Preprocessing, Quantization, Range, Training

study = Study(
    name="microcontroller",
    dataset=Digits(),
    space=SearchSpace(
        # Larger images than the digits are, as a camera would give them, take more RAM.
        preprocessing=Preprocessing(size=[8, 16], color="greyscale"),
        architecture=CNN(
            stages=(1, 4),
            width=[4, 8, 16, 32],
            width_growth=[1.0, 1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=3,
            block=["plain", "separable", "inverted_residual"],
            expansion=2,
            # TensorFlow Lite Micro has no kernel for "gelu".
            activation=["relu", "hard_swish"],
            dropout=(0.0, 0.3),
        ),
        augmentation=Augmentation(shift=[0.0, 0.05]),
        training=Training(
            epochs=15,
            optimizer=["adam", "sgd"],
            learning_rate=Range(2e-3, 3e-2, log=True),
            schedule=["constant", "cosine"],
            batch_size=[32, 64],
        ),
        quantization=Quantization("int8", "int16x8", "float32"),
    ),
    objectives=[
        maximize("accuracy"),
        minimize("size_bytes"),
        minimize("memory_bytes"),
        minimize("macs"),
    ],
    # Another board by its name; or your own, with what your firmware leaves:
    # Target("microcontroller", flash_bytes=200_000, ram_bytes=32_000).
    target=Target("raspberry_pi_pico"),
    budget=Budget(trials=30),
    cross_validation=CrossValidation(finalists=1, folds=5),
)
