"""JSONPath (RFC 9535), with a short way for paths that only go down names and indexes, as nearly all do.

They are read for every event of every stream, and following such a path by hand is twenty times faster than asking
the library to.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import jsonpath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PathError = jsonpath.JSONPathError
ABSENT = object()
"""What a path returns that leads nowhere, or cannot be followed: ``..`` goes no deeper than 100."""
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[(-?\d+)\]")
_STEPS = re.compile(rf"\$(?:{_STEP.pattern})+")


def _steps(query: str) -> tuple[str | int, ...]:
    """Return the names and indexes of a path that has nothing else; () for any other."""
    if not _STEPS.fullmatch(query):
        return ()
    return tuple(match[1] if match[1] is not None else int(match[2]) for match in _STEP.finditer(query))


def _walk(steps: tuple[str | int, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        for step in steps:
            if isinstance(step, str):
                if value.__class__ is not dict:
                    return ABSENT
                value = value.get(step, ABSENT)
            elif value.__class__ is list and -len(value) <= step < len(value):
                value = value[step]
            else:
                return ABSENT
        return value

    return read


def first(query: str) -> Callable[[Any], Any]:
    """Return what reads the first value at `query` off a document, or `ABSENT`. Raises as `jsonpath.compile` does."""
    path = jsonpath.compile(query)
    if steps := _steps(query):
        return _walk(steps)

    def read(document: Any) -> Any:
        try:
            match = path.match(document) if isinstance(document, (dict, list)) else None
        except PathError:
            return ABSENT
        return ABSENT if match is None else match.value

    return read


def every(query: str) -> Callable[[Any], Iterator[Any]]:
    """Return what reads every value at `query` off a document. Raises as `jsonpath.compile` does."""
    path = jsonpath.compile(query)
    if steps := _steps(query):
        one = _walk(steps)
        return lambda document: iter(() if (value := one(document)) is ABSENT else (value,))

    def read(document: Any) -> Iterator[Any]:
        if isinstance(document, (dict, list)):
            with contextlib.suppress(PathError):
                for match in path.finditer(document):
                    yield match.value

    return read
