"""Memory that a file needs on a microcontroller, measured with TensorFlow Lite Micro itself.

TensorFlow Lite Micro takes all its memory from one block, the tensor arena. Its Python package has
no getter for the arena that suffices, so this module tries sizes. An arena far too small makes
the interpreter crash instead of raising; therefore it runs in a helper process, started once and
replaced when it dies: this file, run as a script.
"""

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import platform
import re
import select
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Any

__all__ = ["Arena", "measure_arena", "why_no_arena"]

_RESOLUTION_BYTES = 16
_LARGEST_BYTES = (1 << 22, 1 << 26)
_NOISE = ("Too many buffers", "Requested:")


@dataclass(frozen=True, slots=True)
class Arena:
    """The tensor arena of one file.

    Attributes:
        memory_bytes: The smallest arena in which the file can be prepared and run, up to 16
            bytes more. It is the figure of a 64-bit host without the scratch buffers of a
            vendor's kernel library: pointers make it somewhat larger than on a 32-bit board,
            such buffers make a board's larger. None if there is no figure.
        reason: Why there is none, in one sentence; None if there is.
    """

    memory_bytes: int | None
    reason: str | None


def measure_arena(file: bytes, *, timeout_s: float = 60.0) -> Arena:
    """Find the tensor arena that TensorFlow Lite Micro needs for a file.

    Takes about 10 ms for small files, the first call 0.2 to 0.4 s more. Float16 and
    dynamic-range files have no kernels there. May be called from several threads, which wait for
    each other.

    Args:
        file: The content of a ``.tflite`` file.
        timeout_s: Seconds after which the attempt is given up.

    Returns:
        The size, or the reason why there is none. This function does not raise.
    """
    missing = why_no_arena()
    if missing is not None:
        return Arena(None, missing)
    with _LOCK:
        return _HELPER.measure(file, timeout_s)


def why_no_arena() -> str | None:
    """Why no arena can be measured on this machine; None if it can."""
    if importlib.util.find_spec("tflite_micro") is None:
        here = f"{sys.platform} on {platform.machine()}"
        return f"TensorFlow Lite Micro's Python package is not for {here}."
    return None


class _Helper:
    """The process that risks the crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def measure(self, file: bytes, timeout_s: float) -> Arena:
        try:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(struct.pack("<Q", len(file)) + file)
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], timeout_s)
            answer = process.stdout.readline() if ready else b""
        except OSError as error:
            self.stop()
            return Arena(None, f"TensorFlow Lite Micro's process could not be used: {error}.")
        if not answer:
            self.stop()
            what = "crashed on" if ready else f"took more than {timeout_s:g} s for"
            return Arena(None, f"TensorFlow Lite Micro {what} this file.")
        return Arena(**json.loads(answer))

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            # -P keeps this folder's modules from shadowing those that the script imports.
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        # What was still to be written has no reader any more.
        with contextlib.suppress(OSError), process:
            pass


_HELPER = _Helper()
_LOCK = threading.Lock()
atexit.register(_HELPER.stop)


def _serve() -> None:
    """Answer each file on standard input with one line of JSON, until the input ends."""
    from tflite_micro.python.tflite_micro import runtime

    # Called at every attempt, it unpacks the whole file in Python: most of the time.
    runtime.count_resource_variables = functools.lru_cache(maxsize=1)(
        runtime.count_resource_variables
    )
    with tempfile.TemporaryFile() as words:
        os.dup2(words.fileno(), 2)
        while header := sys.stdin.buffer.read(8):
            file = sys.stdin.buffer.read(struct.unpack("<Q", header)[0])
            answer = _find_arena(runtime, file, words)
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()


def _find_arena(runtime: Any, file: bytes, words: IO[bytes]) -> dict[str, Any]:
    for size_bytes in _LARGEST_BYTES:
        error, text = _attempt(runtime, file, size_bytes, words, run=True)
        if error is None:
            break
        if not isinstance(error, RuntimeError):
            return {"memory_bytes": None, "reason": "The bytes are no .tflite file."}
        if "missing:" not in text:
            return {"memory_bytes": None, "reason": _reason(error, text)}
    else:
        return {
            "memory_bytes": None,
            "reason": f"The file needs an arena of more than {_LARGEST_BYTES[-1] >> 20} MiB.",
        }
    # What was allocated for good is a lower bound, and a safe one: the crashes come below it.
    # Preparing needs some temporary memory besides, so the answer is at most a little above.
    total = re.search(r"Arena allocation total (\d+) bytes", text)
    if total is None:
        return {"memory_bytes": None, "reason": "TensorFlow Lite Micro did not say its memory."}
    high = -(-int(total[1]) // _RESOLUTION_BYTES) * _RESOLUTION_BYTES
    low, step = high - _RESOLUTION_BYTES, _RESOLUTION_BYTES
    # Preparing decides: running allocates nothing more.
    while _attempt(runtime, file, high, words, run=False)[0] is not None:
        low, high, step = high, high + step, step * 2
    while high - low > _RESOLUTION_BYTES:
        middle = (low + high) // (2 * _RESOLUTION_BYTES) * _RESOLUTION_BYTES
        if _attempt(runtime, file, middle, words, run=False)[0] is None:
            high = middle
        else:
            low = middle
    return {"memory_bytes": high, "reason": None}


def _attempt(
    runtime: Any, file: bytes, size_bytes: int, words: IO[bytes], *, run: bool
) -> tuple[Exception | None, str]:
    """The error of one try, and what TensorFlow Lite Micro wrote about it."""
    words.seek(0)
    words.truncate()
    error = None
    try:
        interpreter = runtime.Interpreter.from_bytes(file, arena_size=size_bytes)
        if run:
            interpreter.invoke()
            interpreter.print_allocations()
    except Exception as raised:
        error = raised
    words.seek(0)
    return error, words.read().decode(errors="replace")


def _reason(error: Exception, text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(_NOISE)]
    missing = re.search(r"Didn't find op for builtin opcode '(\w+)'", text)
    node = re.search(r"Node (\w+) \(number", text)
    if missing:
        return f"TensorFlow Lite Micro has no kernel for {missing[1]}."
    if "Hybrid models are not supported" in text:
        return "TensorFlow Lite Micro has no kernels for dynamic-range quantization."
    if node:
        return f"TensorFlow Lite Micro cannot prepare {node[1]} with these types."
    first = lines[0] if lines else str(error)
    return f"TensorFlow Lite Micro refuses the file: {first.rstrip('.')}."


if __name__ == "__main__":
    _serve()
