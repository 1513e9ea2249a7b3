"""Whether anybody calls an upstream through its proxy: the connections that are open there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from harness.probes.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recording.tables import EventLog, SampleWriter


class Callers(Periodic):
    """Samples, every second, ``connections`` of source ``proxies``, labelled ``upstream``: the callers' open
    connections to each proxy, our own probe socket's among them while it asks.

    `pid` is the Toxiproxy's, `ports` where its proxies listen, by upstream. Toxiproxy's own counters do not tell: they
    count the bytes of a connection once it is closed, and callers keep theirs.
    """

    def __init__(
        self, pid: int, ports: Mapping[str, int], samples: SampleWriter, events: EventLog, *, every_s: float = 1.0
    ) -> None:
        super().__init__("callers", every_s, events)
        self._pid, self._ports, self._samples = pid, ports, samples

    def look(self) -> None:
        """Count once. OSError when the process cannot be read."""
        try:
            found = psutil.Process(self._pid).net_connections(kind="tcp")
        except psutil.Error as error:
            raise OSError(str(error)) from error
        at = [c.laddr.port for c in found if c.status == psutil.CONN_ESTABLISHED and c.laddr]
        for upstream, port in self._ports.items():
            self._samples.sample("proxies", "connections", at.count(port), {"upstream": upstream})
