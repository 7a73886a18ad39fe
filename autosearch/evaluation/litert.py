"""Running a ``.tflite`` file as it ships: LiteRT, default kernels, batch 1.

Needs NumPy and ai-edge-litert, never TensorFlow, so that promoting and verifying stay light.
"""

import contextlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from autosearch.errors import ConversionError, first_line
from autosearch.evaluation.latency_gate import give_way

__all__ = ["RAW_PIXELS", "TFLiteModel", "TensorSpec", "captured_stderr"]

RAW_PIXELS = (0.0, 255.0)
"""What a file of ours takes for the darkest and the brightest pixel."""

_CHECKPOINT_RUNS = 16
_STDERR = 2
_STDERR_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What goes in or comes out of a file.

    Attributes:
        shape: The dimensions, with the batch of 1 in front.
        dtype: ``float32``, ``uint8``, ``int8`` or ``int16``.
        scale: Size of one quantization step; 0 for a float tensor.
        zero_point: The integer that stands for 0.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    @property
    def limits(self) -> tuple[float, float] | None:
        """The smallest and the largest number that it can stand for; None for a float tensor."""
        if self.scale == 0:
            return None
        integers = np.iinfo(self.dtype)
        low, high = integers.min - self.zero_point, integers.max - self.zero_point
        return low * self.scale, high * self.scale


class TFLiteModel:
    """A classifier read from the bytes of a ``.tflite`` file, run one image at a time.

    One instance belongs to one thread.

    Args:
        file: The bytes of the file: one image in, one row of class probabilities out.
        num_threads: Threads that one inference may use.
        pixels: What the input is to be where an image has 0, and where it has 255.

    Raises:
        ConversionError: The bytes are no file that LiteRT can run, or the file is no image
            classifier of batch 1.

    Example:
        >>> TFLiteModel(b"no such model")
        Traceback (most recent call last):
        ...
        autosearch.errors.ConversionError: LiteRT cannot read ...
    """

    input: TensorSpec
    output: TensorSpec

    def __init__(
        self, file: bytes, *, num_threads: int = 1, pixels: tuple[float, float] = RAW_PIXELS
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            with captured_stderr():
                self._interpreter = Interpreter(model_content=bytes(file), num_threads=num_threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ConversionError(
                f"LiteRT cannot read or prepare this file of {len(file)} bytes: "
                f"{first_line(error)}; expected the content of a .tflite file."
            ) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConversionError(
                f"The file has {len(inputs)} inputs and {len(outputs)} outputs; expected one image "
                "in and one row of probabilities out."
            )
        self.input = _spec(inputs[0])
        self.output = _spec(outputs[0])
        if len(self.input.shape) != 4 or self.input.shape[0] != 1:
            raise ConversionError(
                f"The file takes an input of shape {self.input.shape}; expected (1, height, width, "
                "channels)."
            )
        if len(self.output.shape) != 2 or self.output.shape[0] != 1:
            raise ConversionError(
                f"The file gives an output of shape {self.output.shape}; expected (1, classes)."
            )
        # A view may not be held across a run, so these make one for the moment of use.
        self._input_view: Callable[[], npt.NDArray[Any]] = self._interpreter.tensor(
            inputs[0]["index"]
        )
        self._output_view: Callable[[], npt.NDArray[Any]] = self._interpreter.tensor(
            outputs[0]["index"]
        )
        # The 256 pixel values as the input wants them; None where plain assignment does it.
        self._pixel_table = _pixel_table(self.input, pixels)

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Class probabilities of images, as the file gives them.

        Args:
            images: Raw pixels 0–255, uint8, of shape (n, height, width, channels).

        Returns:
            Float32 of shape (n, classes), dequantized where the output is an integer. The label
            is ``.argmax(axis=1)``: ties go to the lowest index.

        Raises:
            ValueError: The images are not uint8 or not of the file's shape.
            ConversionError: The file cannot be run after all.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.input.shape[1:]:
            raise ValueError(
                f"Got images of type {images.dtype} and shape {images.shape}; expected uint8 of "
                f"shape (n, {', '.join(str(size) for size in self.input.shape[1:])})."
            )
        raw = np.empty((len(images), self.output.shape[1]), dtype=self.output.dtype)
        interpreter, input_view, output_view = (
            self._interpreter,
            self._input_view,
            self._output_view,
        )
        table = self._pixel_table
        try:
            for number, image in enumerate(images):
                if number % _CHECKPOINT_RUNS == 0:
                    give_way()
                input_view()[0] = image if table is None else table[image]
                interpreter.invoke()
                raw[number] = output_view()[0]
        except RuntimeError as error:
            raise ConversionError(f"LiteRT cannot run the file: {first_line(error)}.") from error
        if self.output.scale == 0:
            return raw.astype(np.float32, copy=False)
        return (raw.astype(np.float32) - np.float32(self.output.zero_point)) * np.float32(
            self.output.scale
        )

    def fill_input(self, image: npt.NDArray[np.uint8]) -> None:
        """Put one uint8 image of shape (height, width, channels) where ``invoke`` reads it."""
        table = self._pixel_table
        self._input_view()[0] = image if table is None else table[image]

    @property
    def invoke(self) -> Callable[[], None]:
        """Run once on what the input holds: LiteRT's own function, for loops that are timed."""
        function: Callable[[], None] = self._interpreter.invoke
        return function


@contextlib.contextmanager
def captured_stderr() -> Iterator[IO[bytes]]:
    """Keep what C++ libraries write to file descriptor 2 away from the user's terminal.

    Gives the temporary file that receives it, readable inside the block. For calls of
    milliseconds: other threads' words are caught too while it lasts.
    """
    with _STDERR_LOCK, tempfile.TemporaryFile() as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            saved = os.dup(_STDERR)
        except OSError:  # the process has no standard error
            yield caught
            return
        os.dup2(caught.fileno(), _STDERR)
        try:
            yield caught
        finally:
            os.dup2(saved, _STDERR)
            os.close(saved)


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    return TensorSpec(
        shape=tuple(int(size) for size in details["shape"]),
        dtype=np.dtype(details["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _pixel_table(spec: TensorSpec, pixels: tuple[float, float]) -> npt.NDArray[Any] | None:
    wanted = np.linspace(*pixels, 256)
    if spec.dtype.kind == "f":
        return None if pixels == RAW_PIXELS else wanted.astype(spec.dtype)
    if spec.scale == 0:
        raise ConversionError(
            f"The file takes {spec.dtype} without a quantization scale; expected float32, or "
            "integers with one."
        )
    limits = np.iinfo(spec.dtype)
    values = np.round(wanted / spec.scale) + spec.zero_point
    table = np.clip(values, limits.min, limits.max).astype(spec.dtype)
    is_plain = spec.dtype == np.uint8 and np.array_equal(table, np.arange(256))
    return None if is_plain else table
