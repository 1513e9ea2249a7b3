"""A run with a story, for the report's tests: Bedrock hangs three times, then refuses twice.

While it hangs, requests take 2.4 s until its breaker opens, then OpenAI answers; Bedrock is back 5 s after each
clearing, with one flap in the second outage. Refusals cost users almost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.model.verdict import Check, Verdict, Verdicts
from tests.recordings import METRICS, RecordingBuilder, experiment, plan

if TYPE_CHECKING:
    from pathlib import Path

    from harness.recording.reader import Recording

WARMUP, HOLD = 10.0, 290.0
FAULTS = (("blackhole", 60.0), ("blackhole", 105.0), ("blackhole", 150.0), ("refuse", 200.0), ("refuse", 245.0))
LENGTH, BACK_AFTER = 15.0, 5.0
OPEN_AFTER = {"blackhole": 2.1, "refuse": 0.25}
HELD_FOR = {"blackhole": 2.05, "refuse": 0.06, "": 0.0}
AGENTS = {
    "meetmind": ("coordinator", "architect", "product_manager", "implementation", "quality_assurance"),
    "agentsvea": ("coordinator", "architect", "implementation"),
    "feliciasfi": ("coordinator", "banking"),
}


def _provider(t: float) -> tuple[str, str]:
    """Return who answers a request due at `t` seconds, and which kind of fault holds it up ("" for none)."""
    for number, (kind, at) in enumerate(FAULTS):
        since = t - at
        if 0 <= since < OPEN_AFTER[kind]:
            return "openai", kind
        if OPEN_AFTER[kind] <= since < LENGTH + BACK_AFTER:
            flapping = number == 1 and LENGTH + 1.0 <= since < LENGTH + 1.6
            return ("bedrock" if flapping else "openai"), ""
    return "bedrock", ""


def write(
    path: Path, *, faults: bool = True, ledger: bool = True, rate: float = 18.5, hold: float = HOLD,
    team: str = "meetmind", parquet: bool = True, containers: bool = False,
) -> Recording:  # fmt: skip
    """Write the story, or the part of it before `hold` seconds, and open it. `team` renames meetmind; `containers`
    adds some: agents-1 at its CPU limit, redis at its memory limit, toxiproxy far below its own."""
    times: dict[str, Any] = {"for": "15s", "every": "45s"}
    every: dict[str, dict[str, Any]] = {
        "blackhole": {"at": "60s", "repeat": 3} | times,
        "refuse": {"at": "200s", "repeat": 2} | times,
    }
    experiments = [experiment(kind, **spec) for kind, spec in every.items()]
    load = {"kind": "users", "users": 50, "hold": f"{hold}s", "warmup": f"{WARMUP}s"}
    builder = RecordingBuilder(path, plan(load=load, experiments=experiments if faults else ()))
    builder.event(-WARMUP, "phase", "warmup")
    builder.event(0, "phase", "baseline" if faults else "steady")
    for number, (kind, at) in enumerate(FAULTS if faults else ()):
        if at + LENGTH > hold:
            break
        builder.fault(f"bedrock-{kind}#{number}", at, at + LENGTH, kind=kind, experiment=f"bedrock-{kind}",
                      injecting_s=at - 0.05)  # fmt: skip
        builder.event(at, "phase", "fault")
        builder.breaker(at + OPEN_AFTER[kind], "open", "closed")
        builder.event(at + LENGTH, "phase", "recovery")
        builder.breaker(at + LENGTH + BACK_AFTER, "closed", "half_open")
    builder.event(hold, "phase", "cooldown")
    if rate:
        _requests(builder, rate, hold, faults=faults, ledger=ledger, team=team)
        builder.instrument(-WARMUP, hold)
    if containers:
        seconds = range(-int(WARMUP) - 2, int(hold))
        builder.container("agents-1", seconds, cpu=0.48, throttled=0.4, memory_mib=180, restarts=1)
        builder.container("redis", seconds, cpu=0.02, memory_mib=62, memory_limit_mib=64)
        builder.container("toxiproxy", seconds, cpu=0.05, cpu_limit=2, memory_mib=20, memory_limit_mib=24_100)
    return builder.close(hold + 5, parquet=parquet)


def _requests(builder: RecordingBuilder, rate: float, hold: float, *, faults: bool, ledger: bool, team: str) -> None:
    draw = np.random.default_rng(3)
    due = [(float(t), False) for t in np.arange(-WARMUP, hold, 1 / rate)]
    due += [(float(t), True) for t in np.arange(-WARMUP, hold, 1 / 20)]
    hits = misses = 0
    for moment, canary in sorted(due):
        t = moment + float(draw.uniform(0, 0.04))
        tenant = list(AGENTS)[int(draw.integers(3))]
        agent = AGENTS[tenant][int(draw.integers(len(AGENTS[tenant])))]
        provider, held = _provider(t) if faults else ("bedrock", "")
        took = float(draw.lognormal(np.log(0.34 + 0.1 * (agent == "architect")), 0.35)) + HELD_FOR[held]
        outcome, hit = "ok", not canary and bool(draw.random() < 0.27)
        if (held == "blackhole" and draw.random() < 0.06) or draw.random() < 0.001:
            outcome, provider, hit = "failed", "", False
        elif held and draw.random() < 0.1:
            outcome, provider, hit = "degraded", "local", False
        elif hit:
            provider, took = "cache", 0.012
        hits, misses = hits + hit, misses + (not hit)
        builder.request(t, took, outcome=outcome, provider=provider, agent=agent, tenant=tenant, hits=int(hit),
                        team=team if tenant == "meetmind" else tenant, canary=canary, ledger=ledger)  # fmt: skip
    for second in np.arange(-WARMUP, hold, 1.0):
        for service, cpu, memory in (("gateway", 0.42, 180), ("bedrock", 0.11, 60), ("openai", 0.04, 60)):
            builder.sample(second, f"process:{service}", "cpu", cpu * draw.uniform(0.8, 1.3))
            builder.sample(second, f"process:{service}", "memory_mib", memory + 0.02 * second + draw.uniform(0, 2))
        done = (second + WARMUP) / (hold + WARMUP)
        builder.sample(second, "metrics", METRICS["cache_hits"], round(hits * done))
        builder.sample(second, "metrics", METRICS["cache_misses"], round(misses * done))


def parts(path: Path) -> Recording:
    """Write a run in which parts of the system that are no provider break, and open it.

    agents is killed twice for 10 s: 3 of 4 requests in flight are lost, nobody is answered for 11 s. redis refuses
    twice for 10 s: everything is answered a tenth slower, at a call each instead of 0.6. A slow cache never bites.
    """
    kinds = (("kill", "agents", (20.0, 60.0)), ("refuse", "redis", (100.0, 140.0)))
    times: dict[str, Any] = {"for": "10s", "every": "40s", "repeat": 2}
    faults = [experiment(kind, **times) for kind, _, _ in kinds]
    builder = RecordingBuilder(path, plan(hold_s=180, experiments=[*faults, experiment("slow", "cache")]))
    builder.phases(baseline=0, fault=20, recovery=30, cooldown=180)
    for kind, part, begins in kinds:
        for number, at in enumerate(begins):
            builder.fault(f"{part}-{kind}#{number}", at, at + 10, kind=kind, upstream=part, clearing_s=at + 9,
                          width_s=0.0)  # fmt: skip
    builder.fault("cache-slow#0", None, None, injecting_s=170, kind="slow", upstream="cache")
    for i in range(3600):
        t, took = i / 20, 0.05 + 0.001 * (i % 50)
        if any(at <= t < at + 11 for at in kinds[0][2]):
            builder.request(t, 0.001, outcome="failed", provider="", canary=bool(i % 2))
        elif any(at <= t < at + 10 for at in kinds[1][2]):
            builder.request(t, took * 1.1, canary=bool(i % 2))
        else:
            hit = i % 20 in (0, 4, 8, 12)
            builder.request(t, took, provider="cache" if hit else "bedrock", hits=int(hit), canary=bool(i % 2))
    for at in kinds[0][2]:
        for outcome in ("ok", "failed", "failed", "timeout"):
            builder.request(at - 0.01, 0.02, outcome=outcome)
    builder.instrument(0, 180)
    return builder.close(181)


CHECKS = (
    Check(threshold="response_time: p(95)<3s", scope="scenario", observed=1020, low=940, high=1110, n=5365, limit=3000,
          unit="ms", verdict=Verdict.PASS, why="1.02 s is under 3 s"),
    Check(threshold="response_time: p(99)<6s", scope="scenario", observed=2610, low=2400, high=None, n=1365, limit=6000,
          unit="ms", verdict=Verdict.INCONCLUSIVE, why="p99 needs about 2,000 requests; there were 1,365"),
    Check(threshold="request_failed: rate<0.01", scope="scenario", observed=0.0048, low=0.0032, high=0.0071, n=5365,
          limit=0.01, unit="share", verdict=Verdict.PASS, why="0.48 % is under 1 %"),
    Check(threshold="response_time{phase:fault}: p(95)<2s", scope="bedrock-blackhole", observed=2780, low=2600,
          high=3010, n=1360, limit=2000, unit="ms", verdict=Verdict.FAIL,
          why="users wait up to 2.78 s (p95) while Bedrock hangs"),
    Check(threshold="recovery_time: p(95)<5s", scope="bedrock-blackhole", observed=3.64, low=3.4, high=3.7, n=3,
          limit=5, unit="s", verdict=Verdict.PASS, why="3 of 3 outages recovered in under 3.7 s"),
    Check(threshold="failover_claim: 0.90 at 0.95 under 5s", scope="bedrock-blackhole", observed=0.368, low=0.368,
          high=None, n=3, limit=0.9, unit="share", verdict=Verdict.INCONCLUSIVE,
          why="3 of 3 support 36 %; 26 more in a row would support 90 %"),
    Check(threshold="cache_hit: rate>0.20", scope="scenario", observed=0.271, low=0.259, high=0.283, n=5365, limit=0.2,
          unit="share", verdict=Verdict.PASS, why="27.1 % is over 20 %"),
    Check(threshold="time_to_first_byte: p(95)<1s", scope="scenario", observed=None, low=None, high=None, n=0,
          limit=1000, unit="ms", verdict=Verdict.INCONCLUSIVE, why="no streams were requested"),
)  # fmt: skip
_WHY = {
    Verdict.PASS: (0, "all 8 checks hold"),
    Verdict.FAIL: (99, "users wait up to 2.78 s (p95) while Bedrock hangs; the limit is 2 s"),
    Verdict.INCONCLUSIVE: (75, "3 checks have too little evidence"),
    Verdict.INVALID: (98, "the generator was 480 ms late at p99 (limit 100 ms)"),
}


def verdicts(verdict: Verdict = Verdict.FAIL) -> Verdicts:
    """Return checks of every kind, under the overall `verdict`."""
    code, why = _WHY[verdict]
    return Verdicts(verdict=verdict, exit_code=code, checks=CHECKS, why=why)
