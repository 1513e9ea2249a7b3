"""What makes an experiment worthless: a system that was sick before, traffic past the proxy, nothing to take away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import analyse
from harness.judge import judge
from harness.model.findings import Validity
from harness.model.verdict import Check
from tests.recordings import RecordingBuilder, experiment, plan

Story = Callable[[RecordingBuilder], object]


def validity(path: Path, story: Story, *, during: str = "openai") -> Validity:
    """A minute with Bedrock blocked from 20 s to 30 s, answered by `during` meanwhile; and what `story` adds."""
    builder = RecordingBuilder(path, plan(hold_s=60, warmup_s=5, experiments=[experiment()]))
    builder.phases(warmup=-5, baseline=0, fault=20, recovery=30, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        for half in (0, 0.5):
            provider = during if 19 < i < 30 else "bedrock"
            builder.request(i + half, provider=provider, canary=half > 0)
    builder.fault("blackhole-bedrock-1", 20, 30, blocks=True)
    story(builder)
    return analyse(builder.close(61))[0].validity


def reasons(path: Path, story: Story, **options: Any) -> str:
    return "\n".join(validity(path, story, **options).reasons)


def test_a_fault_that_stood_in_the_way_is_valid(tmp_path: Path) -> None:
    assert validity(tmp_path, lambda _: None).reasons == ()


def test_what_was_on_its_way_is_no_traffic_past_the_proxy(tmp_path: Path) -> None:
    assert validity(tmp_path, lambda b: b.call("bedrock", 20.05, None)).reasons == ()


@pytest.mark.parametrize("joined", [True, False])
def test_what_waited_in_a_providers_queue_is_no_traffic_past_the_proxy(tmp_path: Path, joined: bool) -> None:
    """The call was through before the fault; the provider took it from its queue 300 ms later. One of a request that
    was sent since went past."""

    def called(sent_s: float) -> Story:
        def story(builder: RecordingBuilder) -> None:
            request = builder.request(sent_s, 1.0, provider="", outcome="failed")
            builder.call("bedrock", 20.3 if sent_s < 20 else sent_s + 0.3, None, *(request,) * joined)

        return story

    assert validity(tmp_path / "before", called(19.9)).reasons == ()
    assert "its ledger has 1 calls" in reasons(tmp_path / "since", called(22))


def test_calls_that_a_ledger_has_from_a_blocked_time_went_past_the_proxy(tmp_path: Path) -> None:
    def past(builder: RecordingBuilder) -> None:
        for second in (19, 22, 25, 31):
            builder.call("bedrock", second, second + 0.1)

    said = reasons(tmp_path, past)
    assert "went past the proxy in front of bedrock" in said
    assert "its ledger has 2 calls" in said


def test_a_fault_that_lets_some_through_is_no_witness(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=5, experiments=[experiment()]))
    builder.phases(warmup=-5, baseline=0, fault=20, recovery=30, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        builder.request(i)
        builder.request(i + 0.5, canary=True)
    builder.fault("slow-bedrock-1", 20, 30, kind="slow")
    assert analyse(builder.close(61))[0].validity.reasons == ()


@pytest.mark.parametrize(("hits", "past"), [(0, True), (1, False)])
def test_without_a_ledger_answers_that_name_the_provider_tell(tmp_path: Path, hits: int, past: bool) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=5, experiments=[experiment()]))
    builder.phases(warmup=-5, baseline=0, fault=20, recovery=30, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        builder.request(i, ledger=False, hits=hits)
        builder.request(i + 0.5, canary=True, ledger=False)
    builder.fault("refuse-bedrock-1", 20, 30, kind="refuse", blocks=True)
    said = "\n".join(analyse(builder.close(61))[0].validity.reasons)
    assert ("9 answers name it, none of them from a cache" in said) is past


def test_an_upstream_nobody_ever_called_was_no_experiment(tmp_path: Path) -> None:
    said = reasons(tmp_path, lambda b: b.fault("refuse-openai-1", 40, 45, upstream="openai"), during="google")
    assert "openai was broken by refuse-openai-1, but its ledger has not one call" in said


def test_of_an_upstream_whose_ledger_was_not_read_to_the_end_nobody_knows_that(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.fault("refuse-openai-1", 40, 45, upstream="openai")
        builder.ledger_unread(0, 61, "openai")

    assert "openai was broken" not in reasons(tmp_path, story, during="google")


def test_a_second_choice_may_only_be_called_while_it_is_broken_too(tmp_path: Path) -> None:
    said = reasons(tmp_path, lambda b: b.fault("refuse-openai-1", 22, 28, upstream="openai"), during="local")
    assert "openai was broken" not in said


CHECK: dict[str, Any] = {
    "threshold": "request_failed: rate<=0.01", "state": "sick", "observed": 0.25, "low": 0.14, "high": 0.4, "n": 40,
    "holds": False,
}  # fmt: skip


UNSEEN: dict[str, Any] = {"state": "unknown", "observed": None, "low": None, "high": None, "n": 0}
SILENCE = CHECK | {"threshold": "requests: count>0 over 20s", "observed": 0.0, "low": 0.0, "high": 0.0, "n": 20}


def test_a_system_that_was_sick_before_is_a_reason_and_after_a_note(tmp_path: Path) -> None:
    before = validity(
        tmp_path / "before", lambda b: b.event(19, "steady", "before", state="sick", experiment="x", checks=[CHECK])
    )
    assert "sick before the first fault of x" in before.reasons[0]
    assert "request_failed: rate<=0.01 (observed 0.25)" in before.reasons[0]
    after = validity(
        tmp_path / "after", lambda b: b.event(60, "steady", "after", state="sick", experiment="x", checks=[CHECK])
    )
    assert after.valid
    assert "not in its steady state again at the end of x" in "\n".join(after.notes)


@pytest.mark.parametrize("state", ["took_back", "lost", "replaced"])
def test_what_the_guardian_tells(tmp_path: Path, state: str) -> None:
    found = validity(tmp_path, lambda b: b.event(25, "guardian", "died", state=state, message="the guardian ended"))
    assert not found.valid
    assert found.reasons[0].startswith("The guardian ended: ")


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        (CHECK, "fail", "no longer true that request_failed: rate<=0.01 (observed 25 %)"),
        (CHECK | {"state": "steady", "observed": 0.0, "low": 0.0, "high": 0.009, "holds": True}, "pass", "true again"),
        (
            CHECK | {"state": "steady", "observed": 0.0, "low": 0.0, "high": 0.1, "holds": True},
            "inconclusive",
            "certain",
        ),
        (CHECK | UNSEEN, "inconclusive", "nothing was measured at the end, after the last fault, to see whether"),
        (None, "inconclusive", "the load ended too soon"),
    ],
)
def test_a_steady_state_that_was_written_down_is_judged(
    tmp_path: Path, seen: dict[str, Any] | None, verdict: str, says: str
) -> None:
    check = judged_after(tmp_path, {"request_failed": ["rate<=0.01"]}, seen)
    assert check.verdict == verdict
    assert says in check.why
    assert check.scope == "bedrock-blackhole, steady state"
    assert check.of_steady_state


def test_a_system_that_hangs_for_good_is_said_to(tmp_path: Path) -> None:
    check = judged_after(tmp_path, {"request_failed": ["rate<=0.01"]}, CHECK | UNSEEN, SILENCE)
    assert check.verdict == "inconclusive"
    assert "nobody was answered at the end, after the last fault, to see whether request_failed" in check.why


@pytest.mark.parametrize(
    ("condition", "n", "verdict", "says"),
    [
        ("p(99)<6s", 500, "inconclusive", "500 requests after the last fault are too few (a p99 needs 2,000) to say"),
        ("p(99)<6s", 2000, "pass", "true again"),
        ("p(95)<6s", 500, "pass", "true again"),
        ("max<6s", 500, "pass", "true again"),
    ],
)
def test_a_percentile_of_a_steady_state_needs_as_many_requests_as_any_other(
    tmp_path: Path, condition: str, n: int, verdict: str, says: str
) -> None:
    seen = {
        "threshold": f"response_time: {condition}", "state": "steady", "observed": 1500.0, "low": 1000.0,
        "high": 2000.0, "n": n, "holds": True,
    }  # fmt: skip
    check = judged_after(tmp_path, {"response_time": [condition]}, seen)
    assert check.verdict == verdict
    assert says in check.why


def judged_after(
    tmp_path: Path, steady_state: dict[str, Any], seen: dict[str, Any] | None, *more: dict[str, Any]
) -> Check:
    """Return the check of a run that wrote this steady state down and `seen` this of it after its fault."""
    own = experiment() | {"steady_state": steady_state}
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=5, experiments=[own]))
    builder.phases(warmup=-5, baseline=0, fault=20, recovery=30, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        builder.request(i)
        builder.request(i + 0.5, canary=True)
    builder.fault("blackhole-bedrock-1", 20, 30)
    if seen:
        builder.event(60, "steady", "after", state=seen["state"], experiment=own["experiment"], checks=[seen, *more])
    recording = builder.close(61)
    findings, measure = analyse(recording)
    (check,) = judge(recording.plan, findings, measure).checks
    return check


def test_a_spare_need_not_be_called(tmp_path: Path) -> None:
    spare = experiment("refuse", "openai", at="40s") | {"standby": True}
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, warmup_s=5, experiments=[spare]))
    builder.phases(warmup=-5, baseline=0, fault=40, recovery=45, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        builder.request(i)
    builder.fault("refuse-openai-1", 40, 45, kind="refuse", upstream="openai", experiment="openai-refuse", blocks=True)
    assert analyse(builder.close(61))[0].validity.reasons == ()


@pytest.mark.parametrize(
    ("connected", "ledger", "said"),
    [
        ([0] * 61, False, "not one connection to its proxy was open in 46 looks while no fault was on"),
        ([0] * 5 + [1] + [0] * 55, False, ""),
        ([0] * 61, True, ""),  # the ledger knows better: calls that left no connection behind
        ([0] * 9, False, ""),  # too few looks to tell
        ([0] * 20 + [2] * 10 + [0] * 31, False, "not one connection to its proxy"),  # those are our own probes
    ],
)
def test_without_a_ledger_connections_to_the_proxy_tell_whether_anybody_called(
    tmp_path: Path, connected: list[int], ledger: bool, said: str
) -> None:
    upstreams = {"bedrock": {"address": "127.0.0.1:9001"} | ({"ledger": "http://127.0.0.1:9001/l"} if ledger else {})}
    builder = RecordingBuilder(
        tmp_path, plan(hold_s=60, warmup_s=5, experiments=[experiment()], target={"upstreams": upstreams})
    )
    builder.phases(warmup=-5, baseline=0, fault=20, recovery=30, cooldown=60)
    builder.instrument(0, 60)
    for i in range(60):
        builder.request(i, provider="" if not ledger else "bedrock")
    builder.fault("blackhole-bedrock-1", 20, 30, blocks=True)
    for second, many in enumerate(connected):
        builder.sample(second, "proxies", "connections", many, upstream="bedrock")
        builder.sample(second, "proxies", "connections", 7, upstream="other")
    found = "\n".join(analyse(builder.close(61))[0].validity.reasons)
    assert (said in found) if said else ("nothing to take away" not in found)
