"""What the block on the system's own word says: was its health page, and were its breakers, right?"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from harness.report import units, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.model.findings import Findings, HealthFindings, HealthOutage, Interval

_ALL = {1: "the outage", 2: "both outages"}
COLUMNS = ("noticed", "after", "said ok meanwhile", "well again after")


def said(findings: Findings) -> str:
    """Return how true the page was, in a sentence; empty when none was read."""
    found = findings.health
    if found is None:
        return ""
    looked = _looked(found)
    parts = [_noticed(looked)] if looked else []
    if looked and found.false_ok_s:
        parts.append(f"said that all was well for {units.seconds(found.false_ok_s)} while something was broken")
    parts.append(_alarms(found))
    if found.breakers_opened:
        n, false = found.breakers_opened, found.breaker_false_alarms
        cause = "" if false is None else f", {false:,} without cause" if false else ", none without cause"
        parts.append(f"breakers opened {units.times(n)}{cause}")
    return words.sentence("the health page " + "; ".join(parts))


def _looked(found: HealthFindings) -> list[HealthOutage]:
    """Return the outages during which the page was read: of others it could say nothing."""
    return [outage for outage in found.outages if outage.looks]


def _noticed(outages: Sequence[HealthOutage]) -> str:
    n, noticed = len(outages), [o for o in outages if o.noticed_while_on]
    if not noticed:
        return "noticed no outage while it lasted" if n > 1 else "did not notice the outage while it lasted"
    lag = max(o.noticed_s.high for o in noticed if o.noticed_s)
    which = _ALL.get(n, f"all {n:,} outages") if len(noticed) == n else f"{len(noticed):,} of {n:,} outages"
    return f"noticed {which} within {units.seconds(lag)}"


def _alarms(found: HealthFindings) -> str:
    if found.false_alarms is None:
        return "was read under a load that looks for the system's limit, so no alarm counts as false"
    if not found.false_alarms:
        return "raised no alarm without cause"
    return (
        f"was in alarm {units.times(found.false_alarms)}, for {units.seconds(found.false_alarm_s)}, "
        "while nothing was broken"
    )


def health(findings: Findings) -> dict[str, Any] | None:
    """Return the block: its answer, a row for each kind of outage, how finely it is known; None without a page."""
    found = findings.health
    if found is None:
        return None
    kinds: dict[tuple[str, str], list[HealthOutage]] = {}
    for outage in _looked(found):
        kinds.setdefault((outage.upstream, outage.kind), []).append(outage)
    return {
        "answer": said(findings),
        "columns": COLUMNS,
        "rows": [(f"{upstream} {kind}", _cells(outages)) for (upstream, kind), outages in kinds.items()],
        "resolution": units.seconds(found.gap_s),
    }


def _cells(outages: Sequence[HealthOutage]) -> list[str]:
    noticed = [o for o in outages if o.noticed_while_on]
    return [
        f"{len(noticed):,} of {len(outages):,}",
        _typical(o.noticed_s for o in noticed),
        units.seconds(sum(o.false_ok_s for o in outages)),
        _typical(o.well_again_s for o in outages),
    ]


def _typical(intervals: Iterable[Interval | None]) -> str:
    """Return the median of the later ends, and the worst where it is another."""
    highs = sorted(i.high for i in intervals if i is not None)
    if not highs:
        return units.NONE
    middle, worst = units.seconds(median(highs)), units.seconds(highs[-1])
    return middle if middle == worst else f"{middle}, at most {worst}"
