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

import numpy as np

from autosearch.data import prepare
from autosearch.errors import AutosearchError, NotFoundError, VerificationError
from autosearch.evaluation.latency import host_target
from autosearch.evaluation.litert import TFLiteModel
from autosearch.export.bundle import SCHEMA_VERSION, SUMS_FILE, load_sample

__all__ = ["Verification", "check_bundle", "verify_bundle"]

_LABEL_AGREEMENT = 0.99
"""On another kind of machine kernels round differently; labels must still agree that often."""


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
    num_files = _check_sums(folder)
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
    same = metadata["samples_written_on"]["key"] == host_target()["key"]
    lite = TFLiteModel(file)
    agreeing, largest = 0, 0.0
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
        agreeing += int(np.argmax(came) == np.argmax(expected))
    agreement = agreeing / max(len(metadata["samples"]), 1)
    if agreement < _LABEL_AGREEMENT:
        raise VerificationError(
            f"only {agreement:.1%} of the samples get the expected label, at least "
            f"{_LABEL_AGREEMENT:.0%} is expected; the largest difference is {largest:.3g}"
        )
    return Verification(num_files, len(metadata["samples"]), same, agreement, largest)


def _check_sums(folder: Path) -> int:
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
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    extra = sorted(present - expected.keys() - {SUMS_FILE})
    if extra:
        raise VerificationError(
            f"{extra[0]} is not part of the bundle: {SUMS_FILE} has no sum of it"
        )
    return len(expected)


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
