"""The parts of the simulator: framing, draws, prose, the ledger."""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from reference.provider import answers, eventstream
from reference.provider.bedrock_format import BedrockFormat
from reference.provider.draws import Draws
from reference.provider.ledger import Entry, Ledger
from reference.provider.settings import ProviderSettings


def new_buffer() -> Any:
    untyped: Any = EventStreamBuffer
    return untyped()


@given(st.lists(st.text(max_size=300), max_size=8), st.integers(1, 50))
def test_frames_are_read_back_by_the_vendors_own_parser(texts: list[str], chunk: int) -> None:
    data = b"".join(eventstream.event("contentBlockDelta", {"delta": {"text": text}}) for text in texts)
    buffer, read = new_buffer(), []
    for at in range(0, len(data), chunk):
        buffer.add_data(data[at : at + chunk])
        read += list(buffer)
    assert [json.loads(message.payload)["delta"]["text"] for message in read] == texts
    for message in read:
        assert message.headers == {
            ":event-type": "contentBlockDelta",
            ":content-type": "application/json",
            ":message-type": "event",
        }


def test_garbage_fails_the_checksum() -> None:
    buffer = new_buffer()
    buffer.add_data(BedrockFormat().garbage(stream=True))
    with pytest.raises(ChecksumMismatch):
        next(buffer)


def test_draws_depend_on_seed_and_number_alone() -> None:
    forth = [Draws(ProviderSettings(seed=3)).call(number) for number in range(1, 50)]
    draws = Draws(ProviderSettings(seed=3))
    back = [draws.call(number) for number in range(49, 0, -1)]
    assert forth == back[::-1]
    assert Draws(ProviderSettings(seed=4)).call(1) != forth[0]


def test_latency_is_log_normal_about_its_median() -> None:
    draws = Draws(ProviderSettings(seed=1, latency_median_s=0.3, latency_sigma=0.3))
    logs = [math.log(draws.call(number).latency_s) for number in range(1, 4001)]
    assert math.exp(statistics.median(logs)) == pytest.approx(0.3, rel=0.03)
    assert statistics.stdev(logs) == pytest.approx(0.3, rel=0.05)


@given(st.integers(0, 1 << 16), st.integers(1, 400))
def test_prose_has_the_wanted_length_and_reads_as_text(start: int, tokens: int) -> None:
    pieces = answers.prose(start, tokens)
    assert len(pieces) == tokens
    assert all(pieces)
    assert "  " not in "".join(pieces)


def entry() -> Entry:
    return Entry(time.monotonic_ns(), None, None, "meetmind", "meetmind.architect")


def test_the_ledger_numbers_calls_in_the_order_they_become_final() -> None:
    ledger = Ledger("bedrock", 10)
    slow, quick = entry(), entry()
    ledger.open(slow)
    ledger.open(quick)
    ledger.close(quick, "ok")
    page = json.loads(ledger.page(0, 10))
    assert [row["seq"] for row in page["rows"]] == [1]
    assert [(row["seq"], row["status"]) for row in page["in_flight"]] == [(None, "in_flight")]
    ledger.close(slow, "cancelled")
    page = json.loads(ledger.page(1, 10))
    assert [(row["seq"], row["status"], row["answered_ns"]) for row in page["rows"]] == [(2, "cancelled", None)]
    assert page["in_flight"] == []


@given(st.integers(0, 60), st.integers(1, 12), st.integers(1, 20))
def test_paging_gives_every_row_still_held_exactly_once(calls: int, capacity: int, limit: int) -> None:
    ledger = Ledger("bedrock", capacity)
    for _ in range(calls):
        one = entry()
        ledger.open(one)
        ledger.close(one, "ok")
    seen: list[int] = []
    while rows := json.loads(ledger.page(seen[-1] if seen else 0, limit))["rows"]:
        seen += [row["seq"] for row in rows]
    assert seen == list(range(max(1, calls - capacity + 1), calls + 1))
