"""The fault catalogue as a list: what each kind does, what a client sees, its settings. All read off the classes."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from harness.faults import KINDS
from harness.faults.service import ServiceFault
from harness.model.experiment import FaultSpec
from harness.model.units import parse_byte_rate, parse_bytes, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from harness.faults.fault import Fault, Need

_PLACES = {"kind", "upstream", "service"}
_UNITS = {
    parse_duration: ("duration", lambda s: f"{s:g}s"),
    parse_size: ("size", lambda m: f"{m:g}MiB"),
    parse_bytes: ("size", lambda b: f"{b}B"),
    parse_byte_rate: ("size per second", lambda b: f"{b}B/s"),
}
"""By what reads a setting: what it is, and how a value of it is written."""


@dataclass(frozen=True)
class Setting:
    """One setting of a kind. Values as they are written in a file."""

    name: str
    type: str
    required: bool
    default: str | None
    least: str | None
    most: str | None

    def __str__(self) -> str:
        bounds = f"{self.least} to {self.most}" if self.most else f"{self.least} or more" if self.least else ""
        told = [self.type, bounds, "required" if self.required else f"default {self.default or 'all'}"]
        return f"{self.name} ({', '.join(filter(None, told))})"


@dataclass(frozen=True)
class Entry:
    """One kind of the catalogue."""

    kind: str
    family: str
    on: str
    """``upstream`` or ``service``."""
    does: str
    client_sees: str
    settings: tuple[Setting, ...]
    needs: frozenset[Need]


def entries() -> list[Entry]:
    """Return all kinds, in the order of the registry."""
    return [_entry(kind, cls) for kind, cls in KINDS.items()]


def _entry(kind: str, cls: type[Fault]) -> Entry:
    text = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0]
    own = {n: f for n, f in cls.model_fields.items() if n not in FaultSpec.model_fields and n not in _PLACES}
    return Entry(
        kind,
        cls.__module__.rpartition(".")[2],
        "service" if issubclass(cls, ServiceFault) else "upstream",
        " ".join(text.split()),
        cls.client_sees,
        tuple(_setting(name, field) for name, field in own.items()),
        cls.needs,
    )


def _walk(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in get_args(annotation):
        yield from _walk(argument)


def _setting(name: str, field: FieldInfo) -> Setting:
    marks = [*field.metadata, *_walk(field.annotation)]
    unit = next((_UNITS[read] for mark in marks if (read := getattr(mark, "func", None)) in _UNITS), None)
    word, written = unit or (_word(field.annotation), str)
    limits = {key: getattr(mark, key) for mark in field.metadata for key in ("ge", "gt", "le") if hasattr(mark, key)}
    least = limits.get("ge", limits.get("gt"))

    def write(value: Any) -> str | None:
        return None if value is None else written(value)

    return Setting(
        name,
        word,
        field.is_required(),
        None if field.is_required() else write(field.default),
        write(least),
        write(limits.get("le")),
    )


_WORDS = {int: "whole number", float: "number", str: "text"}


def _word(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if origin in (Union, types.UnionType):
        kinds = [arm for arm in get_args(annotation) if arm is not type(None)]
        return _word(kinds[0]) if len(kinds) == 1 else "a fault without place and time"
    return _WORDS.get(annotation, "a fault without place and time")
