"""Saying a check in a sentence that a release manager can repeat."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.model.experiment import names_of
from harness.model.threshold import METRICS, SOAK_TAGS
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.model.findings import Failover
    from harness.model.threshold import MetricKind, Threshold

UNDER_FAULT: Mapping[str, str] = {
    "blackhole": "hangs",
    "refuse": "refuses connections",
    "reset": "resets connections",
    "slow": "is slow",
    "jitter": "is unsteady",
    "bandwidth": "is on a thin line",
    "sliced": "dribbles",
    "cut": "cuts connections",
    "slow_close": "closes connections late",
    "rate_limited": "answers 429",
    "quota": "has a quota",
    "http_error": "answers with errors",
    "unauthorized": "refuses our key",
    "garbage": "answers garbage",
    "empty": "answers nothing",
    "wrong_content_type": "answers under the wrong content type",
    "slow_first_token": "is slow to begin",
    "stream_stall": "stalls mid-way",
    "stream_cut": "cuts answers mid-way",
    "flapping": "comes and goes",
    "brownout": "browns out",
    "kill": "is killed",
    "stop": "is stopped",
    "pause": "is frozen",
    "restart": "restarts",
    "cpu": "is short of CPU",
    "memory": "is short of memory",
}
_TREND: Mapping[str, tuple[str, str]] = {
    "response_time": ("users wait", "a user waited"),
    "service_time": ("answers take", "an answer took"),
    "time_to_first_byte": ("the first byte takes", "a first byte took"),
    "time_to_first_token": ("the first token takes", "a first token took"),
    "inter_token_latency": ("the next token takes", "a next token took"),
    "tokens_per_second": ("streams bring tokens at", "a stream brought tokens at"),
}
_EXTREMES: Mapping[str, Mapping[str, str]] = {
    "ms": {"max": "the longest", "min": "the shortest"},
    "per_s": {"max": "the fastest", "min": "the slowest"},
}
_RATE: Mapping[str, tuple[str, str]] = {
    "request_failed": ("of requests fail", "requests failed"),
    "request_ok": ("of requests get a full answer", "requests got a full answer"),
    "request_degraded": ("of requests get the rule-based answer only", "requests got the rule-based answer only"),
    "stream_complete": ("of streams are complete", "streams were complete"),
    "cache_hit": ("of cache lookups hit", "cache lookups hit"),
}
_OUTAGE: Mapping[str, str] = {
    "impact_delay": "first harm came {value} after the fault",
    "detection_time": "the breaker opened after {value}",
    "failover_time": "another provider answered after {value}",
    "recovery_time": "service was good again after {value}",
    "failback_time": "the provider served its share again {value} after clearing",
    "unavailable_time": "service was bad for {value}",
    "worst_stall": "nobody got an answer for {value}",
    "flaps": "the provider changed {value} times",
}
_NEVER: Mapping[str, str] = {
    "failover_time": "no other provider answered",
}
_NOT_YET: Mapping[str, str] = {
    "failback_time": "the provider had not served its share again {value} after clearing",
    "unavailable_time": "service was bad for at least {value}",
    "worst_stall": "nobody got an answer for at least {value}",
}
"""What had not come to its end when the observation did."""
_PHASES: Mapping[str, str] = {
    "warmup": "during the warm-up",
    "baseline": "before any fault",
    "steady": "",
    "recovery": "after a fault",
    "cooldown": "after the load",
}


def quantity(value: float, unit: str) -> str:
    """Say a value of a check's unit as the report does (`report.units`), with spaces that lines may break at."""
    if unit == "count":
        return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
    said = units.say(value, unit) if unit not in _UNITS else f"{units.three(value)}{_UNITS[unit]}"
    return said.replace(units.SPACE, " ")


_UNITS = {"x": "x", "per_s": "/s", "MiB/h": " MiB/h", "/h": "/h"}
"""Said without a space, or not of the report's."""


def observation(threshold: Threshold, value: float, unit: str, n: int, *, at_least: bool = False) -> str:
    """Say what was observed: ``users wait up to 10.2 s (p95)``; `value` is infinite for what never came, and `at_least`
    what it was when the observation ended."""
    said = quantity(value, unit) if math.isfinite(value) else ""
    if unit == "x":
        return f"{threshold.metric} is {said} its baseline ({_aggregator(threshold)})"
    if at_least:
        return f"{_NOT_YET[threshold.metric].format(value=said)} ({_of_outages(threshold, n)})"
    return _SAY[METRICS[threshold.metric].kind](threshold, said, n)


def _trend(threshold: Threshold, said: str, _n: int) -> str:
    always, once = _TREND[threshold.metric]
    if threshold.aggregator in ("min", "max"):
        return f"{once} {said} ({_EXTREMES[threshold.unit][threshold.aggregator]})"
    upper = threshold.percentile is not None and threshold.percentile > 50
    return f"{always} {'up to ' if upper else ''}{said} ({_aggregator(threshold)})"


def _rate(threshold: Threshold, said: str, _n: int) -> str:
    share, count = _RATE[threshold.metric]
    return f"{said} {share}" if threshold.aggregator == "rate" else f"{said} {count}"


def _counter(_threshold: Threshold, said: str, _n: int) -> str:
    return f"{said} requests were sent"


def _outage(threshold: Threshold, said: str, n: int) -> str:
    if threshold.aggregator == "count":
        return f"{threshold.metric} was measured on {_outages(n)}"
    never = _NEVER.get(threshold.metric, "service did not recover while it was watched")
    return f"{_OUTAGE[threshold.metric].format(value=said) if said else never} ({_of_outages(threshold, n)})"


def _outages(n: int) -> str:
    return f"{n} outage{'' if n == 1 else 's'}"


def _of_outages(threshold: Threshold, n: int) -> str:
    return f"{'at worst in' if threshold.aggregator == 'max' else f'{_aggregator(threshold)} of'} {_outages(n)}"


def _slope(threshold: Threshold, said: str, _n: int) -> str:
    return f"{_GROWS[threshold.metric]} by {said} at most" if said else f"{_GROWS[threshold.metric]}"


_GROWS: Mapping[str, str] = {
    "memory_slope": "memory grows",
    "fds_slope": "open files grow",
    "threads_slope": "threads grow",
    "connections_slope": "connections grow",
}
_SAY: Mapping[MetricKind, Callable[[Threshold, str, int], str]] = {
    "trend": _trend,
    "rate": _rate,
    "counter": _counter,
    "outage": _outage,
    "slope": _slope,
}


def _aggregator(threshold: Threshold) -> str:
    if threshold.percentile is not None and threshold.aggregator != "med":
        return f"p{threshold.percentile:g}"
    return {"med": "median", "avg": "mean"}.get(threshold.aggregator, threshold.aggregator)


def setting(threshold: Threshold, outages: Iterable[Failover]) -> str:
    """Say which requests a threshold is about: ``while bedrock hangs``, ``for architect``; "" for all of them."""
    words = []
    for tag, value in threshold.tags:
        if (tag, value) == ("phase", "fault"):
            words.append(_while(outages))
        elif tag == "phase":
            words.append(_PHASES.get(value, f"in phase {value}"))
        elif tag == "fault":
            words.append(_while(o for o in outages if value in names_of(o.fault, o.kind)) or f"during {value}")
        elif tag == "upstream":
            words.append(_while(o for o in outages if o.upstream == value) or f"during faults on {value}")
        elif tag in SOAK_TAGS:
            words.append(f"in {value}")
        else:
            words.append(f"for {value}" if tag in ("agent", "team", "tenant", "name") else f"with {tag} {value}")
    return " ".join(filter(None, words))


def _while(outages: Iterable[Failover]) -> str:
    said = dict.fromkeys(f"{o.upstream} {UNDER_FAULT.get(o.kind, f'has fault {o.kind}')}" for o in outages)
    return f"while {' or '.join(said)}" if said else ""
