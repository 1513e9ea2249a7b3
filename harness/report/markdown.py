"""The report in the size of a pull request (`report.md`): verdict, why, checks, validity; the rest is folded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.analysis.outages import alike, flaps
from harness.report import (
    block_capacity,
    block_cost,
    block_health,
    block_soak,
    block_streams,
    comeback,
    units,
    versions,
    words,
)
from harness.report.markup import fold, plain, table
from harness.report.readiness import section
from harness.report.toll import toll, unharmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.model.audit import Readiness
    from harness.model.findings import Failover, Findings, OutageKind, Spread
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording


def _checks(verdicts: Verdicts) -> list[str]:
    rows = [
        [
            f"{words.MARKS[c.verdict]} {c.verdict.value}", plain(c.threshold), units.say(c.observed, c.unit),
            units.between(c.low, c.high, c.unit) or units.NONE, units.count(c.n), units.say(c.limit, c.unit),
        ]
        for c in words.worst_first(verdicts.checks)
    ]  # fmt: skip
    return table(("", "threshold", "observed", "95 % interval", "n", "limit"), rows, 2) if rows else []


def _median(times: Spread | None, outages: int, otherwise: str) -> str:
    """Return the median of so many outages, and how many have none; those that never came are the longest of all."""
    if times is None:
        return otherwise
    rest = outages - len(times.ecdf)
    said = otherwise if times.median is None else units.seconds(times.median)
    return said + (f" ({rest} {otherwise})" if rest and times.median is not None else "")


def _outages(findings: Findings) -> list[str]:
    rows, tolls = [], []
    for (upstream, kind), group in alike(findings.failovers).items():
        bit = [f for f in group if f.bit]
        tolls.append(f"- {plain(words.sentence(toll(upstream, kind, group)))}")
        if bit:
            good, together = sum(not f.censored for f in bit), words.kind_of(findings, upstream, kind)
            rows.append([plain(f"{upstream} {kind}"), f"{good} of {len(bit)}", *_times(bit, together)])
    head = ("outage", "recovered", "first harm", "failed over", "recovered in", "failed back", "failed requests",
            "flaps")  # fmt: skip
    lines = table(head, rows, 1) if rows else []
    claims = [
        f"- claim, {plain(claim.upstream)} {plain(claim.kind)}: {words.claim(claim)}" for claim in findings.claims
    ]
    backs = [
        f"- {plain(together.upstream)} {plain(together.kind)}: {plain(said)}"
        for together in findings.outage_kinds
        if (said := comeback.said(together.comeback))
    ]
    return [*lines, "", *fold("What each cost, and what they support", [*tolls, *backs, *claims])]


def _drift(findings: Findings) -> list[str]:
    if not (answer := block_soak.said(findings)):
        return []
    head = ("", "series", *block_soak.COLUMNS[:6])
    rows = [[plain(cell) for cell in row] for row in block_soak.markdown_rows(findings)]
    return [f"**Did anything drift?** {plain(answer)}", "", *((*table(head, rows, 2), "") if rows else ())]


def _times(group: Sequence[Failover], together: OutageKind | None) -> list[str]:
    if together is None:
        return [units.NONE] * 6
    provider, n = words.served(group), len(group)
    return [
        _median(together.impact_s, n, "none"),
        _median(together.failover_s, n, "not seen" if provider else units.NONE),
        "no harm" if all(map(unharmed, group)) else _median(together.recovery_s, n, "never"),
        _median(together.failback_s, n, words.not_back(group) if provider else units.NONE),
        units.count(sum(f.failed_requests for f in group)), units.count(flaps(group)),
    ]  # fmt: skip


def _capacity(findings: Findings) -> list[str]:
    found = findings.capacity
    if found is None:
        return []
    rows = [[plain(cell) for cell in row] for row in block_capacity.table_rows(found)]
    notes = [f"- {plain(note)}" for note in block_capacity.notes(found)]
    return [
        "", "### Capacity", "", f"**{plain(block_capacity.said(findings))}**", "",
        *table(("state", *block_capacity.STATES), rows, 1), "", *notes,
    ]  # fmt: skip


def markdown(recording: Recording, findings: Findings, verdicts: Verdicts, readiness: Readiness | None = None) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    version = versions.of_system(recording)
    lines = [
        f"## {words.MARKS[verdicts.verdict]} {words.HEADLINES[verdicts.verdict]}: {plain(recording.plan.title)}",
        "",
        f"**{plain(words.why(verdicts))}**",
        "",
        f"{words.load(recording.plan.scenario.load)} on {plain(recording.plan.target.target)}"
        + (f" (version {plain(version)}). " if version else ". ")
        + plain(words.users(findings.load)),
        "",
        *_checks(verdicts),
        "",
        f"**Can this run be believed?** {plain(words.validity(findings))}",
        "",
        *(f"- {plain(words.sentence(reason))}" for reason in findings.validity.reasons),
        "",
    ]
    lines += fold(
        units.plural(len(findings.validity.notes), "note"),
        [f"- {plain(words.sentence(note))}" for note in findings.validity.notes],
    )
    if findings.failovers:
        lines += ["### Outages (medians)", "", *_outages(findings)]
    lines += _capacity(findings)
    lines += ["", *_drift(findings)]
    lines += fold("Cache, health, streams, cost, limits", _more(findings))
    lines += section(readiness)
    lines += ["[The whole report](report.html)"]
    return _SPARE.sub("\n\n", "\n".join(lines)) + "\n"


_SPARE = re.compile(r"\n{3,}")


def _more(findings: Findings) -> list[str]:
    cache = findings.cache
    witnesses = (("answers", cache.answers), ("metrics", cache.metrics), ("ledgers", cache.ledger))
    said = {
        "Cache hits": f"{', '.join(f'{name} {words.witness(one)}' for name, one in witnesses)}.",
        "Health": block_health.said(findings),
        "Streams": block_streams.said(findings),
        "Cost": block_cost.said(findings),
        "At its limit": words.sentence(words.saturated(findings)),
    }
    return [f"- **{title}**: {plain(text)}" for title, text in said.items() if text]
