"""Every kind of fault on an upstream, on the real chain: Toxiproxy, the HTTP fault proxy, a provider simulator. A plain
client meets it on plain answers and on streams while it is on, and neither before nor after; the conductor agrees."""

from __future__ import annotations

import json
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.clock import now_ns
from harness.faults import KINDS
from harness.faults.catalogue import entries
from harness.faults.fault import UpstreamFault
from harness.faults.http import HttpFault
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.programs import TOXIPROXY
from tests.contract import fault_chain
from tests.contract.fault_chain import Chain, ask, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

UPSTREAM_KINDS = [name for name, kind in KINDS.items() if issubclass(kind, UpstreamFault)]
LATE = "answered late"

MEETS: dict[str, tuple[str, str]] = {
    "refuse": ("connection refused", "connection refused"),
    "reset": ("connection reset", "connection reset"),
    "blackhole": ("no answer", "no answer"),
    "slow": (LATE, LATE),
    "jitter": ("answered", "answered"),  # by chance late
    "bandwidth": (LATE, LATE),
    "sliced": (LATE, LATE),
    "cut": ("cut mid-way", "cut mid-way"),
    "slow_close": ("answered, closed late",) * 2,
    "rate_limited": ("HTTP 429, Retry-After, vendor's error",) * 2,
    "quota": ("HTTP 429, Retry-After, vendor's error",) * 2,  # the one request there is was used up
    "http_error": ("HTTP 503, vendor's error",) * 2,
    "unauthorized": ("HTTP 401, vendor's error",) * 2,
    "garbage": ("HTTP 200, unreadable",) * 2,
    "empty": ("HTTP 200, empty",) * 2,
    "wrong_content_type": ("HTTP 200, text/html",) * 2,
    "slow_first_token": (LATE, LATE),
    "stream_stall": ("stalls mid-way",) * 2,
    "stream_cut": ("cut mid-way",) * 2,
    "flapping": ("HTTP 503, vendor's error",) * 2,  # as the fault within
    "brownout": ("HTTP 503, vendor's error, late",) * 2,  # at `errors: 1.0`
}
"""What a client meets that wants a plain answer, and one that wants a stream."""


@pytest.fixture(scope="module")
def the_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    server = ToxiproxyServer.start(TOXIPROXY.ensure(), folder / "toxiproxy.log", seed=1)
    yield from fault_chain.chain(server.address, folder)
    server.stop()


def met(chain: Chain, *, stream: bool, late_s: float = 0.3) -> str:
    seen = ask(chain.address, stream=stream)
    if seen.took_s > late_s and "no answer" not in seen.words and "stalls" not in seen.words:
        return LATE if seen.words == "answered" else f"{seen.words}, late"
    return seen.words + (", closed late" if seen.closing_s > late_s else "")


@pytest.mark.parametrize("kind", UPSTREAM_KINDS)
def test_a_client_meets_it_while_it_is_on_and_not_before_or_after(the_chain: Chain, kind: str) -> None:
    assert [ask(the_chain.address, stream=stream).words for stream in (False, True)] == ["answered"] * 2

    conductor, path, events = the_chain.conduct(fault(kind))
    assert conductor.on == {f"{kind}-openai-1"}, conductor.failed
    if kind == "quota":
        ask(the_chain.address, stream=False)
    during = tuple(met(the_chain, stream=stream) for stream in (False, True))
    assert conductor.stop() == []
    assert conductor.failed == []

    assert [ask(the_chain.address, stream=stream).words for stream in (False, True)] == ["answered"] * 2
    if kind == "jitter":
        during = tuple(words.replace(LATE, "answered") for words in during)
    assert during == MEETS[kind]
    events.close()
    states = [json.loads(line)["data"]["state"] for line in path.read_text().splitlines()]
    assert states == ["journalled", "injecting", "effective", "clearing", "cleared"]


@pytest.mark.parametrize("kind", ["http_error", "stream_cut", "garbage"])
def test_a_share_of_requests_is_hit_and_all_are_seen_to_be_free_again(the_chain: Chain, kind: str) -> None:
    conductor, path, events = the_chain.conduct(fault(kind, share=0.3))
    with ThreadPoolExecutor(8) as pool:
        words = list(pool.map(lambda _: ask(the_chain.address, stream=False).words, range(200)))
    assert conductor.stop() == []
    assert 30 <= words.count(MEETS[kind][0]) <= 90  # of 200 at 0.3: five standard deviations either way
    assert set(words) == {"answered", MEETS[kind][0]}
    events.close()
    assert "20 probes in a row" in path.read_text()
    assert {ask(the_chain.address, stream=False).words for _ in range(30)} == {"answered"}


def test_every_kind_is_looked_at() -> None:
    assert set(MEETS) == set(UPSTREAM_KINDS)
    assert sum(issubclass(KINDS[kind], HttpFault) for kind in MEETS) == 11


@pytest.mark.parametrize("within", ["refuse", "stream_cut", "blackhole"])
def test_flapping_is_one_outage_with_every_turn_told(the_chain: Chain, within: str) -> None:
    spec = fault("flapping", fault={"kind": within}, period="1s", duty=0.6, **{"for": "3.2s"})
    conductor, path, events = the_chain.conduct(spec)
    met = []
    while not conductor.done:
        sent_ns = now_ns()
        met.append((sent_ns, now_ns(), ask(the_chain.address, stream=False, patience_s=0.2).words))
    assert conductor.stop() == []
    assert conductor.failed == []
    events.close()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    states = [(line["t_ns"], line["data"]["state"]) for line in told if line["data"]["state"] in ("on", "off")]
    assert [state for _, state in states] == ["off", "on"] * 3
    assert [line["data"]["state"] for line in told if line["data"]["state"] not in ("on", "off")] == [
        "journalled", "injecting", "effective", "clearing", "cleared",
    ]  # fmt: skip
    for (begin_ns, state), (end_ns, _) in pairwise(states):
        words = {word for sent, _, word in met if begin_ns + 10**7 < sent < end_ns - 210 * 10**6}
        assert words == ({"answered"} if state == "off" else {MEETS[within][0]})


def test_a_brownout_is_slow_for_all_and_an_error_for_some(the_chain: Chain) -> None:
    conductor, _, events = the_chain.conduct(fault("brownout", errors=0.4))
    with ThreadPoolExecutor(8) as pool:
        words = list(pool.map(lambda _: met(the_chain, stream=False), range(100)))
    assert conductor.stop() == []
    events.close()
    assert set(words) == {LATE, "HTTP 503, vendor's error, late"}
    assert 16 <= words.count("HTTP 503, vendor's error, late") <= 64  # five standard deviations either way


def test_the_example_of_the_docs_is_a_fault(the_chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "writing-faults.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    module = types.ModuleType("written_by_a_reader")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "docs/writing-faults.md", "exec"), module.__dict__)  # noqa: S102 - our own page
    assert '    "late_questions": LateQuestions,\n' in page
    monkeypatch.setitem(KINDS, "late_questions", module.LateQuestions)
    assert met(the_chain, stream=False) == "answered"
    conductor, path, events = the_chain.conduct(fault("late_questions", latency="500ms"))
    assert conductor.on, conductor.failed
    assert met(the_chain, stream=False) == LATE
    assert conductor.stop() == []
    assert conductor.failed == []
    events.close()
    assert [json.loads(line)["data"]["state"] for line in path.read_text().splitlines()][-1] == "cleared"
    assert met(the_chain, stream=False) == "answered"
    (entry,) = [entry for entry in entries() if entry.kind == "late_questions"]
    assert [str(setting) for setting in entry.settings][-1] == "latency (duration, 0.02s or more, required)"
