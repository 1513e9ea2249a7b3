"""The audit, answered: its rows in the order a reader wants them, for the page and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.model.audit import AuditVerdict, CheckRow, Gap
from harness.model.verdict import Verdict
from harness.report import audit_words, units, words
from harness.report.audit_words import MARKS
from harness.report.micro import mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.model.audit import Answered, CategoryScore, Readiness, Row
    from harness.report.audit_words import Language

_RANK = {AuditVerdict.FAIL: 0, AuditVerdict.INCONCLUSIVE: 1, AuditVerdict.PASS: 2}
MEASURED = frozenset(_RANK)
_SEVERITY = ("critical", "high", "medium", "low")
_STEADY = ("a steady load while nothing is broken (scenarios/steady, rate)",
           "en jämn last medan inget är trasigt (scenarios/steady, rate)")  # fmt: skip
WOULD: dict[str, tuple[str, str]] = {
    "agents": ("a load on these agents, with answers that name them", "en last på dessa agenter"),
    "availability": _STEADY,
    "baselines": _STEADY,
    "breakers": ("outages of a provider (chaos/failover_sla.yaml) and `metrics.breaker`",
                 "avbrott hos en leverantör (chaos/failover_sla.yaml) och `metrics.breaker`"),
    "cache": ("answers that show cache hits (`observe.cached`)", "svar som visar cacheträffar (`observe.cached`)"),
    "capacity": ("a search for the capacity (scenarios/capacity.yaml)", "kapacitetssökning (scenarios/capacity.yaml)"),
    "carries": ("a load of that kind without faults (scenarios/steady, rate, spike, soak)",
                "en sådan last utan fel (scenarios/steady, rate, spike, soak)"),
    "chaos": ("an experiment (chaos/)", "ett experiment (chaos/)"),
    "cost": ("a price table (`prices`) and a ledger", "en prislista (`prices`) och en liggare"),
    "disaster": ("a killed service (chaos/agents_kill.yaml, redis_kill.yaml) or region (region_blackhole.yaml)",
                 "en dödad tjänst (chaos/agents_kill.yaml, redis_kill.yaml) eller region (region_blackhole.yaml)"),
    "failover": ("outages of a provider (chaos/failover_sla.yaml)",
                 "avbrott hos en leverantör (chaos/failover_sla.yaml)"),
    "functionality": ("an outage of all providers at once (chaos/providers_blackhole.yaml)",
                      "avbrott hos alla leverantörer samtidigt (chaos/providers_blackhole.yaml)"),
    "health": ("a health page (`health`)", "en hälsosida (`health`)"),
    "health_there": ("a health page (`health`)", "en hälsosida (`health`)"),
    "latency": _STEADY,
    "metrics": ("the system's cache metrics (`metrics.cache_hits`)", "systemets cachemätvärden (`metrics.cache_hits`)"),
    "pool": ("a search for the capacity (scenarios/capacity.yaml)", "kapacitetssökning (scenarios/capacity.yaml)"),
    "providers": ("answers that name their provider (`observe.provider`)",
                  "svar som nämner sin leverantör (`observe.provider`)"),
    "restart": ("a rolling restart (chaos/agents_restart.yaml)", "en rullande omstart (chaos/agents_restart.yaml)"),
    "scaling": ("a search for the capacity (scenarios/capacity.yaml)", "kapacitetssökning (scenarios/capacity.yaml)"),
    "soak": ("a soak (scenarios/soak.yaml)", "ett uthållighetsprov (scenarios/soak.yaml)"),
    "together": ("the loads it asks for, without faults", "de laster som krävs, utan fel"),
    "tenants": ("a ledger that knows whose call it was", "en liggare som vet vems anropet var"),
    "trace": ("a ledger that knows whose call it was", "en liggare som vet vems anropet var"),
}  # fmt: skip
"""Kind of evidence -> what a run would need for it."""


@dataclass(frozen=True)
class Line:
    """One row as it is shown."""

    row: Row
    found: Answered
    kind: str
    """``check``, ``detail``, ``claim`` or ``gap``."""
    title: str
    verdict: str
    mark: str
    said: str
    points: str
    """``50 → 100``, for a check that counts; else empty."""


def lines(answered: Readiness, language: Language = "en") -> list[Line]:
    """Return every row of the audit, worst first; what was not measured, and what cannot be, last."""
    points = {row: (before, after) for score in answered.scores for row, before, after in score.points}
    found = [_line(kind, row, answered, points, language) for kind, row in _rows(answered)]
    return sorted(found, key=lambda line: _RANK.get(line.found.verdict, 3))


def _rows(answered: Readiness) -> Iterator[tuple[str, Row]]:
    audit = answered.audit
    # Gaps are what people act on: of equal verdicts they come first, the severest of them.
    for gap in sorted(audit.gaps, key=lambda g: _SEVERITY.index(g.severity)):
        yield "gap", gap
    for category in audit.categories:
        yield from (("check", row) for row in category.checks)
    yield from (("claim", row) for row in audit.claims)
    for category in audit.categories:
        yield from (("detail", row) for row in category.detailed)


def _line(kind: str, row: Row, answered: Readiness, points: dict[str, tuple[float, float]], language: Language) -> Line:
    found = answered.rows[row.id]
    before, after = points.get(row.id, (0.0, 0.0))
    scored = "" if row.id not in points else f"{before:g}" if before == after else f"{before:g} → {after:g}"
    return Line(
        row, found, kind, audit_words.title(row, language), audit_words.verdict(found, row, language),
        MARKS[found.verdict], _said(row, found, language), scored,
    )  # fmt: skip


def _said(row: Row, found: Answered, language: Language) -> str:
    if found.answer is not None:
        return words.sentence(audit_words.said(found.answer, language))
    if row.asks is not None:
        return WOULD[row.asks.kind][language == "sv"]
    return (row.reason if language == "sv" and row.reason else "") or row.needs or row.silent


def folded(all_lines: list[Line]) -> tuple[list[Line], list[Line], list[Line], list[Line]]:
    """Part lines into: measured, measured details, not measured, and what load and chaos cannot speak to."""
    measured = [line for line in all_lines if line.found.verdict in MEASURED]
    return (
        [line for line in measured if line.kind != "detail"],
        [line for line in measured if line.kind == "detail"],
        [line for line in all_lines if line.found.verdict is AuditVerdict.NOT_MEASURED],
        [line for line in all_lines if line.found.verdict is AuditVerdict.SILENT],
    )


def tally(answered: Readiness, language: Language = "en") -> str:
    """Return how many rows there are of each verdict, in a sentence."""
    count = {v: sum(found.verdict is v for found in answered.rows.values()) for v in AuditVerdict}
    heard = sum(count[v] for v in MEASURED)
    one, many = len(answered.witnesses) == 1, f"{len(answered.witnesses)}"
    if language == "sv":
        source = "denna inspelning" if one else f"{many} inspelningar"
        return (
            f"Av revisionens {len(answered.rows)} rader besvaras {heard} av {source}: "
            f"{count[AuditVerdict.PASS]} godkända, {count[AuditVerdict.FAIL]} underkända, "
            f"{count[AuditVerdict.INCONCLUSIVE]} obestämda. {count[AuditVerdict.NOT_MEASURED]} är inte mätta; "
            f"{count[AuditVerdict.SILENT]} kan last och kaos inte svara på."
        )
    source = "this recording" if one else f"{many} recordings"
    return (
        f"Of the audit's {len(answered.rows)} rows {heard} are answered by {source}: "
        f"{count[AuditVerdict.PASS]} pass, {count[AuditVerdict.FAIL]} fail, "
        f"{count[AuditVerdict.INCONCLUSIVE]} are inconclusive. {count[AuditVerdict.NOT_MEASURED]} are not measured; "
        f"{count[AuditVerdict.SILENT]} load and chaos cannot speak to."
    )


def arithmetic(score: CategoryScore) -> str:
    """Return how a category's score comes about: ``(50 + 100 + 20 + 30 + 60) / 5 = 52``."""
    return f"({' + '.join(f'{after:g}' for _, _, after in score.points)}) / {len(score.points)} = {score.after:.3g}"


def changed(score: CategoryScore) -> int:
    """Return how many rows of a category are worth something else now."""
    return sum(before != after for _, before, after in score.points)


def html(answered: Readiness | None) -> dict[str, Any] | None:
    """Return the block of the page; None without an audit."""
    if answered is None:
        return None
    measured, details, missing, silent = folded(lines(answered))
    titles = {category.id: category for category in answered.audit.categories}
    return {
        "title": answered.audit.title,
        "answer": tally(answered),
        "measured": [_cells(line) for line in measured],
        "details": [_cells(line) for line in details],
        "missing": [(line.row.id, line.title, line.said) for line in missing],
        "silent": [(line.row.id, line.title, line.said) for line in silent],
        "scores": [
            {
                "title": titles[s.category].title, "weight": units.share(titles[s.category].weight),
                "heading": f"{s.heading:g}", "before": f"{s.before:.3g}", "after": f"{s.after:.3g}",
                "moved": s.after - s.before, "how": arithmetic(s),
            }
            for s in answered.scores
        ],
        "overall": [f"{score:.3g}" for score in (answered.heading_overall, answered.before, answered.after)],
    }  # fmt: skip


def _cells(line: Line) -> dict[str, Any]:
    severity = line.row.severity if isinstance(line.row, Gap) else ""
    status = line.row.status if isinstance(line.row, CheckRow) else severity
    return {
        "mark": mark(Verdict(line.found.verdict.value)), "verdict": line.verdict, "id": line.row.id,
        "title": line.title, "was": status, "said": line.said, "points": line.points,
        "n": line.found.answer.n if line.found.answer else 0,
    }  # fmt: skip
