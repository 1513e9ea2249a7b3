"""Everything around the load: fault proxies, the target behind them, and the probes. Up in order, down in reverse."""

from __future__ import annotations

import contextlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from harness import open_files, probes
from harness.faults import service
from harness.faults.http_proxy import HttpFaultProxy, HttpRoute
from harness.faults.probe_socket import split_address
from harness.faults.proxies import Place, Proxied, put_in_front, take_away
from harness.faults.toxiproxy import Toxiproxy
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.observe import Observation
from harness.programs import TOXIPROXY
from harness.recording import layout
from harness.recording.tables import LedgerWriter, SampleWriter
from harness.system import KINDS, Died
from harness.system.template import addresses, fill

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.faults.conductor import Uncleared
    from harness.faults.service import ServiceSite
    from harness.journal import Journal
    from harness.manifest import Manifest
    from harness.model.plan import Plan
    from harness.probes import Probe
    from harness.recording.tables import EventLog
    from harness.traffic import Engine, Pulse


class Stage:
    """The live surroundings of one run. `up`, then `down` whatever happened; `left` says what could not be undone."""

    def __init__(
        self, plan: Plan, recording: Path, run_id: int, events: EventLog, journal: Journal, say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._plan, self._recording, self._run_id = plan, recording, run_id
        self._events, self._journal = events, journal
        self.samples, self._ledger = SampleWriter(recording), LedgerWriter(recording)
        self._system = KINDS[plan.target.system.kind](
            plan, run_id=run_id, logs=recording / layout.LOGS, journal=journal, say=say
        )
        self._pids = {"harness": os.getpid()}
        self._undo = ExitStack()
        self._toxiproxy: ToxiproxyServer | None = None
        self._http: HttpFaultProxy | None = None
        self.proxied: dict[str, Proxied] = {}
        self.services: dict[str, ServiceSite] = {}
        """Those that a fault of the plan is on."""
        self.url = ""
        self._down = self._carried = False
        self._canary: probes.Canary | None = None
        self._uncleared: list[Uncleared] = []
        self.left: list[str] = []
        """What is still broken or running, in words."""

    def up(self, manifest: Manifest, engine: Engine, check: Callable[[], None]) -> None:
        """Bring everything up; `check` is called between the steps and may raise to give up.

        SystemFailed, FaultFailed, MissingComponent: what did not come up. `down` is the caller's.
        """
        services = self._system.reserve()
        self._undo.callback(self._safely, "the system", self._take_system_down)
        self._put_proxies_in_front(services, manifest, check)
        check()
        proxies = {name: site.address for name, site in self.proxied.items()}
        self._system.up(proxies, check)
        self._events.emit("system", "stage", "target", state="up")
        manifest.component("system", **self._system.describe())
        check()
        values = addresses(services, proxies, {name: site.past.address for name, site in self.proxied.items()})
        self.url = fill(self._plan.target.url, values)
        self.services = self._breakable_services()
        described = engine.describe()
        for process in [*described["workers"], *filter(None, [described.get("master")])]:
            if not process.get("remote"):
                self._pids[process["name"]] = process["pid"]
        self._start_probes(values)

    def _put_proxies_in_front(self, services: dict[str, str], manifest: Manifest, check: Callable[[], None]) -> None:
        upstreams = self._plan.target.upstreams
        if not upstreams:
            return
        carrier = self._system.carrier(check)
        self._carried = carrier is not None
        if carrier is None:
            api = self._start_toxiproxy(manifest, check)
            real = {name: fill(upstream.address, addresses(services)) for name, upstream in upstreams.items()}
            routes = self._start_http_fault_proxy(real, manifest)
            places = {
                name: Place(real[name], upstream.listen, route=routes.get(name)) for name, upstream in upstreams.items()
            }
        else:
            api = Toxiproxy(carrier.api)
            manifest.component("toxiproxy", how="a service of the target", version=api.version())
            listening = carrier.http_routes.items()
            routes = {name: HttpRoute(carrier.http_admin, name, listen) for name, listen in listening}
            places = {
                name: Place(
                    upstream.address, upstream.listen, carrier.reached[name], carrier.side_doors[name], routes.get(name)
                )
                for name, upstream in upstreams.items()
            }
        self.proxied = put_in_front(api, self._run_id, upstreams, places, self._journal)
        self._undo.callback(self._take_proxies_away)

    def _start_toxiproxy(self, manifest: Manifest, check: Callable[[], None]) -> Toxiproxy:
        if TOXIPROXY.locate() is None:
            self._say(f"building Toxiproxy (once, {TOXIPROXY.takes}) ...")
        program = TOXIPROXY.obtain(check)
        if program.instead:
            self._say(program.instead)
        server = ToxiproxyServer.start(program, self._recording / layout.LOGS / "toxiproxy.log", seed=self._plan.seed)
        self._toxiproxy = server
        entry = self._journal.process(server.process.real_pid, f"toxiproxy at {server.address}")
        self._undo.callback(self._safely, "Toxiproxy", self._stop_proxy, server, entry)
        self._pids["toxiproxy"] = server.process.real_pid
        manifest.component("toxiproxy", path=str(program.path), how=program.how, version=program.version)
        return Toxiproxy(server.address)

    def _start_http_fault_proxy(self, real: dict[str, str], manifest: Manifest) -> Mapping[str, HttpRoute]:
        """Start it before the upstreams that a fault of the plan needs it on, and return its way to each."""
        before = {name: real[name] for name in self._plan.http_upstreams}
        if not before:
            return {}
        proxy = HttpFaultProxy.start(before, self._recording / layout.LOGS / "http_faults.log", seed=self._plan.seed)
        self._http = proxy
        entry = self._journal.process(proxy.process.real_pid, f"HTTP fault proxy at {proxy.admin}")
        self._undo.callback(self._safely, "the HTTP fault proxy", self._stop_proxy, proxy, entry)
        self._pids["http fault proxy"] = proxy.process.real_pid
        manifest.component("http_fault_proxy", before=before)
        return proxy.routes

    def _breakable_services(self) -> dict[str, ServiceSite]:
        """Return the services that faults of the plan are on. One that can be asked only through Toxiproxy is asked
        through its side door."""
        names = {fault.on for _, fault in self._plan.faults if isinstance(fault, service.ServiceFault)}
        doors = {
            upstream.address.rpartition(":")[0]: (upstream.protocol, self.proxied[name].past.address)
            for name, upstream in self._plan.target.upstreams.items()
        }
        return service.sites({name: self._system.control(name) for name in names}, doors)

    def _stop_proxy(self, server: ToxiproxyServer | HttpFaultProxy, entry: int) -> None:
        server.stop()
        self._journal.healed(entry)

    @property
    def _proxies_died(self) -> bool:
        return any(proxy is not None and not proxy.alive for proxy in (self._toxiproxy, self._http))

    def _take_proxies_away(self) -> None:
        if self._carried:  # they go with their container
            return
        if self._toxiproxy is not None and not self._toxiproxy.alive:
            self._went("proxy", "fault")
        else:
            left = take_away(self.proxied, self._journal)
            self.left += left
            if not left:
                self._uncleared = [fault for fault in self._uncleared if fault.on_service]
            if not left or self._proxies_died:  # a fault goes with what it is on
                self._went("fault", of=lambda data: "proxy" in data)

    def _take_system_down(self) -> None:
        """End the system, and with it the faults on its services, and on the Toxiproxy that is part of it."""
        self._system.down()
        self._uncleared = [left for left in self._uncleared if not (self._carried or left.on_service)]
        self._went("proxy", "fault", of=lambda data: self._carried or "service" in data)

    def _went(self, *kinds: str, of: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        for entry in self._journal.still_open():
            if entry.kind in kinds and of(entry.data):
                self._journal.healed(entry.number)

    def settle(self, uncleared: list[Uncleared]) -> None:
        """Take note of the faults that could not be cleared. They may still go with what they are on."""
        self._uncleared = [left for left in uncleared if left.on_service or not self._proxies_died]

    def _start_probes(self, values: dict[str, str]) -> None:
        """Start the probes; they end in reverse: the canary before the ledgers, which then hold all of its calls."""
        open_files.make_room()  # the canary has a connection open for each request that nobody answers
        target = self._plan.target
        ledgers = {name: fill(u.ledger, values) for name, u in target.upstreams.items() if u.ledger}
        self._watch(probes.Resources(lambda: self._pids | self._system.processes(), self.samples, self._events))
        if self._system.containers():
            self._watch(probes.Containers(self._system.containers, self.samples, self._events))
        if self._toxiproxy is not None:  # not one in a container, whose connections its network has
            ports = {name: split_address(site.address)[1] for name, site in self.proxied.items()}
            self._watch(probes.Callers(self._toxiproxy.process.real_pid, ports, self.samples, self._events))
        if ledgers:
            self._watch(probes.Ledger(ledgers, self._run_id, self._ledger, self._events))
        if target.metrics:
            self._watch(probes.Metrics(self._scraped, target.metrics, self.samples, self._events))
        if target.health:
            self._watch(probes.Health(self.url, target.health, self.samples, self._events))
        if target.probe:
            observation = Observation(target.observe)
            self._canary = probes.Canary(
                target.probe, self.url, observation, self._recording, self._run_id, self._events
            )
            self._watch(self._canary)

    def _scraped(self) -> dict[str, str]:
        """Return the base URL of everything whose metrics are read, by a name that tells copies of a service apart."""
        metrics = self._plan.target.metrics
        if metrics is None or metrics.service is None:
            return {"": self.url}
        copies = self._system.control(metrics.service).look()
        return {copy.name: f"http://{copy.address}" for copy in copies if copy.state == "running" and copy.address}

    def _watch(self, probe: Probe) -> None:
        self._undo.callback(self._safely, "a probe", probe.stop)
        probe.start()

    def sample_worker(self, pulse: Pulse) -> None:
        """Write down what the load generator says about itself."""
        source = f"worker:{pulse.worker}"
        for metric, value in vars(pulse).items():
            if metric != "t_ns" and isinstance(value, int | float):
                self.samples.sample(source, metric, value, t_ns=pulse.t_ns)
        for lag_ms in pulse.lags_ms:
            self.samples.sample(source, "lag_ms", lag_ms, t_ns=pulse.t_ns)

    def died(self) -> list[Died]:
        """Return the services, and the fault proxy, that have ended while they were needed."""
        died = self._system.watch()
        for name, proxy in (("toxiproxy", self._toxiproxy), ("http fault proxy", self._http)):
            if proxy is not None and not proxy.alive:
                code = proxy.process.returncode
                died.append(Died(name, code, f"the {name} ended (exit code {code}); see {proxy.log}", ours=True))
        return died

    def flush(self) -> None:
        """Put what the probes have written so far beyond our own death."""
        self.samples.flush()
        self._ledger.flush()

    @property
    def probe_ok(self) -> bool | None:
        """Whether the canary's latest request was answered; None without one."""
        return self._canary.ok if self._canary else None

    @property
    def trouble(self) -> str:
        """Why something could not be recorded just now; "" when all is well."""
        return self.samples.trouble or self._ledger.trouble or self._events.trouble

    def down(self) -> None:
        """Undo everything, in reverse, each step tried whatever the others did. May be called twice."""
        if self._down:
            return
        self._down = True
        self._undo.close()
        self.left += [left.problem for left in self._uncleared]
        self._events.emit("system", "stage", "target", state="down")
        for table in (self.samples, self._ledger):
            with contextlib.suppress(OSError):  # a disk still full: the reader sees that the table was never closed
                table.close()
        if unrecorded := self.samples.unrecorded + self._ledger.unrecorded:
            self._events.emit("instrument", "stage", "unrecorded", rows=unrecorded)

    def _safely(self, what: str, undo: Callable[..., Any], *arguments: Any) -> None:
        try:
            undo(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest must be undone too
            self.left.append(f"{what}: {error}")

    def unhealed(self) -> str:
        """Return what is left, with what to do about it."""
        return "\n  ".join(["NOT HEALED:", *self.left]) + "\nrun `agentstorm heal`, and see that nothing of it remains"
