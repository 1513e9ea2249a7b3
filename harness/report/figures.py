"""All figures of a report, each made by a function of data; which there are depends on what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis.outages import alike
from harness.analysis.scan import scans
from harness.report import (
    figure_capacity,
    figure_failover,
    figure_resources,
    figure_soak,
    figure_summary,
    figure_time,
    palette,
    series,
)
from harness.report.seen import seen
from harness.report.timeline import Timeline, timeline

if TYPE_CHECKING:
    from harness.analysis.frame import Array
    from harness.model.findings import Findings
    from harness.recording.reader import Recording
    from harness.report.drawing import Drawn

RESOURCES = ("cpu", "memory_mib", "net")
SPARKS = ("agent", "team", "tenant", "provider")
"""Ways to group requests that have a line for each group."""


@dataclass(frozen=True)
class Figures:
    """What is drawn, by name, with the axis and the colours it is drawn in."""

    axis: Timeline
    drawn: dict[str, Drawn]
    recorders: dict[tuple[str, str], Drawn]
    """Flight recorders by (upstream, kind) of the outages that bit."""
    colours: dict[str, str]
    """Provider -> colour variable."""
    shares: series.Shares
    sparks: dict[str, dict[str, Array]]
    """Column -> word -> p95 of response time over the run, seconds."""

    def every(self) -> list[Drawn]:
        """Return all figures."""
        return [*self.drawn.values(), *self.recorders.values()]


def figures(recording: Recording, findings: Findings) -> Figures:
    """Draw everything the recording has data for."""
    axis, (load, _) = timeline(recording), scans(recording)
    users = seen(load, axis, SPARKS)
    shares = series.shares(recording, load, axis, users.answers)
    colours = palette.provider_variables(recording.plan.target.upstreams, shares.answers)
    slo_s = recording.plan.scenario.slo.response_time
    drawn: dict[str, Drawn] = {}
    if load.rows:
        drawn["response"] = figure_time.response(users.traffic, axis, slo_s)
        drawn["ecdf"] = figure_summary.ecdf(users.distributions)
    if shares.answers:
        drawn["providers"] = figure_time.providers(shares, axis, colours)
    if findings.capacity is not None:
        drawn |= figure_capacity.figures(findings.capacity)
    used = series.resources(recording, axis, RESOURCES)
    for metric in dict.fromkeys(r.metric for r in used):
        drawn[f"resources-{metric}"] = figure_resources.resources(used, axis, metric)
    drawn |= {trends.name: trends for trends in figure_soak.figures(findings.soak, axis)}
    recorders = {
        kind: figure_failover.recorder(recording, axis, bit, slo_s)
        for kind, outages in alike(findings.failovers).items()
        if (bit := [f for f in outages if f.bit])
    }
    return Figures(axis, drawn, recorders, colours, shares, users.sparks)
