"""The reference agent system over HTTP: what it promises its users, checked against the simulators' ledgers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contract.reference_processes import FAST, TRACE_ID, free_port, started

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

TASK = "/teams/meetmind/agents/architect/tasks/design_analysis_framework"
TENANT = {"x-tenant-id": "meetmind"}
TWO, THREE = ("bedrock", "openai"), ("bedrock", "openai", "google")


@dataclass
class Running:
    """A gateway and its simulators, with the seqs from which their rows are of interest."""

    url: str
    providers: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]]
    after: dict[str, int] = field(default_factory=dict)

    def mark(self) -> None:
        """Forget the rows so far."""
        self.after = {name: httpx.get(f"{url}/ledger").json()["next_seq"] - 1 for name, url in self.providers.items()}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Final rows since the mark, when nothing is in flight any more."""
        url = f"{self.providers[name]}/ledger?after={self.after.get(name, 0)}"
        for _ in range(200):
            page = httpx.get(url).json()
            if not page["in_flight"]:
                break
            time.sleep(0.01)
        rows: list[dict[str, Any]] = page["rows"]
        return rows

    def break_provider(self, name: str, mode: str) -> None:
        httpx.put(f"{self.providers[name]}/control", json={"mode": mode}).raise_for_status()

    def ask(self, text: str, path: str = TASK, **headers: str) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json={"input": text}, headers={**TENANT, **headers}, timeout=20)

    def stream(self, text: str) -> tuple[httpx.Response, list[str]]:
        body = {"input": text, "stream": True}
        answer = httpx.post(f"{self.url}{TASK}", json=body, headers=TENANT, timeout=20)
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        return answer, events

    def health(self) -> dict[str, Any]:
        body: dict[str, Any] = httpx.get(f"{self.url}/health").json()
        return body

    def metric(self, line: str) -> float:
        """The value of the series `line`, 0 when there is none."""
        for found in httpx.get(f"{self.url}/metrics").text.splitlines():
            if found.startswith(line + " "):
                return float(found.rsplit(" ", 1)[1])
        return 0.0


@contextmanager
def agent_system(
    providers: dict[str, str] | None = None, names: tuple[str, ...] = TWO, **agents: str
) -> Iterator[Running]:
    with ExitStack() as stack:
        urls, processes = {}, {}
        for name in names:
            port = free_port()
            urls[name] = f"http://127.0.0.1:{port}"
            processes[name] = stack.enter_context(
                started(
                    *("reference.provider", "--name", name, "--port", str(port)),
                    ready=f"{urls[name]}/healthz",
                    env={**FAST, **(providers or {})},
                )
            )
        port = free_port()
        env = {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": urls["bedrock"],
            "OPENAI_BASE_URL": f"{urls['openai']}/v1",
            "GOOGLE_GEMINI_BASE_URL": urls.get("google", ""),
            "AGENTS_BREAKER_OPEN_S": "0.3",
            "AGENTS_BREAKER_OPEN_CAP_S": "0.3",
            **agents,
        }
        url = f"http://127.0.0.1:{port}"
        processes["gateway"] = stack.enter_context(
            started("reference.gateway", "--port", str(port), ready=f"{url}/ready", env=env)
        )
        yield Running(url, urls, processes)


@pytest.fixture(scope="module")
def shared() -> Iterator[Running]:
    with agent_system() as running:
        yield running


@pytest.fixture
def system(shared: Running) -> Iterator[Running]:
    """The shared system, whole and with closed breakers, before and after."""
    shared.mark()
    yield shared
    for name in shared.providers:
        shared.break_provider(name, "ok")
    if shared.health()["status"] == "healthy":
        return
    # OpenAI is only asked, and so only tried again, while Bedrock does not answer.
    time.sleep(0.35)
    shared.break_provider("bedrock", "error_500")
    shared.ask(f"heal openai {time.monotonic_ns()}")
    shared.break_provider("bedrock", "ok")
    time.sleep(0.35)
    shared.ask(f"heal bedrock {time.monotonic_ns()}")
    assert shared.health()["status"] == "healthy"


def paid(answer: httpx.Response) -> tuple[int, int]:
    return int(answer.headers["x-tokens-in"]), int(answer.headers["x-tokens-out"])


def test_an_answer_has_the_promised_body_and_headers(system: Running) -> None:
    answer = system.ask("first", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")
    assert answer.status_code == 200
    body, headers = answer.json(), answer.headers
    assert list(body) == [
        *("request_id", "trace_id", "tenant", "team", "agent", "task", "answer", "degraded"),
        *("provider", "model", "cached", "usage", "cost_usd"),
    ]
    assert body["trace_id"] == TRACE_ID
    assert (body["tenant"], body["team"], body["agent"]) == ("meetmind", "meetmind", "architect")
    assert (body["degraded"], body["provider"], body["cached"]) == (False, "bedrock", False)
    assert headers["x-request-id"] == body["request_id"]
    assert float(headers["x-response-time"]) > 0
    assert (headers["x-llm-provider"], headers["x-degraded"]) == ("bedrock", "false")
    assert (headers["x-cache"], headers["x-cache-lookups"], headers["x-cache-hits"]) == ("miss", "1", "0")
    assert paid(answer) == (body["usage"]["input"], body["usage"]["output"])
    assert body["cost_usd"] == pytest.approx((paid(answer)[0] * 0.003 + paid(answer)[1] * 0.015) / 1000)
    (row,) = system.rows("bedrock")
    assert (row["trace_id"], row["tenant"], row["agent"]) == (TRACE_ID, "meetmind", "meetmind.architect")
    assert row["span_id"] not in (None, "b7ad6b7169203331")
    assert (row["tokens_in"], row["tokens_out"]) == paid(answer)


def test_a_second_answer_is_cached_and_free_but_not_for_another_tenant(system: Running) -> None:
    first, second = system.ask("twice"), system.ask("twice")
    other = system.ask("twice", **{"x-tenant-id": "feliciasfi"})
    assert second.json()["answer"] == first.json()["answer"]
    assert (second.json()["provider"], second.json()["cached"]) == ("cache", True)
    assert (second.headers["x-cache"], second.headers["x-cache-hits"]) == ("hit", "1")
    assert paid(second) == (0, 0)
    assert float(second.headers["x-cost-usd"]) == 0.0
    assert other.headers["x-cache"] == "miss"
    assert len(system.rows("bedrock")) == 2


def test_lookups_are_hits_plus_provider_calls(system: Running) -> None:
    answers = [system.ask(f"lookup {number % 4}") for number in range(10)]
    lookups = sum(int(answer.headers["x-cache-lookups"]) for answer in answers)
    hits = sum(int(answer.headers["x-cache-hits"]) for answer in answers)
    assert (lookups, hits) == (10, 6)
    assert lookups == hits + len(system.rows("bedrock")) + len(system.rows("openai"))


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (TASK, {"x-tenant-id": ""}, 400, "tenant_missing"),
        (TASK, {"x-tenant-id": "acme"}, 403, "tenant_unknown"),
        ("/teams/x/agents/architect/tasks/t", {}, 404, "not_found"),
        ("/teams/meetmind/agents/banking/tasks/t", {}, 404, "not_found"),
        ("/teams/meetmind/agents/architect/tasks/t", {}, 404, "not_found"),
        ("/teams/x/workflow", {}, 404, "not_found"),
        ("/nowhere", {}, 404, "http_error"),
    ],
)
def test_requests_that_cannot_be_served_say_why(
    system: Running, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = system.ask("x", path, **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-request-id"]
    if code == "not_found":
        assert answer.json()["error"]["allowed"]


def test_a_body_that_is_wrong_is_refused(system: Running) -> None:
    answer = httpx.post(f"{system.url}{TASK}", json={"inptu": "x"}, headers=TENANT)
    assert answer.status_code == 422
    assert "inptu" in answer.json()["error"]["message"]


def test_the_audited_header_names_work_too(system: Running) -> None:
    trace = "0af76519-16cd-43dd-8448-eb211c80319d"
    answer = httpx.post(
        f"{system.url}{TASK}",
        json={"input": "mcp"},
        headers={"X-MCP-Tenant-ID": "agentsvea", "X-MCP-Trace-ID": trace},
    )
    assert answer.json()["tenant"] == "agentsvea"
    assert answer.json()["trace_id"] == trace.replace("-", "")
    assert [row["trace_id"] for row in system.rows("bedrock")] == [trace.replace("-", "")]


@pytest.mark.parametrize("mode", ["rate_limited", "error_500", "unavailable", "overloaded", "garbage", "cut_stream"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_outage_of_bedrock_fails_over_to_openai(system: Running, mode: str, *, stream: bool) -> None:
    if stream and mode == "cut_stream":
        pytest.skip("a stream that has begun cannot fail over; it has a test of its own")
    system.break_provider("bedrock", mode)
    for number in range(5):
        text = f"{mode} {stream} {number}"
        answer = system.stream(text)[0] if stream else system.ask(text)
        assert answer.status_code == 200
        assert (answer.headers["x-llm-provider"], answer.headers["x-degraded"]) == ("openai", "false")
    assert len(system.rows("openai")) == 5
    asked = [row["received_ns"] for row in system.rows("bedrock")]
    early = [at for at in asked[3:] if at < asked[2] + 0.2e9]  # whoever takes longer finds it half open, and asks again
    assert (len(asked[:3]), early) == (3, []), "the breaker opens after three failures"
    health = system.health()
    assert health["status"] == "degraded"
    assert health["providers"]["bedrock"]["available"] is False


def test_both_out_gives_rule_based_answers_that_say_so_and_are_not_cached(system: Running) -> None:
    system.break_provider("bedrock", "error_500")
    system.break_provider("openai", "rate_limited")
    for _ in range(2):
        answer = system.ask("We agreed to ship on Friday. Anna will test it.")
        body = answer.json()
        assert (answer.status_code, body["provider"], body["degraded"], body["cached"]) == (200, "local", True, False)
        assert "Anna will test it." in body["answer"]
        assert (answer.headers["x-cache"], answer.headers["x-degraded"], paid(answer)) == ("miss", "true", (0, 0))
    answer, events = system.stream("We agreed to ship on Friday.")
    assert (answer.headers["x-llm-provider"], answer.headers["x-degraded"]) == ("local", "true")
    assert json.loads(events[-2])["degraded"] is True
    assert events[-1] == "[DONE]"


def test_bedrock_is_used_again_after_recovery_without_outside_help(system: Running) -> None:
    system.break_provider("bedrock", "error_500")
    for number in range(3):
        system.ask(f"open {number}")
    assert system.metric('llm_circuit_state{provider="bedrock"}') == 2
    assert system.health()["providers"]["bedrock"]["breaker"] == "open"
    system.break_provider("bedrock", "ok")
    time.sleep(0.4)
    assert system.health()["providers"]["bedrock"]["breaker"] == "half_open"
    assert system.metric('llm_circuit_state{provider="bedrock"}') == 1
    assert system.ask("trial").headers["x-llm-provider"] == "bedrock"
    assert system.metric('llm_circuit_state{provider="bedrock"}') == 0
    assert system.health()["status"] == "healthy"


def test_a_stream_arrives_in_pieces_and_is_never_cached(system: Running) -> None:
    for _ in range(2):
        answer, events = system.stream("stream me")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["x-llm-provider"], answer.headers["x-cache"]) == ("bedrock", "bypass")
        assert "x-tokens-out" not in answer.headers
        deltas = [json.loads(event)["delta"] for event in events[:-2]]
        assert len(deltas) > 1
        assert all(deltas)
        done = json.loads(events[-2])
        assert (done["done"], done["provider"], done["degraded"]) == (True, "bedrock", False)
        assert done["cost_usd"] > 0
        assert events[-1] == "[DONE]"
    rows = system.rows("bedrock")
    assert [row["stream"] for row in rows] == [True, True]
    assert done["usage"] == {"input": rows[-1]["tokens_in"], "output": rows[-1]["tokens_out"]}


@pytest.mark.parametrize("provider", ["bedrock", "openai"])
def test_a_stream_that_dies_ends_with_an_error_and_no_end_marker(system: Running, provider: str) -> None:
    system.break_provider("bedrock", "cut_stream" if provider == "bedrock" else "error_500")
    system.break_provider("openai", "cut_stream")
    answer, events = system.stream(f"die {provider}")
    assert answer.status_code == 200
    assert answer.headers["x-llm-provider"] == provider
    assert "delta" in json.loads(events[0])
    error = json.loads(events[-1])["error"]
    assert (error["code"], error["provider"]) == ("provider_connection", provider)
    errors = f'llm_errors_total{{error_type="connection",provider="{provider}"}}'
    assert system.metric(errors) >= 1


def test_a_workflow_runs_five_agents_and_sums_up(system: Running) -> None:
    path = "/teams/agentsvea/workflow"
    answer = system.ask("Bokför faktura 1250 kr med 25 % moms på konto 4010", path)
    body = answer.json()
    assert [step["agent"] for step in body["steps"]] == [
        *("coordinator", "architect", "product_manager", "implementation", "quality_assurance")
    ]
    assert {step["provider"] for step in body["steps"]} == {"bedrock"}
    assert (body["provider"], body["cached"], body["degraded"]) == ("bedrock", False, False)
    assert body["usage"]["output"] == sum(step["usage"]["output"] for step in body["steps"])
    assert (answer.headers["x-cache"], answer.headers["x-cache-lookups"]) == ("miss", "5")
    rows = system.rows("bedrock")
    assert [row["agent"] for row in rows] == [f"agentsvea.{step['agent']}" for step in body["steps"]]
    assert {row["trace_id"] for row in rows} == {body["trace_id"]}
    assert len({row["span_id"] for row in rows}) == 5
    again = system.ask("Bokför faktura 1250 kr med 25 % moms på konto 4010", path)
    assert (again.headers["x-cache"], again.headers["x-cache-hits"]) == ("hit", "5")
    assert (again.json()["cached"], again.json()["provider"]) == (True, "cache")
    system.break_provider("bedrock", "unavailable")
    mixed = system.ask("Bokför faktura 1250 kr med 25 % moms på konto 4010", "/teams/meetmind/workflow")
    assert mixed.headers["x-llm-provider"] == "openai"


async def test_headers_belong_to_their_own_call_under_concurrency(system: Running) -> None:
    traces = {f"{number:032x}": f"concurrent {number}" for number in range(1, 61)}
    async with httpx.AsyncClient(timeout=20) as client:

        async def ask(trace: str, text: str) -> httpx.Response:
            tenant = ("meetmind", "agentsvea", "feliciasfi")[int(trace, 16) % 3]
            headers = {"x-tenant-id": tenant, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            return await client.post(f"{system.url}{TASK}", json={"input": text}, headers=headers)

        answers = await asyncio.gather(*(ask(*item) for item in traces.items()))
    rows = {row["trace_id"]: row for row in system.rows("bedrock")}
    assert set(rows) == set(traces)
    for answer in answers:
        row = rows[answer.json()["trace_id"]]
        assert row["tenant"] == answer.json()["tenant"]
        assert row["tokens_out"] == answer.json()["usage"]["output"]


def test_metrics_have_the_names_dashboards_know(system: Running) -> None:
    system.ask("metrics")
    text = httpx.get(f"{system.url}/metrics").text
    for series in (
        'llm_requests_total{agent_id="meetmind.architect",model="claude-3-5-sonnet",provider="bedrock",status="success"}',
        'llm_request_duration_seconds_bucket{agent_id="meetmind.architect",le="0.1",model="claude-3-5-sonnet",provider="bedrock"}',
        'llm_tokens_used_total{agent_id="meetmind.architect",model="claude-3-5-sonnet",provider="bedrock",token_type="input"}',
        'llm_cache_misses_total{agent_id="meetmind.architect",model="claude-3-5-sonnet"}',
        'llm_cost_total{agent_id="meetmind.architect",model="claude-3-5-sonnet",provider="bedrock"}',
        'llm_active_requests{agent_id="meetmind.architect",provider="bedrock"} 0.0',
        'llm_circuit_state{provider="bedrock"} 0.0',
        'llm_circuit_state{provider="openai"} 0.0',
        'http_requests_total{endpoint="/teams/{team}/agents/{agent}/tasks/{task}",method="POST",status_code="200"}',
        "process_resident_memory_bytes",
    ):
        assert series in text


def test_metrics_agree_with_the_ledger(system: Running) -> None:
    series = 'llm_cache_misses_total{agent_id="meetmind.quality_assurance",model="claude-3-haiku"}'
    path = "/teams/meetmind/agents/quality_assurance/tasks/validate_analysis_quality"
    before = system.metric(series)
    for number in range(6):
        system.ask(f"agree {number % 3}", path)
    assert system.metric(series) - before == len(system.rows("bedrock")) == 3


def test_costs_add_up_per_tenant_and_agent(system: Running) -> None:
    def svea() -> float:
        tenants = httpx.get(f"{system.url}/costs").json()["tenants"]
        return float(tenants.get("agentsvea", {}).get("cost_usd", 0.0))

    before = svea()
    answer = system.ask("costs", **{"x-tenant-id": "agentsvea"})
    assert svea() - before == pytest.approx(answer.json()["cost_usd"], abs=1e-7)


def test_the_catalogue_is_published(system: Running) -> None:
    teams = httpx.get(f"{system.url}/v1/catalogue").json()["teams"]
    assert sum(len(agents) for agents in teams.values()) == 16


def test_google_is_asked_after_openai_and_before_the_rules() -> None:
    with agent_system(names=THREE, AGENTS_BREAKER_OPEN_S="30", AGENTS_BREAKER_OPEN_CAP_S="30") as system:
        assert list(system.health()["providers"]) == [*THREE]
        for name in THREE:
            assert system.ask(f"{name} answers").headers["x-llm-provider"] == name
            assert system.stream(f"{name} answers")[0].headers["x-llm-provider"] == name
            assert system.metric(f'llm_circuit_state{{provider="{name}"}}') == 0
            system.break_provider(name, "unavailable")
        for number in range(3):
            answer = system.ask(f"nobody answers {number}")
            assert (answer.headers["x-llm-provider"], answer.headers["x-degraded"]) == ("local", "true")
        for name in THREE:
            assert system.metric(f'llm_circuit_state{{provider="{name}"}}') == 2
            assert system.health()["providers"][name]["breaker"] == "open"


@pytest.fixture(scope="module")
def google_alone() -> Iterator[Running]:
    """All but Google is out, and no breaker ever opens."""
    with agent_system(names=THREE, AGENTS_BREAKER_FAILURES="1000") as running:
        for name in TWO:
            running.break_provider(name, "unavailable")
        yield running


@pytest.fixture
def google(google_alone: Running) -> Iterator[Running]:
    google_alone.mark()
    yield google_alone
    google_alone.break_provider("google", "ok")


def test_an_answer_of_googles_is_priced_counted_and_in_its_ledger(google: Running) -> None:
    answer = google.ask("priced", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")
    body = answer.json()
    assert (body["provider"], body["model"], body["degraded"]) == ("google", "gemini-1.5-pro", False)
    assert body["cost_usd"] == pytest.approx((paid(answer)[0] * 0.0035 + paid(answer)[1] * 0.0105) / 1000)
    (row,) = google.rows("google")
    assert (row["trace_id"], row["tenant"], row["agent"]) == (TRACE_ID, "meetmind", "meetmind.architect")
    assert row["span_id"] not in (None, "b7ad6b7169203331")
    assert (row["model"], row["tokens_in"], row["tokens_out"]) == ("gemini-1.5-pro", *paid(answer))
    assert google.ask("priced").headers["x-cache"] == "hit"
    labels = 'agent_id="meetmind.architect",model="claude-3-5-sonnet",provider="google"'
    assert google.metric(f'llm_requests_total{{{labels},status="success"}}') == 1
    assert google.metric(f"llm_cost_total{{{labels}}}") == pytest.approx(body["cost_usd"], abs=1e-7)


def test_a_stream_of_googles_arrives_in_pieces(google: Running) -> None:
    answer, events = google.stream("stream me")
    assert answer.headers["x-llm-provider"] == "google"
    assert len(events) > 4
    done = json.loads(events[-2])
    assert (done["done"], done["provider"], done["model"]) == (True, "google", "gemini-1.5-pro")
    (row,) = google.rows("google")
    assert (row["stream"], done["usage"]) == (True, {"input": row["tokens_in"], "output": row["tokens_out"]})


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("rate_limited", "rate_limited"),
        ("error_500", "server_error"),
        ("unavailable", "server_error"),
        ("overloaded", "server_error"),
        ("garbage", "bad_answer"),
        ("cut_stream", "connection"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_every_outage_of_google_is_told_and_leaves_the_rules(
    google: Running, mode: str, kind: str, *, stream: bool
) -> None:
    series = f'llm_errors_total{{error_type="{kind}",provider="google"}}'
    before = google.metric(series)
    google.break_provider("google", mode)
    text = f"{mode} {stream}"
    answer, events = google.stream(text) if stream else (google.ask(text), [])
    if stream and mode == "cut_stream":
        error = json.loads(events[-1])["error"]
        assert (error["code"], error["provider"]) == ("provider_connection", "google")
    else:
        assert (answer.headers["x-llm-provider"], answer.headers["x-degraded"]) == ("local", "true")
    assert google.metric(series) == before + 1
    assert len(google.rows("google")) == 1, "the SDK does not try again"


@pytest.fixture(scope="module")
def slow_and_strict() -> Iterator[Running]:
    """Providers that take for ever, and a gateway that waits 0.3 s for them."""
    times = {
        "PROVIDER_LATENCY_MEDIAN_S": "30",
        "PROVIDER_FIRST_TOKEN_MEDIAN_S": "0.05",
        "PROVIDER_TOKENS_PER_SECOND": "4",
    }
    limits = {"AGENTS_CALL_TIMEOUT_S": "0.3", "AGENTS_TOKEN_GAP_TIMEOUT_S": "0.5"}
    with agent_system(times, THREE, **limits) as running:
        yield running


def test_a_hang_costs_one_time_out_per_provider_and_is_cancelled_there(slow_and_strict: Running) -> None:
    system = slow_and_strict
    started_at = time.monotonic()
    answer = system.ask("hang")
    assert 0.9 <= time.monotonic() - started_at < 1.8
    assert answer.headers["x-llm-provider"] == "local"
    for name in THREE:
        assert [row["status"] for row in system.rows(name)] == ["cancelled"]


def test_a_stream_that_stalls_ends_with_an_error(slow_and_strict: Running) -> None:
    slow_and_strict.mark()
    answer, events = slow_and_strict.stream("stall")
    assert answer.status_code == 200
    assert json.loads(events[-1])["error"]["code"] == "provider_timeout"
    assert [row["status"] for row in slow_and_strict.rows("bedrock")] == ["cancelled"]


@pytest.mark.parametrize("provider", THREE)
async def test_a_user_who_leaves_a_stream_is_noticed_at_the_provider(provider: str) -> None:
    with agent_system({"PROVIDER_TOKENS_PER_SECOND": "10"}, THREE) as system:
        for name in THREE[: THREE.index(provider)]:
            system.break_provider(name, "unavailable")
        body = {"input": "leave", "stream": True}
        async with (
            httpx.AsyncClient() as client,
            client.stream("POST", f"{system.url}{TASK}", json=body, headers=TENANT) as answer,
        ):
            await anext(answer.aiter_bytes())
        await asyncio.sleep(0.3)
        assert [row["status"] for row in system.rows(provider)] == ["cancelled"]
        assert system.metric(f'llm_active_requests{{agent_id="meetmind.architect",provider="{provider}"}}') == 0
        assert system.health()["status"] == "healthy", "a user who leaves says nothing about the provider"


def test_a_killed_provider_is_failed_over_and_a_request_in_flight_too() -> None:
    user_code = (
        "import httpx, sys; r = httpx.post(sys.argv[1], json={'input': 'in flight'},"
        " headers={'x-tenant-id': 'meetmind'}, timeout=20); print(r.headers['x-llm-provider'])"
    )
    with agent_system({"PROVIDER_LATENCY_MEDIAN_S": "0.6", "PROVIDER_LATENCY_SIGMA": "0"}) as system:
        command = [sys.executable, "-c", user_code, f"{system.url}{TASK}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as user:
            give_up = time.monotonic() + 10
            while not httpx.get(f"{system.providers['bedrock']}/ledger").json()["in_flight"]:
                assert time.monotonic() < give_up
                time.sleep(0.01)
            system.processes["bedrock"].kill()
            assert user.communicate(timeout=20)[0].strip() == b"openai"
        for number in range(3):
            assert system.ask(f"killed {number}").headers["x-llm-provider"] == "openai"
        assert len(system.rows("openai")) == 4


def test_aws_only_fails_openly_and_health_says_so() -> None:
    with agent_system(AGENTS_MODE="aws_only", AGENTS_BREAKER_OPEN_S="5", AGENTS_BREAKER_OPEN_CAP_S="5") as system:
        assert system.ask("fine").headers["x-llm-provider"] == "bedrock"
        system.break_provider("bedrock", "error_500")
        for number in range(4):
            answer = system.ask(f"fails {number}")
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "provider_unavailable"
        assert system.stream("fails")[0].status_code == 503
        health = httpx.get(f"{system.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert list(health.json()["providers"]) == ["bedrock"]
        assert system.rows("openai") == []


def test_local_only_asks_nobody_and_graceful_stop_is_clean() -> None:
    with agent_system(AGENTS_MODE="local_only") as system:
        answer = system.ask("anything")
        assert (answer.headers["x-llm-provider"], answer.headers["x-cache"]) == ("local", "bypass")
        assert answer.json()["degraded"] is True
        assert system.health()["status"] == "degraded"
        assert system.rows("bedrock") == []
        system.processes["gateway"].send_signal(signal.SIGTERM)
        assert system.processes["gateway"].wait(5) == 0
