"""A team's workflow: its agents in turn, each given the user's input and the answer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference.gateway.catalogue import WORKFLOW
from reference.gateway.llm import Question, Reply
from reference.gateway.upstream import Usage

if TYPE_CHECKING:
    from reference.gateway.catalogue import Team
    from reference.gateway.guarded import Deadline
    from reference.gateway.llm import LLM


@dataclass(frozen=True, slots=True)
class Step:
    """One agent's part."""

    question: Question
    reply: Reply


async def run(llm: LLM, tenant: str, team: Team, text: str, trace_id: str, deadline: Deadline) -> list[Step]:
    """All steps, in order. Raises NoProviderError as `LLM.ask` does; `deadline` is for all steps together."""
    steps: list[Step] = []
    for name in WORKFLOW:
        agent = team.agents[name]
        given = text
        if steps:
            before = steps[-1]
            given = f"{text}\n\n{before.question.agent.name}:\n{before.reply.text}"
        question = Question(tenant, team, agent, agent.first_task, given, trace_id)
        steps.append(Step(question, await llm.ask(question, deadline)))
    return steps


def sum_up(steps: list[Step]) -> Reply:
    """The steps as one reply: the last text, the providers in order joined by `+`, tokens and cost summed."""
    replies = [step.reply for step in steps]
    return Reply(
        text=replies[-1].text,
        provider="+".join(dict.fromkeys(reply.provider for reply in replies)),
        model="+".join(dict.fromkeys(reply.model for reply in replies)),
        usage=Usage(sum(r.usage.tokens_in for r in replies), sum(r.usage.tokens_out for r in replies)),
        cost_usd=sum(reply.cost_usd for reply in replies),
        lookups=sum(reply.lookups for reply in replies),
        hits=sum(reply.hits for reply in replies),
        degraded=any(reply.degraded for reply in replies),
    )


def public(step: Step) -> dict[str, Any]:
    """A step as the response shows it."""
    reply = step.reply
    return {
        "agent": step.question.agent.name,
        "task": step.question.task.name,
        "provider": reply.provider,
        "cached": reply.cached,
        "degraded": reply.degraded,
        "usage": {"input": reply.usage.tokens_in, "output": reply.usage.tokens_out},
    }
