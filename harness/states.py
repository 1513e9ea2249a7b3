"""What the triggers of a plan's faults wait for, held against its load: there must be such a thing. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from harness.errors import PlanError
from harness.model.base import nearest
from harness.model.trigger import AtLoad, During

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.model.experiment import Experiment, FaultSpec
    from harness.model.plan import Plan, Scenario

HEALTHY = "healthy"
"""The state in which nothing is broken."""


class Settled(TypedDict):
    """What of a plan depends on each other."""

    scenario: Scenario
    experiments: tuple[Experiment, ...]


def settle(scenario: Scenario, experiments: Sequence[Experiment]) -> Settled:
    """Return both with what they leave to each other: the states that a load searches in when it names none, and how
    long a fault of a state can last."""
    load = scenario.load
    if load.kind != "capacity":
        return Settled(scenario=scenario, experiments=tuple(experiments))
    if not load.states:
        named = dict.fromkeys((HEALTHY, *(state for e in experiments for _, state in _named(e.faults))))
        scenario = scenario.model_copy(update={"load": load.model_copy(update={"states": tuple(named)})})
    lasting = [e.model_copy(update={"faults": tuple(_lasting(f, load.budget) for f in e.faults)}) for e in experiments]
    return Settled(scenario=scenario, experiments=tuple(lasting))


def _lasting(fault: FaultSpec, budget_s: float) -> FaultSpec:
    if isinstance(fault.trigger, During) and not fault.for_s:
        return fault.model_copy(update={"for_s": budget_s})
    return fault


def _named(faults: Sequence[FaultSpec]) -> Iterator[tuple[FaultSpec, str]]:
    for fault in faults:
        if isinstance(fault.trigger, During):
            yield fault, fault.trigger.state


def check_triggers(plan: Plan) -> None:
    """Raise PlanError when a fault waits for something that the plan's load does not have."""
    load = plan.scenario.load
    for experiment, fault in plan.faults:
        if isinstance(fault.trigger, AtLoad) and load.peak is None:
            raise PlanError(
                f"{fault.called} begins {fault.trigger}, and a {load.kind} load has none that is planned",
                where=f"experiment {experiment}",
                hint="begin it `at` a time, or as in `when: {requests: rate>50 over 10s}`",
                about=fault,
            )
        if isinstance(fault.trigger, During):
            _check_state(plan, experiment, fault, fault.trigger.state)


def _check_state(plan: Plan, experiment: str, fault: FaultSpec, state: str) -> None:
    load, where = plan.scenario.load, f"experiment {experiment}"
    if load.kind != "capacity":
        what = f"{fault.called} is on during the state {state!r}, and a load of kind {load.kind!r} has no states"
        hint = "run it with scenarios/capacity.yaml, or begin it `at` a time"
        raise PlanError(what, where=where, hint=hint, about=fault)
    if state == HEALTHY:
        what = f"{fault.called} is on during the state {HEALTHY!r}, in which nothing is broken"
        raise PlanError(what, where=where, hint="give the state another name", about=fault)
    if state not in load.states:
        raise PlanError(
            f"{fault.called} is on during the state {state!r}, which the load does not search in",
            where=where,
            hint=f"{nearest(state, load.states)}its states: {', '.join(load.states)}; "
            "leave out load.states to search in all that faults name",
            about=fault,
        )


def check(plan: Plan) -> None:
    """Raise PlanError when a state of the load is one that nothing brings about."""
    load = plan.scenario.load
    if load.kind != "capacity":
        return
    named = tuple(dict.fromkeys(state for _, state in _named([fault for _, fault in plan.faults])))
    for state in load.states:
        if state not in (HEALTHY, *named):
            raise PlanError(
                f"no fault of the plan is on during the state {state!r}",
                where="load.states",
                hint=f"{nearest(state, named)}give an experiment with a fault `during: {{state: {state}}}`, as "
                f"--chaos chaos/capacity_states.yaml has; states of this plan's faults: {', '.join(named) or 'none'}",
            )
