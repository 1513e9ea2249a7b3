"""What a recording says: pure functions from a `Recording` to `Findings`. `analyse` runs them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.attribution import attribution
from harness.analysis.cache import cache_findings
from harness.analysis.capacity import capacity
from harness.analysis.claims import claims
from harness.analysis.cost import cost
from harness.analysis.failover import Outages
from harness.analysis.frame import ALWAYS, Selection
from harness.analysis.health import health
from harness.analysis.latency import LoadGroups
from harness.analysis.ledger import Calls
from harness.analysis.measure import Measure, OfPlan
from harness.analysis.orders import Orders
from harness.analysis.outages import outage_kinds
from harness.analysis.resources import resources
from harness.analysis.safety import steady_looks
from harness.analysis.scan import scans
from harness.analysis.scrapes import breaker_looks
from harness.analysis.soak import soak, soak_windows
from harness.analysis.streams import Tokens, stream_findings
from harness.analysis.tenancy import tenancy
from harness.analysis.timeline import timeline
from harness.analysis.validity import Facts, validity
from harness.analysis.windows import Felt, healthy_limit
from harness.memory import give_back
from harness.model.findings import Findings

if TYPE_CHECKING:
    from harness.model.plan import Plan
    from harness.recording.reader import Recording


def analyse(recording: Recording, asked: Plan | None = None) -> tuple[Findings, Measure]:
    """Return everything `recording` says, and the samples that thresholds are judged by: those of `asked`, its plan
    with other thresholds, if there is one.

    Copes with a run that was killed, and with one without ledger, faults, canary or requests: what cannot be said is
    None or "unsupported", and validity tells why. First everything asks for what it needs, then the recording is read.
    """
    plan = recording.plan
    load, probes = scans(recording)
    load.hold()
    canary, when = probes.whole(own=("first_byte_ns", "request_id")), timeline(recording, load.last_ns)
    orders = Orders(load, canary, when.moments)
    tokens = Tokens(load.streams(), lambda: recording.tokens)
    groups, measure = LoadGroups(orders, load.kinds, when), OfPlan(orders, load.kinds, when, asked or plan, tokens)
    measured = [(when.zero_ns, when.end_ns)]
    lateness = orders.ask("lateness", Selection(measured, load.kinds.told("lateness")), (99,), bare=True)
    felt = Felt(load, canary, plan.scenario.slo, healthy_limit(orders, load.kinds, canary.kinds, when.healthy))
    outages, windows = Outages(orders, felt, canary, when), soak_windows(asked or plan, load, when)
    orders.run([*outages.tallies.values(), *([] if windows is None else [windows])])
    give_back()

    calls, everything = Calls(lambda: recording.ledger, load), orders.counts([ALWAYS])
    give_back()
    found = outages.failovers(calls, recording.events, breaker_looks(recording.samples, plan.target.metrics))
    cache = cache_findings(orders, load.kinds, canary, calls, recording.samples, plan.target.metrics, when)
    named = attribution(load, everything, calls, when)
    give_back()
    facts = Facts(
        recording, load, everything, orders.counts(measured), lateness, canary, calls, when, found, cache, named
    )
    spent = cost(calls, orders, load.kinds, canary, when, plan.target.prices, plan.scenario.load)
    findings = Findings(
        validity=validity(facts),
        load=groups.findings().model_copy(update={"streams": stream_findings(tokens, when)}),
        failovers=found,
        outage_kinds=outage_kinds(found, plan.scenario.slo.availability),
        claims=claims(plan, found),
        health=health(recording.samples, recording.events, when, found, plan.scenario),
        cache=cache,
        attribution=named,
        tenancy=tenancy(calls, when),
        resources=resources(recording.samples, when),
        cost=spent,
        capacity=capacity(recording, load, calls, when, spent),
        steady_state=steady_looks(recording.events),
        soak=None if windows is None else soak(recording, windows, calls, when, found),
    )
    load.release()
    give_back()
    return findings, measure
