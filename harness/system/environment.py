"""What of the environment that a run is started in sets its system: looked at for the plan, and kept in it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from harness.model.target import ComposeSystem, ProcessesSystem
from harness.settings import kept
from harness.system import compose_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.model.target import Target

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*(?:\s#.*)?")


def given(target: Target, directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that set the system of `target`, as far as `settings.kept` keeps them.

    Of processes, which have all of the environment, those that ``system.settings`` names; of a Compose file those that
    its services use, from where Compose takes them: the environment, the target, an ``.env`` beside the file. Its path
    counts from `directory`. PlanError: there is no such file.
    """
    system = target.system
    found: Mapping[str, str] = {}
    if isinstance(system, ProcessesSystem):
        found = {n: value for n, value in environ.items() if any(fnmatchcase(n, like) for like in system.settings)}
    elif isinstance(system, ComposeSystem):
        path = directory / system.file
        values = {**_beside(path), **system.env, **environ}
        found = {name: values[name] for name in compose_file.variables_in(path) if values.get(name)}
    return {name: value for name, told in sorted(found.items()) if (value := kept(name, told)) is not None}


def _beside(path: Path) -> dict[str, str]:
    """Return the variables of the ``.env`` beside a Compose file."""
    try:
        lines = path.with_name(".env").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # there is none, as usual
        return {}
    return {found[1]: found[2].strip("'\"") for line in lines if (found := _LINE.fullmatch(line))}
