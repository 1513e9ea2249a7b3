"""The target: how the system under test comes up, where requests go, what can be faulted, how answers read."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.model.base import Frozen, Name
from harness.model.prices import Prices
from harness.model.units import PerSecond, Seconds

Variables = dict[str, Annotated[str, Field(coerce_numbers_to_str=True)]]
"""Of an environment, where a number is a text as well."""


class Service(Frozen):
    """One process of a `processes` system.

    `command` and `env` values may hold ``${services.NAME}`` and ``${upstreams.NAME}`` (``host:port``; an
    upstream's is the fault proxy in front of it), ``${port}`` (this service's own) and ``${python}`` (this
    interpreter).
    """

    command: tuple[str, ...] = Field(min_length=1)
    ready: str = "/"
    """Path that answers 2xx when the service can be used."""
    ready_within: Seconds = 30.0
    env: Variables = {}
    port: int | Literal["auto"] = "auto"
    needs: tuple[str, ...] | None = None
    """Services that must be ready before this one starts; when left out, those its command and environment name."""
    stop_within: Seconds = 5.0
    """Seconds between SIGTERM and SIGKILL."""


class ProcessesSystem(Frozen):
    """Processes on this machine, started in the order given."""

    kind: Literal["processes"]
    services: dict[str, Service] = Field(min_length=1)
    settings: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*\*?$")], ...] = ()
    """Variables that set how the system works, if whoever starts a run has them: names, or like ``AGENTS_*``. Services
    get the whole environment anyway; what these are is kept in the plan, and runs with different ones are series of
    their own in ``agentstorm history``. Secrets, versions, ports and paths are passed over."""


class ExternalSystem(Frozen):
    """An already running system: nothing is started or stopped."""

    kind: Literal["external"]


class ComposeSystem(Frozen):
    """Containers of a Compose file, in a project of the run's own, with a Toxiproxy among them."""

    kind: Literal["compose"]
    file: str
    """The Compose file, seen from the folder that holds ``targets/``. Its ``image`` and ``build`` say what runs."""
    publish: dict[str, int] = Field(min_length=1)
    """Service -> the port it listens on in its container. Each is published on a free port of 127.0.0.1, which is
    what ``${services.NAME}`` stands for."""
    toxiproxy: str = "toxiproxy"
    """The service that runs Toxiproxy; what is published of it is its API."""
    http_faults: str | None = None
    """An image with Python 3.11 or newer (``python3``), in which the HTTP fault proxy runs when a fault needs it;
    without one there are no faults of HTTP answers. Variables of the Compose file may be used."""
    replicated: str | None = None
    """The service that ``--replicas`` multiplies. Each copy is published on a port of its own, so ``${services.NAME}``
    does not exist for it."""
    env: Variables = {}
    """Variables for the Compose file. The environment comes before them, the file's ``.env`` after."""
    up_within: Seconds = 180.0
    """Seconds that all containers together may take to become healthy."""
    stop_within: Seconds = 12.0
    """Seconds between SIGTERM and SIGKILL."""


System = Annotated[ProcessesSystem | ExternalSystem | ComposeSystem, Field(discriminator="kind")]


class Upstream(Frozen):
    """Something the system calls (an LLM provider, a cache) that can be put behind a fault proxy."""

    address: str
    """``host:port`` of the real thing, as the fault proxy sees it: ``${services.NAME}`` for a process of ours,
    ``service:port`` for a container beside the proxy."""
    protocol: Literal["http", "redis", "tcp"] = "http"
    """How a probe socket can tell that it answers."""
    listen: str = "127.0.0.1:0"
    """Where the proxy listens; the default is a free port. In a container it takes ``0.0.0.0`` and a fixed port."""
    ledger: str | None = None
    """URL of the provider's own account of its calls, for simulators: ``http://${direct.NAME}/ledger``."""

    @property
    def service(self) -> str:
        """The service of the target that `address` names (``${services.NAME}`` or ``NAME:port``), if it is one."""
        return self.address.rpartition(":")[0] or self.address.removeprefix("${services.").removesuffix("}")


class Observer(Frozen):
    """How one fact is read off an answer.

    `sources` are tried in order: ``header:NAME``, ``json:JSONPATH``, ``sse:JSONPATH`` (last event of a stream
    that has it), ``regex:PATTERN`` (first group), ``status``. `map` translates the text found; a text that is
    not in a non-empty map counts as not seen.
    """

    sources: tuple[str, ...] = Field(min_length=1, alias="from")
    map: dict[str, str | bool | int] = {}


def _observer(value: object) -> object:
    if isinstance(value, str):
        return {"from": (value,)}
    if isinstance(value, (list, tuple)):
        return {"from": tuple(value)}
    if isinstance(value, dict) and isinstance(value.get("from"), str):
        return value | {"from": (value["from"],)}
    return value


Observed = Annotated[Observer, BeforeValidator(_observer)]


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


TokenSources = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_several)]


class Observe(Frozen):
    """What an answer shows. Anything left out is not known, never zero."""

    provider: Observed | None = None
    cached: Observed | None = None
    cache_lookups: Observed | None = None
    cache_hits: Observed | None = None
    degraded: Observed | None = None
    error: Observed | None = None
    """Truthy or present means the answer is an error, whatever its status."""
    answer: Observed | None = None
    """The answer itself: absent, null or empty means the request failed, whatever its status."""
    tokens_in: Observed | None = None
    tokens_out: Observed | None = None
    token: TokenSources | None = None
    """Which events of a stream are tokens: those in which one of these holds text. ``sse:JSONPATH``,
    ``event:NAME:JSONPATH`` (events of that name only), or ``chunk`` (every piece of an answer without length that is
    neither JSON nor server-sent events). Time to first token and the gaps between tokens rest on it."""
    stream_end: str | None = None
    """Text that ends every complete stream (``data: [DONE]``); a stream without it failed."""


class Probe(Frozen):
    """The canary: one cheap real request, sent open-loop beside the load."""

    path: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: dict[str, object] | None = None
    """JSON body; ``${n}`` in a string becomes the probe's number, so that no cache answers it."""
    rate: PerSecond = Field(default=20.0, gt=0, le=100)
    timeout: Seconds = 30.0


_BARE = r"^[a-zA-Z_:][\w:]*$"
_WITH_LABEL = r"^[a-zA-Z_:][\w:]*\{[a-zA-Z_]\w*\}$"


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


class Metrics(Frozen):
    """Where the system shows its own Prometheus metrics, and which of them mean what."""

    url: str = "/metrics"
    service: str | None = None
    """Scrape every running copy of this service, when a load balancer stands before it; else the one at `url`."""
    every: Seconds = Field(default=0.5, gt=0)
    breaker: str | None = None
    """Gauge of breaker states with its label in braces: ``llm_circuit_state{provider}``."""
    breaker_states: dict[str, Literal["closed", "half_open", "open"]] = {
        "0": "closed",
        "1": "half_open",
        "2": "open",
    }
    cache_hits: str | None = None
    cache_misses: str | None = None
    requests: str | None = Field(default=None, pattern=_WITH_LABEL)
    """Counter of answers to users, with the label that holds how each ended: ``http_requests_total{status_code}``."""
    failed_status: Annotated[str, AfterValidator(_pattern)] = "5.."
    """Which of that label's values are failures: a regular expression for the whole value."""
    provider_calls: str | None = Field(default=None, pattern=_WITH_LABEL)
    """Counter of calls to providers, with the label that names them: ``llm_requests_total{provider}``."""
    latency: str | None = Field(default=None, pattern=_BARE)
    """Histogram of the time answers take, seconds, without ``_bucket``."""
    in_flight: str | None = Field(default=None, pattern=_BARE)
    memory: str | None = Field(default=None, pattern=_BARE)
    """Gauge of the bytes a process holds: ``process_resident_memory_bytes``."""
    cpu: str | None = Field(default=None, pattern=_BARE)
    """Counter of the CPU seconds a process used: ``process_cpu_seconds_total``."""

    @property
    def summed(self) -> dict[str, str]:
        """Samples recorded as the sum over all labels but one: their name -> that label, "" for none.

        A histogram by agent, model and provider has thousands of series; what watches a system in operation sums them.
        """
        found = {}
        for named in (self.requests, self.provider_calls, self.in_flight, self.memory, self.cpu):
            if named:
                name, _, label = named.rstrip("}").partition("{")
                found[name] = label
        if self.latency:
            found[f"{self.latency}_bucket"] = "le"
        return found


class Target(Frozen):
    """The system under test."""

    target: Name
    about: str = ""
    version: str | None = None
    """Version of the system, for the head of the report: ``1.4.2``, or ``${env.NAME}`` for what that variable of the
    environment says when the plan is read (one that is not set, or empty, leaves the version out). No part of the plan:
    runs of two versions can be compared."""
    system: System
    url: str
    """Base URL that requests go to; ``${services.NAME}`` is filled in."""
    upstreams: dict[Name, Upstream] = {}
    groups: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    """Upstreams that fail together (a region, all providers): a fault's `upstream` may name one."""
    observe: Observe = Observe()
    probe: Probe | None = None
    metrics: Metrics | None = None
    health: str | None = None
    """Path of the system's health page, read every second. Any status but 2xx is unhealthy; else the word at ``status``
    of its JSON decides: ``degraded``, ``warning``, ``partial`` ... or ``unhealthy``, ``down``, ``error``, ``failed``
    ...; ``ok``, ``up``, ``running``, ``ready`` ..., no word, and any that is not known (the report tells), are ok."""
    prices: Prices | None = None
    """What models cost. In a target's file it is the name of a file of ``prices/``, as in ``audit``."""
    audit: str | None = None
    """The readiness audit that recordings answer to: a file of ``audits/``, as in ``happyos``. Its rows are no part of
    the plan."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts beyond loopback that traffic and faults may go to."""

    @property
    def stand_ins(self) -> frozenset[str]:
        """The services that only stand in for what the system calls in earnest: those that keep a ledger."""
        return frozenset(upstream.service for upstream in self.upstreams.values() if upstream.ledger)
