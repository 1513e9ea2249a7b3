"""A user of a service that takes 50 ms."""

from __future__ import annotations

from locust import FastHttpUser, task


class Asker(FastHttpUser):
    """Asks once whenever the schedule wants it."""

    @task
    def ask(self) -> None:
        """Make one request."""
        self.client.post("/ms/50", json={"input": "?"}, name="ask")
