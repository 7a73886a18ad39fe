"""Promotion, export and verification as child processes: the command line's own code."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["CommandError", "exported", "promoted"]


class CommandError(Exception):
    """A command failed; the message is what it said."""


def promoted(
    *, study: str, candidate: str, sha256: str, model: str, alias: str, note: str
) -> Iterator[str]:
    """Promotes a candidate and yields what the command says while it works.

    Raises:
        CommandError: It failed, as it does if the candidate is another file than that by now.
    """
    words = ["promote", f"--alias={alias}", f"--model={model}", f"--note={note}"]
    words.append(f"--sha256={sha256}")
    # What follows the two dashes is a name, whatever it begins with.
    yield from _said([*words, "--", study, candidate])


def exported(*, model: str, alias: str) -> Iterator[str | bytes]:
    """Exports and verifies a promoted model: yields what is said, and last the folder as a ZIP.

    Raises:
        CommandError: One of the two failed.
    """
    with tempfile.TemporaryDirectory(prefix="autosearch-export-") as home:
        folder = Path(home) / "bundle"
        yield from _said(["export", f"--alias={alias}", f"--output={folder}", "--", model])
        yield from _said(["verify", "--", str(folder)])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))
        yield packed.getvalue()


def _said(words: Sequence[str]) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "autosearch", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    last = ""
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip():
                last = line.strip()
                yield last
    if process.returncode != 0:
        raise CommandError(last or f"the command ended with code {process.returncode}")
