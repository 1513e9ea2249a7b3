"""The simulator's ASGI application: routes, and the numbering of generation calls."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from reference.provider import bedrock_format, faults, generation, google_format, openai_format
from reference.provider.connection import Connection, Receive, Scope, Send
from reference.provider.draws import Draws
from reference.provider.ledger import Entry, Ledger, Status
from reference.provider.wire import BadRequestError, Wanted, WireFormat

if TYPE_CHECKING:
    from reference.provider.settings import ProviderSettings

_TRACEPARENT = re.compile(rb"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_CONVERSE = re.compile(r"^/model/(?P<model>.+)/(?P<operation>converse|converse-stream)$")
# Both versions of the API: v1beta is what the vendor documents, v1 what newer SDKs of its ask for by themselves.
_GENERATE_CONTENT = re.compile(
    r"^/v1(?:beta)?/models/(?P<model>[^/:]+):(?P<operation>generateContent|streamGenerateContent)$"
)
_MODELS = ["gpt-4", "gpt-4-turbo", "gpt-3.5-turbo"]
_LEDGER_PAGE, _LEDGER_PAGE_MAX = 10_000, 100_000

Handler = Callable[[Scope, Connection], Awaitable[None]]
Reader = Callable[[dict[str, Any]], Wanted]


class ProviderApp:
    """ASGI application of one simulated provider."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._draws = Draws(settings)
        self._ledger = Ledger(settings.name, settings.ledger_rows)
        self._control = faults.Control()
        self._calls = 0
        self._openai = openai_format.OpenAIFormat()
        self._bedrock = bedrock_format.BedrockFormat()
        self._google = google_format.GoogleFormat()
        self._routes: dict[tuple[str, str], Handler] = {
            ("POST", "/v1/chat/completions"): self._chat_completions,
            ("GET", "/v1/models"): self._list_models,
            ("GET", "/"): self._alive,
            ("GET", "/healthz"): self._alive,
            ("GET", "/ledger"): self._read_ledger,
            ("GET", "/control"): self._read_control,
            ("PUT", "/control"): self._set_control,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request (or the server's lifespan)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        connection = Connection(receive, send)
        handler = self._routes.get((scope["method"], scope["path"]))
        if handler is not None:
            await handler(scope, connection)
        elif scope["method"] == "POST" and (match := _CONVERSE.match(scope["path"])):
            await self._converse(scope, connection, match["model"], match["operation"])
        elif scope["method"] == "POST" and (match := _GENERATE_CONTENT.match(scope["path"])):
            await self._generate_content(scope, connection, match["model"], match["operation"])
        else:
            await _problem(connection, 404, f"no such route: {scope['method']} {scope['path']}")

    async def _chat_completions(self, scope: Scope, connection: Connection) -> None:
        await self._generate(scope, connection, self._openai, openai_format.read)

    async def _converse(self, scope: Scope, connection: Connection, model: str, operation: str) -> None:
        stream = operation == "converse-stream"
        await self._generate(
            scope, connection, self._bedrock, lambda body: bedrock_format.read(model, body, stream=stream)
        )

    async def _generate_content(self, scope: Scope, connection: Connection, model: str, operation: str) -> None:
        stream = operation == "streamGenerateContent"

        def read(body: dict[str, Any]) -> Wanted:
            # Without `alt=sse` the real provider streams one long JSON array, which its own SDK never asks for.
            if stream and b"alt=sse" not in scope["query_string"].split(b"&"):
                raise BadRequestError("this simulator streams with alt=sse only")
            return google_format.read(model, body, stream=stream)

        await self._generate(scope, connection, self._google, read)

    async def _generate(self, scope: Scope, connection: Connection, wire: WireFormat, read: Reader) -> None:
        entry = _entry(scope)
        self._ledger.open(entry)
        status: Status = "cancelled"  # what it is when the server is stopped in the middle of the call
        try:
            status = await self._answer(entry, connection, wire, read)
        finally:
            self._ledger.close(entry, status)

    async def _answer(self, entry: Entry, connection: Connection, wire: WireFormat, read: Reader) -> Status:
        self._calls += 1
        number = self._calls
        body = await connection.read_body()
        if body is None:
            return "cancelled"
        try:
            wanted = read(_json_object(body))
        except BadRequestError as error:
            await generation.reject(connection, wire, entry, 400, str(error))
            return "rejected"
        entry.model, entry.tokens_in, entry.stream = wanted.model, wanted.tokens_in, wanted.stream
        call = generation.Call(number, wanted, self._draws.call(number), wire, entry, connection)
        return await generation.run(call, self._control, self._settings)

    async def _list_models(self, _scope: Scope, connection: Connection) -> None:
        await connection.answer(200, openai_format.models(_MODELS))

    async def _alive(self, _scope: Scope, connection: Connection) -> None:
        await connection.answer(200, b'{"status":"ok"}')

    async def _read_ledger(self, scope: Scope, connection: Connection) -> None:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        try:
            after = int(query.get("after", ["0"])[-1])
            limit = int(query.get("limit", [str(_LEDGER_PAGE)])[-1])
        except ValueError as error:
            await _problem(connection, 422, f"after and limit must be whole numbers: {error}")
            return
        if after < 0 or not 1 <= limit <= _LEDGER_PAGE_MAX:
            await _problem(connection, 422, f"after must be >= 0 and limit from 1 to {_LEDGER_PAGE_MAX}")
            return
        await connection.answer(200, self._ledger.page(after, limit))

    async def _read_control(self, _scope: Scope, connection: Connection) -> None:
        await connection.answer(200, self._control.model_dump_json().encode())

    async def _set_control(self, _scope: Scope, connection: Connection) -> None:
        body = await connection.read_body()
        try:
            self._control = faults.parse(body or b"")
        except faults.ControlError as error:
            await _problem(connection, 422, str(error))
            return
        await connection.answer(200, self._control.model_dump_json().encode())


def _entry(scope: Scope) -> Entry:
    received_ns = time.monotonic_ns()
    found: dict[bytes, bytes] = dict(scope["headers"])
    trace = _TRACEPARENT.match(found.get(b"traceparent", b""))
    tenant, agent = found.get(b"x-tenant-id"), found.get(b"x-agent-id")
    return Entry(
        received_ns=received_ns,
        trace_id=trace[1].decode() if trace else None,
        span_id=trace[2].decode() if trace else None,
        tenant=tenant.decode("latin-1") if tenant else None,
        agent=agent.decode("latin-1") if agent else None,
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError(f"the body must be a JSON object, not {type(value).__name__}")
    return value


async def _problem(connection: Connection, status: int, message: str) -> None:
    await connection.answer(status, json.dumps({"error": {"message": message}}).encode())


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
