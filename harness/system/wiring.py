"""Who needs whom in a target, and whether all that its places name exists. Pure: checked before anything starts."""

from __future__ import annotations

import json
import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from harness.errors import PlanError
from harness.hosts import refuse_foreign
from harness.model.base import nearest
from harness.model.target import ComposeSystem, ProcessesSystem
from harness.system import compose_file, template

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.model.target import Service, Target

_URL = re.compile(r"https?://\S+")
_LISTEN = re.compile(r"(?:\[[0-9a-fA-F:]+\]|[^\s:/\[\]{}]+):(?P<port>[0-9]{1,5})")
_ADDRESS = re.compile(rf"\$\{{services\.[^{{}}]+\}}|{_LISTEN.pattern}")
OWN = ("port", "python")
"""Names that only a service's own command and environment can use."""


def services_of(target: Target) -> dict[str, Service]:
    """Return the services that we start for `target`, none for a system that runs already."""
    return target.system.services if isinstance(target.system, ProcessesSystem) else {}


def _texts(service: Service) -> Iterator[tuple[str, str]]:
    for index, word in enumerate(service.command):
        yield f"command[{index}]", word
    for name, value in service.env.items():
        yield f"env.{name}", value


def _needs(target: Target, name: str, service: Service) -> set[str]:
    if service.needs is not None:
        return set(service.needs)
    named = {n for _, text in _texts(service) for n in template.names_in(text)}
    for upstream, spec in target.upstreams.items():
        if f"upstreams.{upstream}" in named:
            named.update(template.names_in(spec.address))
    return {n.removeprefix("services.") for n in named if n.startswith("services.")} - {name}


def dependencies(target: Target) -> dict[str, set[str]]:
    """Return, for each service, the services that must be ready before it starts: its `needs`, or else those its
    command or environment names, directly or as what lies behind an upstream. In the target's order; PlanError on a
    circle."""
    needs = {name: _needs(target, name, service) for name, service in services_of(target).items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise PlanError(
            f"services wait for each other in a circle: {circle}",
            where="system.services",
            hint="take one address out of a command or environment, so that there is a first one to start",
        ) from None
    return needs


def _check_paths(target: Target) -> None:
    paths = {f"system.services.{name}.ready": service.ready for name, service in services_of(target).items()}
    paths["health"] = target.health or "/"
    paths["probe.path"] = target.probe.path if target.probe is not None else "/"
    if target.metrics is not None and "://" not in target.metrics.url:
        paths["metrics.url"] = target.metrics.url
    for where, path in paths.items():
        if not path.startswith("/"):
            raise PlanError(f"{path!r} is no path", where=where, hint=f"a path begins with a slash, as in /{path}")
        if not re.fullmatch(r"[!-~]+", path):
            raise PlanError(
                f"{path!r} is no path", where=where, hint="write what is not plain ASCII as %20, %C3%A4 ..."
            )


def _check_tls(target: Target) -> None:
    for name, upstream in target.upstreams.items():
        if upstream.protocol == "http" and upstream.address.endswith(":443"):
            raise PlanError(
                f"{upstream.address!r} is spoken to in plain HTTP: no proxy adds TLS to what your system sends",
                where=f"upstreams.{name}.address",
                hint="port 443 speaks TLS: put a forwarder in front of it (docs/docker.md), and give its address",
            )


def _check_forms(target: Target) -> None:
    forms = [("url", target.url, _URL)]
    for name, upstream in target.upstreams.items():
        forms += [
            (f"upstreams.{name}.address", upstream.address, _ADDRESS),
            (f"upstreams.{name}.listen", upstream.listen, _LISTEN),
        ]
        if upstream.ledger is not None:
            forms.append((f"upstreams.{name}.ledger", upstream.ledger, _URL))
    for where, text, form in forms:
        match = form.fullmatch(text)
        if match is None or int(match.groupdict().get("port") or 0) > 65535:
            what, hint = "address", "host:port, without https:// and path, as in 127.0.0.1:9001"
            if form is _URL:
                what, hint = "URL", "as in http://127.0.0.1:8000"
            raise PlanError(f"{text!r} is no {what}", where=where, hint=hint)
    if target.probe is not None:
        try:
            json.dumps(target.probe.body)
        except (TypeError, ValueError) as error:
            raise PlanError(
                f"cannot be sent as JSON: {error}", where="probe.body", hint="put dates in quotes"
            ) from None


def _check_ports(target: Target) -> None:
    wanted: dict[int, str] = {}
    for name, service in services_of(target).items():
        if service.port != "auto" and not 1 <= service.port <= 65535:
            raise PlanError(
                f"{service.port} is no port",
                where=f"system.services.{name}.port",
                hint="a port lies between 1 and 65535; 'port: auto' takes a free one",
            )
        if service.port != "auto" and (other := wanted.setdefault(service.port, name)) != name:
            raise PlanError(
                f"services {other!r} and {name!r} both want port {service.port}",
                where=f"system.services.{name}.port",
                hint="write 'port: auto' for one of them",
            )


def _check_groups(target: Target) -> None:
    known = tuple(target.upstreams)
    for group, members in target.groups.items():
        if group in target.upstreams:
            raise PlanError(
                f"{group!r} is an upstream, too", where=f"groups.{group}", hint="give the group a name of its own"
            )
        for member in members:
            if member not in target.upstreams:
                raise PlanError(
                    f"{member!r} is no upstream",
                    where=f"groups.{group}",
                    hint=f"{nearest(member, known)}known: {', '.join(known) or 'none'}",
                )


def _check_needed(target: Target, name: str, needed: str) -> None:
    known = tuple(services_of(target))
    if needed not in known:
        raise PlanError(
            f"needs {needed!r}, which is no service",
            where=f"system.services.{name}.needs",
            hint=f"{nearest(needed, known)}known: {', '.join(known)}",
        )


def names(target: Target, directory: Path) -> tuple[str, ...]:
    """Return the services that a fault can be on: those that we start."""
    if isinstance(target.system, ComposeSystem):
        return tuple(compose_file.services_in(directory / target.system.file))
    return tuple(services_of(target))


def _addressed(target: Target) -> list[str]:
    """Return the services that ``${services.NAME}`` can stand for."""
    if isinstance(target.system, ComposeSystem):
        return [name for name in target.system.publish if name != target.system.replicated]
    return list(services_of(target))


def check(target: Target, directory: Path) -> None:
    """Raise PlanError when a place names something unknown, an address is foreign, two services want one port,
    services wait in a circle, or a path is none. `directory` is the folder that holds ``targets/``."""
    _check_groups(target)
    _check_paths(target)
    _check_forms(target)
    _check_tls(target)
    _check_ports(target)
    services = [f"services.{name}" for name in _addressed(target)]
    everything = [*services, *(f"upstreams.{name}" for name in target.upstreams)]
    for name, service in services_of(target).items():
        for key, text in _texts(service):
            template.check(text, [*everything, *OWN], where=f"system.services.{name}.{key}")
        for needed in service.needs or ():
            _check_needed(target, name, needed)
    _check_addresses(target, services)
    if isinstance(target.system, ComposeSystem):
        compose_file.check(target, target.system, directory)
    _check_scraped(target, directory)
    dependencies(target)


def _check_addresses(target: Target, services: list[str]) -> None:
    direct = [f"direct.{name}" for name in target.upstreams]
    addressed = [("url", target.url, services)]
    for name, upstream in target.upstreams.items():
        if not isinstance(target.system, ComposeSystem):  # there they are names of containers: see `compose_file`
            addressed.append((f"upstreams.{name}.address", upstream.address, services))
        if upstream.ledger is not None:
            addressed.append((f"upstreams.{name}.ledger", upstream.ledger, services + direct))
    if target.metrics is not None and "://" in target.metrics.url:
        addressed.append(("metrics.url", target.metrics.url, services))
    for where, text, known in addressed:
        template.check(text, known, where=where)
        refuse_foreign(text, target.allow_hosts, where=where)


def _check_scraped(target: Target, directory: Path) -> None:
    if target.metrics is None or target.metrics.service is None:
        return
    service = target.metrics.service
    known = target.system.publish if isinstance(target.system, ComposeSystem) else names(target, directory)
    if service not in known:
        raise PlanError(
            f"{service!r} is no service whose port can be reached",
            where="metrics.service",
            hint=f"{nearest(service, tuple(known))}known: {', '.join(known) or 'none'}",
        )
