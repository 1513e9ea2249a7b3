"""The audit, answered: every row held against recordings, and the scores recomputed by the audit's own rule.

A recording that did what a row asks for outranks one that did less; of those, the worst verdict counts. A failure
counts whoever saw it. Rows that nobody measured keep the audit's points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.audit_evidence import EVIDENCE, TOGETHER
from harness.analysis.audit_seen import FAIL, OPEN, PASS, RANK, worst
from harness.model.audit import Answer, Answered, AuditVerdict, CategoryScore, Readiness, Witness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.audit_seen import Seen
    from harness.model.audit import Audit, Category, CheckRow, Row


def readiness(audit: Audit, recordings: Sequence[Seen]) -> Readiness:
    """Return every row's verdict from all recordings together, and the scores."""
    rows: dict[str, Answered] = {}
    late = []
    for row in audit.rows:
        if row.asks is not None and row.asks.kind == TOGETHER:
            late.append(row)
        else:
            rows[row.id] = _heard(row, recordings)
    for row in late:
        rows[row.id] = _together(row, rows)
    ordered = {row.id: rows[row.id] for row in audit.rows}
    scores = tuple(_score(category, audit, ordered) for category in audit.categories)
    weights = [category.weight for category in audit.categories]
    return Readiness(
        audit=audit,
        witnesses=tuple(
            Witness(name=s.name, title=s.plan.title, valid=s.findings.validity.valid, scale=s.plan.scale)
            for s in recordings
        ),
        rows=ordered,
        scores=scores,
        heading_overall=_weighted(weights, [s.heading for s in scores]),
        before=_weighted(weights, [s.before for s in scores]),
        after=_weighted(weights, [s.after for s in scores]),
    )


def _weighted(weights: Sequence[float], scores: Sequence[float]) -> float:
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / (sum(weights) or 1.0)


# --- one row ---------------------------------------------------------------------------------------------------------


def _heard(row: Row, recordings: Sequence[Seen]) -> Answered:
    if row.asks is None:
        return Answered(row=row.id, verdict=AuditVerdict.SILENT if row.silent else AuditVerdict.NOT_MEASURED)
    look = EVIDENCE[row.asks.kind].look
    found = [(seen.name, _doubted(said, seen)) for seen in recordings if (said := look(seen, row.asks)) is not None]
    if not found:
        return Answered(row=row.id, verdict=AuditVerdict.NOT_MEASURED)
    name, said = _deciding(found)
    return Answered(row=row.id, verdict=said.verdict, answer=said, recording=name, heard=len(found))


def _doubted(said: Answer, seen: Seen) -> Answer:
    """An invalid run decides nothing; one at another scale says so."""
    notes = said.notes
    if seen.plan.scale != 1:
        notes = (*notes, "scaled")
    if not seen.findings.validity.valid:
        return said.model_copy(update={"verdict": OPEN, "whole": False, "notes": (*notes, "invalid")})
    return said.model_copy(update={"notes": notes})


def _deciding(found: list[tuple[str, Answer]]) -> tuple[str, Answer]:
    """Return the answer that counts: a failure; else of those that did what was asked the one with most evidence, and
    of equals the worst: three outages that prove nothing do not take back what 29 have shown."""
    failed = [f for f in found if f[1].verdict is FAIL]
    whole = [f for f in found if f[1].whole]
    return min(failed or whole or found, key=lambda f: (not f[1].whole, -f[1].n, RANK[f[1].verdict]))


def _together(row: Row, rows: dict[str, Answered]) -> Answered:
    ids = (row.asks.of or "").split() if row.asks else []
    parts = [rows[i] for i in ids]
    heard = [p for p in parts if p.answer is not None and p.verdict in RANK]
    if not heard:
        return Answered(row=row.id, verdict=AuditVerdict.NOT_MEASURED)
    done = [p.row for p in heard if p.answer is not None and p.answer.whole]
    every = len(heard) == len(parts)
    verdict = worst([p.verdict for p in heard] + ([] if every else [OPEN]))
    passed = [p.row for p in heard if p.verdict is PASS]
    said = Answer(
        verdict=verdict,
        key="together",
        facts={
            "n": len(parts), "done": len(done), "passed": len(passed),
            "failed": ", ".join(p.row for p in heard if p.verdict is FAIL),
            "missing": ", ".join(p.row for p in parts if p.row not in done),
        },
        n=len(done),
        whole=every and len(done) == len(parts),
    )  # fmt: skip
    names = ", ".join(dict.fromkeys(p.recording for p in heard))
    return Answered(row=row.id, verdict=verdict, answer=said, recording=names, heard=len(heard))


# --- scores ----------------------------------------------------------------------------------------------------------


def _score(category: Category, audit: Audit, rows: dict[str, Answered]) -> CategoryScore:
    points = tuple((row.id, row.points, _points(row, audit, rows[row.id])) for row in category.checks)
    return CategoryScore(
        category=category.id,
        heading=category.heading,
        before=sum(before for _, before, _ in points) / len(points),
        after=sum(after for _, _, after in points) / len(points),
        points=points,
    )


def _points(row: CheckRow, audit: Audit, found: Answered) -> float:
    """Return what a row is worth now: a measured verdict's points, else the audit's own.

    A part of a row that passes leaves the rest as the audit found it; one that fails takes the row with it. So does a
    failure seen by a recording that did less than the row asks for; its pass would not have been one.
    """
    if found.verdict is FAIL:
        return min(row.points, audit.points.failed) if row.answers == "part" else audit.points.failed
    if found.verdict is PASS and row.answers == "whole" and found.answer is not None and found.answer.whole:
        return audit.points.passed
    return row.points
