"""Quantities as people write them: durations ``90s``, rates ``1000/min``, sizes ``512MiB``.

In memory a duration is seconds, a rate is per second and a size of memory is MiB (floats); of data it is bytes (int).
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated

from pydantic import AllowInfNan, BeforeValidator, PlainSerializer

_NUMBER = r"(?P<number>\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"{_NUMBER}\s*(?P<unit>ns|us|ms|s|m|min|h|d)")
_COMPOUND = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_SIZE = re.compile(rf"{_NUMBER}\s*(?P<unit>B|kB|KiB|MB|MiB|GB|GiB)")
_RATE = re.compile(rf"{_NUMBER}\s*/\s*(?P<unit>s|sec|m|min|h)")

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
PER_SECOND = {"s": 1.0, "sec": 1.0, "m": 1 / 60, "min": 1 / 60, "h": 1 / 3600}
BYTES = {"B": 1.0, "kB": 1e3, "KiB": 2**10, "MB": 1e6, "MiB": 2**20, "GB": 1e9, "GiB": 2**30}


class Scaled:
    """Marks a plan field as a duration that ``--scale`` shortens, or (`inverse`) a rate it raises."""

    def __init__(self, *, inverse: bool = False) -> None:
        self.inverse = inverse


def parse_duration(text: object) -> float:
    """Return seconds for ``90s``, ``10m``, ``1m30s``, ``250ms``; ValueError says what was expected."""
    if isinstance(text, str):
        word = text.strip()
        if match := _DURATION.fullmatch(word):
            return float(match["number"]) * SECONDS[match["unit"]]
        if _COMPOUND.fullmatch(word):
            return sum(float(m["number"]) * SECONDS[m["unit"]] for m in _DURATION.finditer(word))
    raise ValueError(f"{text!r} is no duration; write a number with a unit, as in 250ms, 90s, 10m, 4h")


def parse_rate(text: object) -> float:
    """Return events per second for ``1000/min``, ``16.7/s``; ValueError says what was expected."""
    if isinstance(text, str) and (match := _RATE.fullmatch(text.strip())):
        return float(match["number"]) * PER_SECOND[match["unit"]]
    raise ValueError(f"{text!r} is no rate; write a number per time, as in 1000/min, 16.7/s, 50/h")


def parse_size(text: object) -> float:
    """Return MiB for ``512MiB``, ``1.5GiB``, ``300MB``; ValueError says what was expected."""
    if isinstance(text, str) and (match := _SIZE.fullmatch(text.strip())):
        return float(match["number"]) * BYTES[match["unit"]] / BYTES["MiB"]
    raise ValueError(f"{text!r} is no size; write a number with a unit, as in 512MiB, 2GiB, 300MB")


def parse_bytes(text: object) -> int:
    """Return bytes for ``200B``, ``4kB``, ``1KiB``; ValueError says what was expected."""
    if isinstance(text, str) and (match := _SIZE.fullmatch(text.strip())):
        return round(float(match["number"]) * BYTES[match["unit"]])
    raise ValueError(f"{text!r} is no size; write a number with a unit, as in 200B, 4kB, 1KiB")


def parse_share(value: object) -> object:
    """Return a share for ``80%`` or ``0.8``; ValueError says what was expected."""
    if isinstance(value, str) and value.strip().endswith("%"):
        with suppress(ValueError):
            return float(value.strip()[:-1]) / 100
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r} is no share; write a percentage, as in 80%")


def parse_byte_rate(text: object) -> int:
    """Return bytes per second for ``8kB/s``; ValueError says what was expected."""
    if isinstance(text, str) and text.strip().endswith("/s"):
        with suppress(ValueError):
            return parse_bytes(text.strip().removesuffix("/s"))
    raise ValueError(f"{text!r} is no rate of data; write a size per second, as in 8kB/s, 512B/s")


def _plain(number: float) -> str:
    return f"{number:.12f}".rstrip("0").rstrip(".")


# Written to files with their unit, so that a number without one is an error everywhere.
_duration = (
    BeforeValidator(parse_duration),
    AllowInfNan(False),
    PlainSerializer(lambda s: f"{_plain(s)}s", return_type=str),
)
_rate = (BeforeValidator(parse_rate), AllowInfNan(False), PlainSerializer(lambda r: f"{_plain(r)}/s", return_type=str))

Mebibytes = Annotated[float, BeforeValidator(parse_size), PlainSerializer(lambda m: f"{_plain(m)}MiB", return_type=str)]
"""A size, MiB."""

Bytes = Annotated[int, BeforeValidator(parse_bytes), PlainSerializer(lambda b: f"{b}B", return_type=str)]
"""An amount of data, bytes."""

BytesPerSecond = Annotated[int, BeforeValidator(parse_byte_rate), PlainSerializer(lambda b: f"{b}B/s", return_type=str)]
"""A rate of data, bytes per second."""

Seconds = Annotated[float, *_duration]
"""A duration that ``--scale`` leaves alone (a limit, a time-out)."""

PlanSeconds = Annotated[float, *_duration, Scaled()]
"""A duration of the plan's timeline: ``--scale`` shortens it."""

PerSecond = Annotated[float, *_rate]
"""A rate that ``--scale`` leaves alone."""

PlanPerSecond = Annotated[float, *_rate, Scaled(inverse=True)]
"""A rate of change along the timeline (users started per second): raised as the timeline is shortened."""
