"""What happened when something broke: one entry per kind of outage, for the template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.advice.case import outage_id
from harness.analysis.outages import alike, flaps, per_answer
from harness.report import comeback, micro, units, words
from harness.report.toll import toll

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.model.findings import Failover, Findings, Interval, OutageKind, PerAnswer, Spread
    from harness.report.figures import Figures


def outages(findings: Findings, figures: Figures) -> list[dict[str, Any]]:
    """Return one entry per kind of outage; one that was never seen to bite has its answer only."""
    found = []
    for (upstream, kind), group in alike(findings.failovers).items():
        claim = words.claim_of(findings, upstream, kind)
        entry: dict[str, Any] = {
            "id": outage_id(upstream, kind),
            "answer": words.sentence(words.outage(upstream, kind, group, claim)),
            "claim": words.claim(claim) if claim else "",
            "toll": words.sentence(toll(upstream, kind, group)),
        }
        bit, together = [f for f in group if f.bit], words.kind_of(findings, upstream, kind)
        if bit and together:
            entry |= _told(bit, together, figures) | {"figure": figures.recorders[upstream, kind].tag}
        found.append(entry)
    return found


def _told(bit: Sequence[Failover], together: OutageKind, figures: Figures) -> dict[str, Any]:
    totals = {name: sum(f.answers.get(name, 0) for f in bit) for name in ("ok", "degraded", "failed")}
    whole = sum(totals.values())
    labels = (("ok", "in full", "full"), ("degraded", "degraded", "part-degraded"), ("failed", "not", "none"))
    shares = [(label, totals[name] / whole if whole else 0.0, css) for name, label, css in labels]
    said = ", ".join(f"{label} {units.share(share)}" for label, share, _ in shares)
    columns = _columns(bit)
    mean_of = f"mean of {len(bit):,}" if len(bit) > 1 else "this outage"
    return {
        "cost_of": f"{mean_of}; {units.plural(whole, 'request')} due",
        "answers": [(label, units.share(share), css) for label, share, css in shares] if whole else [],
        "answers_bar": micro.share_bar([(css, s) for _, s, css in shares], f"Requests answered: {said}"),
        "cost": _cost(bit, together),
        "spread": _spread(together),
        "comeback": words.sentence(comeback.said(together.comeback)),
        "loads": comeback.rows(together.comeback),
        "load_columns": comeback.COLUMNS,
        "columns": ["at", *(column.name for column in columns)],
        "each": [
            [units.clock(figures.axis.at(f.effective_ns or f.injecting_ns)), *(column.say(f) for column in columns)]
            for f in bit
        ],
        "resolution": units.seconds(_mean([f.resolution_s for f in bit])),
    }


@dataclass(frozen=True)
class _Column:
    name: str
    say: Callable[[Failover], str]


_HARM = _Column("first harm", lambda f: _between(f.impact_s, "none"))
_BREAKER = _Column("breaker open", lambda f: _between(f.detection_s, units.NONE))
_PROVIDER = (
    _Column("failed over", lambda f: _between(f.failover_s, units.NONE)),
    _Column(
        "failed back", lambda f: _between(f.failback_s, words.not_back([f]) if f.failback_censored else units.NONE)
    ),
    _Column("flaps", lambda f: units.count(f.flaps)),
)
_EVERY = (
    _Column("failed", lambda f: units.count(f.failed_requests)),
    _Column("slow", lambda f: units.count(f.slow_requests)),
    _Column("unavailable", lambda f: units.seconds(f.unavailable_s)),
    _Column("stall", lambda f: units.seconds(f.worst_stall_s)),
    _Column("in flight", lambda f: f"{f.in_flight_failed:,} of {f.in_flight:,} lost" if f.in_flight else units.NONE),
)


def _columns(bit: Sequence[Failover]) -> list[_Column]:
    """Return what there is to say of each outage: of a service, nothing about breakers and failing over."""
    provider = words.served(bit)
    over, back, changes = _PROVIDER
    recovered = _Column("recovered", lambda f: _between(f.recovery_s, "never"))
    after = _Column("after clearing", lambda f: _between(f.recovery_after_clearing_s, units.NONE))
    breaker = [_BREAKER] if provider or any(f.detection_s for f in bit) else []
    return [_HARM, *breaker, *((over, recovered, back, changes) if provider else (recovered, after)), *_EVERY]


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


def _between(interval: Interval | None, missing: str) -> str:
    return missing if interval is None else units.between(interval.low, interval.high, "s")


def _cost(bit: Sequence[Failover], together: OutageKind) -> list[tuple[str, str, str]]:
    """Return (what, how much, how much in healthy times) of what an outage cost."""

    def each(values: Sequence[float | int | None]) -> str:
        mean = _mean(values)
        return units.NONE if mean is None else units.three(mean)

    unavailable, caught = _mean([f.unavailable_s for f in bit]) or 0.0, sum(f.in_flight for f in bit)
    lost = f"{sum(f.in_flight_failed for f in bit):,} of {caught:,}" if caught else units.NONE
    return [
        ("failed requests", each([f.failed_requests for f in bit]), ""),
        ("slow requests", each([f.slow_requests for f in bit]), ""),
        ("lost of those in flight", lost, "in all" if caught and len(bit) > 1 else ""),
        ("unavailable", units.seconds(unavailable), ""),
        ("longest stall", units.seconds(max(f.worst_stall_s for f in bit)), ""),
        *_per_answer("calls per answer", bit, lambda f: f.provider_calls_per_answer),
        *_per_answer("tokens per answer", bit, lambda f: f.tokens_per_answer),
        ("extra provider calls", _more([f.extra_provider_calls for f in bit]), ""),
        ("extra tokens", _more([f.extra_tokens for f in bit]), ""),
        *([("flaps", units.count(flaps(bit)), "in all" if len(bit) > 1 else "")] if words.served(bit) else []),
        (f"month's budget at {units.share(together.availability)}", units.share(_budget(together)), ""),
    ]


def _budget(together: OutageKind) -> float:
    """Return the share of a month's error budget that one outage spends."""
    return round(together.budget_spent / together.outages, 9)


def _spread(together: OutageKind) -> list[tuple[str, str, str, str, str]]:
    """Return (what, median, p95, worst, of how many) of the times of several outages."""
    times = (
        ("first harm", together.impact_s), ("breaker open", together.detection_s),
        ("failed over", together.failover_s), ("recovered", together.recovery_s), ("failed back", together.failback_s),
    )  # fmt: skip
    return [
        (name, _time(one.median), _time(one.p95), _time(one.max), _of(one))
        for name, one in times
        if one is not None and together.outages > 1
    ]


def _of(one: Spread) -> str:
    return f"{one.n:,}" + (f", {one.never:,} not seen" if one.never else "")


def _time(value: float | None) -> str:
    return "not seen" if value is None else units.seconds(value)


def _more(values: Sequence[int | None]) -> str:
    """Say a mean of what was needed on top; less than that is chance, not a saving."""
    mean = _mean(values)
    return units.NONE if mean is None else units.three(mean) if mean > 0 else "none"


def _per_answer(
    name: str, bit: Sequence[Failover], of: Callable[[Failover], PerAnswer | None]
) -> list[tuple[str, str, str]]:
    known = per_answer(bit, of)
    if known is None:
        return []
    healthy, during = known.healthy, known.during
    return [(name, units.three(during.value or 0.0), f"before {units.three(healthy.value or 0.0)}")]
