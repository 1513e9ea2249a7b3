"""Running Compose: which one there is, its commands on a leash, and the images a project needs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from harness import leash
from harness.blas import users_environment
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import MissingComponent, SystemFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from docker import DockerClient

    from harness.system.base import Journal

VARIABLE = "AGENTSTORM_COMPOSE"
_ASK_S, _BUILD_S, _PULL_S = 30.0, 1800.0, 1800.0
_POLL_S, _STOP_S = 0.1, 5.0
_OFFLINE = (
    "  on a host without a registry, make the images once with reference/docker/offline.sh; else see that "
    "`docker pull` works here"
)


@dataclass(frozen=True)
class Compose:
    """A Compose program and what it calls itself."""

    command: tuple[str, ...]
    version: str


def find_compose() -> Compose:
    """Return ``$AGENTSTORM_COMPOSE``, ``docker compose`` or ``docker-compose``; MissingComponent when there is none."""
    named = os.environ.get(VARIABLE)
    candidates = [tuple(shlex.split(named))] if named else [("docker", "compose"), ("docker-compose",)]
    for command in candidates:
        if shutil.which(command[0]) and (version := _version(command)):
            return Compose(command, version)
    tried = ", ".join(" ".join(command) for command in candidates)
    raise MissingComponent(
        f"no Docker Compose: {tried} cannot be run\n  install the Compose plugin "
        "(https://docs.docker.com/compose/install), or docker-compose 1.29 or newer from your distribution, or set "
        f"{VARIABLE} to the command"
    )


def _version(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().removeprefix("v")


class ComposeCommand:
    """Compose on one project in the engine at an address; what it says goes to `log`."""

    def __init__(
        self,
        compose: Compose,
        project: str,
        files: tuple[Path, ...],
        variables: Mapping[str, str],
        engine: str,
        log: Path,
        journal: Journal,
    ) -> None:
        self._compose, self._log, self._journal = compose, log, journal
        self.file = files[0]
        """The user's own; paths in it count from its folder."""
        named = [word for file in files for word in ("--file", str(file))]
        self._command = [
            *compose.command, "--project-name", project, "--project-directory", str(self.file.parent), *named,
        ]  # fmt: skip
        # Whichever engine we reached is the one it has to use.
        self._environment = {**variables, **users_environment(), "DOCKER_HOST": engine}
        self._environment.pop("DOCKER_CONTEXT", None)

    def describe(self) -> dict[str, str]:
        """Return which Compose it is, for the manifest."""
        return {"command": " ".join(self._compose.command), "version": self._compose.version}

    def run(self, *arguments: str, within_s: float, check: Callable[[], None]) -> tuple[int, str]:
        """Run it to its end, on a leash and in the journal; return its exit code and what it said. `check` is called
        while it runs and may raise to give up."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        process = leash.start([*self._command, *arguments], log=self._log, env=self._environment, cwd=self.file.parent)
        entry = self._journal.process(process.real_pid, f"{self._compose.command[-1]} {arguments[0]}")
        deadline_ns = now_ns() + int(within_s * NS_PER_S)
        try:
            while process.poll() is None and now_ns() < deadline_ns:
                check()
                sleep(_POLL_S)
        finally:
            code = leash.stop(process, _STOP_S)
            self._journal.healed(entry)
        with self._log.open("rb") as file:
            file.seek(begin)
            return code, file.read().decode("utf-8", "replace").strip()

    def services(self) -> dict[str, Any]:
        """Return the services as Compose understands them, variables filled in; SystemFailed when it does not."""
        program = " ".join(self._compose.command)
        try:
            done = subprocess.run(
                [*self._command, "config"], env=self._environment, cwd=self.file.parent, capture_output=True, text=True,
                timeout=_ASK_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise SystemFailed(
                f"{program} has not said within {_ASK_S:g} s what it makes of {self.file}: try `{program} config`"
            ) from error
        if done.returncode:
            raise SystemFailed(f"{self.file} is refused by {program}:{last_lines(done.stderr)}")
        services: dict[str, Any] = YAML(typ="safe", pure=True).load(done.stdout)["services"]
        return services


def get_images(
    compose: ComposeCommand, client: DockerClient, say: Callable[[str], None], check: Callable[[], None]
) -> None:
    """Build what the Compose file builds (the engine's cache makes that quick) and pull what is not here; SystemFailed
    with what it said when that fails."""
    images = {name: (service.get("image", ""), "build" in service) for name, service in compose.services().items()}
    own = [name for name, (image, is_built) in images.items() if is_built and not image]
    missing = [name for name, (image, _) in images.items() if name not in own and not _has_image(client, image)]
    if own:
        say(f"building {', '.join(own)} for this run alone (`build` without `image`), from what the engine has ...")
    if missing:
        say(f"getting the images of {', '.join(missing)} (once, about a minute) ...")
    built = [name for name, (_, is_built) in images.items() if is_built]
    if built:
        code, said = compose.run("build", *built, within_s=_BUILD_S, check=check)
        if code:
            raise SystemFailed(f"the images of {', '.join(built)} cannot be built:{last_lines(said)}\n{_OFFLINE}")
    pulled = [name for name in missing if name not in built and not _has_image(client, images[name][0])]
    if pulled:
        code, said = compose.run("pull", *pulled, within_s=_PULL_S, check=check)
        if code:
            raise SystemFailed(f"the images of {', '.join(pulled)} are not here:{last_lines(said)}\n{_OFFLINE}")


def _has_image(client: DockerClient, name: str) -> bool:
    from docker.errors import ImageNotFound, NullResource  # noqa: PLC0415

    try:
        client.images.get(name)
    except (ImageNotFound, NullResource):
        return False
    return True


def last_lines(said: str) -> str:
    """Return the end of what a program said, indented, for a message."""
    return "".join(f"\n    {line}" for line in said.splitlines()[-15:])
