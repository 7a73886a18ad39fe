"""How much CPU time an epoch takes with fused batch normalisation, relative to Keras's own.

Usage: python benchmarks/batch_normalization.py [--repeats 5]

Both ways take turns in one run, on the same images of noise. One JSON line a network is printed,
with the median seconds of processor time of an epoch, and their ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time

import numpy as np

from autosearch.data.pipeline import training_batches
from autosearch.evaluation.training import compile_model
from autosearch.models.cnn import build_cnn
from autosearch.models.fused import fused_batch_normalization
from autosearch.space import CNN, Training
from autosearch.space.hyperparameters import HyperParameters

_NUM_IMAGES = 3200
_BATCH_SIZE = 64


def main() -> None:
    """Times three kinds of network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_NUM_IMAGES, 28, 28, 1), dtype=np.uint8)
    labels = rng.integers(0, 10, _NUM_IMAGES)
    for block in ("plain", "residual", "separable"):
        ways = {
            "keras": _Epoch(block, images, labels, contextlib.nullcontext),
            "fused": _Epoch(block, images, labels, fused_batch_normalization),
        }
        seconds = {name: [] for name in ways}
        for _ in range(repeats):
            for name, epoch in ways.items():
                seconds[name].append(epoch())
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        ratio = medians["keras"] / medians["fused"]
        line = {"block": block, **{f"{n}_cpu_s": round(m, 2) for n, m in medians.items()}}
        sys.stdout.write(json.dumps({**line, "ratio": round(ratio, 2)}) + "\n")


class _Epoch:
    """A network that is ready to be trained for one more epoch."""

    def __init__(self, block, images, labels, way):
        hp = HyperParameters()
        config = CNN(
            stages=3, width=16, width_growth=1.5, blocks_per_stage=2, kernel_size=3, block=block,
            activation="relu", pooling="max", head="average", attention="none", dropout=0.0,
        ).sample(hp)  # fmt: skip
        training = Training(
            epochs=1, optimizer="adam", learning_rate=1e-3, schedule="constant",
            batch_size=_BATCH_SIZE,
        ).sample(hp)  # fmt: skip
        self._model = build_cnn(config, input_shape=images.shape[1:], num_classes=10, seed=0)
        compile_model(self._model, training, len(images) // _BATCH_SIZE)
        self._batches = training_batches(
            images, labels, num_classes=10, batch_size=_BATCH_SIZE, seed=0, augmentation=(),
            one_hot=False,
        )  # fmt: skip
        with way(self._model) if way is not contextlib.nullcontext else way():
            self._model.fit(self._batches, epochs=1, shuffle=False, verbose=0)

    def __call__(self) -> float:
        """Seconds of processor time."""
        started = time.process_time()
        self._model.fit(self._batches, epochs=1, shuffle=False, verbose=0)
        return time.process_time() - started


if __name__ == "__main__":
    main()
