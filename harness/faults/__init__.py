"""Faults: what can be broken between the system and its upstreams, and of its services, and when.

A new fault is one small class in the file of its family (see `fault` for its duties) and one line here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.faults.compositions import Brownout, Flapping
from harness.faults.http import (
    Empty,
    Garbage,
    HttpError,
    Quota,
    RateLimited,
    SlowFirstToken,
    StreamCut,
    StreamStall,
    Unauthorized,
    WrongContentType,
)
from harness.faults.lifecycle import Kill, Pause, Restart, Stop
from harness.faults.limits import Cpu, Memory
from harness.faults.network import Bandwidth, Blackhole, Cut, Jitter, Refuse, Reset, Sliced, Slow, SlowClose

if TYPE_CHECKING:
    from harness.faults.fault import Fault

KINDS: dict[str, type[Fault]] = {
    "refuse": Refuse,
    "reset": Reset,
    "blackhole": Blackhole,
    "slow": Slow,
    "jitter": Jitter,
    "bandwidth": Bandwidth,
    "sliced": Sliced,
    "cut": Cut,
    "slow_close": SlowClose,
    "rate_limited": RateLimited,
    "quota": Quota,
    "http_error": HttpError,
    "unauthorized": Unauthorized,
    "garbage": Garbage,
    "empty": Empty,
    "wrong_content_type": WrongContentType,
    "slow_first_token": SlowFirstToken,
    "stream_stall": StreamStall,
    "stream_cut": StreamCut,
    "flapping": Flapping,
    "brownout": Brownout,
    "kill": Kill,
    "stop": Stop,
    "pause": Pause,
    "restart": Restart,
    "cpu": Cpu,
    "memory": Memory,
}
