"""How an architecture is written down, a user's own function included, and read back."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from autosearch.code_names import code_name
from autosearch.space.architecture import CNN, ArchitectureLike, check_architecture
from autosearch.space.pretrained import Pretrained

__all__ = ["Architectures", "given_arguments", "syntax_hash"]


class Architectures:
    """A pydantic annotation: one architecture, or a tuple of several."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _read_architectures,
            serialization=core_schema.plain_serializer_function_ser_schema(_write_architectures),
        )


def syntax_hash(value: Any) -> str | None:
    """Return the SHA-256 of the syntax of a function or class, or of an object's class.

    Comments, blank lines and layout do not count. What the function calls is not included.

    Returns:
        Hexadecimal digits; None where the source is not at hand, as for a lambda within a call.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(_plain_callable(value))))
    except (OSError, TypeError, SyntaxError):
        return None
    return hashlib.sha256(repr(_canonical(tree)).encode()).hexdigest()


def _canonical(node: Any) -> Any:
    # ast.dump of one source differs between Python 3.11, 3.12 and 3.13: fields were added, and
    # empty ones left out. Without empty fields the three agree.
    if isinstance(node, ast.AST):
        fields = [(name, _canonical(value)) for name, value in ast.iter_fields(node)]
        return type(node).__name__, [field for field in fields if field[1] not in (None, [])]
    if isinstance(node, list):
        return [_canonical(item) for item in node]
    return node


def _plain_callable(value: Any) -> Any:
    while isinstance(value, functools.partial):
        value = value.func
    return value if inspect.isroutine(value) or inspect.isclass(value) else type(value)


def _read_architectures(written: Any) -> Any:
    if isinstance(written, list | tuple):
        if not written:
            raise ValueError("the list is empty; write CNN(…), a build(hp) or a HyperModel")
        read = tuple(_read_architecture(one) for one in written)
        return read if len(read) > 1 else read[0]
    return _read_architecture(written)


def _read_architecture(written: Any) -> ArchitectureLike:
    if not isinstance(written, dict):
        return check_architecture(written)
    if "callable" in written:
        raise ValueError(
            f"{written['callable']} is a function of the study file and cannot be read back "
            "from its definition; load the study file"
        )
    return Pretrained(**written) if "source" in written else CNN(**written)


def _write_architectures(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_write_architectures(one) for one in value]
    if isinstance(value, CNN | Pretrained):
        return value.model_dump(mode="json")
    plain = _plain_callable(value)
    written: dict[str, Any] = {
        "callable": code_name(plain),
        "syntax_hash": syntax_hash(value),
    }
    arguments = given_arguments(value)
    return {**written, "arguments": arguments} if arguments else written


def given_arguments(value: Any) -> dict[str, Any]:
    """What a partial function, or an object such as a HyperModel, was given, in JSON's terms.

    Two instances of one class differ by it.
    """
    given: dict[str, Any] = {}
    if isinstance(value, functools.partial):
        given = {str(index): one for index, one in enumerate(value.args)} | value.keywords
    elif not inspect.isroutine(value):
        given = getattr(value, "__dict__", {})
    return {
        name: list(one) if isinstance(one, tuple) else one
        for name, one in sorted(given.items())
        if not name.startswith("_") and _is_plain(one)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, bool | int | float | str)
