"""Decoding and resizing many image files into one array, on all cores.

Threads gain next to nothing on small photos, whose decoding is short beside Python's own work.
Here the calling process works, and beside it, where there is enough to do, further processes
that load NumPy and Pillow only: ``python -m autosearch.data.decoding`` takes an order on standard
input, one line of JSON, then lines of "start stop", and answers each with a line of checksums.
They are no forks, since a process that has loaded TensorFlow cannot be forked safely, and no
``multiprocessing``, which would run the user's own script again in each of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autosearch.data.images import prepare_upright
from autosearch.data.photos import open_usable

__all__ = ["PixelFile", "decode_all", "main"]

_MAX_PROCESSES = 8  # Each may hold a decoded photo of hundreds of MB.
_CHUNK = 16
_WORTH_A_PROCESS_S = 0.5  # An interpreter with NumPy and Pillow takes 0.2 s to start.
_NUM_AHEAD = 2  # Chunks that a process has in hand, so that it never waits for the next one.


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFile:
    """Where in a file an array of pixels lies.

    Attributes:
        path: The file, which is large enough already.
        offset: Of the first pixel, in bytes.
        shape: (n, height, width, channels).
    """

    path: Path
    offset: int
    shape: tuple[int, int, int, int]

    def open(self) -> npt.NDArray[np.uint8]:
        """The pixels, mapped into memory to be written."""
        return np.memmap(self.path, np.uint8, "r+", offset=self.offset, shape=self.shape)


def decode_all(
    target: PixelFile, paths: Sequence[Path], words: Mapping[str, Any]
) -> npt.NDArray[np.uint32]:
    """Decodes image files and writes them, prepared, into a file.

    Args:
        target: Where the pixels go; its shape is (number of paths, size, size, channels).
        paths: Files that could be read when they were looked at.
        words: size, color, resize and fit, as for ``prepare``.

    Returns:
        The CRC-32 of each image's pixels.

    Raises:
        StudyError: A file can no longer be decoded.
    """
    pixels = target.open()
    checksums = np.zeros(len(paths), np.uint32)
    starts = range(0, len(paths), _CHUNK)
    todo = deque((start, min(start + _CHUNK, len(paths))) for start in starts)
    helpers: list[_Helper] = []
    began = time.perf_counter()
    try:
        while todo or helpers:
            while (chunk := _next(todo)) is not None:
                checksums[slice(*chunk)] = _decode(pixels, paths, words, *chunk)
                if chunk[0] == 0:
                    left_s = (time.perf_counter() - began) / chunk[1] * (len(paths) - chunk[1])
                    if left_s > _WORTH_A_PROCESS_S:
                        helpers = _helpers(target, paths, words, todo, checksums)
            # What a process that died had in hand is back in ``todo`` by then.
            for helper in helpers:
                helper.thread.join()
            helpers = []
    finally:
        for helper in helpers:
            helper.end()
    return checksums


def main() -> int:
    """Decodes what standard input asks for, until it ends."""
    order = json.loads(sys.stdin.buffer.readline())
    shape = tuple(order["shape"])
    pixels = PixelFile(path=Path(order["file"]), offset=order["offset"], shape=shape).open()
    paths = [Path(path) for path in order["paths"]]
    while line := sys.stdin.buffer.readline():
        start, stop = map(int, line.split())
        checksums = _decode(pixels, paths, order["words"], start, stop)
        sys.stdout.write(json.dumps(checksums) + "\n")
        sys.stdout.flush()
    return 0


def _decode(
    pixels: npt.NDArray[np.uint8],
    paths: Sequence[Path],
    words: Mapping[str, Any],
    start: int,
    stop: int,
) -> list[int]:
    checksums = []
    for index in range(start, stop):
        prepared = prepare_upright(open_usable(paths[index]), **words)
        pixels[index] = prepared
        checksums.append(zlib.crc32(prepared.data))
    return checksums


def _next(todo: deque[tuple[int, int]]) -> tuple[int, int] | None:
    try:
        return todo.popleft()
    except IndexError:
        return None


@dataclass(slots=True)
class _Helper:
    """Another process and the thread that gives it work."""

    order: bytes
    todo: deque[tuple[int, int]]
    checksums: npt.NDArray[np.uint32]
    process: subprocess.Popen[bytes] | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)
    is_ended: bool = False

    def start(self) -> None:
        self.thread = threading.Thread(target=self._work, name="autosearch-decoding", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Ends the process, wherever it is."""
        self.is_ended = True
        if self.process is not None:
            self.process.kill()
        self.thread.join()

    def _work(self) -> None:
        in_hand: deque[tuple[int, int]] = deque()
        # Whatever becomes of the process: its work is done by the others, and its error shows
        # where the calling process comes upon the same file.
        with contextlib.suppress(OSError, ValueError):
            self._converse(in_hand)
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.todo.extend(in_hand)

    def _converse(self, in_hand: deque[tuple[int, int]]) -> None:
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "autosearch.data.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as self.process:
            asking, answering = self.process.stdin, self.process.stdout
            if asking is None or answering is None:
                raise AssertionError("both pipes were asked for")
            asking.write(self.order)
            while not self.is_ended:
                while len(in_hand) < _NUM_AHEAD and (chunk := _next(self.todo)) is not None:
                    in_hand.append(chunk)
                    asking.write(b"%d %d\n" % chunk)
                asking.flush()
                if not in_hand:
                    return
                answer = json.loads(answering.readline())
                self.checksums[slice(*in_hand.popleft())] = answer


def _helpers(
    target: PixelFile,
    paths: Sequence[Path],
    words: Mapping[str, Any],
    todo: deque[tuple[int, int]],
    checksums: npt.NDArray[np.uint32],
) -> list[_Helper]:
    order = {
        "file": str(target.path),
        "offset": target.offset,
        "shape": target.shape,
        "paths": [str(path) for path in paths],
        "words": dict(words),
    }
    line = json.dumps(order).encode() + b"\n"
    helpers = [_Helper(line, todo, checksums) for _ in range(_num_processes() - 1)]
    for helper in helpers:
        helper.start()
    return helpers


def _num_processes() -> int:
    """The cores that this process may use, where the system tells."""
    if sys.platform == "linux":
        return min(_MAX_PROCESSES, len(os.sched_getaffinity(0)))
    return min(_MAX_PROCESSES, os.cpu_count() or 1)


if __name__ == "__main__":
    sys.exit(main())
