"""What a recording says: pure functions from a `Recording` to `Findings`. `analyse` runs them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.attribution import attribution
from harness.analysis.cache import cache_findings
from harness.analysis.claims import claims
from harness.analysis.failover import Evidence, failovers
from harness.analysis.frame import Frame, last_row
from harness.analysis.latency import load_findings
from harness.analysis.ledger import Calls
from harness.analysis.measure import Measure
from harness.analysis.resources import resources
from harness.analysis.safety import steady_looks
from harness.analysis.streams import Tokens, stream_findings
from harness.analysis.timeline import timeline
from harness.analysis.validity import Facts, validity
from harness.analysis.windows import service
from harness.model.findings import Findings

if TYPE_CHECKING:
    from harness.recording.reader import Recording


def analyse(recording: Recording) -> tuple[Findings, Measure]:
    """Return everything `recording` says, and the samples that thresholds are judged by.

    Copes with a run that was killed, and with one without ledger, faults, canary or requests: what cannot be said is
    None or "unsupported", and validity tells why.
    """
    plan = recording.plan
    last_ns = max([last_row(recording.requests, recording.canary), *(e.t_ns for e in recording.events)])
    load, canary = Frame(recording.requests, last_ns), Frame(recording.canary, last_ns)
    tokens = Tokens(load, lambda: recording.tokens)
    calls, when = Calls(recording.ledger, load), timeline(recording, last_ns)
    felt = service(load, canary, plan.scenario.slo, when.healthy)
    outages = failovers(Evidence(load, felt, calls, recording.events, when))
    cache = cache_findings(load, canary, calls, recording.samples, plan.target.metrics, when)
    named = attribution(load, calls, when)
    findings = Findings(
        validity=validity(Facts(recording, load, canary, calls, when, outages, cache, named)),
        load=load_findings(load, when).model_copy(update={"streams": stream_findings(tokens, when)}),
        failovers=outages,
        claims=claims(plan, outages),
        cache=cache,
        attribution=named,
        resources=resources(recording.samples, when),
        steady_state=steady_looks(recording.events),
    )
    return findings, Measure(load, when, tokens)
