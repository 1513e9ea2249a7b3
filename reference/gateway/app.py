"""The HTTP interface of the agent system."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from reference.gateway import catalogue, health, metrics, responses, workflow
from reference.gateway.llm import NoProviderError, Question, Reply
from reference.gateway.observed import Observed
from reference.gateway.responses import ApiError, Json
from reference.gateway.trace import trace_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from reference.gateway.system import System

_LONGEST_INPUT = 200_000


class AgentRequest(BaseModel):
    """The body of a call to an agent."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, max_length=_LONGEST_INPUT)
    stream: bool = False


class WorkflowRequest(BaseModel):
    """The body of a call to a team's workflow."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(min_length=1, max_length=_LONGEST_INPUT)


def create_app(system: System, log: Any) -> ASGIApp:
    """The application around an open `system`, which it closes at shutdown."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await system.close()

    app = FastAPI(title="Reference agent system", docs_url=None, redoc_url=None, lifespan=lifespan)
    _add_agent_routes(app, system)
    _add_operator_routes(app, system)
    _add_error_answers(app)
    return Observed(app, system.metrics, log)


def _add_agent_routes(app: FastAPI, system: System) -> None:
    @app.post("/teams/{team}/agents/{agent}/tasks/{task}", response_class=Json)
    async def ask_agent(team: str, agent: str, task: str, body: AgentRequest, request: Request) -> Response:
        tenant, trace_id = _caller(request)
        try:
            found = catalogue.find(team, agent, task)
        except catalogue.UnknownNameError as error:
            raise ApiError(404, "not_found", str(error), allowed=error.allowed) from None
        question = Question(tenant, *found, body.input, trace_id)
        request.scope["facts"]["agent"] = question.agent_id
        if body.stream:
            return await _stream(system, question, request)
        reply = await system.llm.ask(question, system.deadline())
        names = {"team": team, "agent": agent, "task": task}
        return _whole(request, tenant, trace_id, names, reply)

    @app.post("/teams/{team}/workflow", response_class=Json)
    async def run_workflow(team: str, body: WorkflowRequest, request: Request) -> Response:
        tenant, trace_id = _caller(request)
        try:
            found = catalogue.find_team(team)
        except catalogue.UnknownNameError as error:
            raise ApiError(404, "not_found", str(error), allowed=error.allowed) from None
        steps = await workflow.run(system.llm, tenant, found, body.input, trace_id, system.deadline())
        names = {"team": team, "steps": [workflow.public(step) for step in steps]}
        return _whole(request, tenant, trace_id, names, workflow.sum_up(steps))


def _add_operator_routes(app: FastAPI, system: System) -> None:
    @app.get("/health", response_class=Json)
    async def show_health() -> Response:
        states = {provider.name: provider.breaker.state for provider in system.providers}
        status, body = health.report(system.settings.mode, states, system.cache.kind, system.cache.breaker.state)
        return Json(body, status)

    @app.get("/ready", response_class=Json)
    async def show_ready() -> Response:
        # Served at all, the system is ready: its clients are opened before the port is.
        return Json({"ready": True})

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(system.metrics.exposition(), headers={"content-type": metrics.CONTENT_TYPE})

    @app.get("/costs", response_class=Json)
    async def show_costs() -> Response:
        return Json(system.costs.public())

    @app.get("/v1/catalogue", response_class=Json)
    async def show_catalogue() -> Response:
        return Json(_catalogue())


def _add_error_answers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def own(_: Request, error: ApiError) -> Response:
        return Json(error.body, error.status)

    @app.exception_handler(NoProviderError)
    async def no_provider(_: Request, error: NoProviderError) -> Response:
        return Json(ApiError(503, "provider_unavailable", str(error)).body, 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        where = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        return Json(ApiError(422, "invalid_request", where).body, 422)

    @app.exception_handler(HTTPException)
    async def of_framework(_: Request, error: HTTPException) -> Response:
        return Json(ApiError(error.status_code, "http_error", str(error.detail)).body, error.status_code)


def _caller(request: Request) -> tuple[str, str]:
    """The tenant and the trace id. Raises ApiError."""
    tenant = request.headers.get("x-mcp-tenant-id") or request.headers.get("x-tenant-id")
    if not tenant:
        raise ApiError(400, "tenant_missing", "header X-MCP-Tenant-ID is required", allowed=list(catalogue.TENANTS))
    if tenant not in catalogue.TENANTS:
        raise ApiError(403, "tenant_unknown", f"tenant {tenant!r} is not known here")
    trace_id = trace_id_of(request.headers)
    request.scope["facts"].update(tenant=tenant, trace_id=trace_id)
    return tenant, trace_id


async def _stream(system: System, question: Question, request: Request) -> Response:
    stream = await system.llm.open_stream(question, system.deadline())
    facts = request.scope["facts"]
    if isinstance(stream, Reply):
        facts.update(provider=stream.provider, degraded=stream.degraded, stream=True)
        body = responses.event({"delta": stream.text}) + responses.done_event(stream)
        stream_headers = responses.stream_headers(stream.provider, degraded=stream.degraded)
        return Response(body, headers=stream_headers, media_type=responses.StreamedReply.media_type)
    facts.update(provider=stream.provider, degraded=False, stream=True)
    return responses.StreamedReply(system.llm, question, stream)


def _whole(request: Request, tenant: str, trace_id: str, names: dict[str, Any], reply: Reply) -> Response:
    facts = request.scope["facts"]
    facts.update(provider=reply.provider, cached=reply.cached, degraded=reply.degraded)
    body = {
        "request_id": facts["request_id"],
        "trace_id": trace_id,
        "tenant": tenant,
        **names,
        "answer": reply.text,
        "degraded": reply.degraded,
        "provider": reply.provider,
        "model": reply.model,
        "cached": reply.cached,
        **responses.usage_and_cost(reply),
    }
    return Json(body, headers=responses.headers(reply))


def _catalogue() -> dict[str, Any]:
    return {
        "tenants": list(catalogue.TENANTS),
        "workflow": list(catalogue.WORKFLOW),
        "teams": {
            team.name: {
                agent.name: {
                    "tools": list(agent.tools),
                    "tasks": {
                        task.name: {
                            "model": task.model,
                            "temperature": task.temperature,
                            "max_tokens": task.max_tokens,
                        }
                        for task in agent.tasks.values()
                    },
                }
                for agent in team.agents.values()
            }
            for team in catalogue.TEAMS.values()
        },
    }
