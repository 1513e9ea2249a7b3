"""A user who reads an answer as it is written, thinks a moment, and asks again: 50 of them keep 48 streams flowing."""

from __future__ import annotations

from locust import FastHttpUser, constant, task


class Reader(FastHttpUser):
    """Reads streams of 40 tokens, 40 ms apart."""

    wait_time = constant(0.1)

    @task
    def read(self) -> None:
        """Make one request."""
        with self.client.post("/tokens/40/40", stream=True, catch_response=True, name="read") as answer:
            for _ in answer.iter_content(decode_content=False):
                pass
