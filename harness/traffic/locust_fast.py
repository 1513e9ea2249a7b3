"""`FastHttpUser`'s session, measured. Only for the Locust subprocess.

Most requests go the short way: a head from a template (`locust_heads`), one call to send, a plain answer read without a
parser (`locust_answer`), and of Locust's response what the workload looks at. What is not so simple is left to Locust
and geventhttpclient: before it is sent (files, cookies, proxies), or with what has been read of the answer so
far (chunks, redirects, errors, cookies that are set).
"""

from __future__ import annotations

from functools import cached_property
from json import dumps
from typing import TYPE_CHECKING, Any, NamedTuple

from geventhttpclient.client import HTTPClient
from locust.contrib import fasthttp

from harness.clock import NS_PER_MS, NS_PER_S, now_ns, wall_s
from harness.traffic.locust_answer import Asking, ReadResponse, Reply
from harness.traffic.locust_client import LazyCookieJar
from harness.traffic.locust_heads import METHODS, SPAN, SPAN_HOLE, Template, Templates, fill, place, template
from harness.traffic.locust_hosts import refuse
from harness.traffic.locust_measuring import (
    OUR_LISTENERS,
    Context,
    Measuring,
    Reporting,
    count_ahead,
    lowered,
    open_exchange,
    size_of,
    traced,
)

if TYPE_CHECKING:
    from geventhttpclient.header import Headers

    from harness.traffic.answer_head import Head
    from harness.traffic.locust_answer import Handed, TimedResponse
    from harness.traffic.locust_heads import Place
    from harness.traffic.locust_record import Exchange

_templates = Templates()


class _Learned(BaseException):
    """Ends a request before it is sent; `request` is what would have been."""

    request: Any


def _learn(_: Any) -> Any:
    raise _Learned


def _nothing(_: Head) -> bool:
    return False


class Agent(fasthttp.LocustUserAgent):
    """Locust's user agent; an answer that was begun elsewhere is handed to it. Asked for every hop of a request."""

    handed: Handed | None = None

    def _urlopen(self, request: Any) -> Any:
        handed, self.handed = self.handed, None
        if handed is None:
            refuse(request.url_split.host)
            return super()._urlopen(request)  # type: ignore[no-untyped-call]
        response = handed(request)
        return self.response_type(response, request=request, sent_request=response._sent_request)  # noqa: SLF001


class Shot(NamedTuple):
    """A request that can go the short way."""

    client: HTTPClient
    method: str
    place: Place
    template: Template
    payload: Any
    """The body as Locust shows it."""
    body: bytes
    """The body as it is sent."""

    def head(self, request_id: int) -> str:
        """The head, filled in."""
        line = f"{self.method} {self.place.uri} HTTP/1.1\r\n"
        return line + fill(self.template.head, request_id, len(self.body))


class _Late:
    """Of a plain answer's response, what is seldom looked at: made when it is."""

    exchange: Exchange
    shot: Shot
    reply: Reply

    def _take(self, exchange: Exchange, shot: Shot, reply: Reply) -> None:
        self.exchange, self.shot, self.reply = exchange, shot, reply
        self._cached_content = reply.body

    @property
    def status_code(self) -> int:
        return self.reply.head.status

    @cached_property
    def headers(self) -> Headers:
        headers = self.shot.client.headers_type()
        for line in self.reply.raw_head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = line.partition(":")
            headers.add(name, value.lstrip(" \t"))
        return headers

    @cached_property
    def _response(self) -> ReadResponse:
        data = b"\r\n\r\n".join((self.reply.raw_head, self.reply.body))
        return ReadResponse(data, self.shot.method, self.shot.client)

    @cached_property
    def request(self) -> fasthttp.FastRequest:
        shot = self.shot
        headers = shot.template.headers_for(self.exchange.request_id, len(shot.body))
        return fasthttp.FastRequest(
            shot.place.url,
            method=shot.method,
            headers=headers,
            payload=shot.body if shot.template.encoded else shot.payload,
        )

    @property
    def _request(self) -> fasthttp.FastRequest:
        return self.request

    @property
    def _sent_request(self) -> str:
        return self.shot.head(self.exchange.request_id)

    @property
    def _elapsed(self) -> float:
        return (self.reply.head_ns - self.exchange.start_ns) / NS_PER_S

    @cached_property
    def _history(self) -> list[Any]:
        return []


class QuickResponse(_Late, fasthttp.FastResponse):  # type: ignore[misc, override] # attributes there, properties here
    """What `FastHttpUser` gets for a plain answer."""

    def __init__(self, exchange: Exchange, shot: Shot, reply: Reply) -> None:
        self._take(exchange, shot, reply)


class FastContext(Context, fasthttp.ResponseContextManager):
    """What `FastHttpUser` gets with ``catch_response``."""

    def __init__(self, response: Any, request_event: Any, request_meta: dict[str, Any], catch_response: bool) -> None:
        count_ahead(request_meta)
        super().__init__(response, request_event, request_meta, catch_response)


class QuickContext(_Late, Context, fasthttp.ResponseContextManager):  # type: ignore[misc, override]
    """The same for a plain answer."""

    def __init__(self, exchange: Exchange, shot: Shot, reply: Reply, event: Any, meta: dict[str, Any]) -> None:
        self._take(exchange, shot, reply)
        self._request_event, self.request_meta, self._catch_response = event, meta, True
        meta["response"] = self


class FastSession(fasthttp.FastHttpSession):
    """`FastHttpUser`'s session, measured."""

    client: Agent

    def __init__(self, base_url: str | None, request_event: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(base_url, Reporting(request_event), user, **kwargs)
        self._event = request_event

    def request(  # noqa: PLR0913, PLR0917 - Locust's signature
        self,
        method: str,
        url: str,
        name: str | None = None,
        data: Any = None,
        catch_response: bool = False,
        stream: bool = False,
        headers: Any = None,
        auth: Any = None,
        json: Any = None,
        allow_redirects: bool = True,
        context: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Send a request as Locust would."""
        exchange = open_exchange(self, name or self.request_name or url, context or {})
        try:
            shot = None if kwargs else self._aim(method, url, data, headers, auth, json)
            handed = None
            if shot is not None:
                request = shot.head(exchange.request_id).encode() + shot.body
                Measuring.recorder.begin(exchange, len(shot.body))
                began_s = wall_s()
                reply = Asking(shot.client, method, request, _nothing if stream else self._wants).ask()
                if reply.__class__ is Reply:
                    return self._done(exchange, shot, reply, url, began_s, catch=catch_response)
                handed = reply
                exchange.ahead_ns = now_ns() - exchange.start_ns
            headers = traced(headers, self.client.default_headers, exchange.request_id)
            return super().request(
                method, url, name, data, catch_response, stream, headers, auth, json, allow_redirects,
                dict(exchange.context), exchange=exchange, handed=handed, stream_body=stream, **kwargs,
            )  # fmt: skip
        except BaseException as error:
            exchange.ended(now_ns(), error)
            exchange.write()
            raise

    def _aim(self, method: str, url: Any, data: Any, headers: Any, auth: Any, json: Any) -> Shot | None:
        """Return the request ready to be sent the short way; None when it cannot go that way."""
        agent = self.client
        jar = agent.cookiejar
        if (
            agent.__class__ is not Agent
            or jar.__class__ is not LazyCookieJar
            or jar._cookies  # type: ignore[attr-defined] # noqa: SLF001
            or method not in METHODS
            or (headers and headers.__class__ is not dict)
            or url.__class__ is not str
            or (where := place(self.base_url, url)) is None
        ):
            return None
        client = agent.clientpool.get_client(where.url)
        if client.__class__ is not HTTPClient:
            return None
        how: Any = data.__class__ if data else ""
        payload, body = data, b""
        if not data:
            if json is not None:
                how, payload = "json", dumps(json)
                body = payload.encode()
        elif how is str:
            body = data.encode()
        elif how is bytes:
            body = data
        else:
            return None
        kind = (
            method,
            how,
            auth or self.auth_header,
            where.client,
            tuple(dict.items(agent.default_headers)),
            tuple(dict.items(client.default_headers)),
        )
        found = _templates.get(kind, headers, lambda fields: self._learn(method, where, data, fields, auth, json))
        if found is None:
            return None
        return Shot(client, method, where, found, payload, body)

    def _learn(
        self, method: str, where: Place, data: Any, headers: dict[Any, Any] | None, auth: Any, json: Any
    ) -> Template | None:
        """Have Locust make the request, up to where it would be sent."""
        agent, fields = self.client, headers or {}
        if not all(key.__class__ is str and text.__class__ is str and SPAN not in text for key, text in fields.items()):
            return None  # what is equal need not look equal: 1, 1.0 and True
        fields = traced(fields, agent.default_headers, SPAN_HOLE)
        url = str(where.url)
        try:
            super().request(method, url, None, data, False, False, fields, auth, json, exchange=None, handed=_learn)
        except _Learned as learned:
            request = learned.request
        except Exception:  # noqa: BLE001 - it will be raised again when Locust makes the request in earnest
            return None
        finally:
            agent.handed = None
        try:
            client = agent.clientpool.get_client(where.url)
            return template(client, method, where.uri, request)
        except ValueError:  # a field that cannot be sent
            return None

    def _wants(self, head: Head) -> bool:
        return head.status in self.client.valid_response_codes and not Measuring.recorder.hears(head.fields)

    def _done(
        self, exchange: Exchange, shot: Shot, reply: Reply, url: str, began_s: float, *, catch: bool
    ) -> QuickResponse | QuickContext:
        """Note a plain answer and report it as Locust does."""
        exchange.status, exchange.headers, exchange.body = reply.head.status, reply.head.fields, reply.body
        exchange.first_byte_ns, exchange.end_ns = reply.first_byte_ns, reply.end_ns
        exchange.bytes_in = length = len(reply.body)
        response_ms = (reply.end_ns - exchange.start_ns) / NS_PER_MS
        if not catch and len(self._event._handlers) <= OUR_LISTENERS:  # noqa: SLF001
            Measuring.statistics.add(shot.method, exchange.name, response_ms, length, None)
            exchange.reported = True
            exchange.write()
            return QuickResponse(exchange, shot, reply)
        meta: dict[str, Any] = {
            "request_type": shot.method,
            "name": exchange.name,
            "context": dict(exchange.context),
            "response": None,
            "exception": None,
            "start_time": began_s,
            "url": self._build_url(url),
            "response_length": length,
            "response_time": response_ms,
        }
        if catch:
            return QuickContext(exchange, shot, reply, self.request_event, meta)
        meta["response"] = response = QuickResponse(exchange, shot, reply)
        self.request_event.fire(**meta)
        return response

    def _send_request_safe_mode(self, method: str, url: str, **kwargs: Any) -> Any:
        exchange: Exchange | None = kwargs.pop("exchange")
        self.client.handed = handed = kwargs.pop("handed")
        if exchange is None:
            return super()._send_request_safe_mode(method, url, **kwargs)
        stream = kwargs.pop("stream_body")
        if handed is None:
            exchange.ahead_ns = -Measuring.recorder.begin(exchange, size_of(kwargs.get("payload")))
        response: Any = super()._send_request_safe_mode(method, url, **kwargs)
        response.exchange = exchange
        answer: TimedResponse | None = response._response  # noqa: SLF001 - nothing else has the times
        if answer is None:
            exchange.end_ns = now_ns()
            return response
        if handed is not None:
            first = response._history[0] if response._history else response  # noqa: SLF001
            first._elapsed += exchange.ahead_ns / NS_PER_S  # noqa: SLF001
        exchange.status, exchange.headers = answer.status_code, lowered(response.headers.iterlower())
        if stream:
            answer.follow(exchange)
            exchange.body = getattr(response, "_cached_content", exchange.body)  # Locust has read bad answers already
        elif Measuring.recorder.hears(answer):
            answer.follow(exchange)  # its tokens are read off the bytes that came, whatever Locust makes of them
            _read_whole(response, answer, exchange)
        else:
            exchange.body = _read_whole(response, answer, exchange)
        return response


def _read_whole(response: Any, answer: TimedResponse, exchange: Exchange) -> bytes:
    """Read the body; an error here meets Locust again when it asks for the content, and is reported by it."""
    body = b""
    try:
        body = response.content or b""
        exchange.end_ns = answer.end_ns
    except fasthttp.FAILURE_EXCEPTIONS as error:
        answer.broken = error
        exchange.end_ns = now_ns()
    exchange.bytes_in, exchange.first_byte_ns = answer.received, answer.first_byte_ns
    return body
