"""Cost against a planted bill: every call's tokens times its price, to the cent and far below."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis import analyse
from harness.document import read
from harness.model.cost import CostFindings
from harness.planfile import load_prices
from tests.recordings import RecordingBuilder, experiment, plan

PRICES: dict[str, Any] = {
    "currency": "USD",
    "models": {
        "claude-3-5-sonnet": {"input": 0.003, "output": 0.015, "ids": ["anthropic.claude-3-5-sonnet-*"]},
        "gpt-4-turbo": {"input": 0.01, "output": 0.03},
    },
}
ROOT = Path(__file__).resolve().parents[2]
SONNET, TURBO, UNKNOWN = "anthropic.claude-3-5-sonnet-20240620-v1:0", "gpt-4-turbo", "mystery-1"
BILL = {
    SONNET: (Decimal("0.003"), Decimal("0.015")),
    TURBO: (Decimal("0.01"), Decimal("0.03")),
    UNKNOWN: (Decimal(0), Decimal(0)),
}
USERS, HOLD_S = 10, 60.0
OUTAGE = (20.0, 40.0)


def bill(model: str, tokens: tuple[int, int]) -> Decimal:
    price_in, price_out = BILL[model]
    return (tokens[0] * price_in + tokens[1] * price_out) / 1000


class Books:
    """A run of 60 s whose calls are booked as they are written."""

    def __init__(self, path: Path, *, prices: bool = True, load: dict[str, Any] | None = None) -> None:
        load = load or {"kind": "users", "users": USERS, "spawn": "1000/s", "hold": f"{HOLD_S}s"}
        target = {"prices": PRICES} if prices else {}
        self.builder = RecordingBuilder(path, plan(load=load, target=target, experiments=[experiment()]))
        self.builder.phases(baseline=0, fault=OUTAGE[0], recovery=OUTAGE[1], cooldown=HOLD_S)
        self.builder.fault("bedrock-blackhole-1", *OUTAGE, width_s=0.0)
        self.paid: dict[tuple[str, str], Decimal] = {}

    def book(self, key: str, word: str, amount: Decimal) -> None:
        self.paid[key, word] = self.paid.get((key, word), Decimal(0)) + amount

    def run(self) -> CostFindings:
        draw = np.random.default_rng(11)
        for i in range(600):
            due = i / 10
            out = OUTAGE[0] <= due < OUTAGE[1]
            tenant, agent = f"t{i % 3}", f"a{i % 4}"
            if i % 5 == 4:
                self.builder.request(due, 0.01, provider="cache", hits=1, tenant=tenant, agent=agent)
                continue
            failed = i % 50 == 7
            request = self.builder.request(
                due, 0.05, provider="bedrock", tenant=tenant, agent=agent, ledger=False,
                outcome="failed" if failed else "ok",
            )  # fmt: skip
            # Some calls are made twice, and those of failed requests are paid for, too.
            for _ in range(2 if i % 11 == 0 else 1):
                tokens = int(draw.integers(50, 400)), int(draw.integers(1, 900))
                model = UNKNOWN if i == 100 else TURBO if out else SONNET
                self.call("openai" if out else "bedrock", due, request, model, tokens)
                amount = bill(model, tokens)
                for key, word in (("tenant", tenant), ("agent", agent), ("total", ""), ("state", str(out))):
                    self.book(key, word, amount)
        for i in range(100):
            probe = self.builder.request(i / 2, 0.05, canary=True, ledger=False)
            self.call("bedrock", i / 2, probe, SONNET, (10, 20))
        self.builder.instrument(0, HOLD_S)
        found = analyse(self.builder.close(HOLD_S + 1))[0].cost
        assert isinstance(found, CostFindings)
        return found

    def call(self, upstream: str, due: float, request: int, model: str, tokens: tuple[int, int]) -> None:
        self.builder.call(upstream, due + 0.001, due + 0.04, request, tokens=tokens, model=model)


def test_the_bill_is_the_ledgers_tokens_times_the_prices(tmp_path: Path) -> None:
    books = Books(tmp_path)
    found = books.run()
    total = float(books.paid["total", ""])
    assert found.total.spent == pytest.approx(total, abs=1e-9)
    assert found.total.requests == 600
    assert found.total.answers == 588
    assert found.total.per_1k_requests == pytest.approx(1000 * total / 600)
    assert found.total.per_answer == pytest.approx(total / 588)
    assert found.per_user_hour == pytest.approx(total / (USERS * HOLD_S / 3600), rel=1e-3), "10 ms to start them all"
    for key, by in (("tenant", found.by_tenant), ("agent", found.by_agent)):
        assert {word: spend.spent for word, spend in by.items()} == pytest.approx(
            {word: float(amount) for (what, word), amount in books.paid.items() if what == key}, abs=1e-9
        )
    assert found.by_state["bedrock blackhole"].spent == pytest.approx(float(books.paid["state", "True"]), abs=1e-9)
    assert found.by_state["bedrock blackhole"].requests == 200
    assert found.by_state["healthy"].requests == 200, "the baseline, before the fault"
    assert set(found.by_upstream) == {"bedrock", "openai"}
    assert sum(spend.spent for spend in found.by_model.values()) == pytest.approx(total, abs=1e-9)
    assert found.unpriced == {UNKNOWN: 1}
    assert found.canary == pytest.approx(100 * float(bill(SONNET, (10, 20))))


def test_failing_over_to_a_dearer_model_shows(tmp_path: Path) -> None:
    found = Books(tmp_path).run()
    healthy, out = (found.by_state[name].per_1k_requests for name in ("healthy", "bedrock blackhole"))
    assert healthy is not None
    assert out is not None
    assert out > 2 * healthy
    assert found.per_user_hour_by_state["bedrock blackhole"] > 2 * found.per_user_hour_by_state["healthy"]


def test_a_state_is_paid_for_by_the_users_there_were_in_it(tmp_path: Path) -> None:
    """The outage has 10 s of 20 users and 10 s of 100; before it there were 20."""
    steps = [{"users": 20, "hold": "30s"}, {"users": 100, "hold": "30s"}]
    books = Books(tmp_path, load={"kind": "steps", "steps": steps})
    found = books.run()
    out, healthy = (found.by_state[name].spent for name in ("bedrock blackhole", "healthy"))
    assert found.per_user_hour_by_state == pytest.approx(
        {"bedrock blackhole": out / (1200 / 3600), "healthy": healthy / (400 / 3600)}
    )
    assert found.per_user_hour == pytest.approx(float(books.paid["total", ""]) / (3600 / 3600))


def test_the_cache_saves_what_its_hits_would_have_cost(tmp_path: Path) -> None:
    """A fifth of the requests are hits, and calls cost on average what they cost."""
    books = Books(tmp_path)
    found = books.run()
    assert found.cache is not None
    assert found.cache.hits == 120
    calls = found.total.calls
    assert found.cache.saved == pytest.approx(120 * found.total.spent / calls, rel=0.05)


def test_nobody_can_tell_whose_calls_they_were(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(target={"prices": PRICES}))
    builder.phases(steady=0, cooldown=60)
    builder.request(1, ledger=False)
    builder.call("bedrock", 1.1, 1.2)
    assert analyse(builder.close(61))[0].cost == "unsupported"


def test_without_prices_there_is_no_cost(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path)
    builder.phases(steady=0, cooldown=60)
    builder.request(1)
    assert analyse(builder.close(61))[0].cost is None


def test_the_audits_prices_know_the_models_of_the_reference_system() -> None:
    prices = load_prices(read(ROOT / "prices" / "audit.yaml"))
    for model, price in (
        (SONNET, (3e-6, 15e-6)),
        ("anthropic.claude-3-haiku-20240307-v1:0", (2.5e-7, 1.25e-6)),
        ("gpt-4-turbo-2024-04-09", (1e-5, 3e-5)),
        ("gemini-1.5-flash", (3.5e-7, 1.05e-6)),
    ):
        assert prices.of(model) == pytest.approx(price)
    assert prices.of("gpt-5") is None
