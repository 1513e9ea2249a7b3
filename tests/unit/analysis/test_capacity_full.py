"""What to plan with where something fills up: headroom or the resource, whichever leaves less, and what follows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from harness.analysis import analyse
from harness.analysis.capacity_limits import Look, limits, pool
from harness.analysis.capacity_plan import advice, forecast, stops, with_headroom
from harness.analysis.capacity_use import MACHINE, Resource, Used
from harness.analysis.capacity_use import UnderWay as Calls
from harness.cli import cli
from harness.model.capacity import CapacityFindings, Limit, LimitKind, SloCapacity, of_cpu
from harness.model.estimate import Estimate
from harness.report import block_capacity
from tests.recordings import RecordingBuilder, plan
from tests.searches import Search, System, record
from tests.unit.advice.builders import capacity
from tests.unit.analysis.test_capacity_claims import level

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.findings import Findings
    from harness.recording.reader import Recording

BUSY = System(cpu_at_rest=0.55, cpu_per_request=0.02)
"""Carries some 23 requests per second, of which 70 % are 16; its CPU is full (80 %) at 12.5."""
ROOMY = System(cpu_per_request=0.036)
"""Carries as much; its CPU is full at 22."""


def recorded(path: Path, system: System) -> Recording:
    return record(path, Search(system=system), replicas=2)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recorded(tmp_path_factory.mktemp("busy") / "r", BUSY)


@pytest.fixture(scope="module")
def busy(filled: Recording) -> Findings:
    return analyse(filled)[0]


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return analyse(recorded(tmp_path_factory.mktemp("roomy") / "r", ROOMY))[0]


def found(of: Findings) -> CapacityFindings:
    assert of.capacity is not None
    return of.capacity


def carried(of: CapacityFindings) -> float:
    assert of.states[0].capacity.rate.value is not None
    return of.states[0].capacity.rate.value


def rows(of: CapacityFindings) -> dict[str, tuple[str, str]]:
    assert of.governing is not None
    return {
        what: (value.replace("\xa0", " "), note.replace("\xa0", " "))
        for what, value, note in block_capacity.advice_rows(of, of.governing)[:2]
    }


def test_where_a_resource_fills_up_first_that_is_what_to_plan_with(busy: Findings) -> None:
    of = found(busy)
    advice = of.states[0].advice
    assert advice is not None
    assert (advice.limited_by, advice.shown) == ("gateway cpu", True)
    assert advice.rate == pytest.approx(12.5, rel=0.1)
    assert advice.rate < 0.7 * carried(of) - 2
    assert advice.cpu["gateway cpu"] == pytest.approx(0.8)
    assert advice.rate_per_replica == advice.rate / 2
    first = of.states[0].fills_first
    assert first is not None
    assert (first.rate, first.at_most) == (advice.rate, False)
    assert "it got there between levels at " in first.evidence


def test_where_nothing_fills_up_before_headroom_governs(roomy: Findings) -> None:
    of = found(roomy)
    advice, first = of.states[0].advice, of.states[0].fills_first
    assert advice is not None
    assert first is not None
    assert (advice.limited_by, first.resource) == (None, "gateway cpu")
    assert advice.rate == pytest.approx(0.7 * carried(of))
    assert advice.rate < first.rate


def test_all_that_follows_from_the_plan_goes_with_it(busy: Findings) -> None:
    of = found(busy)
    state = of.states[0].model_copy(update={"cost_per_1k": 2.0})
    of = with_headroom(of.model_copy(update={"states": (state,)}), 0.7, 9.5)
    advice = of.states[0].advice
    assert advice is not None
    assert advice.limited_by == "gateway cpu"
    assert advice.users == pytest.approx(advice.rate * (9.5 + 0.3), rel=0.02)
    assert of.states[0].cost_per_hour == pytest.approx(2.0 / 1000 * advice.rate * 3600)
    needed = forecast([of], "healthy", rate=80.0, users=None)
    assert needed is not None
    assert needed.replicas == math.ceil(80 / (advice.rate / 2))
    little = with_headroom(of, 0.3, None).states[0].advice
    assert little is not None
    assert little.limited_by is None
    assert little.rate == pytest.approx(0.3 * carried(of))


def test_the_page_says_which_governs_and_why(busy: Findings, roomy: Findings) -> None:
    said, full = (block_capacity.said(one).replace("\xa0", " ") for one in (roomy, busy))
    assert said.endswith(": 70 % of it.")
    rate, of = (block_capacity.rate(x).replace("\xa0", " ") for x in (_planned(busy), 0.7 * carried(found(busy))))
    assert f"gateway cpu fills up first, at {rate}. Plan with {rate}: " in full
    assert full.endswith(f": gateway cpu is full there, short of 70 % of it ({of}).")
    assert rows(found(busy))["plan with"] == (
        rate, f"gateway cpu is full (80 % of one core), short of 70 % of the capacity ({of}); shown to meet the SLO",
    )  # fmt: skip
    assert rows(found(roomy))["plan with"][1].startswith("70 % of the capacity, before gateway cpu is full (2")


def test_the_terminal_says_which_governs_and_why(filled: Recording, busy: Findings) -> None:
    output = CliRunner().invoke(cli, ["capacity", str(filled.path)]).output.replace("\xa0", " ")
    rate, why = rows(found(busy))["plan with"]
    assert f"plan with      {rate} ({why})" in " ".join(output.splitlines())


def _planned(of: Findings) -> float:
    advice = found(of).states[0].advice
    assert advice is not None
    return advice.rate


def limit(kind: str = "cpu", rate: float = 10.0, **more: Any) -> Limit:
    about: dict[str, Any] = {"resource": f"its {kind}", "kind": kind, "of": "its limit", "full_at": 0.8, "highest": 0.9,
                             "rate": rate, "extrapolated": False, "evidence": "seen"} | more  # fmt: skip
    return Limit.model_validate(about)


@pytest.mark.parametrize(
    ("one", "stopped"),
    [
        (limit(), True),
        (limit("memory"), True),
        (limit("rate_limit"), True),
        (limit(at_most=True), True),
        (limit("throttled"), False),  # what it costs is waiting, which the SLO measures
        (limit("generator"), False),  # ours
        (limit("stand_in"), False),  # a real provider has another limit
        (limit(extrapolated=True), False),  # no level was seen to fill it
        (limit("memory", at_most=True), False),  # whatever the load
        (limit("rate_limit", at_most=True), False),
    ],
)
def test_a_plan_stops_where_load_was_seen_to_fill_something(one: Limit, stopped: bool) -> None:
    later = limit("pool", 11.0)
    assert stops([one, later]) is (one if stopped else later)


def test_a_resource_that_was_full_on_the_lowest_level_is_not_known_to_have_room_below() -> None:
    of = capacity(at_most=True)
    assert rows(of)["plan with"][1] == (
        "70 % of the capacity, where gateway cpu may be full: it is at 22 requests/s or below; shown to meet the SLO"
    )
    assert block_capacity.first(of.states[0].limits[0]).startswith("gateway cpu fills up first, at or below ")


def test_a_cpu_that_was_full_on_the_lowest_level_is_full_in_proportion_at_most() -> None:
    """At 10 requests per second 90 % are used: 80 % at 8.9 if all of it is theirs, and earlier if some is not."""
    levels = [level(load, load, used={"gateway cpu": used}) for load, used in ((10, 0.9), (15, 0.95), (20, 0.99))]
    (found,) = limits(levels, {"gateway cpu": Resource("gateway cpu", "cpu", "one core", 0.8)}, (), saturated=False)
    assert found.at_most
    assert found.rate == pytest.approx(10 * 0.8 / 0.9)
    assert "on the lowest level, at 10 requests/s" in found.evidence
    met = SloCapacity(state="at_least", rate=Estimate(value=None, low=20, high=None, n=3), users=None)
    said = advice("healthy", met, levels, [found], ["gateway cpu"], think_s=None, headroom=0.7, replicas=1)
    assert said is not None
    assert (said.limited_by, said.rate, said.cpu) == ("gateway cpu", found.rate, {"gateway cpu": 0.8})
    assert said.in_flight_per_replica == pytest.approx(3 * 0.8 / 0.9), "of which 3 were at 10 requests per second"
    memory = Resource("gateway cpu", "memory", "its memory limit", 0.8)
    assert next(iter(limits(levels, {"gateway cpu": memory}, (), saturated=False))).rate == 10


def test_the_state_to_plan_on_is_the_one_that_leaves_least() -> None:
    """Cache cold carries less, but in the healthy state the machine is full at a lower rate than 70 % of that."""
    of = capacity(resource=MACHINE, of="2 cores", rate=9.0)
    (healthy,) = of.states
    assert healthy.advice is not None
    full = healthy.model_copy(
        update={"advice": healthy.advice.model_copy(update={"rate": 9.0, "users": None, "limited_by": MACHINE})}
    )
    less = healthy.capacity.model_copy(update={"rate": healthy.capacity.rate.model_copy(update={"value": 19.0})})
    cold = healthy.model_copy(update={"state": "cache_cold", "capacity": less, "limits": ()})
    of = of.model_copy(update={"states": (full, cold), "worst": "cache_cold"})
    assert (of.worst_state, of.governing) == (cold, full)
    said = block_capacity.said(_Found(of)).replace("\xa0", " ")  # type: ignore[arg-type]
    assert "in its worst state, cache cold. Plan with 9 requests/s: in state healthy whole machine cpu is full" in said
    assert said.endswith("is full there, short of 70 % of the capacity there (14 requests/s).")
    assert "(80 % of 2 cores, the load generator's part included)" in rows(of)["plan with"][1]


class _Found:
    def __init__(self, of: CapacityFindings) -> None:
        self.capacity = of


def test_a_load_generator_is_counted_once_and_neither_it_nor_a_stand_in_is_the_systems(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan())
    for second in range(10):
        for source, cpu in (("worker:w0", 0.5), ("process:w0", 0.5), ("process:harness", 0.1), ("process:agents", 0.6),
                            ("process:bedrock", 0.4)):  # fmt: skip
            builder.sample(second, source, "cpu", cpu)
    samples = builder.close(11).samples
    used = Used(samples, 2.0, {"w0", "harness"}, {"bedrock"})
    span = int(samples["t_ns"][0].as_py()), int(samples["t_ns"][-1].as_py()) + 1
    assert used.shares(span)[MACHINE] == pytest.approx((0.5 + 0.1 + 0.6 + 0.4) / 2)
    kinds = {name: one.kind for name, one in used.resources.items()}
    assert kinds == {
        "generator w0 cpu": "generator", "w0 cpu": "generator", "harness cpu": "generator", "agents cpu": "cpu",
        "bedrock cpu": "stand_in", MACHINE: "cpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "resource", "cpu"),
    [
        ("cpu", "agents cpu", True),
        ("memory", "agents memory", False),
        ("generator", "locust-0 cpu", True),
        ("stand_in", "bedrock cpu", True),  # it holds its calls as an exhausted pool does
        ("stand_in", "bedrock memory", False),
        ("stand_in", "bedrock throttling", False),
    ],
)
def test_what_holds_calls_is_a_cpu_whoever_it_belongs_to(kind: LimitKind, resource: str, cpu: bool) -> None:
    assert of_cpu(kind, resource) is cpu


def test_a_pool_is_full_from_the_least_load_on_that_fills_it() -> None:
    """Where load is far too much, its answers come too late to count."""
    full = Calls(mean=8.0, spread=0.05, top=8)
    looks = [Look(rate, in_flight, full, 0.2, 0.0) for rate, in_flight in ((26.0, 10.0), (25.0, 40.0), (3.0, 200.0))]
    found = pool("bedrock", looks)
    assert found is not None
    assert found.rate == 26.0
