"""Measure the image cache: how fast it is made, and an epoch over it.

    python benchmarks/cache.py FOLDER               # class sub-folders of photos
    python benchmarks/cache.py FOLDER --size 128

Prints two JSON lines. ``build``: seconds to make the cache of all photos, with all that belongs
to it, against a plain loop of Pillow's open, exif_transpose and resize into an array. ``epoch``:
seconds of second and later epochs of training batches over the cache, against those over an array
in memory. What is compared takes turns, and the figures are medians, so that a busy machine is
equally busy for both.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image, ImageOps

from autosearch.data.cache import ImageCache
from autosearch.data.photos import IMAGE_SUFFIXES, Photos


def plain(paths: list[Path], size: int) -> np.ndarray:
    """The loop that anyone would write."""
    pixels = np.empty((len(paths), size, size, 3), np.uint8)
    for index, path in enumerate(paths):
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            pixels[index] = np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))
    return pixels


def cached(paths: list[Path], size: int, root: str) -> np.ndarray:
    """The same pixels by way of the cache."""
    words = {"size": size, "color": "rgb", "resize": "bilinear", "fit": "stretch"}
    return ImageCache(root).prepared(
        Photos(paths), fingerprint="0" * 64, split="train", preprocessing=words
    )


def medians(repeats: int, **calls: Callable[[], Any]) -> dict[str, float]:
    """The median seconds of each call; they take turns, the first of them first and last."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name in list(calls) if turn % 2 == 0 else reversed(calls):
            started = time.perf_counter()
            calls[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure_build(paths: list[Path], size: int, repeats: int) -> dict[str, Any]:
    """Makes the cache anew each time; reading the files once before is left out for both."""
    with tempfile.TemporaryDirectory() as root:
        assert np.array_equal(plain(paths, size), cached(paths, size, root))

        def build() -> None:
            ImageCache(root).clear()
            cached(paths, size, root)

        seconds = medians(repeats, plain_s=lambda: plain(paths, size), cache_s=build)
    speedup = seconds["plain_s"] / seconds["cache_s"]
    return {**seconds, "times_faster": round(speedup, 2)}


def measure_epoch(paths: list[Path], size: int, batch_size: int, repeats: int) -> dict[str, float]:
    """Epochs of shuffled batches, as training takes them, nothing augmented and nothing trained."""
    from autosearch.data.pipeline import training_batches

    labels = np.arange(len(paths)) % 2
    words = {"num_classes": 2, "batch_size": batch_size, "seed": 0}
    with tempfile.TemporaryDirectory() as root:
        mapped = cached(paths, size, root)
        over_cache = training_batches(mapped, labels, **words)
        over_memory = training_batches(np.array(mapped), labels, **words)

        def epoch(batches: Any) -> None:
            for _ in batches:
                pass

        epoch(over_cache)
        epoch(over_memory)
        seconds = medians(
            repeats, memory_s=lambda: epoch(over_memory), cache_s=lambda: epoch(over_cache)
        )
    return {**seconds, "ratio": round(seconds["cache_s"] / seconds["memory_s"], 3)}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photos, in sub-folders or not")
    parser.add_argument("--size", type=int, default=64, help="height and width of the result")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*"))
    paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        parser.error(f"there are no photos in {arguments.folder}")
    about = {"num_photos": len(paths), "size": arguments.size, "num_cores": os.cpu_count()}
    size, repeats = arguments.size, arguments.repeats
    # Before TensorFlow is loaded, whose threads would take part.
    build = measure_build(paths, size, repeats)
    print(json.dumps({"measured": "build", **about, **build}), flush=True)
    epoch = measure_epoch(paths, size, arguments.batch_size, 3 * repeats)
    print(json.dumps({"measured": "epoch", **about, **epoch}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
