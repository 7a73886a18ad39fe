"""A few candidates, and a way to make others."""

import numpy as np
import pandas as pd
import pytest


def candidates(*rows):
    frame = pd.DataFrame(rows, columns=["candidate", "accuracy", "size_bytes", "feasible"])
    frame["trial"] = [
        int(name.partition("-")[0]) if name[0].isdigit() else 0 for name in frame["candidate"]
    ]
    frame["quantization"] = [name.partition("-")[2] for name in frame["candidate"]]
    frame["accuracy_low"] = frame["accuracy"] - 0.01
    frame["accuracy_high"] = frame["accuracy"] + 0.01
    return frame


FRAME = candidates(
    ("0-int8", 0.99, 100_000, True),
    ("1-int8", 0.97, 10_000, True),
    ("2-float32", 0.80, 8_000, True),
    ("3-int8", 0.90, 50_000, True),
    ("4-int8", 0.999, 900_000, False),
    ("5-int8", np.nan, 10, True),
)


@pytest.fixture
def frame():
    return FRAME.copy()


@pytest.fixture
def make():
    return candidates
