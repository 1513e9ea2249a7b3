"""Buffers that take turns: one is being filled while full ones wait to be written."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Buffer = TypeVar("Buffer")
_BUFFERS = 3


class Buffers(Generic[Buffer]):
    """`_BUFFERS` of them, each made by `make`."""

    def __init__(self, make: Callable[[], Buffer]) -> None:
        self._free = [make() for _ in range(_BUFFERS)]
        self._waiting: deque[tuple[Buffer, int]] = deque()
        self.filling = self._free.pop()
        self.filled = self.written = 0
        """How many were, since the beginning."""

    @property
    def exhausted(self) -> bool:
        """Whether one has to be written before another can be filled."""
        return not self._free

    def turn(self, rows: int) -> None:
        """Have the next one filled: this one, with `rows` in it, waits. None may be `exhausted`."""
        self._waiting.append((self.filling, rows))
        self.filling = self._free.pop()
        self.filled += 1

    @property
    def first(self) -> tuple[Buffer, int]:
        """The one that has waited longest, and the rows in it."""
        return self._waiting[0]

    def give_back(self) -> None:
        """The one that has waited longest was written."""
        self._free.append(self._waiting.popleft()[0])
        self.written += 1


def go_on() -> None:
    """Give way to nobody."""
