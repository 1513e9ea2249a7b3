"""What every load generator is to the conductor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from harness.generator_process import GeneratorProcess


@dataclass(frozen=True)
class Pulse:
    """What one worker says about itself, each second; times in ms over that second, counts since the start."""

    worker: str
    t_ns: int
    users: int
    """Users running now (`rate`: users made so far)."""
    in_flight: int
    """Requests that are out and not over."""
    lags_ms: tuple[float, ...]
    """How late the generator's own loop woke up, each time it was looked at."""
    lag_max_ms: float
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
    gc_max_ms: float = 0.0
    """The longest that collecting garbage held up the loop."""
    trouble: str = ""
    """Why rows could not be written just now (a full disk): they wait."""
    unrecorded: int = 0
    """Rows, of requests and of their tokens, given up because that lasted too long."""
    misread: int = 0
    """Answers that made us raise: their rows hold what else is known."""
    clock_uncertainty_ms: float = 0.0
    """How wrong this worker's times may be by the recording's clock; 0 where it reads that clock itself."""


@dataclass(frozen=True)
class Progress:
    """What is new since the last call: batches of `layout.REQUEST_SCHEMA`, and pulses, oldest first."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)


class Engine(Protocol):
    """A load generator in processes of its own, which write ``<recording>/requests/``.

    Calls come in the order ``prepare, [gather], begin, batches..., [change], [stop], batches... until finished``, all
    from one thread; `kill` may come at any time and is safe to repeat.
    """

    def prepare(self, early: GeneratorProcess | None = None) -> None:
        """Start the process and have it check the workload. PlanError: the workload is wrong. TrafficFailed: it died.

        No request is made. `early` is a process of the Locust engine that was started before there was a plan; whoever
        started it ends it where it is of no use.
        """

    def gather(self, say: Callable[[str], None], check: Callable[[], None]) -> None:
        """Wait, for minutes at most, for the plan's workers on other hosts, if it has any; `say` what for.

        `check` may raise to give up. PlanError: the workload does not run there. TrafficFailed: they did not come.
        """

    def begin(self, start_ns: int, url: str) -> None:
        """Start the load at monotonic time `start_ns` against the base URL `url`."""

    def change(self, number: int, at_ns: int, rate: float, seconds: float) -> None:
        """Of a load of kind `capacity`: let its schedule end `at_ns` ns after the load's start, where level `number`
        (from 1) begins: `rate` per second, for at most `seconds`. A rate of 0 is a pause.

        To be called so long before that every worker has heard of it by then.
        """

    def batches(self) -> Progress:
        """Return what was flushed since the last call.

        When a worker has died on its own, the others are stopped; TrafficFailed, which names it, once they have ended.
        WorkloadFailed: the workload raises and makes no load.
        """

    @property
    def finished(self) -> bool:
        """Whether the load is over and every row has been handed out by `batches`."""

    asked: str
    """Who was asked to end the load by somebody else than us, and how; "" while nobody was. It then ends by itself."""

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Make no new requests; wait for those in flight up to the load's `drain`, or not at all."""

    def kill(self) -> None:
        """End the process now. What it had flushed stays readable."""

    def describe(self) -> dict[str, Any]:
        """Return what belongs in the manifest: versions, and of each worker its name, process id and clock."""
