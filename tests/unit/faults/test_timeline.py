"""The timeline is pure: ids, order, and every way a plan's faults can be impossible."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PlanError
from harness.faults.lifecycle import Kill
from harness.faults.limits import Cpu
from harness.faults.network import Blackhole, Refuse, Slow
from harness.faults.timeline import Breakables, check, occurrences
from harness.model.experiment import FaultSpec
from harness.model.target import Upstream

THERE = Breakables(
    {
        "bedrock": Upstream(address="127.0.0.1:1"),
        "openai": Upstream(address="127.0.0.1:2"),
        "queue": Upstream(address="127.0.0.1:3", protocol="tcp"),
    }
)


def blackhole(at: float, for_s: float, *, repeat: int = 1, every: float | None = None) -> Blackhole:
    settings = {"kind": "blackhole", "upstream": "bedrock", "at": f"{at}s", "for": f"{for_s}s", "repeat": repeat}
    return Blackhole.model_validate(settings if every is None else {**settings, "every": f"{every}s"})


def refuse(upstream: str, at: float, for_s: float) -> Refuse:
    return Refuse.model_validate({"kind": "refuse", "upstream": upstream, "at": f"{at}s", "for": f"{for_s}s"})


def test_repeats_are_numbered_by_time_over_several_experiments() -> None:
    found = occurrences([("b", blackhole(100, 5)), ("a", blackhole(10, 5, repeat=2, every=40))])

    assert [(o.begin_s, o.end_s, o.fault_id, o.experiment) for o in found] == [
        (10, 15, "blackhole-bedrock-1", "a"),
        (50, 55, "blackhole-bedrock-2", "a"),
        (100, 105, "blackhole-bedrock-3", "b"),
    ]


def triggered(upstream: str = "openai", *, name: str | None = None, **begins: Any) -> Refuse:
    return Refuse.model_validate({"kind": "refuse", "upstream": upstream, "for": "5s", "name": name, **begins})


def test_what_waits_for_a_trigger_comes_last_and_counts_from_it() -> None:
    found = occurrences(
        [
            ("a", triggered(name="second", after={"recovered": "blackhole-bedrock"}, repeat=2, every="9s")),
            ("a", triggered(at={"load": "80%"})),
            ("b", blackhole(100, 5)),
        ]
    )
    assert [(o.begin_s, o.end_s, o.fault_id, o.group) for o in found] == [
        (100, 105, "blackhole-bedrock-1", 0),
        (0, 5, "second-1", 1),
        (9, 14, "second-2", 1),
        (0, 5, "refuse-openai-1", 2),
    ]
    assert [str(o.trigger) for o in found[1:3]] == ["after blackhole-bedrock has recovered"] * 2


def test_triggers_on_one_upstream_are_no_overlap() -> None:
    check([("a", triggered(at={"load": "80%"})), ("a", triggered(when={"requests": "rate>3 over 5s"}))], THERE, 600)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([triggered(after={"recovered": "hng"}), triggered(name="hang", at="1s")], ["'hng'", "did you mean 'hang'?"]),
        ([triggered(name="hang", at="1s"), triggered(name="hang", at="9s")], ["two faults are called 'hang'"]),
        (
            [triggered(name="a", after={"recovered": "b"}), triggered(name="b", after={"recovered": "a"})],
            ["a waits for b waits for a", "none of them would ever begin"],
        ),
        ([triggered(after={"recovered": "refuse-openai"})], ["refuse-openai waits for refuse-openai"]),
        ([triggered(at={"load": "80%"}, repeat=9, every="20s")], ["refuse-openai-6", "would not end before the load"]),
    ],
    ids=["unknown-name", "same-name", "circle", "itself", "outlives-the-load"],
)
def test_a_trigger_that_cannot_come_is_refused(faults: list[FaultSpec], said: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        check([("storm", fault) for fault in faults], THERE, 100)
    for words in [*said, "experiment storm"]:
        assert words in str(caught.value)


def test_a_plan_that_can_be_run_passes() -> None:
    faults: list[tuple[str, FaultSpec]] = [
        ("a", blackhole(60, 45, repeat=5, every=90)),
        ("b", refuse("openai", 60, 45)),  # another upstream, at the same time
        ("b", refuse("queue", 0, 1)),
    ]
    check(faults, THERE, 600)


def test_one_may_begin_when_another_ends() -> None:
    check([("a", blackhole(0.1, 0.2, repeat=3, every=0.2)), ("b", refuse("bedrock", 0.7, 0.3))], THERE, 1.0)


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([blackhole(10, 20), refuse("bedrock", 29, 5)], ["blackhole-bedrock-1", "refuse-bedrock-1", "overlap"]),
        ([blackhole(10, 20, repeat=2)], ["repeats 2 times", "no `every`"]),
        ([blackhole(10, 20, repeat=2, every=15)], ["`every` 15 s", "at least `for`"]),
        ([refuse("bedrok", 10, 20)], ["'bedrok'", "did you mean 'bedrock'?", "openai"]),
        ([blackhole(10, 20, repeat=4, every=30)], ["blackhole-bedrock-4", "after 100 s"]),
        (
            [Blackhole.model_validate({"kind": "blackhole", "upstream": "queue", "at": "1s", "for": "1s"})],
            ["tcp", "refuse"],
        ),
    ],
    ids=["overlap", "no-every", "every-too-short", "unknown-upstream", "outlives-the-load", "cannot-be-seen"],
)
def test_a_plan_that_cannot_be_run_is_refused(faults: list[FaultSpec], said: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        check([("storm", fault) for fault in faults], THERE, 100)
    for words in [*said, "experiment storm"]:
        assert words in str(caught.value)


whole = st.integers(0, 200)
spec = st.builds(
    lambda upstream, at, for_s, repeat, gap: Slow(
        upstream=upstream, at=f"{at}s", for_s=f"{for_s}s", repeat=repeat, every=f"{for_s + gap}s", latency="1s"
    ),
    st.sampled_from(["bedrock", "openai"]),
    whole,
    st.integers(1, 50),
    st.integers(1, 4),
    st.integers(0, 50),
)


@given(st.lists(spec, min_size=1, max_size=6))
def test_occurrences_are_sorted_complete_and_have_ids_of_their_own(specs: list[Slow]) -> None:
    found = occurrences([("x", s) for s in specs])

    assert len(found) == sum(s.repeat for s in specs)
    assert len({o.fault_id for o in found}) == len(found)
    assert [o.begin_s for o in found] == sorted(o.begin_s for o in found)
    assert all(o.end_s - o.begin_s == pytest.approx(o.spec.for_s) for o in found)


@given(st.lists(spec, min_size=1, max_size=6))
def test_check_refuses_exactly_what_overlaps(specs: list[Slow]) -> None:
    named = [("x", s) for s in specs]
    spans = {
        upstream: [(o.begin_s, o.end_s) for o in occurrences(named) if o.spec.on == upstream]
        for upstream in ("bedrock", "openai")
    }
    clash = any(b[0] < a[1] for found in spans.values() for a, b in pairwise(found))

    if clash:
        with pytest.raises(PlanError, match="overlap"):
            check(named, THERE, 1e6)
    else:
        check(named, THERE, 1e6)


def kill(service: str, at: float, for_s: float, **settings: Any) -> Kill:
    return Kill.model_validate({"kind": "kill", "service": service, "at": f"{at}s", "for": f"{for_s}s", **settings})


SERVICES = Breakables(THERE.upstreams, {"agents": 2, "bedrock": 1}, {"bedrock": "bedrock"})


def test_an_upstream_and_the_service_behind_it_are_one_place() -> None:
    check([("a", kill("agents", 1, 5)), ("a", refuse("openai", 2, 5)), ("a", refuse("bedrock", 2, 5))], SERVICES, 60)
    for later in (refuse("bedrock", 2, 5), kill("bedrock", 2, 5)):
        with pytest.raises(PlanError, match="overlap on service bedrock"):
            check([("a", kill("bedrock", 1, 5)), ("a", later)], SERVICES, 60)


def test_an_upstream_and_the_service_behind_it_take_turns() -> None:
    often: dict[str, Any] = {"repeat": 2, "spaced_by": "recovery"}
    turns = [("a", kill("bedrock", 1, 5, **often)), ("a", triggered("bedrock", at="2s", **often))]
    found = occurrences(turns, SERVICES)
    assert [(o.fault_id, str(o.trigger)) for o in found] == [
        ("kill-bedrock-1", "at 1 s"),
        ("refuse-bedrock-1", "after kill-bedrock-1 has recovered"),
        ("kill-bedrock-2", "after refuse-bedrock-1 has recovered"),
        ("refuse-bedrock-2", "after kill-bedrock-2 has recovered"),
    ]
    assert {o.place for o in found} == {"service bedrock"}
    with pytest.raises(PlanError, match="4 faults in turn on service bedrock are on for 20 s together"):
        check(turns, SERVICES, 20)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (kill("agent", 1, 1), ["service 'agent'", "did you mean 'agents'", "agents, bedrock"]),
        (kill("agents", 1, 1, replicas=3), ["3 replicas of agents, of which there are 2", "--replicas"]),
        (kill("bedrock", 1, 1, replicas=2), ["of which there is one"]),
        (
            Cpu.model_validate({"kind": "cpu", "service": "agents", "at": "1s", "for": "1s", "cpus": 0.1}),
            ["cannot be given less", "targets/compose.yaml"],
        ),
    ],
)
def test_faults_on_services_that_cannot_be_run_are_refused(fault: FaultSpec, said: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        check([("x", fault)], SERVICES, 60)
    assert all(words in str(caught.value) for words in said), caught.value
