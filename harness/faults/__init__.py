"""Faults: what can be broken between the system and its upstreams, and when.

A new fault is one small class beside those in `network` (see `fault.ProxyFault` for its duties) and one line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.faults.network import Blackhole, Refuse, Slow

if TYPE_CHECKING:
    from harness.faults.fault import ProxyFault

KINDS: dict[str, type[ProxyFault]] = {
    "blackhole": Blackhole,
    "refuse": Refuse,
    "slow": Slow,
}
