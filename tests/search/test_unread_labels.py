"""The labels of the test split teach a search nothing."""

import shutil

import numpy as np
from PIL import Image

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize
from autosearch.data import ImageFolder
from autosearch.space import CNN, ClassWeighting, Preprocessing, Quantization, Training

COUNTS = {"train": 24, "val": 12, "test": 12}


def make_photos(folder):
    rng = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for brightness, name in ((60, "dark"), (160, "light")):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(brightness - 60, brightness + 60, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{name}{index}.png")


def exchange_test_labels(folder):
    """Moves half of each class to the other."""
    halves = {
        name: sorted((folder / "test" / name).iterdir())[: COUNTS["test"] // 2]
        for name in ("dark", "light")
    }
    for name, other in (("dark", "light"), ("light", "dark")):
        for path in halves[name]:
            path.rename(folder / "test" / other / path.name)


def searched(folder, storage):
    study = Study(
        name="honest",
        dataset=ImageFolder(folder),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8),
            architecture=CNN(
                stages=1, width=[4, 6], block="plain", attention="none", activation="relu"
            ),
            weighting=ClassWeighting(method=["none", "balanced"]),
            training=Training(epochs=1, batch_size=16),
            quantization=Quantization("int8"),
        ),
        objectives=[maximize("balanced_accuracy")],
        budget=Budget(trials=2),
    )
    return autosearch.run(study, storage=storage, seed=3)


def test_other_labels_in_the_test_split_change_nothing_in_a_search(tmp_path):
    make_photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos", tmp_path / "others")
    exchange_test_labels(tmp_path / "others")
    views = [
        searched(tmp_path / name, f"sqlite:///{tmp_path / name}.db")
        for name in ("photos", "others")
    ]
    fingerprints = [ImageFolder(tmp_path / name).fingerprint() for name in ("photos", "others")]
    assert fingerprints[0] != fingerprints[1]
    columns = ["candidate", "estimate", "accuracy", "log_loss", "artifact_sha256"]
    one, other = (view.candidates_frame()[columns].to_dict("records") for view in views)
    assert len(one) == 2
    assert one == other
    configs = [view.trials_frame()["config"].tolist() for view in views]
    assert configs[0] == configs[1]
