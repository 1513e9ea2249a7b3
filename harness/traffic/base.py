"""What every load generator is to the conductor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Pulse:
    """What the generator says about itself, each second; times in ms over that second, counts since the start."""

    t_ns: int
    users: int
    """Users running now (`rate`: users made so far)."""
    in_flight: int
    """Requests that are out and not over."""
    lag_p99_ms: float
    lag_max_ms: float
    """How late the generator's own loop woke up."""
    lateness_p99_ms: float
    """start - due of the requests started in this second (0 where due is start)."""
    cpu: float
    """Share of what it can use that the generator used: of one core, 0 to 1 and somewhat above; of all of this machine
    for k6, which runs on all of them."""
    rss_mib: float
    """Resident memory, MiB."""
    sent: int
    dropped: int
    errors: int
    """Exceptions that left the workload's own code; each is in the log."""
    last_error: str = ""
    """The latest of them, in one line."""


@dataclass(frozen=True)
class Progress:
    """What is new since the last call: batches of `layout.REQUEST_SCHEMA`, and pulses, oldest first."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)


class Engine(Protocol):
    """A load generator in a process of its own, which writes ``<recording>/requests/``.

    Calls come in the order ``prepare, begin, batches..., [stop], batches... until finished``, all from one thread;
    `kill` may come at any time and is safe to repeat.
    """

    def prepare(self) -> None:
        """Start the process and have it check the workload. PlanError: the workload is wrong. TrafficFailed: it died.

        No request is made.
        """

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic time `start_ns` against the base URL `url`."""

    def batches(self) -> Progress:
        """Return what was flushed since the last call.

        TrafficFailed once the process has died on its own. WorkloadFailed: the workload raises and makes no load.
        """

    @property
    def finished(self) -> bool:
        """Whether the load is over and every row has been handed out by `batches`."""

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Make no new requests; wait for those in flight up to the load's `drain`, or not at all."""

    def kill(self) -> None:
        """End the process now. What it had flushed stays readable."""

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the manifest: versions, process id, priority, worker names."""
