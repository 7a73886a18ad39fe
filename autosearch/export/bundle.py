"""Writes a promoted model as a folder that stands on its own."""

from __future__ import annotations

import ast
import hashlib
import json
import tempfile
from datetime import UTC
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from autosearch.data import Dataset, prepare
from autosearch.data.files import printable
from autosearch.errors import DefinitionError, StorageError
from autosearch.evaluation.latency import host_target
from autosearch.evaluation.litert import TFLiteModel
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.promotions import Promotion

__all__ = ["SCHEMA_VERSION", "SUMS_FILE", "load_sample", "write_bundle"]

SCHEMA_VERSION = 1
SUMS_FILE = "SHA256SUMS"
_NUM_SYNTHETIC = 8
_NUM_TRIED = 64


def write_bundle(
    promotion: Promotion,
    artifacts: ArtifactStore,
    output: Path,
    *,
    num_samples: int = 0,
    dataset: Dataset | None = None,
) -> Path:
    """Writes the bundle of a promotion.

    Args:
        promotion: What an alias points to.
        artifacts: Where its files are.
        output: The folder to make; it must be empty or not there.
        num_samples: Add that many real images of the validation split, without their EXIF data.
        dataset: Where those come from, as ``promoted_images`` answers it.

    Returns:
        The folder.

    Raises:
        DefinitionError: The folder holds something already, or there is no dataset to take
            samples from.
        NotFoundError: A file of the promotion is not in the store.
        StorageError: The folder cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise DefinitionError(f'"{output}" is there already; name a new folder with --output')
    if num_samples and dataset is None:
        raise DefinitionError("samples need a dataset: pass what promoted_images answers")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A bundle that is there is whole: it is written beside its place and moved. An empty folder
        # is filled instead, since it may be where the user stands or a volume that is mounted.
        is_filled = output.is_dir()
        place = output if is_filled else output.parent
        with tempfile.TemporaryDirectory(dir=place, prefix=".bundle-") as folder:
            staged = Path(folder) / "bundle"
            staged.mkdir()
            _write(promotion, artifacts, staged, num_samples, dataset)
            if is_filled:
                # The sums come last: without them it is no bundle.
                for path in sorted(staged.iterdir(), key=lambda path: path.name == SUMS_FILE):
                    path.rename(output / path.name)
            else:
                staged.rename(output)
    except OSError as error:
        raise StorageError(
            f'"{output}" cannot be written ({error.strerror or error}); name another with --output'
        ) from error
    return output


def load_sample(path: Path) -> npt.NDArray[np.uint8]:
    """A sample's pixels (h, w) or (h, w, 3) as they stand in its PNG file."""
    # A bundle may come from anywhere, and some of Pillow's formats run other programs.
    with Image.open(path, formats=("PNG",)) as image:
        return np.asarray(image, dtype=np.uint8)


def _write(
    promotion: Promotion,
    artifacts: ArtifactStore,
    folder: Path,
    num_samples: int,
    dataset: Dataset | None,
) -> None:
    record = promotion.record
    file = artifacts.get(promotion.artifact_sha256)
    (folder / "model.tflite").write_bytes(file)
    if promotion.keras_sha256 is not None:
        (folder / "model.keras").write_bytes(artifacts.get(promotion.keras_sha256))
    _write_text(folder / "labels.txt", "".join(map(_line, record["classes"])))
    _write_text(folder / "predict.py", _predict_source())
    lite = TFLiteModel(file)
    images = _synthetic_images(lite)
    if num_samples and dataset is not None:
        real, _ = dataset.load("validation")
        # A user's own sequence need not take slices.
        images += [np.asarray(real[index]) for index in range(min(num_samples, len(real)))]
    samples = _write_samples(folder, images, lite, record["preprocessing"])
    metadata = {
        "schema_version": SCHEMA_VERSION,
        "model": promotion.model,
        "alias": promotion.alias,
        "promoted_at": promotion.promoted_at.replace(tzinfo=UTC).isoformat(),
        "note": promotion.note,
        "study": record["study"],
        "trial": record["trial"],
        "candidate": record["candidate"],
        "quantization": record["quantization"],
        "config": record["config"],
        "architecture": record["architecture"],
        "preprocessing": record["preprocessing"],
        "validation": record["validation"],
        "test": promotion.test_metrics,
        "target": record["target"],
        "reasons": record["reasons"],
        "parameters": record["parameters"],
        "macs": record["macs"],
        "size_bytes": record["size_bytes"],
        "sha256": record["sha256"],
        "input": record["input"],
        "output": record["output"],
        "classes": record["classes"],
        "dataset": {k: v for k, v in record["dataset"].items() if k != "definition"},
        "environment": record["environment"],
        "samples": samples,
        "samples_written_on": host_target(),
    }
    text = json.dumps(metadata, indent=2, ensure_ascii=False)
    _write_text(folder / "metadata.json", text + "\n")
    sums = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    _write_text(folder / SUMS_FILE, "".join(sums))


def _write_text(path: Path, text: str) -> None:
    """Writes a text file of the bundle, whose lines end alike wherever it is written.

    ``sha256sum`` takes a carriage return of Windows for a part of a file's name.
    """
    # A class may be named by a folder of any bytes, which JSON can escape.
    path.write_text(text, "utf-8", "backslashreplace", newline="\n")


def _line(name: object) -> str:
    """A class's name as one line of text, or the names after it would stand a line too low."""
    return " ".join(printable(str(name)).splitlines()) + "\n"


def _write_samples(
    folder: Path,
    images: list[npt.NDArray[np.uint8]],
    lite: TFLiteModel,
    preprocessing: dict[str, Any],
) -> list[dict[str, Any]]:
    (folder / "samples").mkdir()
    samples = []
    for index, image in enumerate(images):
        name = f"samples/{index:02d}.png"
        pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        Image.fromarray(pixels).save(folder / name)
        prepared = prepare(load_sample(folder / name), **preprocessing)
        probabilities = lite.predict(prepared[np.newaxis])[0]
        samples.append({"image": name, "probabilities": [float(p) for p in probabilities]})
    return samples


def _synthetic_images(lite: TFLiteModel) -> list[npt.NDArray[np.uint8]]:
    """Images of blurred noise on which the model is surest, so that its label is no coin toss."""
    _, height, width, channels = lite.input.shape
    generator = np.random.default_rng(0)
    tried = []
    for index in range(_NUM_TRIED):
        coarse = 2 + index % 7
        noise = generator.integers(0, 256, (coarse, coarse, channels), dtype=np.uint8)
        layers = [
            np.asarray(
                Image.fromarray(noise[..., c]).resize((width, height), Image.Resampling.BICUBIC)
            )
            for c in range(channels)
        ]
        tried.append(np.stack(layers, axis=-1))
    ordered = np.sort(lite.predict(np.stack(tried)), axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    chosen = np.sort(np.argsort(-margins, kind="stable")[:_NUM_SYNTHETIC])
    return [tried[index] for index in chosen]


def _predict_source() -> str:
    """predict.py with the very text of ``autosearch.data.images`` in it."""
    template = resources.files("autosearch.export").joinpath("predict.py.txt").read_text("utf-8")
    source = resources.files("autosearch.data").joinpath("images.py").read_text("utf-8")
    tree = ast.parse(source)
    last = max(
        node.end_lineno or 0
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    )
    body = "\n".join(source.splitlines()[last:]).strip("\n")
    return template.replace("{images}", "\n" + body)
