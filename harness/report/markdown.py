"""The report in the size of a pull request (`report.md`): verdict, why, checks, outages, cache, validity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.outages import alike
from harness.report import block_cost, block_health, block_soak, block_streams, units, words
from harness.report.toll import toll, unharmed
from harness.report.units import middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.model.findings import Failover, Findings, Interval
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~"})


def plain(text: str) -> str:
    """Escape what Markdown or HTML would read as markup; a name stays a name."""
    return " ".join(text.translate(_SPECIAL).split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> list[str]:
    """Return a table whose last columns, from `numbers` on, are right-aligned."""
    rule = ["---" if i < numbers else "---:" for i in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def _checks(verdicts: Verdicts) -> list[str]:
    rows = [
        [
            f"{words.MARKS[c.verdict]} {c.verdict.value}", plain(c.threshold), units.say(c.observed, c.unit),
            units.between(c.low, c.high, c.unit) or units.NONE, units.count(c.n), units.say(c.limit, c.unit),
        ]
        for c in words.worst_first(verdicts.checks)
    ]  # fmt: skip
    return table(("", "threshold", "observed", "95 % interval", "n", "limit"), rows, 2) if rows else []


def _median(intervals: Sequence[Interval | None], never: str) -> str:
    known = sorted(m for m in map(middle, intervals) if m is not None)
    if not known:
        return never
    half = len(known) // 2
    value = known[half] if len(known) % 2 else (known[half - 1] + known[half]) / 2
    return units.seconds(value) + (f" ({len(intervals) - len(known)} {never})" if len(known) < len(intervals) else "")


def _outages(findings: Findings) -> list[str]:
    rows, tolls = [], []
    for (upstream, kind), group in alike(findings.failovers).items():
        bit = [f for f in group if f.bit]
        tolls.append(f"- {plain(words.sentence(toll(upstream, kind, group)))}")
        if bit:
            good = sum(not f.censored for f in bit)
            rows.append([plain(f"{upstream} {kind}"), f"{good} of {len(bit)}", *_times(bit)])
    head = ("outage", "recovered", "first harm", "failed over", "recovered in", "failed back", "failed requests",
            "flaps")  # fmt: skip
    lines = table(head, rows, 1) if rows else []
    claims = [
        f"- claim, {plain(claim.upstream)} {plain(claim.kind)}: {words.claim(claim)}" for claim in findings.claims
    ]
    return [*lines, "", *tolls, *claims]


def _drift(findings: Findings) -> list[str]:
    if not (answer := block_soak.said(findings)):
        return []
    head = ("", "series", *block_soak.COLUMNS[:6])
    rows = [[plain(cell) for cell in row] for row in block_soak.markdown_rows(findings)]
    return [f"**Did anything drift?** {plain(answer)}", "", *((*table(head, rows, 2), "") if rows else ())]


def _times(group: Sequence[Failover]) -> list[str]:
    provider = words.served(group)
    return [
        _median([f.impact_s for f in group], "none"),
        _median([f.failover_s for f in group], "not seen" if provider else units.NONE),
        "no harm" if all(map(unharmed, group)) else _median([f.recovery_s for f in group], "never"),
        _median([f.failback_s for f in group], "never" if provider else units.NONE),
        units.count(sum(f.failed_requests for f in group)), units.count(sum(f.flaps for f in group)),
    ]  # fmt: skip


def markdown(recording: Recording, findings: Findings, verdicts: Verdicts) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    lines = [
        f"## {words.MARKS[verdicts.verdict]} {words.HEADLINES[verdicts.verdict]}: {plain(recording.plan.title)}",
        "",
        f"**{plain(words.why(verdicts))}**",
        "",
        f"{words.load(recording.plan.scenario.load)} on {plain(recording.plan.target.target)}. "
        + plain(words.users(findings.load)),
        "",
        *_checks(verdicts),
    ]
    if findings.failovers:
        lines += ["", "### Outages (medians)", "", *_outages(findings)]
    cache = findings.cache
    witnesses = (("answers", cache.answers), ("metrics", cache.metrics), ("ledgers", cache.ledger))
    lines += [
        "",
        f"**Cache hits**: {', '.join(f'{name} {words.witness(one)}' for name, one in witnesses)}.",
        "",
        *([f"**Health**: {plain(own)}", ""] if (own := block_health.said(findings)) else ()),
        *([f"**Streams**: {plain(flow)}", ""] if (flow := block_streams.said(findings)) else ()),
        *([f"**Cost**: {plain(bill)}", ""] if (bill := block_cost.said(findings)) else ()),
        *([f"**At its limit**: {plain(words.sentence(full))}", ""] if (full := words.saturated(findings)) else ()),
        *_drift(findings),
        f"**Can this run be believed?** {plain(words.validity(findings))}",
    ]
    lines += [f"- {plain(words.sentence(reason))}" for reason in findings.validity.reasons]
    lines += [f"- {plain(words.sentence(note))}" for note in findings.validity.notes]
    lines += ["", "[The whole report](report.html)"]
    return "\n".join(lines) + "\n"
