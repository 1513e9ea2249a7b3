"""Three witnesses of the cache, and providers named against ledgers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.analysis import analyse
from harness.model.findings import Attribution, CacheWitness
from tests.recordings import METRICS, RecordingBuilder, experiment, plan, storm


def test_all_witnesses_agree_exactly_on_a_clean_run(tmp_path: Path) -> None:
    findings, _ = analyse(storm(tmp_path))
    cache = findings.cache
    assert cache.answers == cache.metrics == cache.ledger
    assert isinstance(cache.answers, CacheWitness)
    assert cache.answers.hit_rate == pytest.approx(0.25, abs=0.001)
    assert sum(w.n for w in cache.by_phase.values()) == cache.answers.n
    assert isinstance(findings.attribution, Attribution)
    assert findings.attribution.agree == findings.attribution.compared == findings.load.requests + 84


def test_workflows_local_answers_and_streams_by_hand(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=60)
    workflow = builder.request(1, 2.0, lookups=5, hits=3, provider="bedrock+cache", ledger=False)
    for i in range(2):
        builder.call("bedrock", 1 + i, 1.5 + i, workflow)
    builder.call("bedrock", 1.2, None, workflow, status="cancelled")  # a retry: no answer, no evidence
    builder.request(5, lookups=1, provider="local", outcome="degraded")
    builder.request(6, lookups=2, hits=1, provider="cache+local", outcome="ok")
    stream = builder.request(7, lookups=0, provider="openai", ledger=False)
    builder.call("openai", 7.1, 7.2, stream, stream=True)
    builder.request(8, outcome="failed", provider="", lookups=-1, hits=-1)
    findings, _ = analyse(builder.close(61))
    assert findings.cache.answers == CacheWitness(hit_rate=0.5, hits=4, n=8)
    assert findings.cache.ledger == CacheWitness(hit_rate=0.6, hits=3, n=5)
    assert findings.attribution == Attribution(compared=4, agree=4, examples=())
    instrument = findings.validity.instrument
    assert (instrument["ledger_found"], instrument["ledger_named"]) == (2, 2), "the others name no provider"


def test_a_cold_warm_up_is_compared_and_not_judged(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=30))
    builder.phases(warmup=-30, steady=0, cooldown=60)
    for second in range(-30, 60):
        hit = second >= 0 and second % 2
        builder.request(second, hits=int(hit), provider="cache" if hit else "bedrock")
    cache = analyse(builder.close(61))[0].cache
    assert cache.answers == cache.ledger == CacheWitness(hit_rate=30 / 90, hits=30, n=90)
    assert cache.measured == cache.by_tenant["meetmind"] == CacheWitness(hit_rate=0.5, hits=30, n=60)


def test_counters_grow_per_label_set_restart_and_include_the_canary(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=60)
    builder.request(1, hits=1)
    builder.request(5, canary=True)  # two lookups of the canary, one of them a hit
    builder.request(6, hits=1, canary=True)
    builder.request(-5, canary=True)  # before the first scrape: the counters at it hold this one already
    for t, value in ((0, 100), (10, 104), (20, 2), (30, 3)):  # 4, then a restart: 2, then 1
        builder.sample(t, "metrics", "scrape_failed", 0)
        builder.sample(t, "metrics", METRICS["cache_hits"], value, agent="a")
    builder.sample(30, "metrics", METRICS["cache_hits"], 5, agent="b")  # first used after the first scrape
    builder.sample(0, "metrics", METRICS["cache_misses"], 10)
    builder.sample(30, "metrics", METRICS["cache_misses"], 20)
    builder.sample(30, "other", METRICS["cache_misses"], 999)
    cache = analyse(builder.close(61))[0].cache
    assert cache.metrics == CacheWitness(hit_rate=11 / 20, hits=11, n=20)


def test_a_counter_that_is_no_number_was_not_shown(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=60)
    builder.request(1, hits=1)
    for t, hits, misses in ((0, 0, 0), (10, 4, np.nan), (20, np.nan, np.nan), (30, 6, np.inf), (40, 6, 2)):
        builder.sample(t, "metrics", METRICS["cache_hits"], hits)
        builder.sample(t, "metrics", METRICS["cache_misses"], misses)
    assert analyse(builder.close(61))[0].cache.metrics == CacheWitness(hit_rate=0.75, hits=6, n=8)


def test_a_system_that_shows_nothing_is_unsupported_not_zero(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(target={"metrics": None}))
    builder.phases(steady=0, cooldown=60)
    builder.request(1, provider="", lookups=-1, hits=-1)
    findings, _ = analyse(builder.close(61))
    cache = findings.cache
    assert cache.answers == cache.metrics == cache.ledger == findings.attribution == "unsupported"
    assert cache.by_agent == cache.by_phase == {}


def test_without_trace_ids_totals_are_compared(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=60)
    for i in range(10):
        builder.request(i, hits=int(i < 4), provider="cache" if i < 4 else "bedrock", ledger=False, canary=i > 7)
        if i >= 4:
            builder.call("bedrock", i, i + 0.1)
    findings, _ = analyse(builder.close(61))
    assert findings.cache.ledger == CacheWitness(hit_rate=0.4, hits=4, n=10)
    assert findings.attribution == "unsupported"


def test_attribution_tells_lies_from_faults(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=60)
    builder.fault("one", 20.0, 40.0)
    truth = builder.request(1)
    liar = builder.request(2, provider="openai", ledger=False)
    builder.call("bedrock", 2.0, 2.1, liar)
    builder.request(3, provider="bedrock", ledger=False)  # nobody's ledger knows of it
    cached = builder.request(4, provider="cache", hits=1)
    builder.call("bedrock", 4.0, 4.1, cached)
    # Bedrock answered, but the fault kept its answer back; openai's was used.
    excused = builder.request(25, provider="openai")
    builder.call("bedrock", 25.0, 25.2, excused)
    found = analyse(builder.close(61))[0].attribution
    assert isinstance(found, Attribution)
    assert (found.compared, found.agree) == (5, 2)
    assert len(found.examples) == 3
    assert found.examples[0] == f"request {liar}: the answer names 'openai', the ledgers have answers by bedrock"
    assert not any(str(truth) in example for example in found.examples)


@pytest.mark.parametrize(("names", "supported"), [(62, True), (63, False)])
def test_attribution_of_more_names_than_bits_is_unsupported(tmp_path: Path, names: int, supported: bool) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=100)
    for i in range(names):
        builder.request(i, provider=f"p{i}")
    found = analyse(builder.close(101))[0].attribution
    assert found == (Attribution(compared=names, agree=names, examples=()) if supported else "unsupported")
