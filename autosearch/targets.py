"""Where a model will run, and the room that it has there.

A microcontroller turns into constraints of the search: the file must fit into what is left of the
flash, the tensor arena into what is left of the RAM. What a board has is from its maker's
documents, named beside each figure. What is taken off, for the runtime and a firmware of ordinary
size, is an allowance with its reasons and no measurement: whoever knows their firmware gives
``flash_bytes`` and ``ram_bytes`` themselves.

For the runtime 96 KiB of flash are taken off (TensorFlow Lite Micro's interpreter, and the
kernels of a CNN in two number formats with their vendor's fast versions) and 16 KiB of RAM (its
objects and the stack below ``Invoke``). Both are parts of the figures in ``BOARDS``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from autosearch.declared import Declared
from autosearch.values import Constraint, at_most

__all__ = ["BOARDS", "MICRO_SCHEMES", "Board", "Target"]

_KIB = 1024
_MIB = 1024 * _KIB

MICRO_SCHEMES: tuple[str, ...] = ("float32", "int8", "int16x8", "mixed")
"""The quantization schemes that TensorFlow Lite Micro has kernels for.

It refuses the float16 weights of ``float16`` files and the hybrid kernels of ``dynamic_int8``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What a board has, and what of it is not the model's.

    Attributes:
        title: Its name in full.
        chip: Its microcontroller.
        flash_bytes: All of its flash.
        ram_bytes: Its largest block of RAM in one piece, since an arena is one piece.
        reserved_flash_bytes: Of the flash, what boot loader, firmware and runtime take.
        reserved_ram_bytes: Of that RAM, what firmware, stacks, an image and runtime take.
        source: The document that says how much there is.
        reserved: Why that much is taken off.
    """

    title: str
    chip: str
    flash_bytes: int
    ram_bytes: int
    reserved_flash_bytes: int
    reserved_ram_bytes: int
    source: str
    reserved: str


BOARDS: dict[str, Board] = {
    "arduino_nano_33_ble_sense": Board(
        title="Arduino Nano 33 BLE Sense",
        chip="nRF52840",
        flash_bytes=1 * _MIB,
        ram_bytes=256 * _KIB,
        reserved_flash_bytes=256 * _KIB,
        reserved_ram_bytes=96 * _KIB,
        source="Nordic nRF52840 Product Specification, 'Key features' and chapter 'Memory': 1 MB "
        "of flash and 256 kB of RAM",
        reserved="64 KiB of flash are Arduino's boot loader, the rest Mbed OS, drivers and the "
        "runtime; an empty sketch holds some 44 kB of RAM",
    ),
    "esp32_s3": Board(
        title="ESP32-S3 (module with 4 MB of flash)",
        chip="ESP32-S3",
        flash_bytes=4 * _MIB,
        ram_bytes=512 * _KIB,
        reserved_flash_bytes=1 * _MIB + 64 * _KIB,
        reserved_ram_bytes=256 * _KIB,
        source="Espressif ESP32-S3 Series Datasheet, 'Product Overview' and section 'Internal "
        "Memory': 512 KB of SRAM; ESP32-S3-WROOM-1 Datasheet, table of the series' variants: the "
        "smallest, N4, has 4 MB of flash",
        reserved="boot loader and partition table take the first 64 KiB of flash, ESP-IDF's "
        "default application partition 1 MiB; of the SRAM, 64 KiB are no data RAM or serve as "
        "cache, the rest is for code in RAM, FreeRTOS, Wi-Fi and an image; external RAM is not "
        "counted",
    ),
    "portenta_h7": Board(
        title="Arduino Portenta H7",
        chip="STM32H747XI, Cortex-M7 core",
        flash_bytes=2 * _MIB,
        ram_bytes=512 * _KIB,
        reserved_flash_bytes=512 * _KIB,
        reserved_ram_bytes=128 * _KIB,
        source="ST STM32H747xI/G datasheet DS12930, 'Features' (cover page) and table 'Memory': "
        "2 Mbytes of flash and 1 Mbyte of RAM, of which the AXI SRAM is the largest block in one "
        "piece, 512 Kbytes",
        reserved="256 KiB of flash are Arduino's boot loader, the rest Mbed OS, drivers and the "
        "runtime, with no program on the second core; Mbed OS keeps its heap in the same RAM",
    ),
    "raspberry_pi_pico": Board(
        title="Raspberry Pi Pico",
        chip="RP2040",
        flash_bytes=2 * _MIB,
        ram_bytes=264 * _KIB,
        reserved_flash_bytes=256 * _KIB,
        reserved_ram_bytes=40 * _KIB,
        source="Raspberry Pi Pico Datasheet, chapter 1: 2 MB of flash; RP2040 Datasheet, section "
        "2.6.2 'SRAM': 264 kB in six banks that follow one another",
        reserved="the SDK, USB, drivers and the runtime; of the RAM 8 KiB are the stacks of the "
        "two cores",
    ),
    "stm32f746": Board(
        title="STM32F746 Discovery",
        chip="STM32F746NG",
        flash_bytes=1 * _MIB,
        ram_bytes=320 * _KIB,
        reserved_flash_bytes=192 * _KIB,
        reserved_ram_bytes=64 * _KIB,
        source="ST STM32F745xx STM32F746xx datasheet DS10916, 'Features' (cover page): 1 MB of "
        "flash, 320 KB of SRAM, DTCM, SRAM1 and SRAM2 one after the other",
        reserved="the hardware abstraction layer, drivers and the runtime, with an image and the "
        "stack in RAM; a display's frame buffer lies in the external SDRAM, which is not counted",
    ),
}
"""The boards that ``Target`` knows by name."""


class Target(Declared):
    """Where the model will run.

    ``Target("host")`` is the machine that searches. ``Target("microcontroller", flash_bytes=…,
    ram_bytes=…)`` names the room for the file and for the tensor arena, nothing being taken off.
    A board of ``BOARDS`` has both, less what firmware and runtime take; either can be given
    instead, as the room that is left.

    Attributes:
        name: ``"host"``, ``"microcontroller"`` or a board's name.
        flash_bytes: Room for the file.
        ram_bytes: Room for the tensor arena.

    Raises:
        DefinitionError: The name is not known, or does not go with the room that is given.

    Example:
        >>> Target("Raspberry Pi Pico", ram_bytes=100_000).constraints[1].bound
        100000.0
    """

    name: str = "host"
    flash_bytes: int | None = Field(default=None, ge=1)
    ram_bytes: int | None = Field(default=None, ge=1)

    def __init__(self, name: str = "host", **words: Any) -> None:
        super().__init__(name=name, **words)

    @field_validator("name")
    @classmethod
    def _as_in_the_table(cls, name: str) -> str:
        return re.sub(r"[\s-]+", "_", name.strip().lower())

    @model_validator(mode="after")
    def _is_known(self) -> Target:
        boards = ", ".join(BOARDS)
        if self.name not in ("host", "microcontroller", *BOARDS):
            raise ValueError(
                f'target "{self.name}" is not known; expected "host", "microcontroller" with '
                f"flash_bytes= and ram_bytes=, or one of the boards: {boards}"
            )
        given = (self.flash_bytes, self.ram_bytes)
        if self.name == "host" and given != (None, None):
            raise ValueError(
                'the target "host" has no flash_bytes or ram_bytes; leave them out, or write '
                'Target("microcontroller", flash_bytes=…, ram_bytes=…)'
            )
        if self.name == "microcontroller" and None in given:
            raise ValueError(
                'the target "microcontroller" needs flash_bytes= and ram_bytes=, the room for the '
                f"file and for the tensor arena; or name a board: {boards}"
            )
        return self

    @property
    def is_microcontroller(self) -> bool:
        """Whether the model runs in TensorFlow Lite Micro, and not on this host."""
        return self.name != "host"

    @property
    def title(self) -> str:
        """Its name for a person."""
        return BOARDS[self.name].title if self.name in BOARDS else self.name

    @property
    def flash_room_bytes(self) -> int | None:
        """Room for the file; None on the host."""
        if self.flash_bytes is not None or self.name not in BOARDS:
            return self.flash_bytes
        return BOARDS[self.name].flash_bytes - BOARDS[self.name].reserved_flash_bytes

    @property
    def ram_room_bytes(self) -> int | None:
        """Room for the tensor arena; None on the host."""
        if self.ram_bytes is not None or self.name not in BOARDS:
            return self.ram_bytes
        return BOARDS[self.name].ram_bytes - BOARDS[self.name].reserved_ram_bytes

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The bounds on ``size_bytes`` and ``memory_bytes`` that it brings; none for the host."""
        flash, ram = self.flash_room_bytes, self.ram_room_bytes
        if flash is None or ram is None:
            return ()
        return at_most("size_bytes", flash), at_most("memory_bytes", ram)

    def why_not(self, scheme: str) -> str | None:
        """Why its runtime cannot run files of a quantization scheme; None if it can."""
        if not self.is_microcontroller or scheme in MICRO_SCHEMES:
            return None
        return f"TensorFlow Lite Micro has no kernels for {scheme} files."

    def description(self) -> dict[str, Any]:
        """What the figures of a microcontroller hold for, as a target's row keeps it.

        Returns:
            ``name``, ``title``, ``runtime``, ``flash_bytes`` and ``ram_bytes`` (the room),
            ``memory`` and ``time`` (how those are known), for a board also ``chip`` and
            ``reserved``, ``is_measured`` (False), and ``key``, a digest of the others.
        """
        words: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "runtime": f"TensorFlow Lite Micro ({_micro_version()})",
            "flash_bytes": self.flash_room_bytes,
            "ram_bytes": self.ram_room_bytes,
            "memory": "estimate: the arena on a 64-bit host, without a vendor's scratch buffers",
            "time": "not measured; macs stand in for it, an estimate",
            "is_measured": False,
        }
        if self.name in BOARDS:
            words["chip"] = BOARDS[self.name].chip
            words["reserved"] = BOARDS[self.name].reserved
        digest = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
        return {"key": digest[:12], **words}

    def __str__(self) -> str:
        if not self.is_microcontroller:
            return self.name
        return (
            f"{self.title}: file of at most {self.flash_room_bytes:,} bytes, arena of at most "
            f"{self.ram_room_bytes:,} bytes"
        )


def _micro_version() -> str:
    try:
        return f"tflite-micro {importlib.metadata.version('tflite-micro')}"
    except importlib.metadata.PackageNotFoundError:
        return "its Python package is not installed"
