"""What a user's functions and classes are called in the database."""

from __future__ import annotations

from typing import Any

__all__ = ["STUDY_MODULE", "code_name"]

STUDY_MODULE = "autosearch_study_"
"""What the module of a study's file is called, before the file's own name."""


def code_name(code: Any) -> str:
    """Names a function or class by module and name; a study's file by neither name nor place.

    Whoever renames the file has changed nothing.
    """
    module = code.__module__
    return f"{'study file' if module.startswith(STUDY_MODULE) else module}:{code.__qualname__}"
