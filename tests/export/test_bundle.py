"""What a bundle holds, and that it is used and checked without autosearch's help."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import metadata as distributions
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from autosearch.data import Digits, prepare
from autosearch.export.bundle import write_bundle
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import current_promotion

FILES = {
    "model.tflite", "model.keras", "labels.txt", "metadata.json", "predict.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def metadata(bundle):
    return json.loads((bundle.folder / "metadata.json").read_text())


def test_the_model_is_the_candidates_file_byte_for_byte(bundle, metadata):
    file = (bundle.folder / "model.tflite").read_bytes()
    assert file == Path(bundle.candidate["artifact"]).read_bytes()
    assert len(file) == metadata["size_bytes"] == bundle.candidate["size_bytes"]
    assert hashlib.sha256(file).hexdigest() == metadata["sha256"]


def test_the_metadata_say_what_it_is_and_where_it_comes_from(bundle, metadata):
    candidate = bundle.candidate
    assert metadata["schema_version"] == 1
    assert (metadata["study"], metadata["model"], metadata["alias"]) == (
        "tiny", "reader", "champion",
    )  # fmt: skip
    for key in ("candidate", "trial", "quantization", "parameters", "macs"):
        assert metadata[key] == candidate[key]
    for key in ("accuracy", "accuracy_low", "accuracy_high", "latency_ms", "memory_bytes"):
        assert metadata["validation"][key] == candidate[key]
    assert metadata["test"]["num_images"] == len(Digits().load("test")[1])
    assert 0 < metadata["test"]["accuracy_low"] < metadata["test"]["accuracy"] <= 1
    size = metadata["config"]["preprocessing/size"]
    assert metadata["input"] == {
        "shape": [1, size, size, 1],
        "dtype": "uint8",
        "quantization": {"scale": 1.0, "zero_point": 0},
    }
    assert metadata["classes"] == [str(digit) for digit in range(10)]
    assert metadata["dataset"] == {
        "name": "digits", "fingerprint": Digits().fingerprint(), "split_seed": 0,
    }  # fmt: skip
    assert metadata["environment"]["versions"]["ai-edge-litert"]
    assert metadata["note"] == "the first"


def test_the_test_accuracy_is_that_of_the_file_on_the_test_split(bundle, metadata):
    images, labels = Digits().load("test")
    predicted = predict(bundle.folder, [prepare(i, **metadata["preprocessing"]) for i in images])
    assert np.mean(predicted.argmax(axis=1) == labels) == metadata["test"]["accuracy"]


def test_the_labels_stand_a_line_each_in_their_order(bundle, metadata):
    assert (bundle.folder / "labels.txt").read_text().splitlines() == metadata["classes"]


def test_the_sums_cover_every_file(bundle):
    lines = (bundle.folder / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    present = {
        path.relative_to(bundle.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.folder.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }
    assert sums == present
    assert set(present) > FILES


def test_samples_are_synthetic_but_for_those_asked_for_and_hold_nothing_but_pixels(
    bundle, metadata
):
    assert len(metadata["samples"]) == 8 + 3
    real = [image[..., 0].tobytes() for image in Digits().load("validation")[0]]
    are_real = []
    for sample in metadata["samples"]:
        with Image.open(bundle.folder / sample["image"]) as image:
            assert not image.getexif()
            assert not image.info
            are_real.append(image.tobytes() in real)
    assert are_real == [False] * 8 + [True] * 3


def test_the_keras_file_opens_in_plain_keras_and_gives_nearly_the_same(bundle, metadata, tmp_path):
    images = np.stack(
        [prepare(i, **metadata["preprocessing"]) for i in Digits().load("validation")[0][:64]]
    )
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, keras, numpy as np\n"
        "model = keras.models.load_model(sys.argv[1], safe_mode=True)\n"
        "images = np.load('images.npy').astype('float32')\n"
        "np.save('probabilities.npy', model.predict(images, verbose=0))\n"
        "assert not any(name.startswith('autosearch') for name in sys.modules)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, bundle.folder / "model.keras"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    probabilities = np.load(tmp_path / "probabilities.npy")
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    quantized = predict(bundle.folder, images)
    assert np.mean(probabilities.argmax(axis=1) == quantized.argmax(axis=1)) > 0.9
    assert np.abs(probabilities - quantized).mean() < 0.02


def predict(folder, images):
    """The file's probabilities by LiteRT's own interpreter."""
    model = Interpreter(model_path=str(folder / "model.tflite"))
    model.allocate_tensors()
    entry, answer = model.get_input_details()[0], model.get_output_details()[0]
    scale, zero_point = answer["quantization"]
    rows = []
    for image in images:
        model.set_tensor(entry["index"], image[np.newaxis])
        model.invoke()
        rows.append((model.get_tensor(answer["index"])[0].astype(np.float32) - zero_point) * scale)
    return np.stack(rows)


@pytest.fixture(scope="module")
def three_packages(tmp_path_factory):
    """A folder with ai-edge-litert, NumPy, Pillow and what they need, and nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    wanted, seen = ["ai-edge-litert", "numpy", "pillow"], set()
    while wanted:
        name = wanted.pop()
        seen.add(name)
        distribution = distributions.distribution(name)
        for file in distribution.files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
        for required in distribution.requires or []:
            plain = required.partition(";")[0].strip()
            base = plain.split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("!")[0]
            base = base.split("~")[0].strip()
            if ";" not in required and base not in seen:
                wanted.append(base)
    return folder


def run_predict(bundle, packages, *words, cwd, encoding="utf-8"):
    """predict.py where only those packages can be imported."""
    code = (
        "import runpy, sys\n"
        f"sys.stdout.reconfigure(encoding={encoding!r})\n"
        "packages, script = sys.argv[1:3]\n"
        "sys.path.append(packages)\n"
        "sys.argv = [script, *sys.argv[3:]]\n"
        "for name in ('tensorflow', 'keras', 'sklearn', 'autosearch', 'pandas'):\n"
        "    try:\n        __import__(name)\n"
        "    except ImportError:\n        continue\n"
        "    raise SystemExit(f'{name} can be imported')\n"
        "runpy.run_path(script, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, packages, bundle.folder / "predict.py", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_predict_needs_three_packages_and_gives_the_expected_outputs(
    bundle, metadata, three_packages, tmp_path
):
    names = [str(bundle.folder / sample["image"]) for sample in metadata["samples"]]
    finished = run_predict(bundle, three_packages, "--json", *names, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    for answer, sample in zip(json.loads(finished.stdout), metadata["samples"], strict=True):
        assert list(answer["probabilities"].values()) == sample["probabilities"]


def test_predict_takes_any_kind_of_image(bundle, metadata, three_packages, tmp_path):
    images, labels = Digits().load("validation")
    prepared = [prepare(image, **metadata["preprocessing"]) for image in images]
    surest = int(np.argmax(predict(bundle.folder, prepared).max(axis=1)))
    grey = Image.fromarray(images[surest][..., 0])
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    grey.convert("RGBA").save(tmp_path / "rgba.png")
    grey.convert("P").save(tmp_path / "palette.gif")
    # As a camera on its side writes it: turned, with a note on how to turn it back.
    turned = grey.resize((960, 960), Image.Resampling.BICUBIC).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.convert("RGB").save(tmp_path / "camera.jpg", exif=exif, quality=95)

    names = ["grey.png", "rgb.png", "rgba.png", "palette.gif", "camera.jpg"]
    finished = run_predict(bundle, three_packages, "--json", *names, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    answers = {answer["image"]: answer for answer in json.loads(finished.stdout)}
    for name in names:
        assert answers[name]["label"] == str(labels[surest]), name
    expected = predict(bundle.folder, [prepared[surest]])[0]
    for name in names[:4]:
        assert list(answers[name]["probabilities"].values()) == expected.tolist()


def test_predict_prints_the_likeliest_classes_and_names_what_it_cannot_read(
    bundle, metadata, three_packages, tmp_path
):
    (tmp_path / "text.png").write_text("no image")
    sample = str(bundle.folder / metadata["samples"][0]["image"])
    finished = run_predict(bundle, three_packages, sample, "text.png", "none.png", cwd=tmp_path)
    assert finished.returncode == 1
    best = int(np.argmax(metadata["samples"][0]["probabilities"]))
    assert finished.stdout.startswith(f"{sample}: {metadata['classes'][best]} ")
    assert [line.split(":")[0] for line in finished.stderr.splitlines()] == ["text.png", "none.png"]


def test_predict_names_what_pillow_refuses_otherwise(bundle, metadata, three_packages, tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "bomb.bmp")
    header = bytearray((tmp_path / "bomb.bmp").read_bytes())
    header[18:26] = 2 * (60_000).to_bytes(4, "little")  # its width and height
    (tmp_path / "bomb.bmp").write_bytes(header)
    sample = str(bundle.folder / metadata["samples"][0]["image"])
    finished = run_predict(bundle, three_packages, "bomb.bmp", sample, cwd=tmp_path)
    assert finished.returncode == 1
    assert finished.stdout.startswith(f"{sample}: ")
    assert finished.stderr.startswith("bomb.bmp: cannot be read as an image (Image size")
    assert len(finished.stderr.splitlines()) == 1


def test_predict_writes_what_it_can_of_a_name(bundle, metadata, three_packages, tmp_path):
    shutil.copytree(bundle.folder, tmp_path / "bundle")
    lines = "".join(f"Größe {name}\n" for name in metadata["classes"])
    (tmp_path / "bundle" / "labels.txt").write_text(lines, "utf-8")
    sample = bundle.folder / metadata["samples"][0]["image"]
    copied = replace(bundle, folder=tmp_path / "bundle")
    finished = run_predict(copied, three_packages, sample, cwd=tmp_path, encoding="ascii")
    assert finished.returncode == 0, finished.stderr
    assert "Gr\\xf6\\xdfe " in finished.stdout


def test_each_class_has_its_line_whatever_its_name(bundle, metadata, tmp_path):
    database = Database.open_to_read(bundle.storage)
    promotion = current_promotion(database, "reader", "champion")
    # A name with an end of line in it, and one of bytes that are no UTF-8.
    classes = ["zero\nnought", "caf\udce9", "one\u2028two", *metadata["classes"][3:]]
    renamed = replace(promotion, record={**promotion.record, "classes": classes})
    folder = write_bundle(renamed, ArtifactStore.beside(database), tmp_path / "bundle")
    assert json.loads((folder / "metadata.json").read_text("utf-8"))["classes"] == classes
    lines = (folder / "labels.txt").read_text("utf-8").splitlines()
    assert lines == ["zero nought", "caf\ufffd", "one two", *metadata["classes"][3:]]


def test_lines_end_alike_where_it_is_written_on_windows_too(bundle, tmp_path, monkeypatch):
    write_text = Path.write_text

    def on_windows(path, text, encoding=None, errors=None, newline=None):
        return write_text(path, text, encoding, errors, "\r\n" if newline is None else newline)

    monkeypatch.setattr(Path, "write_text", on_windows)
    database = Database.open_to_read(bundle.storage)
    promotion = current_promotion(database, "reader", "champion")
    folder = write_bundle(promotion, ArtifactStore.beside(database), tmp_path / "bundle")
    for name in ("SHA256SUMS", "labels.txt", "metadata.json", "predict.py"):
        assert b"\r" not in (folder / name).read_bytes(), name


def test_a_folder_that_holds_something_is_not_written_to(bundle, autosearch_here, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    ended = autosearch_here("export", "reader", "--output", tmp_path, "--storage", bundle.storage)
    assert ended.returncode == 2
    assert "is there already; name a new folder" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_folders_above_are_made(bundle, autosearch_here, tmp_path):
    folder = tmp_path / "some" / "where"
    ended = autosearch_here("export", "reader", "--output", folder, "--storage", bundle.storage)
    assert ended.returncode == 0, ended.stderr
    assert {path.name for path in folder.iterdir()} == {*FILES, "SHA256SUMS", "samples"}
    assert [path.name for path in folder.parent.iterdir()] == ["where"]


def test_an_empty_folder_is_filled_where_it_is(bundle, autosearch_here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tmp_path.stat().st_ino
    ended = autosearch_here("export", "reader", "--output", ".", "--storage", bundle.storage)
    assert ended.returncode == 0, ended.stderr
    assert tmp_path.stat().st_ino == before
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "SHA256SUMS", "samples"}
    assert autosearch_here("verify", ".").returncode == 0
