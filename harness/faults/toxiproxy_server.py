"""A Toxiproxy server of our own while a run is on. Where the program comes from: `harness.programs`."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from harness import leash, open_files
from harness.clock import NS_PER_S, now_ns, sleep
from harness.errors import FaultFailed
from harness.faults.toxiproxy import Toxiproxy

if TYPE_CHECKING:
    from pathlib import Path

    from harness.programs import Program

_START_S, _STOP_S, _STARTS = 10.0, 5.0, 3


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
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        command = [*program.command, "-host", "127.0.0.1", "-port", str(port), "-seed", str(seed % 2**63)]
        # At its default level it writes a line for every connection: a soak would fill the disk.
        process = leash.start(command, log=log, env={**os.environ, "LOG_LEVEL": "warn"}, room=open_files.ROOM)
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
        leash.stop(self.process, _STOP_S)
        if Toxiproxy(self.address).listening():
            raise FaultFailed(
                f"Toxiproxy at {self.address} (process {self.process.real_pid}) was stopped but something still listens"
            )
