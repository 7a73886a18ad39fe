"""How much slower than at rest this machine is now, by the time of the reference file.

Whatever else runs on a machine slows a file and the reference alike, and a search cannot wait for
programs that are not its own. So the least time of the reference is remembered for the machine, in
the folder of caches, and what is timed later is set right by it.
"""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

from autosearch.data.findings import cache_root

__all__ = ["Pace", "pace_of"]

_REPEATS_WITHIN = 1.05
"""At rest the reference takes up to so many times its least time, and nothing is set right."""


class Pace:
    """The pace of one machine.

    Args:
        key: Of the machine, its runtime and its kernels, as ``host_target`` gives it.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._least_ms: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether the reference was ever timed here."""
        return self._known() is not None

    def learn(self, reference_ms: float) -> None:
        """Remembers a time of the reference, should it be the least."""
        known = self._known()
        if known is not None and known <= reference_ms:
            return
        self._least_ms = reference_ms
        path = self._path()
        new = path.with_name(f"{path.name}.{os.getpid()}")
        # Without a folder to write to, this process alone remembers it.
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(repr(reference_ms), encoding="ascii")
            new.replace(path)

    def slowdown(self, reference_ms: float) -> float:
        """How many times as long as at rest everything takes, if the reference takes that long.

        Args:
            reference_ms: Its time of this minute.

        Returns:
            At least 1.
        """
        known = self._known()
        return 1.0 if known is None else max(1.0, reference_ms / (_REPEATS_WITHIN * known))

    def _known(self) -> float | None:
        """The least time that this process or another one has seen."""
        found = [] if self._least_ms is None else [self._least_ms]
        with contextlib.suppress(OSError, ValueError):
            kept_ms = float(self._path().read_text(encoding="ascii"))
            if kept_ms > 0:
                found.append(kept_ms)
        return min(found, default=None)

    def _path(self) -> Path:
        return cache_root() / f"pace-{self._key}.txt"


@lru_cache(maxsize=4)
def pace_of(key: str) -> Pace:
    """The pace of the machine with this key."""
    return Pace(key)
