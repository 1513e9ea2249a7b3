"""One proxy in front of each upstream of the target: journalled before it is made, and seen gone when removed.

Where a fault of the plan needs it, the HTTP fault proxy stands behind that one: system -> Toxiproxy -> HTTP fault proxy
-> upstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S
from harness.errors import FaultFailed
from harness.faults import watch
from harness.faults.fault import UpstreamFault
from harness.faults.probe_socket import ProbeSocket
from harness.faults.toxiproxy import Proxy, Toxiproxy, proxy_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.faults.fault import Fault
    from harness.faults.http_proxy import HttpRoute
    from harness.journal import Journal
    from harness.model.target import Upstream


@dataclass(frozen=True)
class Place:
    """Where one upstream's proxy belongs. A server in a container has a network of its own: what it sees as `listen`
    is reached elsewhere from here."""

    upstream: str
    """``host:port`` of the real thing, as the server sees it."""
    listen: str
    """Where the server shall listen; port 0 is any."""
    reached: str | None = None
    """Where that is from here; None when it is the same."""
    side_door: tuple[str, str] | None = None
    """Where the server shall listen, and where that is from here, for a second proxy that no fault is ever put on: the
    way to the upstream when there is no other."""
    route: HttpRoute | None = None
    """The HTTP fault proxy's way to it, where that stands between."""


class Chain:
    """All that stands before one upstream (a `fault.Breakable` and `fault.Misbehaving`): what faults are put on."""

    def __init__(self, proxy: Proxy, route: HttpRoute | None) -> None:
        self._proxy, self._route = proxy, route
        self.add, self.remove, self.enable = proxy.add, proxy.remove, proxy.enable

    def misbehave(self, name: str, how: Mapping[str, Any]) -> None:
        """Put an effect on the exchanges that pass the HTTP fault proxy."""
        self._http().misbehave(name, how)

    def behave(self, name: str) -> None:
        """Take it off."""
        self._http().behave(name)

    def _http(self) -> HttpRoute:
        if self._route is None:
            raise FaultFailed(f"no HTTP fault proxy stands behind {self._proxy.name}")
        return self._route


@dataclass(frozen=True)
class Proxied:
    """An upstream behind its proxy (a `fault.Site`)."""

    name: str
    """Of the upstream."""
    proxy: Proxy
    probe: ProbeSocket
    """Asks the upstream through the proxy."""
    past: ProbeSocket
    """Asks the upstream past all faults."""
    entries: Mapping[str, int]
    """Of the journal, by the name of each proxy."""
    route: HttpRoute | None = None

    @property
    def ground(self) -> Chain:
        """What faults are put on."""
        return Chain(self.proxy, self.route)

    @property
    def address(self) -> str:
        """Where the proxy listens, as its server sees it, ``host:port``."""
        return self.proxy.listen

    def journal(self, journal: Journal, fault: Fault, fault_id: str) -> int:
        """Write down that `fault` will be injected; return the entry's number."""
        toxics = fault.toxic_names(fault_id) if isinstance(fault, UpstreamFault) else []
        http = {} if self.route is None else {"http": {"admin": self.route.admin, "route": self.route.name}}
        return journal.fault(fault_id, api=self.proxy.server.address, proxy=self.proxy.name, toxics=toxics, **http)

    def other_cause(self, fault: Fault, healthy_ns: int) -> str:
        """Ask the upstream past all faults what the fault's probes ask, as often as would have shown that it is gone:
        one that did not survive, is late or errs by itself is not broken by us any more."""
        patience_ns = max(NS_PER_S, fault.patience_ns(healthy_ns))
        for _ in range(watch.answers_needed(fault.met_by())):
            direct = self.past.ask(patience_ns, question=fault.question())
            if direct.outcome != "answered" or fault.lingers(direct, healthy_ns):
                return f"nor does the upstream when asked without the proxy: {direct}"
        return ""


def put_in_front(
    server: Toxiproxy, run_id: int, upstreams: Mapping[str, Upstream], places: Mapping[str, Place], journal: Journal
) -> dict[str, Proxied]:
    """Make the proxies of a run. FaultFailed when one cannot be made; those made before it are removed."""
    made: dict[str, Proxied] = {}
    entries: dict[str, int] = {}

    def make(name: str, upstream: str, listen: str) -> Proxy:
        full_name = proxy_name(run_id, name)
        entries[full_name] = journal.proxy(server.address, full_name)
        return server.create(full_name, upstream, listen)

    try:
        for name, upstream in upstreams.items():
            place, entries = places[name], {}
            direct = place.upstream
            if place.side_door is not None:
                make(f"{name}.direct", place.upstream, place.side_door[0])
                direct = place.side_door[1]
            proxy = make(name, place.route.listen if place.route else place.upstream, place.listen)
            probe = ProbeSocket(place.reached or proxy.listen, upstream.protocol, forwarded=place.reached is not None)
            made[name] = Proxied(name, proxy, probe, ProbeSocket(direct, upstream.protocol), entries, place.route)
    except BaseException:
        _remove(server, entries, journal)
        take_away(made, journal)
        raise
    return made


def take_away(proxied: Mapping[str, Proxied], journal: Journal) -> list[str]:
    """Remove a run's proxies, and everything on them; return what could not be, in words. May be called twice."""
    return [left for site in proxied.values() for left in _remove(site.proxy.server, site.entries, journal)]


def _remove(server: Toxiproxy, entries: Mapping[str, int], journal: Journal) -> list[str]:
    left = []
    for name, entry in entries.items():
        try:
            server.delete(name)
        except FaultFailed as error:
            left.append(f"proxy {name}: {error}")
        else:
            journal.healed(entry)
    return left
