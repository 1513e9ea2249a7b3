"""Thresholds, in k6's grammar: ``p(95)<3s``, ``rate<0.01``, with tags, windows, baselines and claims.

response_time: "p(95)<3s"                       aggregator operator limit
response_time{phase:fault,agent:coordinator}    tags narrow the requests
request_failed: "rate>0.5 over 30s"             window (abort conditions, triggers)
error_budget: "burn>14.4 over 1m"               how many times faster than allowed errors come (only with a window)
response_time: "p(95)<1.5x vs baseline"         limit as a multiple of the baseline phase
failover_claim: "0.90 at 0.95 under 5s"         at least 90 % of outages recover in 5 s, at 95 % confidence
capacity{state:primary_down}: "rate>20"         requests per second at SLO (or users>100); no state: in the worst
leak: "count==0"                                no resource of any process or container leaks (a soak's verdict)
memory_slope{container:agents}: "max<10MiB/h"   how fast the memory of a process or container may grow
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator

from harness.model.base import located, nearest
from harness.model.event import PHASES
from harness.model.units import parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MetricKind = Literal["trend", "rate", "counter", "budget", "outage", "claim", "capacity", "soak", "slope"]


@dataclass(frozen=True)
class Metric:
    """A metric thresholds can name: what it is over, and in which unit its values are."""

    kind: MetricKind
    unit: Literal["ms", "s", "share", "count", "per_s", "x", "MiB/h", "/h"]
    about: str
    live: bool = True
    """Whether it is known while the run lasts."""


METRICS: Mapping[str, Metric] = {
    "response_time": Metric("trend", "ms", "end - due of every request answered; of one lost, the time waited"),
    "service_time": Metric("trend", "ms", "end - start of every request that was answered"),
    "time_to_first_byte": Metric("trend", "ms", "first byte - start"),
    "time_to_first_token": Metric("trend", "ms", "first token - start, of streams"),
    "inter_token_latency": Metric("trend", "ms", "gaps between the tokens of a stream", live=False),
    "tokens_per_second": Metric("trend", "per_s", "tokens after the first per second, of each stream"),
    "request_failed": Metric("rate", "share", "failed and timed-out requests"),
    "request_ok": Metric("rate", "share", "full answers from a model or the cache"),
    "request_degraded": Metric("rate", "share", "the system's own rule-based answers"),
    "stream_complete": Metric("rate", "share", "streams that were answered to their end marker"),
    "cache_hit": Metric("rate", "share", "cache hits per lookup, as the answers claim"),
    "requests": Metric("counter", "count", "requests, as count or rate per second"),
    "error_budget": Metric("budget", "x", "share of bad requests by what the SLO leaves for them; only with a window"),
    "impact_delay": Metric("outage", "s", "fault effective to first harm", live=False),
    "detection_time": Metric("outage", "s", "fault effective to breaker open", live=False),
    "failover_time": Metric("outage", "s", "fault effective to first answer by another provider", live=False),
    "recovery_time": Metric("outage", "s", "fault effective to good service again", live=False),
    "failback_time": Metric("outage", "s", "fault cleared to primary serving its share again", live=False),
    "unavailable_time": Metric("outage", "s", "seconds of bad service per outage", live=False),
    "worst_stall": Metric("outage", "s", "longest gap between successes per outage", live=False),
    "flaps": Metric("outage", "count", "changes of provider after the first failover", live=False),
    "failover_claim": Metric("claim", "share", "share of outages that recover in time, with confidence", live=False),
    "capacity": Metric(
        "capacity", "per_s", "load at which the SLO is just met: requests per second, or users", live=False
    ),
    "leak": Metric("soak", "count", "resources of processes and containers that leak over a long load", live=False),
    "drift": Metric("soak", "count", "figures of what users got that get worse over a long load", live=False),
    "memory_slope": Metric("slope", "MiB/h", "growth of the memory of a process or container", live=False),
    "fds_slope": Metric("slope", "/h", "growth of its open files", live=False),
    "threads_slope": Metric("slope", "/h", "growth of its threads (of a container, of its processes)", live=False),
    "connections_slope": Metric("slope", "/h", "growth of its connections", live=False),
}

TAGS = ("phase", "agent", "team", "tenant", "provider", "name", "outcome", "fault", "upstream")
OUTAGE_TAGS = ("fault", "upstream")
"""Tags that tell outages apart."""
CAPACITY_TAGS = ("state",)
"""Of which state of the system the capacity is meant."""
WHEN_TAGS = ("phase", "fault", "upstream")
"""Tags that say when a request was due."""
SOAK_TAGS = ("process", "container")
"""Tags that say whose leak or slope is meant; without one, that of everything that is part of the system."""
_OWN_TAGS: Mapping[MetricKind, tuple[str, tuple[str, ...]]] = {
    "outage": ("outages", OUTAGE_TAGS), "claim": ("outages", OUTAGE_TAGS), "capacity": ("states", CAPACITY_TAGS),
    "soak": ("a long load", SOAK_TAGS), "slope": ("a long load", SOAK_TAGS),
}  # fmt: skip
"""What metrics that are not of requests are about, and their tags."""
_AGGREGATORS: Mapping[MetricKind, tuple[str, ...]] = {
    "trend": ("p(N)", "med", "avg", "min", "max"),
    "rate": ("rate", "count"),
    "counter": ("count", "rate"),
    "budget": ("burn",),
    "outage": ("p(N)", "med", "avg", "min", "max", "count"),
    "claim": (),
    "capacity": ("rate", "users"),
    "soak": ("count",),
    "slope": ("max",),
}
OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip

_NAME = re.compile(r"(?P<metric>\w+)(?:\{(?P<tags>[^{}]*)\})?")
_CHECK = re.compile(
    r"(?P<aggregator>p\(\d+(?:\.\d+)?\)|\w+)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<limit>\d[\d.]*)(?P<unit>[a-zA-Z%]*(?:/h)?)"
    r"(?P<baseline>\s+vs\s+baseline)?(?:\s+over\s+(?P<window>\S+))?"
)
_CLAIM = re.compile(r"(?P<share>0?\.\d+)\s+at\s+(?P<confidence>0?\.\d+)\s+under\s+(?P<limit>\S+)")


@dataclass(frozen=True)
class Threshold:
    """One check: `aggregator` of `metric` over the requests matching `tags`, held against `limit`.

    `limit` is in the metric's unit (ms, s, share, count); with `vs_baseline` it is a multiple of the same figure in
    the baseline phase. For a claim, `aggregator` is ``claim``, `limit` the seconds, `share` and `confidence` the
    claim itself. `window_s` is only used by abort conditions.
    """

    text: str
    metric: str
    tags: tuple[tuple[str, str], ...]
    aggregator: str
    operator: str
    limit: float
    vs_baseline: bool = False
    window_s: float | None = None
    share: float | None = None
    confidence: float | None = None

    @property
    def unit(self) -> str:
        """Unit of the observed value and, without `vs_baseline`, of the limit."""
        if self.aggregator in ("count", "users"):
            return "count"
        if self.metric == "requests":
            return "per_s"
        return METRICS[self.metric].unit

    @property
    def baseline_tags(self) -> tuple[tuple[str, str], ...]:
        """The tags of the figure that ``vs baseline`` means."""
        return (*(tag for tag in self.tags if tag[0] not in WHEN_TAGS), ("phase", "baseline"))

    @property
    def percentile(self) -> float | None:
        """The N of ``p(N)`` (``med`` is 50), else None."""
        if self.aggregator == "med":
            return 50.0
        return float(self.aggregator[2:-1]) if self.aggregator.startswith("p(") else None

    def holds(self, value: float) -> bool:
        """Tell whether `value` is on the good side of the limit."""
        return OPERATORS[self.operator](value, self.limit)


def _parse_tags(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        tag, colon, value = (p.strip() for p in part.partition(":"))
        if not colon or not value:
            raise ValueError(f"tag {part!r} is not of the form tag:value")
        if tag not in (*TAGS, *SOAK_TAGS, *CAPACITY_TAGS):
            raise ValueError(f"unknown tag {tag!r}; {nearest(tag, TAGS)}known: {', '.join(TAGS)}")
        pairs.append((tag, value))
    return tuple(pairs)


_PER_HOUR = {"MiB/h": "10MiB/h", "/h": "4/h"}


def _limit(number: str, unit: str, wanted: str, text: str) -> float:
    value = float(number)
    if wanted in ("ms", "s"):
        if not unit:
            raise ValueError(f"{text!r}: the limit needs a unit of time, as in 3s or 250ms")
        return parse_duration(number + unit) * (1000 if wanted == "ms" else 1)
    if wanted in _PER_HOUR:
        size = unit.removesuffix("/h")
        if unit != size and bool(size) == (wanted == "MiB/h"):
            return parse_size(number + size) if size else value
        raise ValueError(f"{text!r}: the limit is a growth per hour, as in {_PER_HOUR[wanted]}")
    if unit == "%" and wanted == "share":
        return value / 100
    if unit:
        raise ValueError(f"{text!r}: unexpected unit {unit!r}; this metric is a {wanted}")
    return value


def _check_tags(metric_name: str, kind: MetricKind, tags: tuple[tuple[str, str], ...]) -> None:
    for tag, value in tags:
        about, own = _OWN_TAGS.get(kind, ("requests", TAGS))
        if tag not in own:
            raise ValueError(f"{metric_name} is about {about} and has no {tag!r}; its tags: {', '.join(own)}")
        if tag == "phase" and value not in PHASES:
            raise ValueError(f"unknown phase {value!r}; {nearest(value, PHASES)}known: {', '.join(PHASES)}")


def _parse_claim(text: str, metric_name: str, tags: tuple[tuple[str, str], ...], check: str) -> Threshold:
    claim = _CLAIM.fullmatch(check.strip())
    if not claim or not float(claim["share"]) or not float(claim["confidence"]):
        raise ValueError(f"{check!r} is no claim; write SHARE at CONFIDENCE under TIME, as in 0.90 at 0.95 under 5s")
    return Threshold(
        text, metric_name, tags, "claim", "<", parse_duration(claim["limit"]),
        share=float(claim["share"]), confidence=float(claim["confidence"]),
    )  # fmt: skip


def _window(text: str | None, check: str, *, windowed: bool) -> float | None:
    if text is None:
        return None
    if not windowed:
        raise ValueError(f"{check!r}: only abort conditions have a window; a threshold is about the whole run")
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError(f"{check!r}: a window must last some time, as in over 30s")
    return seconds


def _vs_baseline(name: str, kind: MetricKind, check: str, found: re.Match[str]) -> bool:
    if found["baseline"] and kind in ("soak", "slope"):
        raise ValueError(f"{check!r}: {name} is about the whole load and has no baseline")
    if found["baseline"] and found["unit"] != "x":
        raise ValueError(f"{check!r}: against the baseline the limit is a multiple, as in 1.5x vs baseline")
    return bool(found["baseline"])


def parse_threshold(name: str, check: str, *, windowed: bool = False) -> Threshold:
    """Parse ``name: check`` as it stands in a plan file; ValueError says what was wrong and what is known.

    Only an abort condition (`windowed`) may have a window: a threshold is about the whole measured part.
    """
    match = _NAME.fullmatch(name.strip())
    if not match:
        raise ValueError(f"{name!r} is no metric name; write metric or metric{{tag:value}}")
    metric_name, tags = match["metric"], _parse_tags(match["tags"] or "")
    metric = METRICS.get(metric_name)
    if metric is None:
        known = tuple(METRICS)
        raise ValueError(f"unknown metric {metric_name!r}; {nearest(metric_name, known)}known: {', '.join(known)}")
    _check_tags(metric_name, metric.kind, tags)
    text = f"{name.strip()}: {check.strip()}"
    if metric.kind == "claim":
        return _parse_claim(text, metric_name, tags, check)
    found = _CHECK.fullmatch(check.strip())
    if not found:
        raise ValueError(f"{check!r} is no threshold; write AGGREGATOR OPERATOR LIMIT, as in p(95)<3s or rate<0.01")
    aggregator = found["aggregator"]
    allowed = _AGGREGATORS[metric.kind]
    if ("p(N)" if aggregator.startswith("p(") else aggregator) not in allowed:
        raise ValueError(f"{metric_name} cannot be aggregated by {aggregator!r}; allowed: {', '.join(allowed)}")
    if metric.kind == "budget" and not windowed:
        raise ValueError(
            f"{metric_name} is for abort conditions and triggers, over a window; write request_failed here"
        )
    if aggregator.startswith("p(") and not 0 < float(aggregator[2:-1]) < 100:
        raise ValueError(f"{aggregator!r}: a percentile lies between 0 and 100")
    window = _window(found["window"], check, windowed=windowed)
    vs_baseline = _vs_baseline(metric_name, metric.kind, check, found)
    draft = Threshold(text, metric_name, tags, aggregator, found["operator"], 0.0, vs_baseline, window)
    limit = float(found["limit"]) if vs_baseline else _limit(found["limit"], found["unit"], _unit_kind(draft), check)
    if draft.unit == "share" and not vs_baseline and limit > 1:
        raise ValueError(f"{check!r}: a share lies between 0 and 1; write 0.05 or 5%")
    return Threshold(text, metric_name, tags, aggregator, found["operator"], limit, vs_baseline, window)


def _unit_kind(threshold: Threshold) -> str:
    return "count" if threshold.unit in ("per_s", "x") else threshold.unit


def parse_abort(text: str) -> Threshold:
    """Parse an abort condition ``metric: check over WINDOW``."""
    name, colon, check = text.rpartition(": ")
    if not colon:
        raise ValueError(f"{text!r} is no abort condition; write METRIC: CHECK over WINDOW")
    return parse_live(name, check)


def parse_live(name: str, check: str, *, windowed: bool = True) -> Threshold:
    """Parse a check of what a running load does: with a window, or (`windowed` off) of a window that is not its own."""
    text = f"{name}: {check}"
    threshold = parse_threshold(name, check, windowed=windowed)
    late = [f"the tag {tag!r}" for tag, _ in threshold.tags if tag in WHEN_TAGS]
    metric = METRICS[threshold.metric]
    if not metric.live:
        late.append(threshold.metric)
    if threshold.vs_baseline:
        late.append("the baseline")
    if late:
        raise ValueError(f"{text!r}: {late[0]} is only known after the run; take a metric of requests")
    if windowed and threshold.window_s is None:
        raise ValueError(f"{text!r}: it needs a window, as in 'rate>0.5 over 30s'")
    return threshold


def _checked(value: object, parse: Callable[[str, str], Threshold]) -> object:
    if not isinstance(value, dict):
        return value
    value = {k: (v,) if isinstance(v, str) else v for k, v in value.items()}
    for name, checks in value.items():
        if not isinstance(checks, (list, tuple)) or not all(isinstance(c, str) for c in checks):
            raise located(str(name), f"{name}: write one threshold or a list of them, as in 'p(95)<3s'")
        for check in checks:
            try:
                parse(str(name), check)
            except ValueError as error:
                raise located(str(name), str(error)) from None
    return value


Thresholds = Annotated[dict[str, tuple[str, ...]], BeforeValidator(partial(_checked, parse=parse_threshold))]
"""Thresholds as they stand in a file: metric (with tags) -> checks. Checked when the file is read."""


SteadyState = Annotated[
    dict[str, tuple[str, ...]], BeforeValidator(partial(_checked, parse=partial(parse_live, windowed=False)))
]
"""The same of what a steady state is: it is held against the requests of a few seconds, so only metrics of requests."""


def parse_all(thresholds: Mapping[str, tuple[str, ...]]) -> list[Threshold]:
    """Return every threshold of a file's mapping, in its order."""
    return [parse_threshold(name, check) for name, checks in thresholds.items() for check in checks]
