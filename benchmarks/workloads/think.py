"""A user who asks a service of varying speed and thinks about the answer: 100 of them make about 1000 requests/min."""

from __future__ import annotations

import math
import random

from locust import FastHttpUser, between, task


class Thinker(FastHttpUser):
    """Asks for an answer after a log-normal time (median 50 ms, p99 about 160 ms), which the server keeps."""

    wait_time = between(2, 10)

    @task
    def ask(self) -> None:
        """Make one request."""
        delay_ms = random.lognormvariate(math.log(50), 0.5)
        self.client.post(f"/ms/{delay_ms:.3f}", json={"input": "?"}, name="ask")
