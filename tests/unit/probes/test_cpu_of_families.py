"""CPU seconds of a process and its descendants, who come and go, and some of whom are old when they are first seen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from harness.clock import NS_PER_S, now_ns, wall_offset
from harness.probes.resources import _Family


@dataclass(frozen=True)
class Member:
    """A process that began at a second of the test."""

    pid: int
    began_s: float

    def create_time(self) -> float:
        return (BEGAN_NS + self.began_s * NS_PER_S - wall_offset()[0]) / NS_PER_S


BEGAN_NS = now_ns()
PARENT, OLD, YOUNG = Member(1, -100.0), Member(2, -90.0), Member(3, 1.6)


@pytest.mark.parametrize(
    ("whole", "looks", "cores"),
    [
        (True, [{PARENT: 10.0}, {PARENT: 10.5}, {PARENT: 11.0}], [None, 0.5, 0.5]),
        # One that worked for long before it was first seen: only what it uses from then on.
        (True, [{PARENT: 10.0}, {PARENT: 10.5, OLD: 70.0}, {PARENT: 11.0, OLD: 70.25}], [None, 0.5, 0.75]),
        # One that was started since the last look: all of its life.
        (True, [{PARENT: 10.0}, {PARENT: 10.0}, {PARENT: 10.0, YOUNG: 0.3}], [None, 0.0, 0.3]),
        # One that has ended: its parent's seconds have its own from then on,
        (True, [{PARENT: 10.0, OLD: 70.0}, {PARENT: 80.75}], [None, 0.75]),
        # and where they are not asked for, it takes nothing from the others'.
        (False, [{PARENT: 10.0, OLD: 70.0}, {PARENT: 10.5}], [None, 0.5]),
    ],
    ids=["alone", "an old one is found", "a new one", "one ends", "one ends and is nobody's"],
)  # fmt: skip
def test_cores_are_those_used_since_the_last_look(
    whole: bool, looks: list[dict[Any, float]], cores: list[float | None]
) -> None:
    family = _Family(os.getpid())
    family.adopt(family.members, whole=whole)
    found = [family.cpu(look, BEGAN_NS + second * NS_PER_S) for second, look in enumerate(looks)]
    assert found == pytest.approx(cores)


def test_when_other_seconds_are_counted_the_first_look_begins_anew() -> None:
    family = _Family(os.getpid())
    parent: Any = PARENT
    assert family.cpu({parent: 10.0}, BEGAN_NS) is None
    family.adopt(family.members, whole=False)
    assert family.cpu({parent: 3.0}, BEGAN_NS + NS_PER_S) is None
    family.adopt(family.members, whole=False)
    assert family.cpu({parent: 3.5}, BEGAN_NS + 2 * NS_PER_S) == pytest.approx(0.5)
