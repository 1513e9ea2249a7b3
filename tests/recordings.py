"""Synthetic recordings with a known truth, written by the real writers.

`RecordingBuilder` puts chosen requests, ledger rows, samples and events on disk; `storm` scripts a whole run with
outages whose true times are known. Times are seconds after the end of the warm-up (`ZERO_NS`).
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from harness.model.plan import Plan
from harness.model.request import UNKNOWN, first_request_id
from harness.recording import layout
from harness.recording.finish import finish
from harness.recording.reader import Recording
from harness.recording.requests import RequestWriter
from harness.recording.tables import EventLog, LedgerWriter, SampleWriter
from harness.recording.tokens import TokenWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.model.event import EventKind

ZERO_NS = 1_000_000_000_000
"""Monotonic time of t_zero in every synthetic recording."""
RUN_ID = 0x5EED
OBSERVE = {
    "provider": "header:x-llm-provider",
    "cached": {"from": "header:x-cache", "map": {"hit": True, "miss": False}},
    "cache_lookups": "header:x-cache-lookups",
    "cache_hits": "header:x-cache-hits",
}
UPSTREAMS = {
    name: {"address": f"127.0.0.1:{port}", "ledger": f"http://127.0.0.1:{port}/ledger"}
    for name, port in (("bedrock", 9001), ("openai", 9002))
}
METRICS = {
    "breaker": "llm_circuit_state{provider}",
    "cache_hits": "llm_cache_hits_total",
    "cache_misses": "llm_cache_misses_total",
}


def ns(seconds: float) -> int:
    """Return the monotonic time `seconds` after t_zero."""
    return ZERO_NS + round(seconds * 1e9)


def plan(
    *,
    hold_s: float = 60.0,
    warmup_s: float = 0.0,
    load: Mapping[str, Any] | None = None,
    slo: Mapping[str, Any] | None = None,
    thresholds: Mapping[str, Any] | None = None,
    experiments: Iterable[Mapping[str, Any]] = (),
    target: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Plan:
    """Return a plan against a target like the reference system; `target` overrides keys of it."""
    return Plan.model_validate(
        {
            "target": {
                "target": "synthetic",
                "system": {"kind": "external"},
                "url": "http://127.0.0.1:9000",
                "upstreams": UPSTREAMS,
                "observe": OBSERVE,
                "probe": {"path": "/probe", "rate": "20/s"},
                "metrics": METRICS,
                **(target or {}),
            },
            "scenario": {
                "scenario": "steady",
                "workload": "agents.py",
                "load": load or {"kind": "rate", "rate": "1000/min", "hold": f"{hold_s}s", "warmup": f"{warmup_s}s"},
                "slo": dict(slo or {}),
                "thresholds": dict(thresholds or {}),
            },
            "experiments": list(experiments),
            "seed": seed,
            "workload_path": "/work/agents.py",
            "target_dir": "/work",
        }
    )


def experiment(
    kind: str = "blackhole", upstream: str = "bedrock", thresholds: Mapping[str, Any] | None = None, **fault: Any
) -> dict[str, Any]:
    """Return one experiment as it stands in a file: named ``<upstream>-<kind>``, one fault, at 20 s for 20 s."""
    spec = {"kind": kind, "upstream": upstream, "at": "20s", "for": "20s", **fault}
    return {"experiment": f"{upstream}-{kind}", "faults": [spec], "thresholds": dict(thresholds or {})}


class RecordingBuilder:
    """Writes one recording. Nothing is judged here: every row is exactly what the caller says."""

    def __init__(self, path: Path, the_plan: Plan | None = None, *, worker: str = "w0") -> None:
        self.path, self.plan = path, the_plan or plan()
        path.mkdir(parents=True, exist_ok=True)
        self._requests = RequestWriter(path / layout.REQUESTS / f"{worker}.arrows", worker)
        self._tokens = TokenWriter(path / layout.TOKENS / f"{worker}.arrows", capacity=100)
        self._canary = RequestWriter(path / layout.CANARY / "canary.arrows", "canary")
        self._ledger = LedgerWriter(path)
        self.samples = SampleWriter(path)
        self._events = EventLog(path / layout.EVENTS)
        self._next = {False: first_request_id(1), True: first_request_id(0)}
        text = StringIO()
        YAML(typ="safe", pure=True).dump(self.plan.model_dump(mode="json", by_alias=True), text)
        (path / layout.PLAN).write_text(text.getvalue())
        manifest = {
            "schema": layout.SCHEMA_VERSION,
            "run_id": RUN_ID,
            "seed": self.plan.seed,
            "versions": {"agentstorm": "0.1.0"},
            "clock": {"monotonic_ns": ZERO_NS, "utc": "2026-11-23T10:00:00+00:00"},
            "host": {"name": "synthetic", "cores": 2},
            "components": {},
        }
        (path / layout.MANIFEST).write_text(json.dumps(manifest))

    def request(
        self,
        due_s: float,
        took_s: float = 0.3,
        *,
        late_s: float = 0.0,
        outcome: str = "ok",
        provider: str = "bedrock",
        agent: str = "coordinator",
        team: str = "meetmind",
        tenant: str = "meetmind",
        lookups: int = 1,
        hits: int = 0,
        tokens: tuple[int, int] = (100, 200),
        error: str = "",
        canary: bool = False,
        ledger: bool = True,
        stream: Iterable[float] | None = None,
    ) -> int:
        """Write one request due at `due_s`, sent `late_s` later and answered `took_s` after that; return its id.

        `dropped` requests have no start and no end, `lost` ones no end. With `ledger`, each provider named that is
        neither ``cache`` nor ``local`` gets one ok row, received 1 ms after the start and answered 1 ms before the end.
        With `stream` it is one, whose tokens came so many seconds after the start.
        """
        request_id = self._next[canary]
        self._next[canary] += 1
        start, end = ns(due_s + late_s), ns(due_s + late_s + took_s)
        came = array("q", [ns(due_s + late_s + after) for after in stream or ()])
        if came:
            self._tokens.add(request_id, came)
        sent, answered = outcome != "dropped", outcome not in ("dropped", "lost")
        (self._canary if canary else self._requests).add(
            due_ns=ns(due_s),
            start_ns=start if sent else -1,
            first_byte_ns=end if answered else -1,
            end_ns=end if answered else -1,
            name=f"{team}/{agent}",
            team=team,
            agent=agent,
            tenant=tenant,
            request_id=request_id,
            outcome=outcome,
            status=200 if outcome in ("ok", "degraded") else 0,
            error=error or ("" if outcome in ("ok", "degraded") else outcome),
            provider=provider if answered else "",
            cached=int(hits > 0) if answered else UNKNOWN,
            cache_lookups=lookups if answered else UNKNOWN,
            cache_hits=hits if answered else UNKNOWN,
            tokens_in=tokens[0],
            tokens_out=tokens[1],
            bytes_in=512,
            bytes_out=128,
            first_token_ns=came[0] if came else UNKNOWN,
            last_token_ns=came[-1] if came else UNKNOWN,
            stream_tokens=UNKNOWN if stream is None else len(came),
        )
        if ledger and answered and outcome in ("ok", "degraded"):
            for upstream in set(provider.split("+")) - {"", "cache", "local"}:
                answered_s = due_s + late_s + took_s - 0.001
                self.call(upstream, due_s + late_s + 0.001, answered_s, request_id, tokens=tokens, tenant=tenant)
        return request_id

    def call(
        self,
        upstream: str,
        received_s: float,
        answered_s: float | None,
        request_id: int = UNKNOWN,
        *,
        status: str = "ok",
        stream: bool = False,
        tokens: tuple[int, int] = (100, 200),
        model: str = "claude",
        tenant: str = "meetmind",
    ) -> None:
        """Write one ledger row."""
        answered = -1 if answered_s is None else ns(answered_s)
        self._ledger.add(
            ns(received_s), answered, upstream, request_id, tenant, "coordinator", model, *tokens, stream, status
        )

    def sample(self, t_s: float, source: str, metric: str, value: float, **labels: str) -> None:
        """Write one sample."""
        self.samples.sample(source, metric, value, labels, ns(t_s))

    def component(self, name: str, **how: Any) -> None:
        """Write into the manifest how a component was found."""
        manifest = json.loads((self.path / layout.MANIFEST).read_text())
        manifest["components"][name] = how
        (self.path / layout.MANIFEST).write_text(json.dumps(manifest))

    def event(self, t_s: float, event_kind: EventKind, subject: str, /, **data: Any) -> None:
        """Write one event."""
        self._events.emit(event_kind, "test", subject, t_ns=ns(t_s), **data)

    def phases(self, **begin_s: float) -> None:
        """Write phase events: ``phases(warmup=-10, steady=0, cooldown=60)``; also load started and stopped."""
        for phase, t_s in begin_s.items():
            self.event(t_s, "phase", phase)
        times = list(begin_s.values())
        self.event(min(times), "load", "started")
        if "cooldown" in begin_s:
            self.event(begin_s["cooldown"], "load", "stopped", early=False)

    def fault(
        self,
        fault: str,
        effective_s: float | None,
        cleared_s: float | None,
        *,
        injecting_s: float | None = None,
        kind: str = "blackhole",
        upstream: str = "bedrock",
        experiment: str = "bedrock-blackhole",
        width_s: float = 0.002,
        clearing_s: float | None = None,
        blocks: bool = False,
    ) -> None:
        """Write a fault's events; with `blocks` it lets nothing through. The true moments lie in the middle of
        intervals `width_s` wide; it began to be taken back at `clearing_s` (else 5 ms before it was)."""
        about = {"kind": kind, "upstream": upstream, "experiment": experiment}
        begin = injecting_s if injecting_s is not None else (effective_s or 0.0) - 0.005
        self.event(begin - 0.001, "fault", fault, state="journalled", **about)
        self.event(begin, "fault", fault, state="injecting", **about)
        if effective_s is None:
            self.event(begin + 1, "fault", fault, state="failed", evidence="probe unaffected", **about)
        moments = (("effective", effective_s), ("cleared", cleared_s))
        for state, t_s in moments:
            if t_s is None:
                continue
            if state == "cleared":
                begun = t_s - 0.005 if clearing_s is None else clearing_s
                self.event(begun, "fault", fault, state="clearing", **about)
            low, high = ns(t_s - width_s / 2), ns(t_s + width_s / 2)
            more = about | ({"blocks": blocks} if state == "effective" else {})
            self.event(t_s + width_s, "fault", fault, state=state, low_ns=low, high_ns=high, **more)

    def breaker(self, t_s: float, state: str, was: str, *, provider: str = "bedrock", width_s: float = 0.01) -> None:
        """Write a breaker event whose true moment lies in the middle of `width_s`."""
        low, high = ns(t_s - width_s / 2), ns(t_s + width_s / 2)
        self.event(t_s + width_s, "breaker", provider, state=state, was=was, low_ns=low, high_ns=high)

    def ledger_restarted(self, t_s: float, upstream: str) -> None:
        """Write that a provider's ledger was found to have begun anew."""
        self._events.emit("probe", "ledger", "restarted", t_ns=ns(t_s), upstream=upstream, after=100)

    def ledger_unread(self, since_s: float, t_s: float, upstream: str) -> None:
        """Write that a provider's ledger could not be read at the last look, at `t_s`, nor at any since `since_s`."""
        data = {"upstream": upstream, "since_ns": ns(since_s), "error": "OSError: connection refused"}
        self._events.emit("probe", "ledger", "unread", t_ns=ns(t_s), **data)

    def instrument(self, begin_s: float, end_s: float, worker: str = "w0", **metrics: float) -> None:
        """Write the generator's own samples once a second; unnamed metrics are those of a healthy worker."""
        healthy = {"lag_ms": 2.0, "lag_max_ms": 5.0, "lateness_p99_ms": 1.0, "cpu": 0.25, "gc_max_ms": 1.0}
        for second in range(int(begin_s) + 1, int(end_s) + 1):
            for metric, value in (healthy | metrics).items():
                for _ in range(20 if metric == "lag_ms" else 1):
                    self.sample(second, f"worker:{worker}", metric, value)

    def container(
        self,
        name: str,
        seconds: Iterable[float],
        *,
        cpu: float = 0.25,
        cpu_limit: float = 0.5,
        throttled: float = 0.0,
        memory_mib: float = 64.0,
        memory_limit_mib: float = 256.0,
        net: tuple[float, float] = (10.0, 20.0),
        restarts: int = 0,
    ) -> None:
        """Write what the container probe would at each of `seconds`; the limits at the first."""
        each = {
            "cpu": cpu, "cpu_of_limit": cpu / cpu_limit, "throttled": throttled, "memory_mib": memory_mib,
            "memory_of_limit": memory_mib / memory_limit_mib, "net_in": net[0], "net_out": net[1], "net": sum(net),
            "pids": 8, "restarts": restarts,
        }  # fmt: skip
        for number, second in enumerate(seconds):
            limits = {} if number else {"cpu_limit": cpu_limit, "memory_limit_mib": memory_limit_mib}
            for metric, value in (each | limits).items():
                self.sample(second, f"container:{name}", metric, value)

    def close(self, ended_s: float | None = None, *, parquet: bool = True) -> Recording:
        """Close the recording and open it for reading; `ended_s` None leaves it without its last line (killed)."""
        if ended_s is not None:
            self.event(ended_s, "run", "ended", healed=True, left=[], message="")
        for writer in (self._requests, self._tokens, self._canary, self._ledger, self.samples, self._events):
            writer.close()
        if parquet:
            finish(self.path)
        return Recording.open(self.path)


@dataclass(frozen=True)
class Outage:
    """The truth about one scripted outage, seconds. `effective` counts from t_zero, the rest as `Failover` does."""

    effective: float
    detection: float
    failover: float
    recovery: float
    cleared: float
    failback: float
    flaps: int


@dataclass(frozen=True)
class Script:
    """What the scripted system does when bedrock goes at `at + k * every` for `lasts`, seconds.

    Requests started before the breaker opens hang for `hang` and are then answered by openai; once it is open they
    go to openai at once. `failback` after clearing bedrock serves again; before that it does so for `flap_for`
    seconds `flaps` times, one second apart.
    """

    outages: int = 3
    at: float = 20.0
    every: float = 40.0
    lasts: float = 20.0
    hang: float = 2.0
    detection: float = 2.4
    failback: float = 3.0
    flaps: int = 0
    flap_for: float = 2.0
    healthy: float = 0.3
    rate: float = 1000 / 60
    canary_rate: float = 20.0
    hanging_outcome: str = "ok"
    wiggle: float = 0.02
    """Answers take up to this much longer, by turns."""
    kind: str = "blackhole"

    @property
    def length(self) -> float:
        """Seconds of load after the warm-up."""
        return self.at + self.outages * self.every

    def truth(self, k: int) -> Outage:
        """Return the true times of outage `k`."""
        # A request that hangs and fails is answered by nobody: the first answer comes once the breaker is open.
        first = self.healthy + (self.hang if self.hanging_outcome in ("ok", "degraded") else self.detection)
        begin = self.at + k * self.every
        back = self.failback + self.flaps * (self.flap_for + 1.0)
        return Outage(begin, self.detection, first, self.detection, begin + self.lasts, back, 2 * self.flaps)

    def served(self, t: float) -> tuple[str, float]:
        """Return who answers a request started at `t` seconds, and how long it takes."""
        for k in range(self.outages):
            truth = self.truth(k)
            since = t - truth.effective
            if 0 <= since < self.detection:
                return "openai", self.hang + self.healthy
            after = t - truth.cleared
            if since >= 0 and after < truth.failback and not self._flapped(after):
                return "openai", self.healthy
        return "bedrock", self.healthy

    def breaker(self, t: float) -> int:
        """Return what the gauge of bedrock's breaker shows at `t` seconds: 2 is open, 1 half open."""
        for truth in map(self.truth, range(self.outages)):
            since, after = t - truth.effective, t - truth.cleared - truth.failback
            if since >= truth.detection and after < 0:
                return 1 if after >= -0.2 else 2
        return 0

    def _flapped(self, after: float) -> bool:
        period = self.flap_for + 1.0
        inside = after - self.failback
        return 0 <= inside < self.flaps * period and inside % period < self.flap_for


def storm(
    path: Path, script: Script | None = None, the_plan: Plan | None = None, *, warmup_s: float = 5.0
) -> Recording:
    """Write the run that `script` tells, with a canary, breaker events, instrument samples, cache metrics and usage.

    Every fourth load request is answered by the cache; agents, teams and tenants take turns.
    """
    script = script or Script()
    spec: dict[str, Any] = {
        "at": f"{script.at}s", "for": f"{script.lasts}s", "every": f"{script.every}s", "repeat": script.outages
    }  # fmt: skip
    the_plan = the_plan or plan(hold_s=script.length, warmup_s=warmup_s, experiments=[experiment(script.kind, **spec)])
    builder = RecordingBuilder(path, the_plan)
    teams = {"meetmind": "meetmind", "agent-svea": "agentsvea", "felicias-finance": "feliciasfi"}
    agents = ("coordinator", "architect", "product_manager", "implementation", "quality_assurance")
    hits = misses = 0
    scrapes = iter([second / 2 for second in range(int(-2 * warmup_s) - 2, int(2 * script.length) + 10)])
    next_scrape = next(scrapes)

    def scrape(until_s: float) -> None:
        nonlocal next_scrape
        while next_scrape < until_s:
            builder.sample(next_scrape, "metrics", METRICS["cache_hits"], hits, agent_id="all")
            builder.sample(next_scrape, "metrics", METRICS["cache_misses"], misses, agent_id="all")
            builder.sample(next_scrape, "metrics", "llm_circuit_state", script.breaker(next_scrape), provider="bedrock")
            builder.sample(next_scrape, "process:gateway", "cpu", 0.4)
            builder.sample(next_scrape, "process:gateway", "memory_mib", 180.0)
            next_scrape = next(scrapes)

    dues = [(-warmup_s + i / script.rate, i, False) for i in range(round((script.length + warmup_s) * script.rate))]
    dues += [
        (-warmup_s + (i + 0.37) / script.canary_rate, i, True)
        for i in range(round((script.length + warmup_s) * script.canary_rate))
    ]
    for due, i, canary in sorted(dues):
        scrape(due)
        team = list(teams)[i % 3]
        who: dict[str, Any] = {"team": team, "agent": agents[i % 5], "tenant": teams[team], "canary": canary}
        if not canary and i % 4 == 3:
            builder.request(due, 0.02, provider="cache", hits=1, **who)
            hits += 1
            continue
        provider, took = script.served(due)
        outcome = script.hanging_outcome if took > script.healthy else "ok"
        wiggle = script.wiggle * ((i * 7919) % 11) / 11
        builder.request(due, took + wiggle, provider=provider, outcome=outcome, **who)
        misses += outcome == "ok"
    scrape(script.length + 4)

    phases: list[tuple[float, str]] = [(-warmup_s, "warmup"), (0.0, "baseline" if script.outages else "steady")]
    for k in range(script.outages):
        truth = script.truth(k)
        phases += [(truth.effective, "fault"), (truth.cleared, "recovery")]
        builder.fault(
            f"bedrock-{script.kind}#{k + 1}", truth.effective, truth.cleared,
            kind=script.kind, experiment=f"bedrock-{script.kind}",
        )  # fmt: skip
        builder.breaker(truth.effective + truth.detection, "open", "closed")
        builder.breaker(truth.cleared + truth.failback - 0.2, "half_open", "open")
        builder.breaker(truth.cleared + truth.failback, "closed", "half_open")
    builder.event(-warmup_s, "load", "started")
    for t_s, phase in [*phases, (script.length, "cooldown")]:
        builder.event(t_s, "phase", phase)
    builder.event(script.length, "load", "stopped", early=False)
    builder.instrument(-warmup_s, script.length)
    return builder.close(script.length + 5)
