import subprocess
import sys

import numpy as np
import pytest

from autosearch.errors import ConversionError
from autosearch.evaluation import quantization
from autosearch.evaluation.latency import reference_file
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.quantization import quantize_all
from autosearch.evaluation.subjects import file_subject


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 56, 56, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(images):
    return quantize_all(reference_file(), ["float32", "int8", "int16x8"], images)


def test_predictions_are_those_of_the_interpreter_itself(files, images):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=files["float32"], num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    given = TFLiteModel(files["float32"]).predict(images)
    for image, row in zip(images, given, strict=True):
        interpreter.set_tensor(source, image[np.newaxis].astype(np.float32))
        interpreter.invoke()
        np.testing.assert_array_equal(row, interpreter.get_tensor(result)[0])


def test_every_input_type_is_fed_and_every_output_is_a_probability(files, images):
    expected = TFLiteModel(files["float32"]).predict(images)
    for file in files.values():
        given = TFLiteModel(file).predict(images)
        assert given.dtype == np.float32
        assert given.shape == expected.shape
        np.testing.assert_allclose(given, expected, atol=0.05)
        np.testing.assert_allclose(given.sum(axis=1), 1, atol=0.03)


def foreign_file(images, pixels):
    """The reference network as others quantize it, for images of which 0 and 255 are these."""
    from ai_edge_quantizer import quantizer, recipe

    worker = quantizer.Quantizer(
        bytearray(quantization._with_plain_names(reference_file())), recipe.static_wi8_ai8()
    )
    low, high = pixels
    inputs = [{"image": (low + (high - low) / 255 * i[None]).astype(np.float32)} for i in images]
    with quantization._quiet():
        ranges = worker.calibrate({"serving_default": inputs})
    return bytes(worker.quantize(ranges, enable_progress_report=False).quantized_model)


@pytest.mark.parametrize("pixels", [(0, 1), (-1, 1), (-128, 127)])
def test_a_foreign_file_is_shown_pixels_in_the_range_that_its_input_is_made_for(
    images, tmp_path, pixels
):
    file = tmp_path / "foreign.tflite"
    file.write_bytes(foreign_file(images, pixels))
    subject = file_subject(file)
    assert subject.pixels == pytest.approx(pixels, abs=0.01 * pixels[1])
    assert f"with pixels from {pixels[0]} to " in subject.note
    assert subject.note.endswith(", as the quantization of its input says.")
    every_pixel = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(3).reshape(16, 16, 3)
    shown = np.zeros((1, 56, 56, 3), np.uint8)
    shown[0, :16, :16] = every_pixel
    runner = TFLiteModel(subject.file, pixels=subject.pixels)
    runner.fill_input(shown[0])
    assert runner._input_view()[0, :16, :16, 0].ravel().tolist() == list(range(-128, 128))
    expected = TFLiteModel(reference_file(), pixels=pixels).predict(images)
    np.testing.assert_allclose(runner.predict(images), expected, atol=0.05)


def test_a_file_of_ours_is_shown_raw_pixels(files, tmp_path):
    for scheme, content in files.items():
        path = tmp_path / f"{scheme}.tflite"
        path.write_bytes(content)
        subject = file_subject(path)
        assert subject.pixels == (0, 255)
        assert subject.note.endswith("with pixels from 0 to 255.")


@pytest.mark.parametrize("brightest", [30, 110, 255])
def test_a_file_that_was_quantized_on_dark_samples_is_shown_raw_pixels(images, tmp_path, brightest):
    file = tmp_path / "dark.tflite"
    file.write_bytes(foreign_file(images, (0, brightest)))
    assert file_subject(file).pixels == (0, 255)


def test_no_images_give_no_rows(files, images):
    assert TFLiteModel(files["int8"]).predict(images[:0]).shape == (0, 10)


def test_predicting_twice_gives_the_same(files, images):
    runner = TFLiteModel(files["int8"])
    np.testing.assert_array_equal(runner.predict(images), runner.predict(images))


def test_images_of_another_shape_or_type_are_refused(files, images):
    runner = TFLiteModel(files["float32"])
    with pytest.raises(ValueError, match=r"expected uint8 of shape \(n, 56, 56, 3\)"):
        runner.predict(images[:, :28])
    with pytest.raises(ValueError, match="Got images of type float32"):
        runner.predict(images.astype(np.float32))


@pytest.mark.parametrize("size", [0, 8, 1000, 34_000])
def test_unreadable_files_are_refused_quietly(size, capfd):
    with pytest.raises(ConversionError, match=f"LiteRT cannot read .* {size} bytes"):
        TFLiteModel(reference_file()[:size])
    assert capfd.readouterr() == ("", "")


def test_running_needs_neither_tensorflow_nor_keras():
    code = (
        "import sys\n"
        "from autosearch.evaluation.latency import host_target, measure_latency, reference_file\n"
        "from autosearch.evaluation.arena import measure_arena\n"
        "from autosearch.evaluation.quantization import quantize\n"
        "from autosearch.evaluation.metrics import wilson_interval\n"
        "import numpy as np\n"
        "file = quantize(reference_file(), 'int8', np.zeros((1, 56, 56, 3), dtype=np.uint8))\n"
        "measure_latency({'a': file}, seconds_per_file=0.01)\n"
        "measure_arena(file)\n"
        "print([name for name in ('tensorflow', 'keras', 'optuna') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
