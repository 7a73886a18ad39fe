import numpy as np
import pytest
from PIL import Image


def scene(seed, size=(40, 30)):
    """A picture unlike that of any other seed, large shapes and all."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def fill(folder, counts, start=0):
    """Class folders of different pictures: class name to number of them."""
    seed = start
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            scene(seed).save(folder / name / f"{seed:04}.png")
            seed += 1
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder of 20 cats and 10 dogs."""
    return fill(tmp_path / "photos", {"cat": 20, "dog": 10})


@pytest.fixture
def make_scene():
    return scene


@pytest.fixture
def fill_folder():
    return fill
