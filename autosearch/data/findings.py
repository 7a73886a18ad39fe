"""What earlier processes found of files, kept beside the prepared images.

Looking at a photo decodes it, and every process of a study looks at all of them. Whatever is odd
here is dropped and not repaired, since a finding can always be had anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from platformdirs import user_cache_path

from autosearch.errors import DefinitionError

__all__ = [
    "CACHE_BYTES_VARIABLE",
    "CACHE_VARIABLE",
    "DEFAULT_MAX_BYTES",
    "FINDINGS_FILE",
    "cache_root",
    "keep_findings",
    "known_findings",
    "max_cache_bytes",
]

CACHE_VARIABLE = "AUTOSEARCH_CACHE"
CACHE_BYTES_VARIABLE = "AUTOSEARCH_CACHE_BYTES"
DEFAULT_MAX_BYTES = 20_000_000_000
FINDINGS_FILE = "findings.sqlite"

_MAX_FILE_BYTES = 500_000_000  # About 600,000 photos; past it all is forgotten.
_PATIENCE_S = 5.0
_AT_ONCE = 500


def cache_root() -> Path:
    """The folder that ``AUTOSEARCH_CACHE`` names, else the system's place for caches."""
    chosen = os.environ.get(CACHE_VARIABLE)
    path = Path(chosen) if chosen else user_cache_path("autosearch", appauthor=False)
    return path.expanduser().absolute()


def max_cache_bytes() -> int:
    """How much ``AUTOSEARCH_CACHE_BYTES`` allows, else 20 GB; 0 is no cache.

    Raises:
        DefinitionError: It is no number of bytes.
    """
    text = os.environ.get(CACHE_BYTES_VARIABLE, "").strip()
    if not text:
        return DEFAULT_MAX_BYTES
    if not re.fullmatch(r"\d[\d_]*", text, re.ASCII):
        raise DefinitionError(
            f'{CACHE_BYTES_VARIABLE} is "{text}"; expected a number of bytes, such as '
            "20_000_000_000, or 0 for no cache"
        )
    return int(text.replace("_", ""))


def known_findings(stamps: Sequence[tuple[str, str]]) -> dict[str, str]:
    """What is known of files.

    Args:
        stamps: Path of each file, and what its finding depends on, as it was when that was kept.

    Returns:
        Path → finding, for those files alone of which there is one.
    """
    found: dict[str, str] = {}
    if not max_cache_bytes() or not (cache_root() / FINDINGS_FILE).exists():
        return found
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as database:
        for first in range(0, len(stamps), _AT_ONCE):
            wanted = {_key(path): (path, at) for path, at in stamps[first : first + _AT_ONCE]}
            rows = database.execute(
                "SELECT file, stamp, finding FROM findings "
                f"WHERE file IN ({','.join('?' * len(wanted))})",
                tuple(wanted),
            )
            for key, stamped, finding in rows:
                path, at = wanted[key]
                if stamped == at:
                    found[path] = finding
    return found


def keep_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Keeps what was found of files; where that is not possible, it is found again.

    Args:
        findings: Path of each file, what its finding depends on, and the finding.
    """
    rows = [(_key(path), stamped, finding) for path, stamped, finding in findings]
    if not rows or not max_cache_bytes():
        return
    with contextlib.suppress(sqlite3.Error, OSError):
        file = cache_root() / FINDINGS_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists() and file.stat().st_size > _MAX_FILE_BYTES:
            file.unlink()
        with _opened() as database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS findings "
                "(file TEXT PRIMARY KEY, stamp TEXT, finding TEXT) WITHOUT ROWID"
            )
            database.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?)", rows)


def _key(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()  # A name need not be Unicode.


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(cache_root() / FINDINGS_FILE, timeout=_PATIENCE_S)
    try:
        with connection:
            yield connection
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:  # It is no database any more.
        connection.close()
        (cache_root() / FINDINGS_FILE).unlink(missing_ok=True)
        raise
    finally:
        connection.close()
