"""Checks that a bundle is what it says it is, in a process that knows nothing else.

Nothing of a bundle is executed but its ``.tflite`` file, in LiteRT: ``predict.py`` and
``model.keras`` are only summed, since a bundle may come from anywhere.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data import prepare
from autosearch.errors import AutosearchError, NotFoundError, VerificationError
from autosearch.evaluation.latency import host_target
from autosearch.evaluation.litert import TFLiteModel
from autosearch.export.bundle import SCHEMA_VERSION, SUMS_FILE, load_sample

__all__ = ["Verification", "check_bundle", "verify_bundle"]

_LEFT_BY_FILE_MANAGERS = (".DS_Store", "Thumbs.db")
_CLEAR = 0.5
"""A label is clear if its probability exceeds the next one's by more than that.

On another kind of machine kernels round differently. Between XNNPACK and the built-in kernels
0.6 to 3.9 % of the labels of nine int8 networks differed on 2,000 photos, with margins of up to
0.8 and probabilities that moved by up to 0.54, but of clear ones 0.1 % at most.
"""
_CLEAR_DIFFERING = 0.01
"""The share of samples whose label may be another one though it was clear."""
_DIFFERING = 0.1
"""The share of samples whose label may be another one at all; one always may."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked.

    Attributes:
        num_files: Files whose sums are right.
        num_samples: Samples whose outputs were compared.
        is_same_environment: Whether outputs had to be equal bit for bit.
        label_agreement: Share of samples with the expected label.
        largest_difference: Between an expected probability and the one that came.
    """

    num_files: int
    num_samples: int
    is_same_environment: bool
    label_agreement: float
    largest_difference: float


def verify_bundle(folder: Path) -> Verification:
    """Checks a bundle in a fresh process.

    Raises:
        NotFoundError: There is no such folder.
        VerificationError: With the first difference.
    """
    if not folder.is_dir():
        raise NotFoundError(f'there is no folder "{folder}"; name one that export wrote')
    finished = subprocess.run(
        # -P: no module of the folder that the user stands in is run, which may be the bundle.
        [sys.executable, "-P", "-m", "autosearch.export.verify", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(finished.stdout)
    except ValueError:
        lines = finished.stderr.strip().splitlines() or ["no output"]
        raise VerificationError(f'"{folder}" could not be checked: {lines[-1]}') from None
    if "error" in answer:
        raise VerificationError(answer["error"])
    return Verification(**answer)


def check_bundle(folder: Path) -> Verification:
    """Checks a bundle in this process.

    Raises:
        VerificationError: With the first difference.
    """
    names = _check_sums(folder)
    try:
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    except ValueError as error:
        raise VerificationError(f"metadata.json is not JSON ({error})") from error
    if metadata.get("schema_version") != SCHEMA_VERSION:
        raise VerificationError(
            f"metadata.json has schema version {metadata.get('schema_version')}; this version of "
            f"autosearch reads {SCHEMA_VERSION}"
        )
    file = (folder / "model.tflite").read_bytes()
    if len(file) != metadata["size_bytes"]:
        raise VerificationError(
            f"model.tflite has {len(file)} bytes, metadata.json says {metadata['size_bytes']}"
        )
    if hashlib.sha256(file).hexdigest() != metadata["sha256"]:
        raise VerificationError("model.tflite is not the file whose sum metadata.json holds")
    for sample in metadata["samples"]:
        if sample["image"] not in names:
            raise VerificationError(f"{SUMS_FILE} does not name {sample['image']}")
    same = metadata["samples_written_on"]["key"] == host_target()["key"]
    agreement, largest = _check_outputs(folder, metadata, TFLiteModel(file), same=same)
    return Verification(len(names), len(metadata["samples"]), same, agreement, largest)


def _check_outputs(
    folder: Path, metadata: dict[str, Any], lite: TFLiteModel, *, same: bool
) -> tuple[float, float]:
    """The share of samples with the expected label, and the largest difference.

    Raises:
        VerificationError: Outputs differ by more than they may on this machine.
    """
    num_differing, num_clear, largest = 0, 0, 0.0
    for sample in metadata["samples"]:
        pixels = prepare(load_sample(folder / sample["image"]), **metadata["preprocessing"])
        came = lite.predict(pixels[np.newaxis])[0].astype(np.float64)
        expected = np.asarray(sample["probabilities"])
        difference = float(np.max(np.abs(came - expected)))
        if same and difference:
            raise VerificationError(
                f"{sample['image']}: a probability differs by {difference:.3g} from what "
                "metadata.json holds, on the kind of machine that wrote it"
            )
        largest = max(largest, difference)
        if np.argmax(came) != np.argmax(expected):
            num_differing += 1
            num_clear += int(not _is_rounding(expected, difference))
    num_samples = len(metadata["samples"])
    agreement = 1 - num_differing / max(num_samples, 1)
    too_many = num_differing > max(1, _DIFFERING * num_samples)
    if too_many or num_clear > _CLEAR_DIFFERING * num_samples:
        raise VerificationError(
            f"{num_differing} of {num_samples} samples do not get the expected label, {num_clear} "
            "of them though it was clear: more than kernels that round differently explain; the "
            f"largest difference is {largest:.3g}"
        )
    return agreement, largest


def _is_rounding(expected: npt.NDArray[np.float64], difference: float) -> bool:
    """Whether another label than the expected one can come of kernels that round differently."""
    second, first = np.sort(expected)[-2:]
    return bool(first - second <= _CLEAR and difference <= _CLEAR)


def _check_sums(folder: Path) -> set[str]:
    """The names of the bundle's files, whose sums are right."""
    try:
        lines = (folder / SUMS_FILE).read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise VerificationError(f'"{folder}" has no {SUMS_FILE}; it is not a bundle') from None
    expected = {}
    for line in lines:
        sha256, _, name = line.partition("  ")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or not name:
            raise VerificationError(f'{SUMS_FILE} names "{name}", which is not in the bundle')
        expected[name] = sha256
    for name in ("model.tflite", "metadata.json", "labels.txt", "predict.py"):
        if name not in expected:
            raise VerificationError(f"{SUMS_FILE} does not name {name}")
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file():
            raise VerificationError(f"{name} is missing")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise VerificationError(f"{name} has changed: its sum is not the one in {SUMS_FILE}")
    present = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in _LEFT_BY_FILE_MANAGERS
    }
    extra = sorted(present - expected.keys() - {SUMS_FILE})
    if extra:
        left = "; remove __pycache__, which importing predict.py left"
        raise VerificationError(
            f"{extra[0]} is not part of the bundle: {SUMS_FILE} has no sum of it"
            f"{left if extra[0].startswith('__pycache__/') else ''}"
        )
    return set(expected)


def main() -> None:
    """Checks the folder that the command line names and prints the outcome as JSON."""
    try:
        answer = asdict(check_bundle(Path(sys.argv[1])))
    except AutosearchError as error:
        answer = {"error": str(error)}
    except (KeyError, OSError, ValueError, TypeError) as error:
        answer = {"error": f"the bundle cannot be read ({type(error).__name__}: {error})"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
