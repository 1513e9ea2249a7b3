"""Waking up on time, and giving way. Only for the Locust subprocess.

libev, under gevent, waits in whole milliseconds and rounds up, so that whoever sleeps wakes 0.6 ms late at the median.
A timerfd (timerfd_create(2), Linux) wakes the same loop within 0.1 ms. Elsewhere it stays as it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import Any

import gevent

from harness.clock import NS_PER_S, now_ns

_CLOCK_MONOTONIC = 1
_READ = 1
_SHORTEST_NS = 20_000
"""Less than this is not worth the two system calls of an alarm."""


def take_a_breath() -> None:
    """Let everybody go first whose turn it is, or whose bytes have come.

    ``gevent.sleep(0)`` is not that: whoever does it again and again keeps gevent for 5 ms from looking at sockets.
    """
    gevent.sleep(1e-9)


class _Times(ctypes.Structure):
    """struct itimerspec: the interval, then the first expiration."""

    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("s", ctypes.c_long), ("ns", ctypes.c_long))


class Alarm:
    """One timer of the kernel, for one greenlet."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        with contextlib.suppress(AttributeError):  # not Linux
            self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._rings: Any = gevent.get_hub().loop.io(self._fd, _READ) if self._fd >= 0 else None

    def sleep(self, ns: int) -> None:
        """Sleep for `ns` nanoseconds; other greenlets run."""
        if self._rings is None or ns < _SHORTEST_NS:
            gevent.sleep(ns / NS_PER_S)
            return
        seconds, rest = divmod(ns, NS_PER_S)
        self._libc.timerfd_settime(self._fd, 0, ctypes.byref(_Times(0, 0, seconds, rest)), None)
        gevent.get_hub().wait(self._rings)
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)

    def sleep_until(self, t_ns: int) -> None:
        """Sleep until monotonic time `t_ns`."""
        while (left := t_ns - now_ns()) > 0:
            self.sleep(left)

    def close(self) -> None:
        """Give the timer back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
