"""Reading the API's JSON as Toxiproxy does, whose decoder is Go's: names in any case, unknown ones ignored, null is
left out, what follows the first value is not looked at, and mistakes are told in Go's words."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOKED_FOR = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Expecting ',' delimiter": "after object key:value pair",
}
_BITS = {"int": 63, "int64": 63}
_GO_TYPE = {"object": "toxics.NoopToxic"}


class ApiError(Exception):
    """What the API answers in place of what was asked for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message, self.status = message, status

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return {"error": self.message, "status": self.status}


def bad_body(what: str) -> ApiError:
    """Return the error for a body that cannot be read."""
    return ApiError(f"bad request body: {what}", 400)


class _Float(float):
    """A number with a point or an exponent, and how it was written."""

    written: str = ""

    def __new__(cls, written: str) -> Self:
        number = super().__new__(cls, written)
        number.written = written
        return number


def _no_constant(name: str) -> None:
    raise bad_body(f"invalid character {name[0]!r} looking for beginning of value")


_DECODER = json.JSONDecoder(parse_float=_Float, parse_constant=_no_constant, strict=True)


def first_value(body: bytes) -> Any:
    """Return the first JSON value in `body`; ApiError (400) when there is none."""
    text = body.decode("utf-8", "replace").lstrip(" \t\r\n")
    if not text:
        raise bad_body("EOF")
    try:
        return _DECODER.raw_decode(text)[0]
    except RecursionError:
        raise bad_body("exceeded max depth") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated"):
            raise bad_body("unexpected EOF") from None
        what = _LOOKED_FOR.get(error.msg, "in string literal")
        raise bad_body(f"invalid character {text[error.pos]!r} {what}") from None


def _kind(value: Any) -> str:
    kinds = {bool: "bool", str: "string", dict: "object", list: "array"}
    return kinds.get(type(value), "number")


def _fits(value: Any, kind: str) -> Any:
    """Return `value` as Go's `kind`, None when it is none."""
    if kind == "string":
        return value if isinstance(value, str) else None
    if kind == "bool":
        return value if isinstance(value, bool) else None
    if kind == "object":
        return value if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if kind in _BITS:
        bound = 2 ** _BITS[kind]
        return value if isinstance(value, int) and -bound <= value < bound else None
    return float32(value)


def float32(value: float) -> float | None:
    """Return the shortest decimal for the float32 nearest to `value`, None when it is too large for one."""
    try:
        packed = struct.pack("f", value)
    except OverflowError:
        return None
    (near,) = struct.unpack("f", packed)
    if not math.isfinite(near):
        return None
    return next(short for digits in range(1, 18) if struct.pack("f", short := float(f"{near:.{digits}g}")) == packed)


def members(value: Any, go_type: str, fields: Mapping[str, str], where: str = "") -> dict[str, Any]:
    """Return the members of `value` that are among `fields` (name -> Go's type, or ``object``) and are not null.

    ApiError (400) says in Go's words what has another type; `where` is the path to `value`, with a dot at its end.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_body(f"json: cannot unmarshal {_kind(value)} into Go value of type toxiproxy.{go_type}")
    found: dict[str, Any] = {}
    for key, member in value.items():
        name = key.lower()
        if name not in fields or member is None:
            continue
        fitting = _fits(member, fields[name])
        if fitting is None:
            kind, wanted = _kind(member), _GO_TYPE.get(fields[name], fields[name])
            if kind == "number" and wanted not in ("string", "bool"):
                kind += f" {member.written if isinstance(member, _Float) else member}"
            path = f"{go_type}.{where}{name}"
            raise bad_body(f"json: cannot unmarshal {kind} into Go struct field {path} of type {wanted}")
        found[name] = fitting
    return found
