"""What each container of the system uses, held against its limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.probes.container_stats import Counters, counters, happened, limits, used_now, used_since
from harness.probes.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.probes.engine import Engine, Seen
    from harness.recording.tables import EventLog, SampleWriter


@dataclass
class _Watched:
    """What is remembered of the container that has a name."""

    container: str = ""
    started: str = ""
    restarted: int = 0
    """The engine's own count, by its restart policy."""
    restarts: int = 0
    counters: Counters | None = None
    limits: dict[str, float] = field(default_factory=dict)

    def follow(self, facts: Mapping[str, Any]) -> bool:
        """Return whether it was started anew: then what it used so far is no longer what it used before."""
        container, started, restarted = facts["Id"], facts["State"]["StartedAt"], facts["RestartCount"]
        anew = happened(self.started) and (container, started) != (self.container, self.started)
        if anew:
            by_engine = restarted - self.restarted if container == self.container else 0
            self.restarts += max(1, by_engine)
            self.counters = None
        self.container, self.started, self.restarted = container, started, restarted
        return anew

    def use(self, now: Counters, seen: Seen, cpus: int) -> dict[str, float]:
        """Return what it uses, now and since the last look, and those limits that are others than at the last look."""
        found, limit = used_now(seen.stats), limits(seen.facts, seen.stats, cpus)
        if self.counters is not None:
            found |= used_since(self.counters, now)
        for used, of in (("cpu", "cpu_limit"), ("memory_mib", "memory_limit_mib")):
            if used in found and of in limit:
                found[f"{used.removesuffix('_mib')}_of_limit"] = found[used] / limit[of]
        found |= {of: value for of, value in limit.items() if self.limits.get(of) != value}
        self.counters, self.limits = now, limit
        return found


class Containers(Periodic):
    """Samples each container every second, as source ``container:<name>``:

    since the last look: ``cpu`` (cores), ``cpu_of_limit`` (share), ``throttled`` (share of CFS periods, where there
    is a CPU limit), ``net_in``, ``net_out``, ``net`` (kB/s); at the look: ``memory_mib`` (working set), ``anon_mib``
    (that of it which is no file's), ``memory_of_limit`` (share), ``pids``, ``restarts`` (since the first look);
    whenever they change: ``cpu_limit`` (cores), ``memory_limit_mib``, ``pids_limit``.

    `containers` gives name -> container id and is asked at every look. One that does not run is left out; trouble
    with the engine is told once as an event.
    """

    def __init__(
        self,
        containers: Callable[[], Mapping[str, str]],
        samples: SampleWriter,
        events: EventLog,
        *,
        every_s: float = 1.0,
    ) -> None:
        super().__init__("containers", every_s, events)
        self._containers, self._samples = containers, samples
        self._watched: dict[str, _Watched] = {}
        self._engine: Engine | None = None
        self._pool: ThreadPoolExecutor | None = None

    def look(self) -> None:
        """Sample every container once, all at the same time: some engines take up to a second to answer."""
        containers = self._containers()
        if not containers:
            return
        engine, pool = self._connected()
        asked = {name: pool.submit(engine.look, container) for name, container in containers.items()}
        problems = []
        for name, answer in asked.items():
            try:
                seen = answer.result()
            except OSError as error:
                problems.append(str(error))
                continue
            if seen is not None:
                self._sample(name, seen, engine.cpus)
        if problems:
            raise OSError("; ".join(dict.fromkeys(problems)))

    def last_look(self) -> None:
        """Look for the last time and let go of the engine."""
        try:
            self.look()
        finally:
            engine, pool, self._engine, self._pool = self._engine, self._pool, None, None
            if engine is not None and pool is not None:
                pool.shutdown()
                engine.close()

    def _connected(self) -> tuple[Engine, ThreadPoolExecutor]:
        from harness.probes.engine import AT_ONCE, Engine  # noqa: PLC0415 - runs without Docker need no SDK

        self._engine = self._engine or Engine()
        self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, "probe-containers-look")
        return self._engine, self._pool

    def _sample(self, name: str, seen: Seen, cpus: int) -> None:
        watched = self._watched.setdefault(name, _Watched())
        anew = watched.follow(seen.facts)
        now = counters(seen.stats)
        found = {} if now is None else watched.use(now, seen, cpus)
        if found or anew:  # one that crashes again and again may never be seen running
            found["restarts"] = watched.restarts
        for metric, value in found.items():
            self._samples.sample(f"container:{name}", metric, value, t_ns=seen.t_ns)
