"""What workloads raise, told without drowning in it. Only for the Locust subprocess.

A user that fails fails all day. Its traceback costs half a millisecond and a kilobyte of log each time, and says the
same each time. So an error is told in full the first few times it comes from its place in the code; from then on only
the 10th, 100th, 1000th ... time is told, in one line. None is forgotten: they are counted (`Load.errors`).
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter
from types import SimpleNamespace
from typing import Any

from locust.event import EventHook
from locust.user.task import TaskSet

from harness.traffic.locust_workload import own_line

_IN_FULL = 5
_MOST_PLACES = 1000
_SILENT = "(told before)"
_counts: Counter[Any] = Counter()
_lines: dict[Any, str] = {}


def _place(error: BaseException) -> tuple[Any, ...]:
    """Return what tells where an error comes from: its type, and the lines it passed through."""
    place: list[Any] = [error.__class__]
    step = error.__traceback__
    while step is not None:
        place += (step.tb_frame.f_code, step.tb_lineno)
        step = step.tb_next
    return tuple(place)


def line_of(error: BaseException) -> str:
    """Return the workload's own line that raised `error` (`own_line`), found once for each place."""
    place = _place(error)
    if place not in _lines:
        if len(_lines) >= _MOST_PLACES:
            _lines.clear()
        _lines[place] = own_line(error)
    return _lines[place]


def told(error: BaseException | None) -> str:
    """Count an error and return what is to be logged of it; "" for nothing."""
    if error is None:
        return ""
    place = _place(error)
    if len(_counts) >= _MOST_PLACES and place not in _counts:
        _counts.clear()
    _counts[place] += 1
    count = _counts[place]
    if count <= _IN_FULL:
        last = "\n(from here on only every tenfold is told)" if count == _IN_FULL else ""
        return "".join(traceback.format_exception(error)).rstrip() + last
    if str(count).strip("0") == "1":
        return f"{type(error).__name__}: {error} ({line_of(error)}), for the {count}th time"
    return ""


def _format_exc() -> str:
    return told(sys.exc_info()[1]) or _SILENT


def _is_news(record: logging.LogRecord) -> bool:
    return not (isinstance(record.args, tuple) and _SILENT in record.args)


def install() -> None:
    """Have Locust tell of errors in tasks and listeners this way."""
    brief = SimpleNamespace(**{**vars(traceback), "format_exc": _format_exc})
    for place in (TaskSet, EventHook):
        setattr(sys.modules[place.__module__], "traceback", brief)  # noqa: B010 - which mypy does not see there
    for logger in (logging.getLogger(TaskSet.__module__), logging.getLogger()):
        logger.addFilter(_is_news)
