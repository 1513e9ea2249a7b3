"""Recordings of any length with a known truth: seeded, fast, in bounded memory.

    python -m benchmarks.synthetic DIR ROWS

Closed-loop users of 50 workflows of twelve agents in three teams, at about 7,000 requests/s, through two outages of
Bedrock. Times, tokens and bytes are distributed as in `reports/sample/steady`; response times are autocorrelated, as in
every real system. Moments keep all their nanoseconds, so what can be saved by storing them cleverly is what can be
saved.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from ruamel.yaml import YAML

from harness.model.plan import Plan
from harness.model.request import UNKNOWN, first_request_id
from harness.recording import layout
from harness.recording.finish import finish, rewrite_requests
from harness.recording.tables import EventLog, LedgerWriter, SampleWriter
from harness.seeds import generator

if TYPE_CHECKING:
    from collections.abc import Iterator

    Array = np.ndarray[Any, np.dtype[Any]]

RATE = 7000.0
"""Requests per second."""
BATCH = 1 << 17
ZERO_NS = 1_000_000_000_000
RUN_ID = 0x5EED
NAMES = 50
TEAMS = ("meetmind", "agentsvea", "feliciasfi")
AGENTS = 12
TENANTS = 5
PROVIDERS = ("", "cache", "bedrock", "openai", "local", "bedrock+openai")
OUTCOMES = ("ok", "degraded", "failed", "timeout", "lost", "dropped")
ERRORS = ("", "HTTP 503", "timed out", "in flight at the end")
CANARY_RATE = 20.0
LEDGER_EVERY = 0.01
"""Share of the provider calls that the ledger holds: one whole second in a hundred."""


@dataclass(frozen=True)
class Truth:
    """What is in a recording: outages as (begin, end) seconds after t_zero, and its length in seconds."""

    rows: int
    length_s: float
    outages: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, rows: int) -> Truth:
        """Return the truth about a recording of so many rows."""
        length = rows / RATE
        lasts = min(30.0, length / 10)
        return cls(rows, length, tuple((share * length, share * length + lasts) for share in (0.4, 0.7)))


def rows(truth: Truth, seed: int, *, canary: bool = False) -> Iterator[pa.Table]:
    """Yield the requests, in due order, as tables of `layout.REQUEST_SCHEMA`."""
    random = generator(seed, "canary" if canary else "load")
    rate = CANARY_RATE if canary else RATE
    left = int(truth.length_s * CANARY_RATE) if canary else truth.rows
    due_ns, request, wander = ZERO_NS, first_request_id(0 if canary else 1), 0.0
    while left:
        n = min(BATCH, left)
        due = due_ns + np.cumsum(random.exponential(1e9 / rate, n)).astype(np.int64)
        drift = _drift(random, n, wander)
        wander = float(drift[-1])
        yield _table(truth, random, due, request, drift, canary=canary)
        due_ns, request, left = int(due[-1]), request + n, left - n


def _drift(random: np.random.Generator, n: int, begin: float) -> Array:
    """How slow the system is at the moment: wanders over seconds (the logarithm of a factor)."""
    knots = n // 2048 + 2
    steps = random.normal(0, 0.1, knots)
    level = [begin]
    for step in steps[1:]:
        level.append(0.9 * level[-1] + step)
    return np.interp(np.arange(n), np.arange(knots) * 2048, level)


def _table(
    truth: Truth, random: np.random.Generator, due: Array, request: int, drift: Array, *, canary: bool
) -> pa.Table:
    n = len(due)
    name = np.minimum((random.exponential(NAMES / 4, n)).astype(np.int32), NAMES - 1)
    since = (due - ZERO_NS) / 1e9
    broken = np.zeros(n, bool)
    for begins, ends in truth.outages:
        broken |= (since >= begins) & (since < ends)
    chance = random.random(n)
    hit = chance < 0.25
    # While Bedrock is gone most are answered by OpenAI, some by the rules, and in the first moments some time out.
    early = np.zeros(n, bool)
    for begin, _ in truth.outages:
        early |= (since >= begin) & (since < begin + 2)
    outcome = np.select(
        [early & (chance > 0.4), broken & (chance > 0.97), chance > 0.9995, chance > 0.999], [3, 1, 2, 3], 0
    ).astype(np.int32)
    provider = np.select([outcome >= 2, outcome == 1, hit, broken], [0, 4, 1, 3], 2).astype(np.int32)
    slow = np.exp(19.2 + drift + 0.01 * name + random.normal(0, 0.35, n))
    took = np.where(outcome == 3, 5e9 + random.normal(0, 1e6, n), np.where(hit, slow / 40, slow)).astype(np.int64)
    body = np.exp(random.normal(9.0, 0.35, n)).astype(np.int64)
    first = due + took
    end = first + body
    lost = (~broken) & (since > truth.length_s - 0.2) & (chance > 0.9)
    outcome = np.where(lost, 4, outcome).astype(np.int32)
    first, end = np.where(lost, -1, first), np.where(lost, -1, end)
    told = ~lost & (outcome != 3)
    out = np.where(told, (20 + 90 * random.gamma(4, 0.25, n)), UNKNOWN).astype(np.int32)
    number = np.arange(n)
    words: dict[str, tuple[Array, list[str]]] = {
        "name": (name, [f"{TEAMS[i % 3]}/agent{i % AGENTS}/task{i}" for i in range(NAMES)]),
        "team": (name % 3, list(TEAMS)),
        "agent": (name % AGENTS, [f"{TEAMS[i % 3]}.agent{i}" for i in range(AGENTS)]),
        "tenant": (name * 7 % TENANTS, [f"tenant{i}" for i in range(TENANTS)]),
        "worker": (np.zeros(n, np.int32), ["canary" if canary else "w0"]),
        "outcome": (outcome, list(OUTCOMES)),
        "error": (np.select([outcome == 2, outcome == 3, outcome == 4], [1, 2, 3], 0), list(ERRORS)),
        "provider": (np.where(lost, 0, provider), list(PROVIDERS)),
    }
    numbers: dict[str, Array] = {
        "due_ns": due, "start_ns": due, "first_byte_ns": first, "end_ns": end,
        "request_id": request + number,
        "status": np.select([outcome <= 1, outcome == 2], [200, 503], 0),
        "cached": np.where(told, hit, UNKNOWN),
        "cache_lookups": np.where(told, 1, UNKNOWN),
        "cache_hits": np.where(told, hit & (outcome == 0), UNKNOWN),
        "tokens_in": np.where(told, 48 + name // 4 + (random.random(n) * 4).astype(np.int32), UNKNOWN),
        "tokens_out": out,
        "bytes_in": np.where(told, 250 + 6 * out + random.integers(0, 40, n), 0),
        "bytes_out": 86 + name,
    }  # fmt: skip
    columns = []
    for field in layout.REQUEST_SCHEMA:
        if field.name in words:
            codes, known = words[field.name]
            columns.append(pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(known)))
        else:
            values = numbers.get(field.name, np.full(n, UNKNOWN))
            columns.append(pa.array(values.astype(field.type.to_pandas_dtype())))
    return pa.Table.from_arrays(columns, schema=layout.REQUEST_SCHEMA)


def plan(truth: Truth) -> Plan:
    """Return the plan that such a run would have had, with thresholds on everything that is measured by scanning."""
    first, second = truth.outages
    fault = {
        "kind": "blackhole", "upstream": "bedrock", "at": f"{first[0]}s", "for": f"{first[1] - first[0]}s",
        "every": f"{second[0] - first[0]}s", "repeat": 2,
    }  # fmt: skip
    return Plan.model_validate(
        {
            "target": {
                "target": "synthetic", "system": {"kind": "external"}, "url": "http://127.0.0.1:9000",
                "upstreams": {"bedrock": {"address": "127.0.0.1:9001"}, "openai": {"address": "127.0.0.1:9002"}},
                "observe": {"provider": "header:x-llm-provider"},
                "probe": {"path": "/probe", "rate": f"{CANARY_RATE}/s"},
            },
            "scenario": {
                "scenario": "synthetic", "workload": "agents.py",
                "load": {"kind": "users", "users": 2000, "hold": f"{truth.length_s}s"},
                "thresholds": {
                    "response_time": ["p(95)<3s", "p(99)<6s"], "request_failed": ["rate<0.01"],
                    "response_time{phase:fault}": ["p(95)<8s"], "cache_hit": ["rate>0.2"],
                },
            },
            "experiments": [{"experiment": "bedrock-blackhole", "faults": [fault]}],
            "seed": 1, "workload_path": "agents.py", "target_dir": ".",
        }
    )  # fmt: skip


def write(path: Path, count: int, seed: int = 1) -> Truth:
    """Write a finished recording of `count` requests into an empty directory, and return what is in it."""
    truth, the_plan = Truth.of(count), plan(Truth.of(count))
    for folder in (layout.REQUESTS, layout.CANARY):
        (path / folder).mkdir(parents=True)
    ledger = LedgerWriter(path)
    rewrite_requests(_heard(rows(truth, seed), ledger), path / layout.REQUESTS / "w0.parquet")
    ledger.close()
    rewrite_requests(rows(truth, seed, canary=True), path / layout.CANARY / "canary.parquet")
    text = StringIO()
    YAML(typ="safe", pure=True).dump(the_plan.model_dump(mode="json", by_alias=True), text)
    (path / layout.PLAN).write_text(text.getvalue(), encoding="utf-8")
    manifest = {
        "schema": layout.SCHEMA_VERSION, "run_id": RUN_ID, "seed": seed, "versions": {},
        "clock": {"monotonic_ns": ZERO_NS, "utc": "2026-01-01T00:00:00+00:00"}, "host": {}, "components": {},
    }  # fmt: skip
    (path / layout.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    _events(path, truth)
    samples = SampleWriter(path)
    for second in range(int(truth.length_s)):
        for metric, value in (("lag_p99_ms", 1.0), ("lag_max_ms", 2.0), ("cpu", 0.3)):
            samples.sample("worker:w0", metric, value, None, ZERO_NS + second * 10**9)
    samples.close()
    finish(path)
    return truth


def _events(path: Path, truth: Truth) -> None:
    log = EventLog(path / layout.EVENTS)

    def at(seconds: float) -> int:
        return ZERO_NS + round(seconds * 1e9)

    log.emit("load", "test", "started", t_ns=ZERO_NS)
    log.emit("phase", "test", "baseline", t_ns=ZERO_NS)
    for number, (begin, end) in enumerate(truth.outages, 1):
        about = {"kind": "blackhole", "upstream": "bedrock", "experiment": "bedrock-blackhole"}
        fault = f"bedrock-blackhole#{number}"
        log.emit("fault", "test", fault, t_ns=at(begin - 0.005), state="injecting", **about)
        log.emit("fault", "test", fault, t_ns=at(begin), state="effective", low_ns=at(begin - 1e-3), high_ns=at(begin))
        log.emit("phase", "test", "fault", t_ns=at(begin))
        log.emit("fault", "test", fault, t_ns=at(end - 0.005), state="clearing")
        log.emit("fault", "test", fault, t_ns=at(end), state="cleared", low_ns=at(end - 1e-3), high_ns=at(end))
        log.emit("phase", "test", "recovery", t_ns=at(end))
    log.emit("phase", "test", "cooldown", t_ns=at(truth.length_s))
    log.emit("load", "test", "stopped", t_ns=at(truth.length_s), early=False)
    log.emit("run", "test", "ended", t_ns=at(truth.length_s + 6), healed=True, left=[], message="")
    log.close()


def _heard(tables: Iterator[pa.Table], ledger: LedgerWriter) -> Iterator[pa.Table]:
    """Pass requests on, and write into the ledger what providers received of them in one second of a hundred."""
    columns = ["start_ns", "first_byte_ns", "provider", "request_id", "tenant", "agent", "tokens_in", "tokens_out"]
    for table in tables:
        since = (table.column("due_ns").to_numpy() - ZERO_NS) // 10**9
        rows = np.flatnonzero(since % round(1 / LEDGER_EVERY) == 0)
        for row in table.select(columns).take(pa.array(rows)).to_pylist() if len(rows) else ():
            if row["provider"] in ("bedrock", "openai"):
                ledger.add(
                    row["start_ns"] + 10**6, row["first_byte_ns"] - 10**6, row["provider"], row["request_id"],
                    row["tenant"], row["agent"], "model", row["tokens_in"], row["tokens_out"], False, "ok",
                )  # fmt: skip
        ledger.flush()
        yield table


if __name__ == "__main__":
    print(write(Path(sys.argv[1]), int(float(sys.argv[2]))))
