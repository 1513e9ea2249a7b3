"""What the system of a run was set to: runs with different settings are no series, whoever changed them. Pure.

In it are the environment of its services, by the target or by whoever started the run (`Plan.environment`), the long
options of their commands, the Compose file's name and the number of copies. Not in it, because the same system may have
another one every time:

- a version of the code under test, which is what looking back is to show: images, tags, programs and their arguments,
  variables that are named like one;
- where something lies on this host: ports, paths, users; the number of a run;
- secrets, which are changed and kept nowhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.model.target import ComposeSystem, ProcessesSystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.model.plan import Plan

_PASSED_OVER = re.compile(
    r"SECRET|PASSW|CREDENTIAL|(^|_)(API|ACCESS)_?KEY"
    r"|(^|_)(KEY|TOKEN|PASS|PWD|AUTH)$"
    r"|(^|_)(TAG|VERSION|IMAGE|COMMIT|SHA|REVISION|DIGEST|BUILD|RELEASE)(_|$)"
    r"|(^|_)(PORT|PATH|DIR|HOME|USER|UID|GID)$"
    r"|(^|_)(RUN|JOB|PIPELINE)_(ID|NUMBER)$|TIMESTAMP"
)
"""Names of secrets, of versions, of places, of what every run has another of. `MAX_TOKENS` is none of them."""
_USER = re.compile(r"(?<=://)[^/@\s]*@")
_OWN_PORT = re.compile(r"(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]):\d+")
_HOST_PATH = re.compile(r"(file://|~|\.{0,2}|[A-Za-z]:)[/\\].*", re.DOTALL)
_LONGEST = 40
_MOST = 4


def kept(name: str, value: str) -> str | None:
    """Return what of a variable tells how a system is set: its value, without the user of a URL and the ports of this
    host; None when it is a secret, a version or a place."""
    if _PASSED_OVER.search(name.upper().replace("-", "_")) or _HOST_PATH.fullmatch(value):
        return None
    return _OWN_PORT.sub(r"\1", _USER.sub("", value))


def settings(plan: Plan) -> dict[str, str]:
    """Return what the plan's system was set to: ``SERVICE.VARIABLE``, ``SERVICE.--option``, a Compose file's
    ``VARIABLE``, ``file`` and ``replicas``, with their values."""
    system = plan.target.system
    told: dict[str, str] = {}
    if isinstance(system, ProcessesSystem):
        for service, spec in system.services.items():
            for name, value in (*_options(spec.command), *spec.env.items()):
                told[f"{service}.{name}"] = value
    if isinstance(system, ComposeSystem):
        told = {"file": system.file, **system.env}
        if system.replicated is not None:
            told["replicas"] = str(plan.replicas)
    told |= plan.environment
    found = {name: kept(name.rpartition(".")[2], value) for name, value in told.items()}
    return {name: value for name, value in found.items() if value is not None}


def _options(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each long option with its value, "" for one that has none. What stands alone is the program's own."""
    for word, following in zip(command, (*command[1:], "--"), strict=True):
        if word.startswith("--"):
            name, given, value = word.partition("=")
            yield name, value if given else "" if following.startswith("-") else following


def apart(one: Mapping[str, str] | None, every: Sequence[Mapping[str, str] | None]) -> tuple[str, ...]:
    """Return how settings differ from others: ``NAME=value`` and ``NAME unset``, a few of them; nothing where all are
    the same."""
    if all(other == one for other in every):
        return ()
    if one is None:
        return ("settings not known",)
    known = [told for told in every if told is not None]
    names = sorted({name for told in known for name in told if len({other.get(name) for other in known}) > 1})
    said = [f"{name}={_short(one[name])}" if name in one else f"{name} unset" for name in names]
    return tuple(said[:_MOST]) + ((f"{len(said) - _MOST} more",) if len(said) > _MOST else ())


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]}..."
