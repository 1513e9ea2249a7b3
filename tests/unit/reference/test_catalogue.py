"""The catalogue of teams, agents and tasks, and the prices of their models."""

from __future__ import annotations

import pytest

from reference.gateway.catalogue import TEAMS, TENANTS, WORKFLOW, UnknownNameError, find
from reference.gateway.prices import MODELS, PRICES, cost_usd

ALL_TASKS = [
    pytest.param(team, agent, task, id=f"{team.name}.{agent.name}.{task.name}")
    for team in TEAMS.values()
    for agent in team.agents.values()
    for task in agent.tasks.values()
]


def test_there_are_three_teams_and_sixteen_agents() -> None:
    assert set(TEAMS) == set(TENANTS)
    assert [len(team.agents) for team in TEAMS.values()] == [5, 5, 6]
    assert "banking" in TEAMS["feliciasfi"].agents


def test_every_team_can_run_the_workflow() -> None:
    assert all(agent in team.agents for team in TEAMS.values() for agent in WORKFLOW)


@pytest.mark.parametrize(("team", "agent", "task"), ALL_TASKS)
def test_every_task_can_be_found_asked_and_paid(team, agent, task) -> None:  # type: ignore[no-untyped-def]
    assert find(team.name, agent.name, task.name) == (team, agent, task)
    assert 0.0 <= task.temperature <= 1.0
    assert 200 <= task.max_tokens <= 1500
    assert task.prompt("{input}").endswith("{input}")
    assert set(MODELS[task.model]) == {"bedrock", "openai", "google"}
    for model in MODELS[task.model].values():
        assert model.name in PRICES


@pytest.mark.parametrize(
    ("path", "temperature", "max_tokens"),
    [
        (("meetmind", "product_manager", "prioritize_features"), 0.3, 1500),
        (("agentsvea", "coordinator", "coordinate_compliance_workflow"), 0.2, 800),
        (("feliciasfi", "banking", "process_request"), 0.1, 200),
        (("feliciasfi", "product_manager", "define_strategy"), 0.4, 400),
    ],
)
def test_figures_are_those_of_the_system_it_stands_for(
    path: tuple[str, str, str], temperature: float, max_tokens: int
) -> None:
    task = find(*path)[2]
    assert (task.temperature, task.max_tokens) == (temperature, max_tokens)


@pytest.mark.parametrize("path", [("x", "architect", "t"), ("meetmind", "x", "t"), ("meetmind", "architect", "x")])
def test_an_unknown_name_lists_those_there_are(path: tuple[str, str, str]) -> None:
    with pytest.raises(UnknownNameError) as caught:
        find(*path)
    assert caught.value.allowed
    assert caught.value.allowed[0] in str(caught.value)


def test_prices_are_per_thousand_tokens() -> None:
    assert cost_usd("gpt-4", 1000, 1000) == pytest.approx(0.09)
    assert cost_usd("claude-3-haiku", 2000, 0) == pytest.approx(0.0005)
    with pytest.raises(KeyError):
        cost_usd("nothing", 1, 1)
