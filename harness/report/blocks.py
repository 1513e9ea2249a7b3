"""What each block of the page says, as plain values for the template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.advice.case import check_id
from harness.model.verdict import Verdict
from harness.report import micro, units, words

if TYPE_CHECKING:
    from harness.model.findings import Estimate, Findings, Group
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording
    from harness.report.figures import Figures
    from harness.report.timeline import Timeline

GROUPS = (("agent", "Agents"), ("team", "Teams"), ("tenant", "Tenants"), ("provider", "Providers"))


def version(recording: Recording) -> list[tuple[str, str]]:
    """Return which version of agentstorm ran, where that is known."""
    versions = recording.manifest.get("versions")
    if not isinstance(versions, dict) or "agentstorm" not in versions:
        return []
    return [("agentstorm", str(versions["agentstorm"]))]


def checks(verdicts: Verdicts) -> list[dict[str, Any]]:
    """Return the checks, worst first."""
    places = {id(check): place for place, check in enumerate(verdicts.checks)}
    return [
        {
            "mark": micro.mark(c.verdict), "threshold": c.threshold, "scope": c.scope,
            "observed": units.say(c.observed, c.unit), "interval": units.between(c.low, c.high, c.unit) or units.NONE,
            "n": units.count(c.n), "n_sort": c.n, "limit": units.say(c.limit, c.unit), "bar": micro.check_bar(c),
            "why": words.sentence(c.why), "id": check_id(places[id(c)]),
        }
        for c in words.worst_first(verdicts.checks)
    ]  # fmt: skip


def validity(findings: Findings) -> dict[str, Any]:
    """Return whether to believe the run, and why not."""
    said = findings.validity
    return {
        "valid": said.valid,
        "mark": micro.mark(Verdict.PASS if said.valid else Verdict.INVALID),
        "answer": words.validity(findings),
        "reasons": [words.sentence(r) for r in said.reasons],
        "notes": [words.sentence(n) for n in said.notes],
    }


def _estimate(value: Estimate, unit: str) -> dict[str, str]:
    return {"value": units.say(value.value, unit), "around": units.between(value.low, value.high, unit)}


def _group(name: str, group: Group) -> dict[str, Any]:
    times, degraded = group.response_ms, group.degraded / group.answered if group.answered else None
    return {
        "name": name, "requests": units.count(group.requests), "rate": units.per_second(group.rate_per_s),
        "p50": _estimate(times.p50, "ms"), "p95": _estimate(times.p95, "ms"), "p99": _estimate(times.p99, "ms"),
        "failed": _estimate(group.failed_share, "share"), "degraded": units.share(degraded),
        "sort": {"requests": group.requests, "p50": times.p50.value or 0, "p95": times.p95.value or 0,
                 "p99": times.p99.value or 0, "failed": group.failed_share.value or 0, "degraded": degraded or 0},
    }  # fmt: skip


def users(findings: Findings, axis: Timeline) -> dict[str, Any]:
    """Return what users felt, whole and by phase."""
    return {
        "answer": words.users(findings.load),
        "bucket": _bucket(axis),
        "phases": [_group(name, g) for name, g in findings.load.by.get("phase", {}).items()],
        "note": _under_way(findings),
    }


def _under_way(findings: Findings) -> str:
    """Say how many of the baseline's failures are the first fault's: requests count in the phase they were due in."""
    baseline = findings.load.by.get("phase", {}).get("baseline")
    first = min((f for f in findings.failovers if f.bit), key=lambda f: f.effective_ns or 0, default=None)
    if baseline is None or first is None:
        return ""
    caught = min(first.in_flight_failed, baseline.failed + baseline.timeout + baseline.lost)
    if not caught:
        return ""
    return (
        "A request counts in the phase it was due in. Of those that failed or were lost in the baseline, "
        f"{caught:,} {'was' if caught == 1 else 'were'} under way when the first fault began."
    )


def _bucket(axis: Timeline) -> str:
    return "second" if axis.bucket_s == 1 else units.seconds(axis.bucket_s)


def providers(findings: Findings, figures: Figures) -> dict[str, str]:
    """Return who answered."""
    totals = {n: float(figures.shares.answers[n].sum()) for n in figures.colours if n in figures.shares.answers}
    whole = sum(totals.values())
    said = ", ".join(f"{name} {units.share(n / whole)}" for name, n in totals.items()) if whole else ""
    ledger = figures.shares.from_ledger
    answer = f"Of all answers: {said}. {words.attribution(findings)}" if said else "No answer names who gave it."
    source = "by the providers' own ledgers; cache and local as the answers say" if ledger else "as the answers claim"
    return {"answer": answer, "source": f"{source}, per {_bucket(figures.axis)}"}


def cache(findings: Findings) -> dict[str, Any]:
    """Return the cache by its witnesses and its parts."""
    found = findings.cache
    witnesses = []
    for name, one in (("the answers", found.answers), ("the system's metrics", found.metrics),
                      ("the providers' ledgers", found.ledger)):  # fmt: skip
        known = not isinstance(one, str) and one.hit_rate is not None
        of = "" if isinstance(one, str) else f"{one.hits:,} of {units.plural(one.n, 'lookup')}"
        width = f"{one.hit_rate * 100:.1f}" if known and not isinstance(one, str) and one.hit_rate is not None else None
        witnesses.append((name, words.witness(one), of, width))
    parts = [
        (kind, name, words.witness(one), f"n = {one.n:,}")
        for kind, group in (("tenant", found.by_tenant), ("agent", found.by_agent), ("phase", found.by_phase))
        for name, one in group.items()
    ]
    return {"answer": words.cache(findings), "witnesses": witnesses, "parts": parts}


def groups(findings: Findings, figures: Figures) -> list[dict[str, Any]]:
    """Return a table for each way to group requests, slowest first, with p95 over the run as a line."""
    found = []
    for column, title in GROUPS:
        by = findings.load.by.get(column, {})  # type: ignore[call-overload]
        if not by:
            continue
        lines = figures.sparks[column]
        told = np.concatenate([v[np.isfinite(v) & (v > 0)] for v in lines.values()]) if lines else np.array([])
        low, high = (float(told.min()), float(told.max())) if told.size else (0.01, 1.0)
        rows = []
        for name, group in sorted(by.items(), key=lambda g: -(g[1].response_ms.p95.value or 0)):
            line = lines.get(name)
            spark = (
                "" if line is None else micro.sparkline(line, figures.axis, low, high, f"p95 of {name} over the run")
            )
            colour = figures.colours.get(name, "") if column == "provider" else ""
            rows.append(_group(name, group) | {"spark": spark, "colour": colour})
        found.append({"column": column, "title": title, "rows": rows})
    return found


def _flat(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(_flat(v) for v in value)
    return str(value)


def made(recording: Recording) -> dict[str, Any]:
    """Return how the run and the page came to be."""
    files = [
        (str(p.relative_to(recording.path)), _size(p.stat().st_size))
        for p in sorted(recording.path.rglob("*"))
        if p.is_file() and p.relative_to(recording.path).parts[0] not in DERIVED
    ]
    plan = recording.path / "plan.yaml"
    components = recording.manifest.get("components", {})
    proxy = components.get("toxiproxy")
    return {
        "rebuild": f"agentstorm report {recording.path.name}",
        "facts": [
            (key.replace("_", " "), f"{value:016x}" if key == "run_id" else _flat(value))
            for key, value in recording.manifest.items()
            if key not in ("clock", "title", "components") and value not in ({}, None, "")
        ]
        + ([] if proxy is None else [("fault proxy", f"Toxiproxy {proxy['version']}, {proxy['how']}")]),
        "components": json.dumps(components, indent=1),
        "plan": plan.read_text(encoding="utf-8") if plan.exists() else "",
        "files": files,
    }


DERIVED = (
    "findings.json", "verdicts.json", "report.html", "report.md", "readiness.md", "junit.xml", "figures", "locust",
)  # fmt: skip


def _size(size: int) -> str:
    return f"{units.three(size / 1e6)}{units.SPACE}MB" if size >= 1e6 else f"{units.three(size / 1e3)}{units.SPACE}kB"
