"""What each toxic of Toxiproxy 2.12 does to the chunks of one direction of a connection.

The effects, their parameters and units are those that Toxiproxy documents (README, *Toxics*); where it says nothing,
what its server does was measured. tests/contract/test_toxiproxy_same.py holds both against each other.

Values that make the real server crash or loop (a negative rate, slices of 0 bytes) are taken here as the nearest that
makes sense.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_MS, own_ns
from harness.faults.builtin_toxiproxy_stage import Chunk, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from harness.faults.builtin_toxiproxy_stage import Stage

    Pipe = Callable[[Stage], Coroutine[Any, Any, None]]

_SLICE_MS = 100  # a slow line passes a chunk on in pieces of this long


async def _pass_on(stage: Stage) -> None:
    while (chunk := await stage.take()) is not None:
        await stage.put(chunk)
    stage.close()


async def _latency(stage: Stage) -> None:
    attributes = stage.toxic.attributes
    while (chunk := await stage.take()) is not None:
        delay_ms = attributes["latency"]
        if (jitter := attributes["jitter"]) > 0:
            delay_ms += stage.below(2 * jitter) - jitter
        left_ns = delay_ms * NS_PER_MS - (own_ns() - chunk.time_ns)
        try:
            await stage.sleep(left_ns)
        except Interrupted:
            await stage.put(chunk)
            raise
        chunk.time_ns += left_ns
        await stage.put(chunk)
    stage.close()


async def _bandwidth(stage: Stage) -> None:
    attributes = stage.toxic.attributes
    owed_ns = 0
    while (chunk := await stage.take()) is not None:
        rate = max(attributes["rate"], 0)  # 1000 bytes a second: bytes a millisecond
        owed_ns = owed_ns + len(chunk.data) * NS_PER_MS // rate if rate else 0
        try:
            while len(chunk.data) > (piece := rate * _SLICE_MS):
                await stage.sleep(_SLICE_MS * NS_PER_MS)
                owed_ns -= _SLICE_MS * NS_PER_MS
                if piece:
                    head, chunk.data = chunk.data[:piece], chunk.data[piece:]
                    await stage.put(Chunk(head, chunk.time_ns))
            owed_ns -= await stage.sleep(owed_ns)  # what was slept too long is slept less the next time
        except Interrupted:
            await stage.put(chunk)
            raise
        await stage.put(chunk)
    stage.close()


async def _slow_close(stage: Stage) -> None:
    while (chunk := await stage.take()) is not None:
        await stage.put(chunk)
    await stage.sleep(stage.toxic.attributes["delay"] * NS_PER_MS)
    stage.close()


async def _timeout(stage: Stage) -> None:
    """Swallow everything; with a time-out above 0, end so long after the last that was swallowed."""
    limit_ms = stage.toxic.attributes["timeout"]
    try:
        while await (stage.take_within(limit_ms * NS_PER_MS) if limit_ms > 0 else stage.take()) is not None:
            pass
    except TimeoutError:
        pass
    stage.close()


async def _reset_peer(stage: Stage) -> None:
    """Swallow the first that comes, wait, end; that this is a reset is a matter of how the sockets were opened."""
    await stage.take()
    await stage.sleep_through(stage.toxic.attributes["timeout"] * NS_PER_MS)
    stage.close()


def cuts(length: int, average: int, variation: int, below: Callable[[int], int]) -> list[int]:
    """Return where a chunk of `length` bytes is cut: halved, give or take `variation`, until pieces are small enough.

    First 0, last `length`; `below(n)` draws a whole number from 0 up to but not n.
    """
    ends: list[int] = []
    pending = [(0, length)]
    while pending:
        start, end = pending.pop()
        if end - start <= max(average + variation, 1):
            ends.append(end)
            continue
        middle = start + (end - start) // 2 + (below(2 * variation) - variation if variation > 0 else 0)
        middle = min(max(middle, start + 1), end - 1)
        pending += [(middle, end), (start, middle)]
    return [0, *ends]


async def _slicer(stage: Stage) -> None:
    """Pieces that should be less than a millisecond apart come in bunches: timers here are no finer than that."""
    attributes = stage.toxic.attributes
    owed_ns = 0
    while (chunk := await stage.take()) is not None:
        at = cuts(len(chunk.data), attributes["average_size"], attributes["size_variation"], stage.below)
        for start, end in itertools.pairwise(at):
            await stage.put(Chunk(chunk.data[start:end], chunk.time_ns))
            owed_ns += attributes["delay"] * 1000
            try:
                owed_ns -= await (stage.sleep(owed_ns) if owed_ns > 0 else stage.give_way())
            except Interrupted:
                if rest := chunk.data[end:]:
                    await stage.put(Chunk(rest, chunk.time_ns))
                raise
    stage.close()


async def _limit_data(stage: Stage) -> None:
    limit = stage.toxic.attributes["bytes"]
    while (chunk := await stage.take()) is not None:
        data = chunk.data[: max(limit - stage.sent, 0)]
        if data:
            stage.sent += len(data)
            await stage.put(Chunk(data, chunk.time_ns))
        if stage.sent >= limit:
            break
    stage.close()


@dataclass(frozen=True)
class ToxicKind:
    """A kind of toxic. `go_type` is what the API's error messages call it, `fields` its attributes' Go types."""

    go_type: str
    fields: Mapping[str, str]
    pipe: Pipe
    buffer: int = 0
    """Chunks it lets wait before it without holding up the sender."""
    ends_when_removed: bool = False
    """Whether removing it ends the connections it was on."""
    resets: bool = False
    """Whether connections opened under it end with a reset, not a close."""


TOXIC_KINDS: dict[str, ToxicKind] = {
    "noop": ToxicKind("NoopToxic", {}, _pass_on),
    "latency": ToxicKind("LatencyToxic", {"latency": "int64", "jitter": "int64"}, _latency, buffer=1024),
    "bandwidth": ToxicKind("BandwidthToxic", {"rate": "int64"}, _bandwidth),
    "slow_close": ToxicKind("SlowCloseToxic", {"delay": "int64"}, _slow_close),
    "timeout": ToxicKind("TimeoutToxic", {"timeout": "int64"}, _timeout, ends_when_removed=True),
    "reset_peer": ToxicKind("ResetToxic", {"timeout": "int64"}, _reset_peer, resets=True),
    "slicer": ToxicKind("SlicerToxic", {"average_size": "int", "size_variation": "int", "delay": "int"}, _slicer),
    "limit_data": ToxicKind("LimitDataToxic", {"bytes": "int64"}, _limit_data),
}
"""Every kind, by its name in the API."""


@dataclass(eq=False)
class BuiltinToxic:
    """A toxic on a proxy: what all of its connections share. Times in ms, `delay` of a slicer in us, rate in KB/s."""

    name: str
    type: str
    stream: str
    """As the API was told, in its case."""
    toxicity: float
    attributes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attributes = dict.fromkeys(self.kind.fields, 0) | self.attributes

    @property
    def kind(self) -> ToxicKind:
        """What it does."""
        return TOXIC_KINDS[self.type]

    def pipe_for(self, drawn: float) -> Pipe:
        """Return what to run, where `drawn` in [0, 1) decides whether this connection is affected."""
        return self.kind.pipe if drawn < self.toxicity else _pass_on

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        toxicity = int(self.toxicity) if self.toxicity.is_integer() else self.toxicity
        shown = {"name": self.name, "type": self.type, "stream": self.stream, "toxicity": toxicity}
        return {"attributes": self.attributes, **shown}
