"""Numbers as a person would say them: three significant digits, always with a unit, never a bare float."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.model.findings import Estimate

NONE = "\u2013"
"""What stands where nothing was measured."""

DASH, MINUS = "\u2013", "\u2212"
SPACE = "\u00a0"
"""Between a number and its unit: they never part at a line's end."""


def three(value: float) -> str:
    """Return `value` with three significant digits, thousands separated, never in exponent form."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NONE
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    digits = 2 - math.floor(math.log10(abs(rounded)))  # 99.96 rounds up to 100, which needs one digit less
    text = f"{rounded:,.{max(digits, 0)}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def seconds(value: float | None) -> str:
    """Return a time given in seconds: ``340 ms``, ``3.4 s``, ``4 min 30 s``, ``2 h 5 min``."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if 0 < size < 0.9995e-3:
        return f"{three(value * 1e6)}{SPACE}µs"
    if 0 < size < 0.9995:
        return f"{three(value * 1e3)}{SPACE}ms"
    return f"{three(value)}{SPACE}s" if size < 119.5 else _minutes(value)


def _minutes(value: float) -> str:
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{SPACE}min" + (f" {rest}{SPACE}s" if rest else "")
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours}{SPACE}h" + (f" {minutes}{SPACE}min" if minutes else "")


def milliseconds(value: float | None) -> str:
    """Return a time given in milliseconds, in the unit a person would say."""
    return seconds(None if value is None else value / 1e3)


def share(value: float | None) -> str:
    """Return a share (0..1) in percent; a share that is almost, but not, all or nothing never reads 0 % or 100 %."""
    if value is None or not math.isfinite(value):
        return NONE
    percent = value * 100
    if 99.95 <= percent < 100:
        return f"{math.floor(percent * 1000) / 1000:.3f}".rstrip("0").rstrip(".") + f"{SPACE}%"
    if 0 < percent < 0.001:
        return f"< 0.001{SPACE}%"
    return f"{three(percent)}{SPACE}%"


def supported(value: float) -> float:
    """Return a share (0..1) that evidence supports as it may be said: never rounded up, to a tenth of a percent."""
    return math.floor(value * 1000) / 1000


def count(value: float | None) -> str:
    """Return a count in full, thousands separated."""
    return NONE if value is None else f"{value:,.0f}"


def per_second(value: float | None) -> str:
    """Return a rate per second."""
    return NONE if value is None else f"{three(value)}{SPACE}/s"


def per_hour(value: float | None) -> str:
    """Return a count per hour."""
    return NONE if value is None else f"{three(value)}/h"


def multiple(value: float | None) -> str:
    """Return a ratio: ``1.5 x``."""
    return NONE if value is None else f"{three(value)}{SPACE}\u00d7"


FORMATS: dict[str, Callable[[float | None], str]] = {
    "ms": milliseconds,
    "s": seconds,
    "share": share,
    "count": count,
    "per_s": per_second,
    "x": multiple,
    "/h": per_hour,
}
"""How a value in each unit of a threshold is said."""


def say(value: float | None, unit: str) -> str:
    """Return `value` in `unit` (a key of `FORMATS`; an unknown unit is printed as it is)."""
    known = FORMATS.get(unit)
    if known:
        return known(value)
    return NONE if value is None else f"{three(value)}{SPACE}{unit}"


def between(low: float | None, high: float | None, unit: str) -> str:
    """Return an interval: ``3.1 to 3.9 s``; an open side is said as such, no interval at all is empty."""
    if low is None and high is None:
        return ""
    if low is None:
        return f"up to {say(high, unit)}"
    if high is None:
        return f"{say(low, unit)} or more"
    first, second = say(low, unit), say(high, unit)
    if first == second:
        return first
    number, _, name = first.rpartition(SPACE)
    once = number and second.endswith(SPACE + name) and first.count(SPACE) == second.count(SPACE) == 1
    # Lines may end behind a dash whatever comes next: a space there is not seen, one that never parts begins the next.
    return f"{number if once else first}{SPACE}{DASH} {second}"


def estimate(value: Estimate | None, unit: str) -> str:
    """Return an estimate and its interval: ``3.4 s (3.1 - 3.9 s)``."""
    if value is None or value.value is None:
        return NONE
    around = between(value.low, value.high, unit)
    return say(value.value, unit) + (f" ({around})" if around else "")


def clock(value: float, *, hours: bool = False) -> str:
    """Return a moment on the time axis, given in seconds: ``1:05``, ``-0:10``, ``1:02:00``; `hours` even when 0."""
    sign, whole = (MINUS if value < -0.5 else ""), abs(round(value))
    minutes, rest = divmod(whole, 60)
    if minutes < 60 and not hours:
        return f"{sign}{minutes}:{rest:02d}"
    return f"{sign}{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def mib(value: float | None) -> str:
    """Return an amount of memory given in MiB."""
    if value is None:
        return NONE
    return f"{three(value / 1024)}{SPACE}GiB" if value >= 1024 else f"{three(value)}{SPACE}MiB"


def cores(value: float | None) -> str:
    """Return an amount of CPU."""
    return NONE if value is None else f"{three(value)}{SPACE}core{'' if value == 1 else 's'}"


def kb_per_s(value: float | None) -> str:
    """Return a transfer rate given in kB/s."""
    if value is None:
        return NONE
    return f"{three(value / 1e3)}{SPACE}MB/s" if value >= 1e3 else f"{three(value)}{SPACE}kB/s"


def plural(number: int, word: str) -> str:
    """Return ``1 request``, ``1,203 requests``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def times(number: int) -> str:
    """Return ``once``, ``twice``, ``3 times``."""
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")
