"""The logs of a project's containers, followed into the recording while they run, through stops and starts."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient

_POLL_S, _PATIENCE_S = 0.5, 2.0
_TAIL = 15


class ContainerLogs:
    """Writes ``<folder>/<name>.log`` for each container told to `follow`, each in a thread of its own."""

    def __init__(self, client: DockerClient, folder: Path) -> None:
        self._client, self._folder = client, folder
        self._ending = Event()
        self._followed: dict[str, tuple[Thread, Event]] = {}
        """By container: its thread, and whether that is reading, or has nothing to read."""

    def follow(self, name: str, id_: str) -> None:
        """Follow a container from its beginning on; nothing happens when it is followed already."""
        if id_ not in self._followed:
            reading = Event()
            thread = Thread(target=self._run, args=(name, id_, reading), name=f"log-{name}", daemon=True)
            self._followed[id_] = thread, reading
            thread.start()

    def last_words(self) -> None:
        """See that every container is being read, also one just started again: they will be removed now."""
        self._ending.set()
        for _, reading in self._followed.values():
            reading.wait(_PATIENCE_S)

    def close(self) -> None:
        """End, once the containers are gone: a log is read to its end."""
        self._ending.set()
        for thread, _ in self._followed.values():
            thread.join(_PATIENCE_S)

    def _run(self, name: str, id_: str, reading: Event) -> None:
        from docker.errors import DockerException  # noqa: PLC0415

        seen = ""
        with (self._folder / f"{name}.log").open("ab", buffering=0) as file:
            while True:
                last_time = self._ending.is_set()
                try:
                    started = self._client.api.inspect_container(id_)["State"]["StartedAt"]
                    if started != seen:
                        since = _moment(started) if seen else None
                        seen = started
                        stream = self._client.api.logs(id_, stream=True, follow=True, since=since)
                        reading.set()
                        self._copy(stream, file)
                except (DockerException, OSError):  # it is gone, or the engine is
                    last_time = True
                if last_time:
                    reading.set()
                    return
                reading.clear()
                self._ending.wait(_POLL_S)

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
