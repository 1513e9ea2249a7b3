"""Token times against a server that writes down when it wrote each token.

As in `test_latency`, everything shares the cores of the test machine, so a claim is the best of a few tries.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, sleep
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Observe, Target
from harness.recording import layout
from harness.recording.reader import read_stream
from harness.traffic import LocustEngine
from tests.calibrate.serving import Percentiles, ask, bias_ms, expect_no_bias, serving

pytestmark = [pytest.mark.real, pytest.mark.slow]

WORKLOAD = """
from locust import FastHttpUser, HttpUser, constant, task
class U({user}):
    wait_time = constant(0.1)
    @task
    def t(self):
{body}
"""
READ = """        with self.client.get({path!r}, stream=True, catch_response=True) as r:
            for _ in r.iter_content(decode_content=False): pass"""
WHOLE = "        self.client.get({path!r})"
OBSERVE = {"token": ["sse:$.choices[0].delta.content", "chunk"], "stream_end": "data: [DONE]"}


@pytest.fixture
def url() -> Iterator[str]:
    with serving() as url:
        yield url


class Seen:
    """What one run recorded, and what the server wrote down, by request."""

    def __init__(self, folder: Path, url: str) -> None:
        self.requests: pd.DataFrame = read_stream(folder / layout.REQUESTS / "locust-0.arrows")[0].to_pandas()
        tokens = folder / layout.TOKENS / "locust-0.arrows"
        rows = read_stream(tokens)[0].to_pydict() if tokens.exists() else {"request_id": [], "t_ns": []}
        ids, times = np.array(rows["request_id"], int), np.array(rows["t_ns"], int)
        self.tokens = {int(number): times[ids == number] for number in np.unique(ids)}
        log = ask(f"{url}/token-log")
        self.received = {int(trace[19:35], 16): received for _, received, trace, _ in log}
        self.written = {int(trace[19:35], 16): np.array(written) for _, _, trace, written in log}


def run(
    folder: Path, url: str, path: str, *, users: int, seconds: float, read: str = READ, user: str = "FastHttpUser"
) -> Seen:
    """Have `users` read streams of `path` for `seconds`."""
    folder.mkdir()
    workload = folder / "workload.py"
    workload.write_text(WORKLOAD.format(user=user, body=read.format(path=path)))
    load: dict[str, Any] = {"kind": "users", "users": users, "spawn": f"{users}/s", "hold": f"{seconds}s"}
    target = Target(
        target="t", system=ExternalSystem(kind="external"), url=url, observe=Observe.model_validate(OBSERVE)
    )
    scenario = Scenario.model_validate({"scenario": "s", "workload": "workload.py", "load": load})
    plan = Plan(target=target, scenario=scenario, seed=1, workload_path=workload, target_dir=folder)
    engine = LocustEngine(plan, folder, run_id=5)
    try:
        engine.prepare()
        engine.begin(now_ns() + NS_PER_S // 5, url)
        while not engine.finished:
            sleep(0.2)
            engine.batches()
    finally:
        engine.kill()
    return Seen(folder, url)


HOWS = ("plain", "pairs", "split", "crlf", "gzip", "split+crlf+gzip", "bare", "cut")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("read", [READ, WHOLE], ids=["as a stream", "whole"])
def test_every_token_is_seen_when_its_event_was_whole(tmp_path: Path, url: str, how: str, read: str) -> None:
    """Each token of each stream, at most 5 ms (the pause inside a split event) after it was written, and never before.

    5 ms is what tells the first half of an event from the second; how exact times are is the next test's.
    """
    seen = run(tmp_path / "run", url, f"/tokens/12/20/{how}", users=2, seconds=1.5, read=read)
    assert set(seen.requests.outcome) == ({"failed"} if "cut" in how else {"ok"})
    assert set(seen.requests.stream_tokens) == {12}
    late = np.concatenate([seen.tokens[number] - seen.written[number] for number in seen.requests.request_id])
    assert len(late) == 12 * len(seen.requests)
    assert (late > 0).all()
    assert np.percentile(late, 90) < 5 * NS_PER_MS
    for row in seen.requests.to_dict("records"):
        assert (row["first_token_ns"], row["last_token_ns"]) == tuple(seen.tokens[row["request_id"]][[0, -1]])
        # Role, empty, reasoning and tool-call events came first, 5 ms apart.
        assert "bare" in how or row["first_token_ns"] - row["first_byte_ns"] > 20 * NS_PER_MS


def test_fifty_streams_flow_as_the_server_wrote_them(tmp_path: Path, url: str) -> None:
    def biases(attempt: int) -> list[Percentiles]:
        """Of the time to the first token, and of the gaps between tokens."""
        seen = run(tmp_path / str(attempt), url, "/tokens/40/40/plain", users=50, seconds=8)
        ids = [number for number in seen.requests.request_id if number in seen.tokens]
        assert len(ids) > 100
        start = seen.requests.set_index("request_id").start_ns
        first = [(seen.tokens[i][0] - start[i]) / NS_PER_MS for i in ids]
        written = [(seen.written[i][0] - seen.received[i]) / NS_PER_MS for i in ids]
        gaps = [np.concatenate([np.diff(times[i]) for i in ids]) / NS_PER_MS for times in (seen.tokens, seen.written)]
        return [bias_ms(first, written), bias_ms(*gaps)]

    ask(f"{url}/ms/1")  # the first request that a server ever gets is its own trouble
    expect_no_bias(biases, url)


def test_a_stream_too_long_to_keep_loses_no_token(tmp_path: Path, url: str) -> None:
    """15,000 tokens are over 2 MiB, of which at most one is kept."""
    seen = run(tmp_path / "run", url, "/tokens/15000/0/plain", users=1, seconds=1)
    assert set(seen.requests.outcome) == {"ok"}
    assert seen.requests.bytes_in.min() > 2 << 20
    for number in seen.requests.request_id:
        late = seen.tokens[number] - seen.written[number]
        assert len(late) == 15_000
        assert (late > 0).all()


def test_httpuser_counts_tokens_and_knows_no_times(tmp_path: Path, url: str) -> None:
    seen = run(tmp_path / "run", url, "/tokens/5/10/plain", users=1, seconds=1, read=WHOLE, user="HttpUser")
    assert set(seen.requests.outcome) == {"ok"}
    assert set(seen.requests.stream_tokens) == {5}
    assert set(seen.requests.first_token_ns) == {-1}
    assert not seen.tokens
