"""What one kind of outage cost, in a sentence: who was answered, how fast, at what price, what was lost, until when."""

from __future__ import annotations

from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING

from harness.analysis.outages import per_answer, told_apart
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.model.findings import Failover

BROKEN: Mapping[str, str] = {
    "blackhole": "hung",
    "refuse": "refused connections",
    "reset": "reset connections",
    "slow": "slow",
    "jitter": "unsteady",
    "bandwidth": "on a thin line",
    "sliced": "dribbling",
    "cut": "cut off",
    "slow_close": "slow to close",
    "rate_limited": "answering 429",
    "quota": "under a quota",
    "http_error": "answering with errors",
    "unauthorized": "refusing our key",
    "garbage": "answering garbage",
    "empty": "answering nothing",
    "wrong_content_type": "answering under the wrong content type",
    "slow_first_token": "slow to begin",
    "stream_stall": "stalling mid-way",
    "stream_cut": "cutting answers mid-way",
    "flapping": "coming and going",
    "brownout": "browned out",
    "kill": "killed",
    "stop": "stopped",
    "pause": "frozen",
    "restart": "restarted",
    "cpu": "short of CPU",
    "memory": "short of memory",
}
_STARTED = ("kill", "stop")
"""Kinds whose clearing begins with starting a service again."""


def toll(upstream: str, kind: str, outages: Sequence[Failover]) -> str:
    """Return what outages of one kind cost, as a clause; numbers of several are sums, medians or, if said, the worst.

    Outages that were never seen to bite cost nothing and are counted apart.
    """
    bit = [f for f in outages if f.bit]
    head = f"{upstream} {BROKEN.get(kind, f'under {kind}')} {units.times(len(bit))}"
    if not bit:
        return f"{kind} on {upstream} was never seen to bite, so nothing was tested"
    answered = ", ".join(filter(None, (_answered(bit), _latency(bit), _price(bit))))
    return f"{head}: " + "; ".join(filter(None, (answered, _in_flight(bit), _until(kind, bit))))


def _answered(bit: Sequence[Failover]) -> str:
    ok, degraded, failed = (sum(f.answers[how] for f in bit) for how in ("ok", "degraded", "failed"))
    whole = ok + degraded + failed
    if not whole:
        return "no request was due meanwhile"
    if failed == whole:
        return f"none of {whole:,} requests was answered" if whole > 1 else "the only request failed"
    rules = "by the system's own rules only"
    if not failed:
        return "every request made meanwhile was answered" + (
            f", {degraded:,} of {whole:,} {rules}" if degraded else ""
        )
    return f"{failed:,} of {whole:,} requests failed" + (f", {degraded:,} were answered {rules}" if degraded else "")


def _latency(bit: Sequence[Failover]) -> str:
    """Say how fast answers were: p95 where there were enough of them to bound it, else the median."""
    known = [f.response_ms for f in bit if f.response_ms and f.response_ms.healthy.p50.n and f.response_ms.during.p50.n]
    if not known:
        return ""
    enough = all(times.p95.high is not None for r in known for times in (r.healthy, r.during))
    name = "p95" if enough else "median"
    of = attrgetter("p95.value" if enough else "p50.value")
    before, now = (units.milliseconds(median(map(of, side))) for side in
                   ([r.healthy for r in known], [r.during for r in known]))  # fmt: skip
    return f"{name} {now} as before" if before == now else f"{name} {now} instead of {before}"


def _price(bit: Sequence[Failover]) -> str:
    calls = per_answer(bit, lambda f: f.provider_calls_per_answer)
    tokens = per_answer(bit, lambda f: f.tokens_per_answer)
    if calls is None:
        return ""
    before, now = (units.three(e.value or 0.0) for e in (calls.healthy, calls.during))
    said = f"provider calls per answer {now} "
    if before == now:
        said += "as before"
    else:
        said += (
            f"instead of {before}" if told_apart(calls.healthy, calls.during) else f"(before {before}: within chance)"
        )
    if tokens is None or not tokens.healthy.value or not told_apart(tokens.healthy, tokens.during):
        return said
    more = (tokens.during.value or 0.0) / tokens.healthy.value - 1
    return f"{said} ({'+' if more > 0 else ''}{units.share(more)} tokens)"


def _in_flight(bit: Sequence[Failover]) -> str:
    caught, lost = sum(f.in_flight for f in bit), sum(f.in_flight_failed for f in bit)
    if not caught:
        return ""
    if caught == 1:
        return f"the one request already in flight {'was lost' if lost else 'survived'}"
    if not lost:
        return f"all {caught:,} requests already in flight survived"
    return f"{lost:,} of {caught:,} requests already in flight {'was' if lost == 1 else 'were'} lost"


def unharmed(outage: Failover) -> bool:
    """Tell whether an outage bit and nobody noticed: no request failed or was too late, no window was bad."""
    seen = outage.recovery_s is not None and outage.recovery_s.low == 0
    return outage.bit and not outage.impact and seen and not outage.in_flight_failed


def _until(kind: str, bit: Sequence[Failover]) -> str:
    if all(map(unharmed, bit)):
        degraded = any(f.answers["degraded"] for f in bit)
        return "no request failed or came late" if degraded else "no harm was seen"
    censored = sum(f.censored for f in bit)
    if censored == len(bit):
        return "service was not good again while it was watched"
    took, of = [f.recovery_after_clearing_s.high for f in bit if f.recovery_after_clearing_s], ""
    if len(took) == len(bit) - censored:
        of = " of being started again" if kind in _STARTED else " of the fault's end"
    else:
        took = [f.recovery_s.high for f in bit if f.recovery_s]
    known = len(bit) - censored
    each = "" if len(bit) == 1 else " each time" if known == len(bit) else f" in {known} of {len(bit)}"
    half = f", half of the time within {units.seconds(median(took))}" if 2 * median(took) < max(took) else ""
    return f"service was good again within {units.seconds(max(took))}{of}{each}{half}"
