"""The logs of a project's containers, followed into the recording while they run, through stops and starts."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient

_POLL_S = 0.5
_TAIL = 15


class ContainerLogs:
    """Writes ``<folder>/<name>.log`` for each container told to `follow`, each in a thread of its own."""

    def __init__(self, client: DockerClient, folder: Path) -> None:
        self._client, self._folder = client, folder
        self._stop = Event()
        self._threads: dict[str, Thread] = {}

    def follow(self, name: str, id_: str) -> None:
        """Follow a container from its beginning on; nothing happens when it is followed already."""
        if id_ not in self._threads:
            thread = Thread(target=self._run, args=(name, id_), name=f"log-{name}", daemon=True)
            self._threads[id_] = thread
            thread.start()

    def close(self) -> None:
        """End, once the containers have: a log is read to its end first."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join(2)

    def _run(self, name: str, id_: str) -> None:
        from docker.errors import DockerException  # noqa: PLC0415

        seen = ""
        with (self._folder / f"{name}.log").open("ab", buffering=0) as file:
            while True:
                last_time = self._stop.is_set()
                try:
                    started = self._client.api.inspect_container(id_)["State"]["StartedAt"]
                    if started != seen:
                        since = _moment(started) if seen else None
                        seen = started
                        self._copy(self._client.api.logs(id_, stream=True, follow=True, since=since), file)
                except (DockerException, OSError):  # it is gone, or the engine is
                    return
                if last_time:
                    return
                self._stop.wait(_POLL_S)

    @staticmethod
    def _copy(stream: Any, file: BinaryIO) -> None:
        try:
            file.writelines(stream)
        finally:
            with suppress(OSError, AttributeError):  # the SDK closes what has ended less well than what has not
                stream.close()

    def tail(self, id_: str) -> str:
        """Return a container's last lines, indented, for a message."""
        from docker.errors import DockerException  # noqa: PLC0415

        try:
            lines = self._client.api.logs(id_, tail=_TAIL).decode("utf-8", "replace").splitlines()
        except (DockerException, OSError) as error:
            return f" (cannot be read: {error})"
        return "".join(f"\n    {line}" for line in lines) or " (empty)"


def _moment(text: Any) -> float:
    """Return the seconds since the epoch of an engine's time, which has nanoseconds."""
    whole, _, rest = str(text).partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{rest.rstrip('Z') or 0}")
