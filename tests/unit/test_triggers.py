"""Triggers: what has come, and what has not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.clock import NS_PER_S
from harness.faults.network import Refuse
from harness.faults.timeline import Occurrence, occurrences
from harness.model.load import Load
from harness.triggers import Triggers

STEPS = {
    "kind": "steps",
    "warmup": "10s",
    "steps": [{"rate": "10/s", "hold": "20s"}, {"rate": "100/s", "ramp": "10s", "hold": "20s"}],
}
USERS = {"kind": "users", "users": 50, "hold": "60s", "warmup": "10s"}


def refuse(**begins: Any) -> Refuse:
    return Refuse.model_validate({"kind": "refuse", "upstream": "bedrock", "for": "5s", **begins})


class Rig:
    """Triggers of some faults under a load, with conditions that say what they are told to."""

    def __init__(self, load: dict[str, Any], *faults: Refuse) -> None:
        self.good = self.met = False
        self.served = 0.6
        self.shares: dict[str, float] = {}
        conditions: Any = SimpleNamespace(
            good_for=lambda _since, _now: self.good,
            served=lambda provider, _now: self.shares.get(provider, self.served),
            met=lambda _threshold, _now: 0.4 if self.met else None,
        )
        named = [("x", fault) for fault in faults]
        plan: Any = SimpleNamespace(
            scenario=SimpleNamespace(load=TypeAdapter(Load).validate_python(load)), faults=named
        )
        self.triggers = Triggers(plan, conditions)
        self.found = {o.fault_id: o for o in occurrences(named)}

    def come(self, fault: Occurrence, at_s: float, users: int = 0, state: str = "") -> str:
        now = round(at_s * NS_PER_S)
        return self.triggers.come(fault, start_ns=0, zero_ns=10 * NS_PER_S, now=now, users=users, state=state)


@pytest.mark.parametrize(
    ("load", "share", "at_s", "users", "said"),
    [
        (USERS, "80%", 20, 39, ""),
        (USERS, "80%", 20, 40, "40 of 50 users"),
        (USERS, "80%", 5, 50, ""),  # the warm-up is not judged
        (STEPS, "80%", 34, 0, ""),  # 46 of 100
        (STEPS, "80%", 38, 0, "82 of 100 requests/s"),
        (STEPS, "80%", 45, 0, "100 of 100 requests/s"),
        (STEPS, 0.1, 10, 0, "10 of 100 requests/s"),
        ({"kind": "rate", "rate": "16.7/s", "hold": "60s", "warmup": "10s"}, "100%", 10, 0, "16.7 of 16.7 requests/s"),
    ],
)
def test_a_share_of_the_load(load: dict[str, Any], share: object, at_s: float, users: int, said: str) -> None:
    rig = Rig(load, refuse(at={"load": share}))
    assert rig.come(rig.found["refuse-bedrock-1"], at_s, users) == said


def test_recovered_means_good_again_after_its_last_clearing_and_the_delay() -> None:
    rig = Rig(
        USERS, refuse(name="first", at="1s", repeat=2, every="20s"), refuse(after={"recovered": "first", "delay": "3s"})
    )
    second = rig.found["refuse-bedrock-1"]
    rig.good = True
    assert not rig.come(second, 15)
    rig.triggers.gone(rig.found["first-1"], 20 * NS_PER_S)
    assert not rig.come(second, 21), "it is on once more"
    rig.triggers.gone(rig.found["first-2"], 40 * NS_PER_S)
    rig.good = False
    assert not rig.come(second, 45)
    rig.good = True
    assert not rig.come(second, 50), "good again, but not for as long as the delay"
    assert rig.come(second, 53) == "service was good again 10.0 s after first was cleared"


def test_a_condition_needs_its_whole_window_after_the_warm_up() -> None:
    rig = Rig(USERS, refuse(when={"cache_hit": "rate>0.3 over 10s"}))
    fault = rig.found["refuse-bedrock-1"]
    assert not rig.come(fault, 25)
    rig.met = True
    assert not rig.come(fault, 15)
    assert rig.come(fault, 20) == "observed 0.4"


def test_a_state_begins_with_its_faults() -> None:
    rig = Rig(
        {"kind": "capacity", "min": "5/s", "max": "50/s", "budget": "1h", "warmup": "10s"},
        refuse(during={"state": "down"}),
    )
    fault = rig.found["refuse-bedrock-1"]
    assert not rig.come(fault, 5, state="down"), "no trigger comes in the warm-up"
    assert not rig.come(fault, 20, state="healthy")
    assert rig.come(fault, 20, state="down") == "state down begins"


def test_outages_that_are_spaced_by_recovery_take_turns_and_wait_for_the_provider_too() -> None:
    often = {"at": "20s", "repeat": 2, "spaced_by": "recovery"}
    rig = Rig(USERS, refuse(**often, name="one"), refuse(**often | {"at": "25s"}, name="other"))
    first, second, third, fourth = (rig.found[name] for name in ("one-1", "other-1", "one-2", "other-2"))
    assert [str(o.trigger) for o in (first, second, third, fourth)] == [
        "at 20 s", "after one-1 has recovered", "after other-1 has recovered", "after one-2 has recovered"
    ]  # fmt: skip
    rig.good = True
    assert rig.come(first, 29) == ""  # 20 s after the warm-up of 10 s
    assert rig.come(second, 100) == ""  # its turn is after the first
    assert rig.come(first, 30) == "its time has come; bedrock gave 60% of the answers before any fault"
    assert rig.come(second, 100) == ""
    rig.triggers.gone(first, 35 * NS_PER_S)
    rig.served = 0.4
    assert rig.come(second, 45) == ""  # service is good, but Bedrock does not serve yet
    rig.good, rig.served = False, 0.58
    assert rig.come(second, 46) == ""
    rig.good = True
    assert rig.come(second, 47) == "", "it has only just begun to serve again"
    rig.served = 0.5
    assert rig.come(second, 48) == ""
    rig.served = 0.58
    assert rig.come(second, 49) == ""
    assert rig.come(second, 50.9) == ""
    assert rig.come(second, 51) == (
        "service is good again 16.0 s after one-1 was cleared; bedrock gives 58% of the answers"
    )
    assert rig.come(third, 47) == ""
    assert rig.come(fourth, 47) == ""


def test_whoever_is_named_by_no_answer_need_not_serve_again() -> None:
    rig = Rig(USERS, refuse(at="20s", repeat=2, spaced_by="recovery"))
    rig.good, rig.served = True, 0.0
    assert rig.come(rig.found["refuse-bedrock-1"], 30)
    rig.triggers.gone(rig.found["refuse-bedrock-1"], 35 * NS_PER_S)
    assert not rig.come(rig.found["refuse-bedrock-2"], 48)
    assert rig.come(rig.found["refuse-bedrock-2"], 50)


def test_what_an_upstream_gives_while_another_is_broken_is_not_what_it_gave_before() -> None:
    often = {"repeat": 2, "spaced_by": "recovery"}
    rig = Rig(USERS, refuse(at="10s", name="bedrock"), refuse(**often, upstream="openai", at="12s", name="openai"))
    rig.shares = {"bedrock": 1.0, "openai": 0.0}
    first, second = (rig.found[name] for name in ("openai-1", "openai-2"))
    assert not rig.come(first, 19)
    rig.shares = {"bedrock": 0.0, "openai": 1.0}  # bedrock-1 is on from 20 s on
    assert rig.come(first, 22) == "its time has come; openai gave 0% of the answers before any fault"
    rig.triggers.gone(first, 27 * NS_PER_S)
    rig.good, rig.shares = True, {"bedrock": 1.0, "openai": 0.0}
    assert not rig.come(second, 40)
    assert rig.come(second, 42), "it serves as it did"


def test_what_a_trigger_began_ends_the_counting_as_well() -> None:
    rig = Rig(USERS, refuse(at={"load": "10%"}, upstream="openai"), refuse(at="12s", spaced_by="recovery", repeat=2))
    rig.shares = {"bedrock": 0.5}
    assert not rig.come(rig.found["refuse-bedrock-1"], 19)
    assert rig.come(rig.found["refuse-openai-1"], 20, users=50)
    rig.shares = {"bedrock": 1.0}
    assert "gave 50%" in rig.come(rig.found["refuse-bedrock-1"], 22)
