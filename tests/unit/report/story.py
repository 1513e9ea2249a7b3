"""A run with a story, written through the real writers: 50 users, Bedrock hangs three times, then refuses twice.

While Bedrock hangs, requests take 2.4 s until its breaker opens, then OpenAI answers; Bedrock is back 5 s after each
clearing, with one flap the second time. Refusals cost users almost nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.model.findings import (
    Attribution, CacheFindings, CacheWitness, Claim, Estimate, Failover, Findings, Group, Interval, LoadFindings,
    Percentiles, Resources, Usage, Validity,
)  # fmt: skip
from harness.model.plan import Plan
from harness.model.verdict import Check, Verdict, Verdicts
from harness.recording import layout
from harness.recording.finish import finish
from harness.recording.reader import Recording
from harness.recording.requests import RequestWriter
from harness.recording.tables import EventLog, LedgerWriter, SampleWriter

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000
LOAD_START = 5_000 * S
WARMUP, HOLD = 10, 290
ZERO = LOAD_START + WARMUP * S
FAULTS = [("blackhole", 60.0), ("blackhole", 105.0), ("blackhole", 150.0), ("refuse", 200.0), ("refuse", 245.0)]
LENGTH = 15.0
OPEN_AFTER = {"blackhole": 2.1, "refuse": 0.25}
BACK_AFTER = 5.0
AGENTS = {
    "meetmind": ["coordinator", "architect", "product_manager", "implementation", "quality_assurance"],
    "agentsvea": ["coordinator", "architect", "implementation"],
    "feliciasfi": ["coordinator", "banking"],
}

PLAN: dict[str, Any] = {
    "target": {
        "target": "reference-local", "system": {"kind": "processes", "services": {"gateway": {"command": ["x"]}}},
        "url": "http://127.0.0.1:8080", "upstreams": {"bedrock": {"address": "h:1"}, "openai": {"address": "h:2"}},
    },
    "scenario": {
        "scenario": "steady", "workload": "agents.py", "about": "50 concurrent users",
        "load": {"kind": "users", "users": 50, "hold": f"{HOLD}s", "warmup": f"{WARMUP}s"},
        "thresholds": {"response_time": ["p(95)<3s"]},
    },
    "experiments": [
        {"experiment": "bedrock-hangs", "faults": [
            {"kind": "blackhole", "upstream": "bedrock", "at": "60s", "for": "15s", "repeat": 3, "every": "45s"},
            {"kind": "refuse", "upstream": "bedrock", "at": "200s", "for": "15s", "repeat": 2, "every": "45s"}]},
    ],
    "seed": 7, "workload_path": "/plans/agents.py", "target_dir": "/plans",
}  # fmt: skip


def _provider(t: float) -> tuple[str, str]:
    """Return who answers a request due at `t` seconds, and which fault kind holds it up ("" for none)."""
    for number, (kind, at) in enumerate(FAULTS):
        since = t - at
        if 0 <= since < OPEN_AFTER[kind]:
            return "openai", kind
        if OPEN_AFTER[kind] <= since < LENGTH + BACK_AFTER:
            flapping = number == 1 and LENGTH + 1.0 <= since < LENGTH + 1.6
            return ("bedrock" if flapping else "openai"), ""
    return "bedrock", ""


def _ns(t: float) -> int:
    return ZERO + round(t * S)


def write(path: Path, *, users: int = 50, faults: bool = True, ledger: bool = True, scale: float = 1.0) -> Recording:
    """Write the story and open it. Without `faults`, Bedrock answers everything."""
    path.mkdir(parents=True)
    (path / layout.REQUESTS).mkdir()
    (path / layout.CANARY).mkdir()
    manifest = {
        "schema": 1, "run_id": 12345, "clock": {"monotonic_ns": LOAD_START, "utc": "2026-11-20T09:14:07+00:00"},
        "versions": {"agentstorm": "0.1.0", "locust": "2.47.1", "toxiproxy": "2.12.0", "python": "3.11.7"},
        "seed": 7, "host": {"system": "Linux 6.8", "cores": 8, "memory_mib": 32000},
    }  # fmt: skip
    (path / layout.MANIFEST).write_text(json.dumps(manifest))
    plan = PLAN | {"scale": scale} | ({} if faults else {"experiments": []})
    import ruamel.yaml  # noqa: PLC0415

    with (path / layout.PLAN).open("w") as file:
        ruamel.yaml.YAML().dump(json.loads(Plan.model_validate(plan).model_dump_json(by_alias=True)), file)
    _events(path, faults=faults)
    _rows(path, users, faults=faults, ledger=ledger)
    finish(path)
    return Recording.open(path)


def _events(path: Path, *, faults: bool) -> None:
    log = EventLog(path / layout.EVENTS)
    log.emit("run", "conduct", "started", t_ns=LOAD_START - S)
    log.emit("phase", "conduct", "warmup", t_ns=LOAD_START)
    log.emit("phase", "conduct", "baseline" if faults else "steady", t_ns=ZERO)
    for number, (kind, at) in enumerate(FAULTS if faults else []):
        facts = {"kind": kind, "upstream": "bedrock", "experiment": "bedrock-hangs"}
        fault = f"bedrock-hangs/{kind}/{number}"
        log.emit("fault", "toxiproxy", fault, t_ns=_ns(at - 0.05), state="injecting", **facts)
        log.emit("fault", "toxiproxy", fault, t_ns=_ns(at), state="effective", **facts)
        log.emit("phase", "conduct", "fault", t_ns=_ns(at))
        log.emit("breaker", "metrics", "bedrock", t_ns=_ns(at + OPEN_AFTER[kind]), state="open", was="closed")
        log.emit("fault", "toxiproxy", fault, t_ns=_ns(at + LENGTH), state="cleared", **facts)
        log.emit("phase", "conduct", "recovery", t_ns=_ns(at + LENGTH))
        log.emit("breaker", "metrics", "bedrock", t_ns=_ns(at + LENGTH + BACK_AFTER), state="closed", was="half_open")
    log.emit("phase", "conduct", "cooldown", t_ns=_ns(HOLD))
    log.emit("run", "conduct", "ended", t_ns=_ns(HOLD + 5))
    log.close()


def _rows(path: Path, users: int, *, faults: bool, ledger: bool) -> None:
    draw = np.random.default_rng(3)
    requests = RequestWriter(path / layout.REQUESTS / "w0.arrows", "w0")
    canary = RequestWriter(path / layout.CANARY / "canary.arrows", "canary")
    calls, samples = LedgerWriter(path), SampleWriter(path)
    rate = max(0.37 * users, 0.01)
    due = [(t, False) for t in np.arange(-WARMUP, HOLD, 1 / rate)] if users else []
    due += [(t, True) for t in np.arange(-WARMUP, HOLD, 1 / 20)] if users else []
    teams = list(AGENTS)
    for number, (moment, is_canary) in enumerate(sorted(due), 1):
        t = float(moment + draw.uniform(0, 0.04))
        team = teams[int(draw.integers(3))]
        agent = "probe" if is_canary else AGENTS[team][int(draw.integers(len(AGENTS[team])))]
        provider, held = _provider(t) if faults else ("bedrock", "")
        took = float(draw.lognormal(np.log(0.34 + 0.1 * (agent == "architect")), 0.35)) + 0.05 * (provider == "openai")
        took += {"": 0.0, "blackhole": 2.05, "refuse": 0.06}[held]
        cached = 0 if is_canary else int(draw.random() < 0.27)
        outcome = "ok"
        if held == "blackhole" and draw.random() < 0.06:
            outcome, provider = "failed", ""
        elif held and draw.random() < 0.1:
            outcome, provider, cached = "degraded", "local", 0
        elif cached:
            provider, took = "cache", 0.012
        if draw.random() < 0.001:
            outcome = "failed"
        begin, end = _ns(t), _ns(t + took)
        (canary if is_canary else requests).add(
            due_ns=begin, start_ns=begin + 200_000, first_byte_ns=end - 1_000_000, end_ns=end, name=f"{team}/{agent}",
            team=team, agent=agent, tenant=team, request_id=number, outcome=outcome,
            status=503 if outcome == "failed" else 200, error="http 503" if outcome == "failed" else "",
            provider=provider, cached=cached, cache_lookups=1, cache_hits=cached, tokens_in=300, tokens_out=150,
            bytes_in=900, bytes_out=300,
        )  # fmt: skip
        if ledger and provider in ("bedrock", "openai"):
            calls.add(begin, end, provider, number, team, agent, "m", 300, 150, False, "ok")
    for t in np.arange(-WARMUP, HOLD, 1.0):
        for service, cpu, memory in (("gateway", 0.42, 180), ("bedrock", 0.11, 60), ("openai", 0.04, 60)):
            samples.sample(f"process:{service}", "cpu", cpu * draw.uniform(0.8, 1.3), t_ns=_ns(t))
            samples.sample(f"process:{service}", "memory_mib", memory + 0.02 * t + draw.uniform(0, 2), t_ns=_ns(t))
    for writer in (requests, canary, calls, samples):
        writer.close()


def _estimate(value: float | None, spread: float, n: int) -> Estimate:
    if value is None:
        return Estimate(value=None, low=None, high=None, n=n)
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread), n=n)


def _group(frame: Any, seconds: float) -> Group:
    n = len(frame)
    took = ((frame.end_ns - frame.due_ns) / 1e6).to_numpy()

    def times(shift: float) -> Percentiles:
        p = [float(np.percentile(took, q)) - shift if n else None for q in (50, 95, 99)]
        return Percentiles(p50=_estimate(p[0], 0.03, n), p95=_estimate(p[1], 0.08, n), p99=_estimate(p[2], 0.15, n))

    by = {o: int((frame.outcome == o).sum()) for o in ("ok", "degraded", "failed", "timeout", "lost", "dropped")}
    bad = by["failed"] + by["timeout"]
    return Group(
        **by, requests=n, rate_per_s=n / seconds if n else None, response_ms=times(0.0), service_ms=times(0.2),
        failed_share=_estimate(bad / n if n else None, 0.3, n),
    )  # fmt: skip


def findings(recording: Recording, *, valid: bool = True) -> Findings:
    """Return what this story's recording says (the analysis proper has its own tests)."""
    frame = recording.requests.to_pandas()
    frame = frame[frame.due_ns >= ZERO]
    columns = ("agent", "team", "tenant", "provider")
    by: Any = {c: {str(k): _group(g, HOLD) for k, g in frame.groupby(c, observed=True) if k} for c in columns}
    whole = _group(frame, HOLD)
    faults = [e for e in recording.events if e.kind == "fault" and e.data["state"] == "effective"]
    failovers = tuple(_failover(i, e.subject, e.data["kind"]) for i, e in enumerate(faults))
    kinds = list(dict.fromkeys(f.kind for f in failovers))
    ledger = CacheWitness(hit_rate=0.268, hits=1340, n=5000) if recording.ledger.num_rows else "unsupported"
    n = whole.requests
    hits = round(0.27 * n)
    answers = CacheWitness(hit_rate=hits / n if n else None, hits=hits, n=n)
    return Findings(
        validity=Validity(
            valid=valid,
            reasons=() if valid else ("the generator was 480 ms late at p99 (limit 100 ms): its CPU was 100 %",),
            notes=tuple(recording.truncated),
            instrument={"lateness_p99_ms": 1.8, "cpu_p95": 0.34, "dropped": 0, "lost": 2, "ledger_coverage": 1.0},
        ),
        load=LoadFindings(**whole.model_dump(), by=by),
        failovers=failovers,
        claims=tuple(
            Claim(kind=k, recovered=c, outages=c, limit_s=5, confidence=0.95, share=0.05 ** (1 / c),
                  next_share=0.9, more_needed=29 - c)
            for k in kinds for c in [sum(f.kind == k for f in failovers)]
        ),
        cache=CacheFindings(answers=answers, metrics=answers, ledger=ledger, by_tenant={}, by_agent={}, by_phase={}),
        attribution=Attribution(compared=n, agree=n, examples=()) if recording.ledger.num_rows else "unsupported",
        resources={
            s: Resources(cpu=Usage(mean=c, p95=c * 1.2, max=c * 1.3), net=None,
                         memory_mib=Usage(mean=m, p95=m * 1.02, max=m * 1.04))
            for s, c, m in (("gateway", 0.42, 180), ("bedrock", 0.11, 60), ("openai", 0.04, 60))
        },
    )  # fmt: skip


def _failover(number: int, fault: str, kind: str) -> Failover:
    at = dict(enumerate(FAULTS))[number][1]
    shift = 0.12 * number

    def near(value: float) -> Interval:
        return Interval(low=value + shift - 0.03, high=value + shift + 0.03)

    hang = kind == "blackhole"
    return Failover(
        fault=fault, kind=kind, upstream="bedrock", experiment="bedrock-hangs", injecting_ns=_ns(at - 0.05),
        effective_ns=_ns(at), cleared_ns=_ns(at + LENGTH), effective_s=Interval(low=0, high=0.05),
        impact_s=near(0.3) if hang else None, detection_s=near(OPEN_AFTER[kind]),
        failover_s=near(OPEN_AFTER[kind] + 0.1), recovery_s=near(3.4 if hang else 0.4),
        failback_s=near(BACK_AFTER), impact=hang, censored=False, failback_censored=False, observed_s=44,
        flaps=int(number == 1), failed_requests=6 if hang else 0, slow_requests=41 if hang else 2, in_flight=7,
        answers={"ok": 262, "degraded": 4, "failed": 6} if hang else {"ok": 270, "degraded": 1, "failed": 0},
        unavailable_s=3.0 if hang else 0.0, worst_stall_s=1.9 if hang else 0.3,
        extra_provider_calls=38 if hang else 4, extra_tokens=11_400 if hang else 900, resolution_s=0.05, bit=True,
    )  # fmt: skip


CHECKS = (
    Check(threshold="response_time: p(95)<3s", scope="scenario", observed=1020, low=940, high=1110, n=5365, limit=3000,
          unit="ms", verdict=Verdict.PASS, why="1.02 s is under 3 s"),
    Check(threshold="response_time: p(99)<6s", scope="scenario", observed=2610, low=2400, high=None, n=1365, limit=6000,
          unit="ms", verdict=Verdict.INCONCLUSIVE, why="p99 needs about 2,000 requests; there were 1,365"),
    Check(threshold="request_failed: rate<0.01", scope="scenario", observed=0.0048, low=0.0032, high=0.0071, n=5365,
          limit=0.01, unit="share", verdict=Verdict.PASS, why="0.48 % is under 1 %"),
    Check(threshold="response_time{phase:fault}: p(95)<2s", scope="bedrock-hangs", observed=2780, low=2600, high=3010,
          n=1360, limit=2000, unit="ms", verdict=Verdict.FAIL, why="users wait up to 2.78 s (p95) while Bedrock hangs"),
    Check(threshold="recovery_time: p(95)<5s", scope="bedrock-hangs", observed=3.64, low=3.4, high=3.7, n=3,
          limit=5, unit="s", verdict=Verdict.PASS, why="3 of 3 outages recovered in under 3.7 s"),
    Check(threshold="failover_claim: 0.90 at 0.95 under 5s", scope="bedrock-hangs", observed=0.368, low=0.368,
          high=None, n=3, limit=0.9, unit="share", verdict=Verdict.INCONCLUSIVE,
          why="3 of 3 support 37 %; 26 more in a row would support 90 %"),
    Check(threshold="cache_hit: rate>0.20", scope="scenario", observed=0.271, low=0.259, high=0.283, n=5365, limit=0.2,
          unit="share", verdict=Verdict.PASS, why="27.1 % is over 20 %"),
    Check(threshold="time_to_first_byte: p(95)<1s", scope="scenario", observed=None, low=None, high=None, n=0,
          limit=1000, unit="ms", verdict=Verdict.INCONCLUSIVE, why="no streams were requested"),
)  # fmt: skip


def verdicts(verdict: Verdict = Verdict.FAIL) -> Verdicts:
    """Return verdicts of every kind, under the overall `verdict`."""
    why = {
        Verdict.PASS: "all 4 checks hold",
        Verdict.FAIL: "users wait up to 2.78 s (p95) while Bedrock hangs; the limit is 2 s",
        Verdict.INCONCLUSIVE: "3 checks have too little evidence",
        Verdict.INVALID: "the generator was 480 ms late at p99 (limit 100 ms)",
    }[verdict]
    code = {Verdict.PASS: 0, Verdict.FAIL: 99, Verdict.INCONCLUSIVE: 75, Verdict.INVALID: 98}[verdict]
    return Verdicts(verdict=verdict, exit_code=code, checks=CHECKS, why=why)
