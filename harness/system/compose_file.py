"""A Compose file as far as a plan has to know it, read without any engine: its services, and what sets them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from harness.errors import PlanError
from harness.hosts import host_of, refuse_foreign
from harness.model.base import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ruamel.yaml.nodes import Node

    from harness.model.target import ComposeSystem, Target

_ALL_ADDRESSES = ("0.0.0.0", "[::]")  # noqa: S104 - inside a container
_VARIABLE = re.compile(r"(?<!\$)\$\{?([A-Za-z_]\w*)")
_NO_SETTINGS = {"image", "build", "platform", "pull_policy", "ports", "volumes", "container_name", "labels", "logging"}
"""Keys of a service that say which version runs, and where on this host: not how it is set."""


class _Plain(SafeConstructor):
    """Reads what has a tag of Compose's own (``!reset``, ``!override``) as if it had none."""

    def untagged(self, node: Node) -> Any:
        """Return what a node holds."""
        if isinstance(node, MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_scalar(node)


_Plain.add_constructor(None, _Plain.untagged)


@lru_cache(maxsize=4)  # a plan asks three times, at 100 ms each
def _loaded(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Plain
    return yaml.load(text)


def services_in(path: Path) -> dict[str, dict[str, Any]]:
    """Return the services of a Compose file by name, as they stand there; PlanError when it is none."""
    try:
        services = _loaded(path.read_text(encoding="utf-8"))["services"]
        return {str(name): dict(service) for name, service in services.items()}
    except OSError as error:
        raise PlanError(
            f"{path} cannot be read: {error.strerror}",
            where="system.file",
            hint="give the Compose file's path as seen from the folder that holds targets/",
        ) from None
    except (YAMLError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{path} is no Compose file: {type(error).__name__}: {error}", where="system.file") from None


def check(target: Target, system: ComposeSystem, directory: Path) -> None:
    """Raise PlanError when a service that the target names is not in its Compose file, or an upstream's proxy could
    not be reached."""
    known = services_in(directory / system.file)
    named = [("system.toxiproxy", system.toxiproxy), *((f"system.publish.{name}", name) for name in system.publish)]
    if system.replicated is not None:
        named.append(("system.replicated", system.replicated))
    for where, name in named:
        if name not in known:
            raise PlanError(
                f"{name!r} is no service of {system.file}",
                where=where,
                hint=f"{nearest(name, tuple(known))}known: {', '.join(known)}",
            )
    if system.toxiproxy not in system.publish:
        raise PlanError(
            f"the port of {system.toxiproxy!r} is not published, so no fault could be injected",
            where="system.publish",
            hint=f"write '{system.toxiproxy}: 8474', the port of its API",
        )
    for name, port in system.publish.items():
        if not 1 <= port <= 65535:
            raise PlanError(f"{port} is no port", where=f"system.publish.{name}", hint="between 1 and 65535")
    _check_upstreams(target, known)


def _check_upstreams(target: Target, known: Mapping[str, Any]) -> None:
    taken: dict[str, str] = {}
    for name, upstream in target.upstreams.items():
        where = f"upstreams.{name}"
        host, _, port = upstream.listen.rpartition(":")
        if host not in _ALL_ADDRESSES or port == "0":
            raise PlanError(
                f"{upstream.listen!r}: the proxy runs in a container, where others reach it at a fixed port only",
                where=f"{where}.listen",
                hint="as in 0.0.0.0:9401, and point the system at toxiproxy:9401 in the Compose file",
            )
        if (other := taken.setdefault(port, name)) != name:
            raise PlanError(f"{other!r} and {name!r} both listen on port {port}", where=f"{where}.listen")
        if host_of(upstream.address) not in known:
            refuse_foreign(upstream.address, target.allow_hosts, where=f"{where}.address")


def variables_in(path: Path) -> set[str]:
    """Return the variables that set the services of a Compose file (their environment, command, limits ...), not those
    that only choose an image, a port or a folder. PlanError as of `services_in`."""
    found: set[str] = set()
    for service in services_in(path).values():
        told = {key: value for key, value in service.items() if key not in _NO_SETTINGS}
        found.update(name for text in _texts(told) for name in _VARIABLE.findall(text))
        found.update(_passed_on(told.get("environment")))
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _passed_on(environment: Any) -> Iterator[str]:
    """Yield the variables that a container gets as they are: those written without a value."""
    if isinstance(environment, dict):
        yield from (str(name) for name, value in environment.items() if value is None)
    elif isinstance(environment, list):
        yield from (str(entry) for entry in environment if "=" not in str(entry))
