"""The workload for k6 makes the requests of the one for Locust: both are run against a server that writes them down."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import chi2_contingency

from harness.clock import NS_PER_S, now_ns, sleep
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Observe, Target
from harness.recording.reader import read_stream
from harness.traffic import KINDS
from tests.having_k6 import k6_or_skip

pytestmark = [pytest.mark.real, pytest.mark.slow]

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
STREAMED = re.compile(r" \(stream\)$")
REFERENCE = re.compile(r" \[ref \d{9}\]$")


@dataclass
class Seen:
    """What one engine sent, and its recording."""

    requests: list[tuple[str, str, str, dict[str, Any]]] = field(default_factory=list)
    """Path, tenant, content type, body."""
    rows: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def questions(self) -> dict[str, set[str]]:
        known: dict[str, set[str]] = {}
        for path, _, _, body in self.requests:
            known.setdefault(path, set()).add(REFERENCE.sub("", body["input"]))
        return known


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[Any]]]:
    log: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            log.append((self.path, self.headers["x-mcp-tenant-id"], self.headers["content-type"], body))
            text = b"data: [DONE]\n\n" if body.get("stream") else b'{"answer": "ok"}'
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", log
    server.shutdown()
    server.server_close()


def run(engine: str, load: dict[str, Any], server: tuple[str, list[Any]], folder: Path) -> Seen:
    url, log = server
    log.clear()
    plan = Plan(
        target=Target(target="t", system=ExternalSystem(kind="external"), url=url, observe=Observe()),
        scenario=Scenario.model_validate({"scenario": "s", "workload": "agents.py", "load": load}),
        engine=engine,
        seed=11,
        workload_path=SCENARIOS / f"agents{'.js' if engine == 'k6' else '.py'}",
        target_dir=folder,
    )
    running = KINDS[engine](plan, folder / engine, 5)
    try:
        running.prepare()
        running.begin(now_ns() + NS_PER_S // 5, url)
        while not running.finished:
            sleep(0.1)
            running.batches()
    finally:
        running.kill()
    table, cut = read_stream(folder / engine / "requests" / f"{engine}-0.arrows")
    assert not cut
    rows = table.to_pandas().sort_values("start_ns")
    assert Counter(rows.outcome) == {"ok": len(log)}
    return Seen(list(log), rows)


@pytest.fixture(scope="module")
def both(server: tuple[str, list[Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Four thousand arrivals of each."""
    k6_or_skip()
    load = {"kind": "rate", "rate": "250/s", "hold": "16s", "max_in_flight": 200}
    folder = tmp_path_factory.mktemp("both")
    return {engine: run(engine, load, server, folder) for engine in ("locust", "k6")}


def test_they_send_the_same_requests(both: dict[str, Seen]) -> None:
    locust, k6 = both["locust"], both["k6"]
    assert len(locust.requests) == len(k6.requests) == 4000
    assert {r[:3] for r in k6.requests} == {r[:3] for r in locust.requests}
    assert k6.questions == locust.questions
    assert sum(map(len, k6.questions.values())) > 60
    keys = {engine: {tuple(sorted(r[3])) for r in seen.requests} for engine, seen in both.items()}
    assert keys["k6"] == keys["locust"] == {("input",), ("input", "stream")}


def test_their_rows_have_the_same_names(both: dict[str, Seen]) -> None:
    def names(seen: Seen) -> set[tuple[str, ...]]:
        rows = seen.rows
        bare = rows.name.astype(str).str.replace(STREAMED, "", regex=True)
        return set(zip(bare, rows.team, rows.agent, rows.tenant, strict=True))

    assert names(both["k6"]) == names(both["locust"])
    assert {team for _, team, _, _ in names(both["k6"])} == {"meetmind", "agentsvea", "feliciasfi"}


@pytest.mark.parametrize("what", ["task", "question"])
def test_they_ask_as_often(both: dict[str, Seen], what: str) -> None:
    """Two samples of 4000 from one distribution: a chi-square this large comes once in a thousand seeds."""

    def counts(seen: Seen) -> Counter[str]:
        return Counter(
            path if what == "task" else f"{path} {REFERENCE.sub('', body['input'])}"
            for path, _, _, body in seen.requests
        )

    k6, locust = counts(both["k6"]), counts(both["locust"])
    assert k6.keys() == locust.keys()
    table = [[k6[key] for key in sorted(k6)], [locust[key] for key in sorted(k6)]]
    assert chi2_contingency(table).pvalue > 0.001


def test_they_repeat_themselves_as_often(both: dict[str, Seen]) -> None:
    for seen in both.values():
        repeated = sum(not REFERENCE.search(body["input"]) for *_, body in seen.requests) / len(seen.requests)
        assert repeated == pytest.approx(0.45, abs=0.025)  # by three standard deviations


def test_users_are_of_the_same_teams_and_think_as_long(server: tuple[str, list[Any]], tmp_path: Path) -> None:
    load = {"kind": "users", "users": 40, "spawn": "200/s", "hold": "13s"}
    seen = {engine: run(engine, load, server, tmp_path) for engine in ("locust", "k6")}
    # The first request of each user: 40 of them came before anybody had thought.
    firsts = {engine: list(s.rows.team.astype(str)[:40]) for engine, s in seen.items()}
    assert Counter(firsts["k6"]) == Counter(firsts["locust"]) == {"meetmind": 16, "agentsvea": 12, "feliciasfi": 12}
    rows = seen["k6"].rows.assign(vu=lambda rows: rows.request_id // 2**24)
    assert (rows.groupby("vu").team.nunique() == 1).all()
    gaps = (rows.start_ns - rows.groupby("vu").end_ns.shift())[lambda gaps: gaps.notna()] / NS_PER_S
    assert len(gaps) > 50
    assert gaps.between(2, 10.1).all()
    assert gaps.std() > 1.5  # uniform from 2 to 10: 2.3, less for the long ones that were cut
    assert len(seen["k6"].rows) == pytest.approx(len(seen["locust"].rows), rel=0.2)
