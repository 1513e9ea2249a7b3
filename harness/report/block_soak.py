"""What the block on drift says: did anything leak or drift, how sure is that, and what this length could have seen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.report import units, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.model.findings import Findings
    from harness.model.soak import SoakFindings, SoakSeries, TimeTo
    from harness.report.figures import Figures

COLUMNS = ("level at the end", "slope", "95 % interval", "threshold", "would be found from", "limit reached in", "n")
_PER_HOUR = {"MiB": "MiB/h", "ms": "ms/h", "count": "/h", "calls": "/h", "share": "points/h"}


def level(value: float | None, unit: str) -> str:
    """Say a level of a series: ``212 MiB``, ``340 ms``, ``45 %``, ``31``."""
    if value is None:
        return units.NONE
    if unit == "MiB":
        return units.mib(value)
    return units.say(value, unit) if unit in ("ms", "share") else units.three(value)


def per_hour(value: float | None, unit: str, *, signed: bool = True) -> str:
    """Say a slope: ``+10.2 MiB/h``, ``-0.3 points/h``."""
    if value is None:
        return units.NONE
    value *= 100 if unit == "share" else 1
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{units.three(value)}{'' if _PER_HOUR[unit] == '/h' else units.SPACE}{_PER_HOUR[unit]}"


def interval(one: SoakSeries) -> str:
    """Say the interval of a slope."""
    if one.slope is None or one.slope.low is None or one.slope.high is None:
        return units.NONE
    low = per_hour(one.slope.low, one.unit).removesuffix(_PER_HOUR[one.unit]).strip(units.SPACE)
    return f"{low} to {per_hour(one.slope.high, one.unit)}"


def hours(value: float) -> str:
    """Say a time of hours in the unit a person would: ``40 min``, ``31 h``, ``12 days``."""
    if value < 48:
        return units.seconds(value * 3600)
    return f"{units.three(value / 24)}{units.SPACE}days" if value < 24 * 730 else "years"


def to_limit(found: TimeTo | None) -> str:
    """Say when a limit is reached, at the earliest and the latest."""
    if found is None:
        return units.NONE
    return f"{hours(found.value)} ({hours(found.low)} to {'never' if found.high is None else hours(found.high)})"


def cells(one: SoakSeries) -> list[str]:
    """Return what each of `COLUMNS` says of a series."""
    return [
        level(one.level, one.unit),
        units.NONE if one.slope is None else per_hour(one.slope.value, one.unit),
        interval(one),
        per_hour(one.threshold, one.unit, signed=False),
        per_hour(one.detectable, one.unit, signed=False),
        to_limit(one.to_limit_h),
        units.count(one.n),
    ]


def finding(one: SoakSeries) -> str:
    """Say a leak or a drift: ``memory of agents: growing without levelling off, by 10.2 MiB/h (...)``."""
    slope = "" if one.slope is None else f", by {per_hour(one.slope.value, one.unit)} ({interval(one)})"
    limit = f"; its {one.limit_is} of {level(one.limit, one.unit)} is reached in {to_limit(one.to_limit_h)}"
    return f"{one.name}: {one.why}{slope}{limit if one.to_limit_h else ''}"


def said(findings: Findings) -> str:
    """Return the answer in a sentence or two; empty where nothing was asked."""
    found = findings.soak
    if found is None:
        return ""
    mine = [s for s in found.series if not s.instrument]
    bad = [s for s in mine if s.worse]
    unsure = [s for s in mine if s.verdict == "inconclusive"]
    if bad:
        more = f"; {len(bad) - 1} more series got worse as well" if len(bad) > 1 else ""
        answer = f"yes: {finding(bad[0])}{more}"
    elif unsure:
        answer = f"nothing that is certain: {_unsure(unsure, mine, found)}"
    else:
        answer = f"no: {found.why}" if mine else f"not known: {found.why}"
    scaled = f"Durations were scaled by {found.scale:g}: this says nothing about the full length."
    return words.sentence(answer) + (f" {scaled}" if found.scale != 1 else "")


def notes(findings: Findings) -> list[str]:
    """Return what else is to be said: other findings, what is none of the system's, how far this goes."""
    found = findings.soak
    if found is None:
        return []
    mine = [s for s in found.series if not s.instrument]
    bad = [s for s in mine if s.worse]
    unsure = [s for s in mine if s.verdict == "inconclusive"]
    parts = [finding(s) for s in bad[1:6]]
    if bad and unsure:
        parts.append(_unsure(unsure, mine, found))
    parts += [f"none of the system's: {finding(s)}" for s in found.series if s.instrument and s.worse]
    if found.left_out_s:
        parts.append(f"{units.seconds(found.left_out_s)} of faults and recovery are left out of what users got")
    return [words.sentence(part) for part in parts]


def _unsure(unsure: Sequence[SoakSeries], mine: Sequence[SoakSeries], found: SoakFindings) -> str:
    text = f"{len(unsure)} of {len(mine)} series cannot be told after {units.seconds(found.length_s)}"
    needed = [s.needed_s for s in unsure if s.needed_s is not None]
    would = f"; {units.seconds(60 * math.ceil(max(needed, default=0) / 60))} would do"
    return text + (would if len(needed) == len(unsure) else "")


def soak(findings: Findings, figures: Figures) -> dict[str, Any] | None:
    """Return the block; None where nothing was asked."""
    found = findings.soak
    if found is None:
        return None
    return {
        "answer": said(findings),
        "columns": COLUMNS,
        "rows": [(one.verdict, one.title, bool(one.worse), _sorted(one), one.why) for one in found.series],
        "figures": [
            (title, figures.drawn[name].tag)
            for name, title in (("soak-resources", "Resources"), ("soak-service", "What users got"))
            if name in figures.drawn
        ],
        "notes": notes(findings),
        "method": "Thin: each window; thick: the trend with its 95 % band; grey: a warm-up, left out of it. Slopes are "
        f"Theil-Sen's, their intervals count autocorrelation. {found.tested} series were tested together: a run in "
        "which nothing moves is called leaking or drifting once in 20 at most (Holm).",
    }


def _sorted(one: SoakSeries) -> list[tuple[str, float]]:
    slope = None if one.slope is None else one.slope.value
    limit = None if one.to_limit_h is None else one.to_limit_h.value
    by = (one.level, slope, slope, one.threshold, one.detectable, limit, one.n)
    return [(text, float(key) if key is not None else -1.0) for text, key in zip(cells(one), by, strict=True)]


def markdown_rows(findings: Findings) -> list[list[str]]:
    """Return the rows of the table for a pull request: what leaks, drifts or is not known, at most ten."""
    found = findings.soak
    if found is None:
        return []
    told = [s for s in found.series if s.worse or (s.verdict == "inconclusive" and not s.instrument)]
    return [[s.verdict, s.name, *cells(s)[:6]] for s in told[:10]]
