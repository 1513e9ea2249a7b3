"""Running the real command line, and looking at what it left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.journal import journals
from harness.web import get

ROOT = Path(__file__).resolve().parents[2]
TERMINAL = {"NO_COLOR": "1", "COLUMNS": "120"}


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("agentstorm")), *arguments]


def agentstorm(*arguments: str, timeout: float = 240, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False,
        env=os.environ | TERMINAL,
    )  # fmt: skip


def recorded(recording: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to a judged recording that several tests look at, with a journal of its own that is empty in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTSTORM_STATE", str(recording.parent / "state"))
        done = agentstorm("run", *arguments, "--out", str(recording))
        assert journals() == []
    assert "Traceback" not in done.stderr + done.stdout
    assert (recording / "verdicts.json").exists(), done.stderr
    assert done.returncode == load(recording, "verdicts.json")["exit_code"]
    return done


def unsound(recording: Path) -> list[str]:
    """Return why a run is invalid, but for the reasons that a busy machine alone can give: ours is shared."""
    slow = ("The generator's own loop lagged", "The generator used", "The generator sent requests late")
    return [why for why in load(recording, "findings.json")["validity"]["reasons"] if not why.startswith(slow)]


@contextmanager
def scraping(every_s: float = 0.2) -> Iterator[tuple[int, list[str]]]:
    """Choose a port for a run's own metrics and read them again and again; yields it, and the pages read so far."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pages: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.wait(every_s):
            with suppress(OSError):
                pages.append(get(f"http://127.0.0.1:{port}/metrics", 5.0)[1].decode())

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield port, pages
    finally:
        over.set()
        thread.join()


@dataclass
class Running:
    """A run in the background, in a session of its own."""

    process: subprocess.Popen[str]
    recording: Path

    def events(self) -> list[dict[str, Any]]:
        path = self.recording / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for(self, what: Callable[[dict[str, Any]], bool], within_s: float = 60) -> dict[str, Any]:
        """Return the first event that is `what`."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for event in self.events():
                if what(event):
                    return event
            assert self.process.poll() is None, f"ended early: {self.process.communicate()}"
            time.sleep(0.05)
        raise AssertionError(f"not seen within {within_s} s; events: {self.events()}")

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, signum: int, timeout: float = 60) -> tuple[int, str, str]:
        """Send a signal and return exit code, stdout and stderr."""
        self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


def start(recording: Path, *arguments: str) -> Running:
    """Start a run; `arguments` as for ``agentstorm run``."""
    process = subprocess.Popen(
        command("run", *arguments, "--out", str(recording)), cwd=ROOT, env=os.environ | TERMINAL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    return Running(process, recording)


def effective(event: dict[str, Any]) -> bool:
    return bool(event["kind"] == "fault" and event["data"]["state"] == "effective")


def alive(processes: Sequence[psutil.Process], within_s: float = 10) -> list[str]:
    """Return what of `processes` is still running after `within_s` at most."""
    _, left = psutil.wait_procs(processes, timeout=within_s)
    return [" ".join(p.cmdline()) for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def load(recording: Path, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((recording / name).read_text())
    return data


__all__ = [
    "ROOT",
    "Running",
    "agentstorm",
    "alive",
    "effective",
    "load",
    "recorded",
    "scraping",
    "signal",
    "start",
    "unsound",
]
