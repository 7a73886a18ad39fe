"""Make ``autosearch/evaluation/reference.tflite``, the file that latencies are compared with.

The file is committed and must stay as it is, or latencies measured before and after cannot be
compared. This script says where it came from, and checks that it would come out the same:

    python benchmarks/make_reference.py            # compare
    python benchmarks/make_reference.py --write    # make it anew
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

FILE = Path(__file__).parents[1] / "autosearch" / "evaluation" / "reference.tflite"


def make_reference() -> bytes:
    """A float32 convolution network with random weights: 4.4 million multiply-accumulates."""
    import keras

    from autosearch.evaluation.conversion import random_weights, to_tflite
    from autosearch.evaluation.quantization import strip_names

    layers = keras.layers
    image = keras.Input((56, 56, 3))
    features = layers.Rescaling(1 / 255)(image)
    features = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(features)
    features = layers.Conv2D(32, 3, padding="same", activation="relu")(features)
    features = layers.DepthwiseConv2D(3, strides=2, padding="same")(features)
    features = layers.Conv2D(64, 1, activation="relu")(features)
    features = layers.GlobalAveragePooling2D()(features)
    model = keras.Model(image, layers.Dense(10, activation="softmax")(features))
    return strip_names(to_tflite(model, weights=random_weights(model, seed=0)))


def main() -> int:
    """Compare or write; 0 if the committed file is what this script makes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the committed file")
    arguments = parser.parse_args()
    made = make_reference()
    if arguments.write:
        FILE.write_bytes(made)
        print(f"wrote {FILE}: {len(made):,} bytes")
        return 0
    same = FILE.is_file() and FILE.read_bytes() == made
    print("the committed file is what this script makes" if same else "the files differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
