"""Asking a Docker engine about containers.

The only probe module that imports the Docker SDK, and imported only once there are containers to watch.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import docker.errors
from docker.utils import version_gte

from harness.clock import now_ns
from harness.docker_engine import connect
from harness.errors import MissingComponent

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 32
"""Containers asked about at the same time."""
_TIMEOUT_S = 5
_ONE_SHOT_SINCE = "1.41"
_GONE = (404, 409)
"""What the engine answers about a container that was removed, or is being removed."""


@dataclass(frozen=True)
class Seen:
    """A container: what `inspect` and `stats` say, as the engine says it; no stats of one that does not run."""

    t_ns: int
    facts: dict[str, Any]
    stats: dict[str, Any]


class Engine:
    """The engine that `docker_engine.connect` reaches. Every trouble with it is an OSError that says what it is."""

    def __init__(self) -> None:
        with _as_os_error():
            self._client = connect(_TIMEOUT_S)
            self.cpus = int(self._client.info()["NCPU"])
        # Older engines look twice, a second apart.
        self._one_shot = True if version_gte(self._client.api.api_version, _ONE_SHOT_SINCE) else None

    def look(self, container: str) -> Seen | None:
        """Look at one container; None when it is gone. Takes milliseconds, or up to the engine's own next look
        (it looks once a second) where the engine (20.10) has one-shot stats wait for that. Thread-safe."""
        api = self._client.api
        try:
            with _as_os_error():
                facts = api.inspect_container(container)
                running = facts["State"]["Running"]
                stats = api.stats(container, stream=False, one_shot=self._one_shot) if running else {}
        except FileNotFoundError:
            return None
        return Seen(now_ns(), facts, stats)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise FileNotFoundError for a container that is gone, for everything else OSError with the cause alone:
    what the SDK says names objects and addresses, and would be another trouble every time."""
    try:
        yield
    except docker.errors.APIError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in _GONE:
            raise FileNotFoundError(error.explanation) from error
        raise OSError(f"the Docker engine refuses: {error.explanation}") from error
    except ValueError as error:  # no JSON: an engine that loses a container while it looks ends without a word
        raise FileNotFoundError("the Docker engine said nothing") from error
    except (docker.errors.DockerException, MissingComponent, OSError) as error:  # requests' errors are OSErrors
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        raise OSError(f"the Docker engine does not answer: {cause}") from error
