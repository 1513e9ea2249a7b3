"""What every generator of the throughput benchmark does: ask, read the whole answer, ask again.

The request is that of ``scenarios/agents.py``. The class is chosen by the environment, so that one file serves bare
Locust with either client, with and without Locust's own request log: ``BENCH_CLIENT``, ``BENCH_CSV``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from locust import FastHttpUser, HttpUser, User, constant, events, task
from locust.contrib.csv_request_logger import CsvRequestLogger

if TYPE_CHECKING:
    from locust.env import Environment

CLIENTS: dict[str, type[User]] = {"fast": FastHttpUser, "requests": HttpUser}
BODY = {"input": "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May."}
HEADERS = {"X-MCP-Tenant-ID": "meetmind"}


class Asker(CLIENTS[os.environ.get("BENCH_CLIENT", "fast")]):  # type: ignore[misc] # chosen when it is run
    """Asks three agents without a pause."""

    wait_time = constant(0)

    def ask(self, agent: str) -> None:
        """Make one request."""
        context = {"team": "meetmind", "agent": f"meetmind.{agent}", "tenant": "meetmind"}
        self.client.post("/ask", json=BODY, headers=HEADERS, name=f"meetmind/{agent}/ask", context=context)

    @task(4)
    def coordinator(self) -> None:
        """Ask the coordinator."""
        self.ask("coordinator")

    @task(2)
    def architect(self) -> None:
        """Ask the architect."""
        self.ask("architect")

    @task(1)
    def quality(self) -> None:
        """Ask quality assurance."""
        self.ask("quality_assurance")


def log_requests(path: str, environment: Environment) -> None:
    """Have Locust's own logger write one row per request as it comes, and flush it."""
    CsvRequestLogger(path).register(environment)


if "BENCH_CSV" in os.environ:
    events.init.add_listener(lambda environment, **_: log_requests(os.environ["BENCH_CSV"], environment))
