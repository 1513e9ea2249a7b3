"""A recording, as the alerts are derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.export.signals import Evidence, Shown
from harness.model.findings import CacheFindings, CacheWitness

if TYPE_CHECKING:
    from harness.model.findings import Findings, Group, Resources
    from harness.model.plan import Plan
    from harness.model.shown import ShownMetrics
    from harness.model.target import Metrics


FILLING = ("capacity", "steps", "spike")
"""Kinds of load that go up, to where a system is full or beyond."""


def _parts(named: str) -> tuple[str, str]:
    name, _, label = named.rstrip("}").partition("{")
    return name, label


@dataclass(frozen=True)
class Source:
    """What one recording says. `margin` is how far beyond what was measured a limit lies, a factor above 1."""

    name: str
    plan: Plan
    findings: Findings
    said: ShownMetrics
    margin: float

    @cached_property
    def metrics(self) -> Metrics | None:
        """What the target's file calls its metrics."""
        return self.plan.target.metrics

    @cached_property
    def shown(self) -> Shown:
        """The metrics that the file names and the system showed."""
        spec = self.metrics
        if spec is None:
            return Shown()

        def bare(named: str | None) -> str | None:
            return named if named and named in self.said.names else None

        def labelled(named: str | None) -> tuple[str, str] | None:
            return _parts(named) if named and bare(_parts(named)[0]) else None

        hits, misses = bare(spec.cache_hits), bare(spec.cache_misses)
        return Shown(
            requests=labelled(spec.requests),
            failed=spec.failed_status,
            provider_calls=labelled(spec.provider_calls),
            latency=spec.latency if spec.latency and bare(f"{spec.latency}_bucket") else None,
            breaker=labelled(spec.breaker),
            cache=(hits, misses) if hits and misses else None,
            in_flight=bare(spec.in_flight),
            memory=bare(spec.memory),
            cpu=bare(spec.cpu),
        )

    @property
    def full(self) -> bool:
        """Whether the load is one that may fill the system up: then no part of it is sure to be a healthy one."""
        return self.plan.scenario.load.kind in FILLING

    @cached_property
    def healthy(self) -> Group | None:
        """The users' requests while nothing was broken."""
        phases = self.findings.load.by.get("phase", {})
        return phases.get("baseline") or phases.get("steady")

    @cached_property
    def cache(self) -> CacheWitness | None:
        """The cache in healthy times, as the answers claim: without the canary's lookups, which no cache answers.

        Where answers do not show it, as the metrics say over the whole load, the canary taken off.
        """
        cache: CacheFindings = self.findings.cache
        for phase in ("baseline", "steady"):
            if phase in cache.by_phase:
                return cache.by_phase[phase]
        return cache.metrics if isinstance(cache.metrics, CacheWitness) else None

    @cached_property
    def limits(self) -> tuple[str, Resources] | None:
        """The process or container whose metrics were read, by its name, if its limits are known."""
        service = self.metrics.service if self.metrics else None
        if service is None:
            return None
        for name, used in sorted(self.findings.resources.items()):
            # Copies of a service have numbers: agents-1.
            if name == service or (name.startswith(f"{service}-") and name[len(service) + 1 :].isdigit()):
                return name, used
        return None

    @cached_property
    def drift(self) -> Any:
        """What a soak says of the memory of the container whose metrics were read (`model.soak.SoakSeries`)."""
        series = getattr(self.findings.soak, "series", ())
        name = self.limits[0] if self.limits else None
        mine = (one for one in series if one.what == "memory" and one.owner.partition(":")[2] == name)
        return next(mine, None)

    def evidence(self, measured: str, interval: str, n: int, margin: str) -> Evidence:
        """Return evidence from this recording."""
        return Evidence(recording=self.name, measured=measured, interval=interval, n=n, margin=margin)
