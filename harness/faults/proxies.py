"""One proxy in front of each upstream of the target: journalled before it is made, and seen gone when removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import FaultFailed
from harness.faults.probe_socket import ProbeSocket
from harness.faults.toxiproxy import Proxy, Toxiproxy, proxy_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.journal import Journal
    from harness.model.target import Upstream


@dataclass(frozen=True)
class Proxied:
    """An upstream behind its proxy."""

    upstream: str
    proxy: Proxy
    probe: ProbeSocket
    """Asks the upstream through the proxy."""
    entry: int
    """Of the journal."""

    @property
    def address(self) -> str:
        """Where the system should look for the upstream, ``host:port``."""
        return self.proxy.listen


def put_in_front(
    server: Toxiproxy, run_id: int, upstreams: Mapping[str, Upstream], addresses: Mapping[str, str], journal: Journal
) -> dict[str, Proxied]:
    """Make the proxies of a run. `addresses`: where each upstream really is (``host:port``).

    FaultFailed when one cannot be made; those made before it are removed.
    """
    made: dict[str, Proxied] = {}
    try:
        for name, upstream in upstreams.items():
            full_name = proxy_name(run_id, name)
            entry = journal.proxy(server.address, full_name)
            proxy = server.create(full_name, addresses[name], upstream.listen)
            made[name] = Proxied(name, proxy, ProbeSocket(proxy.listen, upstream.protocol), entry)
    except BaseException:
        take_away(made, journal)
        raise
    return made


def take_away(proxied: Mapping[str, Proxied], journal: Journal) -> list[str]:
    """Remove a run's proxies, and everything on them; return what could not be, in words. May be called twice."""
    left = []
    for site in proxied.values():
        try:
            site.proxy.server.delete(site.proxy.name)
        except FaultFailed as error:
            left.append(f"proxy {site.proxy.name}: {error}")
        else:
            journal.healed(site.entry)
    return left
