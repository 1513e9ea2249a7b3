"""The LLM service every agent calls: cache, then each provider in order, then the rule-based answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reference.gateway import rules
from reference.gateway.cache import GuardedCache, key_of
from reference.gateway.prices import MODELS, cost_usd
from reference.gateway.upstream import NOTHING_PAID, Completion, ModelCall, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reference.gateway.catalogue import Agent, Task, Team
    from reference.gateway.costs import Costs
    from reference.gateway.guarded import Deadline, GuardedUpstream, TokenStream
    from reference.gateway.metrics import Metrics

LOCAL = "local"
CACHE = "cache"


class NoProviderError(Exception):
    """No provider answered and the mode forbids the rule-based answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a user asks an agent."""

    tenant: str
    team: Team
    agent: Agent
    task: Task
    text: str
    trace_id: str

    @property
    def agent_id(self) -> str:
        """The agent's name across teams."""
        return f"{self.team.name}.{self.agent.name}"

    def model_call(self) -> ModelCall:
        """The question as it is put to a model."""
        return ModelCall(
            tenant=self.tenant,
            agent=self.agent_id,
            model=self.task.model,
            system=self.agent.system,
            prompt=self.task.prompt(self.text),
            temperature=self.task.temperature,
            max_tokens=self.task.max_tokens,
            trace_id=self.trace_id,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a question. Usage and cost are what it cost now: nothing when cached.

    `degraded` says that a rule stood in for a model.
    """

    text: str
    provider: str
    model: str
    usage: Usage = NOTHING_PAID
    cost_usd: float = 0.0
    lookups: int = 0
    hits: int = 0
    degraded: bool = False

    @property
    def cached(self) -> bool:
        """Whether all of the answer is from the cache."""
        return self.lookups > 0 and self.hits == self.lookups


class LLM:
    """The service. `providers` in the order they are asked; none of them in `local_only`."""

    def __init__(
        self,
        providers: Sequence[GuardedUpstream],
        cache: GuardedCache,
        metrics: Metrics,
        costs: Costs,
        log: Any,
        *,
        local_answers: bool,
    ) -> None:
        self._providers = providers
        self._cache = cache
        self._metrics = metrics
        self._costs = costs
        self._log = log
        self._local_answers = local_answers

    async def ask(self, question: Question, deadline: Deadline) -> Reply:
        """The whole answer. Raises NoProviderError in mode `aws_only` when Bedrock has none."""
        if not self._providers:
            return self._local(question, lookups=0)
        call = question.model_call()
        key = key_of(call)
        if (cached := await self._look_up(key, call)) is not None:
            self._book(call, cached)
            return cached
        for provider in self._providers:
            if (answer := await provider.complete(call, deadline)) is not None:
                self._note_failover(call, provider.name)
                await self._cache.put(key, json.dumps([answer.text, answer.model]).encode())
                return self._paid(call, answer)
        return self._local(question, lookups=1)

    async def open_stream(self, question: Question, deadline: Deadline) -> TokenStream | Reply:
        """A stream that has begun, or the rule-based answer. Raises NoProviderError as `ask` does."""
        call = question.model_call()
        for provider in self._providers:
            if (stream := await provider.open_stream(call, deadline)) is not None:
                self._note_failover(call, provider.name)
                return stream
        return self._local(question, lookups=0)

    def stream_paid(self, question: Question, stream: TokenStream) -> Reply:
        """Book a stream that was read to its end."""
        call = question.model_call()
        model = MODELS[call.model][stream.provider].name
        return self._paid(call, Completion("", stream.provider, model, stream.usage), lookups=0)

    async def _look_up(self, key: str, call: ModelCall) -> Reply | None:
        found = await self._cache.get(key)
        if found is None:
            self._metrics.cache_misses.labels(call.agent, call.model).inc()
            return None
        self._metrics.cache_hits.labels(call.agent, call.model).inc()
        text, model = json.loads(found)
        return Reply(text, CACHE, model, lookups=1, hits=1)

    def _paid(self, call: ModelCall, answer: Completion, lookups: int = 1) -> Reply:
        cost = cost_usd(answer.model, answer.usage.tokens_in, answer.usage.tokens_out)
        reply = Reply(answer.text, answer.provider, answer.model, answer.usage, cost, lookups)
        self._metrics.llm_cost.labels(call.agent, call.model, answer.provider).inc(cost)
        self._book(call, reply)
        return reply

    def _local(self, question: Question, lookups: int) -> Reply:
        if not self._local_answers:
            raise NoProviderError("bedrock did not answer, and in mode aws_only nothing else may")
        call = question.model_call()
        if self._providers:
            self._note_failover(call, LOCAL)
        text = rules.answer(question.team, question.agent, question.task, question.text)
        reply = Reply(text, LOCAL, rules.MODEL, lookups=lookups, degraded=True)
        self._book(call, reply)
        return reply

    def _book(self, call: ModelCall, reply: Reply) -> None:
        self._costs.add(call.tenant, call.agent, reply.usage.tokens_in, reply.usage.tokens_out, reply.cost_usd)

    def _note_failover(self, call: ModelCall, provider: str) -> None:
        if provider != self._providers[0].name:
            self._log.warning("failover", to=provider, tenant=call.tenant, agent=call.agent, trace_id=call.trace_id)
