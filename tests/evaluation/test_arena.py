import importlib.util
from pathlib import Path

import numpy as np
import pytest

from autosearch.evaluation import arena as arena_module
from autosearch.evaluation.arena import Arena, measure_arena
from autosearch.evaluation.latency import reference_file
from autosearch.evaluation.quantization import quantize_all
from autosearch.space.quantization import SCHEMES

needs_tflite_micro = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None, reason="tflite-micro is not installed"
)


@pytest.fixture(scope="module")
def files():
    images = np.random.default_rng(0).integers(0, 256, (4, 56, 56, 3), dtype=np.uint8)
    return quantize_all(reference_file(), SCHEMES, images)


@needs_tflite_micro
@pytest.mark.parametrize("scheme", ["float32", "int8", "int16x8"])
def test_arena_is_the_smallest_that_suffices(files, scheme):
    from tflite_micro.python.tflite_micro import runtime

    arena = measure_arena(files[scheme])
    assert arena.reason is None
    assert arena.memory_bytes is not None
    interpreter = runtime.Interpreter.from_bytes(files[scheme], arena_size=arena.memory_bytes)
    interpreter.invoke()
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(files[scheme], arena_size=arena.memory_bytes - 32)


@needs_tflite_micro
def test_narrower_activations_need_a_smaller_arena(files):
    sizes = [measure_arena(files[name]).memory_bytes for name in ("int8", "int16x8", "float32")]
    assert None not in sizes
    assert sizes == sorted(sizes)


@needs_tflite_micro
def test_schemes_without_kernels_say_so(files):
    float16, dynamic = measure_arena(files["float16"]), measure_arena(files["dynamic_int8"])
    assert float16 == Arena(
        None, "TensorFlow Lite Micro cannot prepare DEQUANTIZE with these types."
    )
    assert dynamic == Arena(
        None, "TensorFlow Lite Micro has no kernels for dynamic-range quantization."
    )


@needs_tflite_micro
def test_unreadable_bytes_are_answered_with_a_reason(files):
    for bad in (b"", b"no such model" * 20, files["int8"][:500]):
        assert measure_arena(bad) == Arena(None, "The bytes are no .tflite file.")
    assert measure_arena(files["int8"]).memory_bytes


@needs_tflite_micro
def test_crash_of_the_helper_is_a_reason_and_it_is_replaced(files, monkeypatch, tmp_path):
    # An arena of 16 bytes crashes the real interpreter: exactly what the helper is there for.
    script = tmp_path / "crashing.py"
    source = Path(arena_module.__file__).read_text()
    script.write_text(source.replace("(1 << 22, 1 << 26)", "(16,)"))
    arena_module._HELPER.stop()
    with monkeypatch.context() as patch:
        patch.setattr(arena_module, "__file__", str(script))
        assert measure_arena(files["int8"]) == Arena(
            None, "TensorFlow Lite Micro crashed on this file."
        )
    assert measure_arena(files["int8"]).memory_bytes


@needs_tflite_micro
def test_a_second_file_starts_no_second_process(files, monkeypatch):
    measure_arena(files["int8"])
    monkeypatch.setattr(arena_module.subprocess, "Popen", None)
    assert measure_arena(files["int8"]).memory_bytes


@needs_tflite_micro
def test_time_out_is_a_reason(files):
    arena_module._HELPER.stop()
    assert "more than 0 s" in str(measure_arena(files["int8"], timeout_s=0).reason)
    assert measure_arena(files["int8"]).memory_bytes


def test_missing_package_is_a_reason(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    arena = measure_arena(b"")
    assert arena.memory_bytes is None
    assert "Python package is not for" in str(arena.reason)
