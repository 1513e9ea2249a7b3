"""Days of load in minutes: 50 request names, 10,000 different error texts, and a wall clock that keeps pace.

``BENCH_CLIENT`` chooses how a request is made: `http` sends it; `event` reports one that was never sent, by
``events.request``, as Locust has clients of other protocols do: everything behind the client runs as ever, and ten
million requests take minutes.

Whatever keeps something per second of wall time, as Locust's statistics do, would hardly grow in a run this short. So
every request moves this process's wall clock (`time.time`) on by 60 ms: the statistics see 1000 requests/min.
``BENCH_REQUESTS`` is how many requests the soak shall have; how many it has had is in the file ``BENCH_PROGRESS``.

The process of the run keeps the requests of the last seconds, for who looks on: at a rate that comes and goes with
what else a machine does, so does its memory, by more than any growth. So the soak keeps a pace that it can: `SHARE` of
what the first requests had.
"""

from __future__ import annotations

import os
import time

from locust import FastHttpUser, User, task

NAMES = [f"team{number % 5}/agent{number}/ask" for number in range(50)]
ERRORS = 10_000
REQUEST_S = 0.06
FAST = (0.01, 0.02)
"""Between these shares of the requests it is seen how fast the machine is."""
SHARE = 0.5
BODY = {"input": "Chair: third item, office move. Carl: the lease ends in March. Chair: Dana, get two offers by May."}


class Calendar:
    """Counts requests, and is the wall clock."""

    def __init__(self) -> None:
        self._start, self._requests = time.time(), 0
        requests = int(os.environ["BENCH_REQUESTS"])
        self._per_error = max(1, requests // ERRORS)
        self._from, self._until = (max(1, int(requests * share)) for share in FAST)
        self._from_s = self._until_s = self._pace_s = 0.0
        self._progress = os.open(os.environ["BENCH_PROGRESS"], os.O_WRONLY | os.O_CREAT)

    def now(self) -> float:
        """The wall clock's time, seconds."""
        return self._start + self._requests * REQUEST_S

    def next(self) -> tuple[str, str]:
        """Count a request; return its name, and what shall be wrong with it: mostly nothing."""
        self._requests += 1
        if self._requests % 50 == 0:
            os.pwrite(self._progress, b"%020d" % self._requests, 0)
        if self._requests == self._from:
            self._from_s = time.monotonic()
        elif self._requests == self._until:
            self._until_s = time.monotonic()
            self._pace_s = (self._until_s - self._from_s) / (self._until - self._from) / SHARE
        failed = self._requests % self._per_error == 0
        error = f"incident {self._requests:010d}: the provider gave up" if failed else ""
        return NAMES[self._requests % len(NAMES)], error

    def wait_s(self) -> float:
        """How long to wait before the next request."""
        due_s = self._until_s + (self._requests - self._until) * self._pace_s
        return max(0.0, due_s - time.monotonic()) if self._pace_s else 0.0


calendar = Calendar()
time.time = calendar.now


def paced(_: User) -> float:
    """As `wait_time`: seconds until a user's next request."""
    return calendar.wait_s()


class HttpAsker(FastHttpUser):
    """Asks at the soak's pace."""

    wait_time = paced
    weight = int(os.environ["BENCH_CLIENT"] == "http")

    @task
    def ask(self) -> None:
        """Make one request."""
        name, error = calendar.next()
        context = {"team": name[:5], "agent": name[6:-4], "tenant": name[:5]}
        with self.client.post("/ask", json=BODY, name=name, context=context, catch_response=True) as response:
            if error:
                response.failure(error)


class EventAsker(User):
    """Says that it has asked, at the soak's pace."""

    wait_time = paced
    weight = int(os.environ["BENCH_CLIENT"] == "event")

    @task
    def ask(self) -> None:
        """Report one request."""
        name, error = calendar.next()
        self.environment.events.request.fire(
            request_type="POST",
            name=name,
            response_time=20.0 + len(name) + len(error),
            response_length=300,
            exception=RuntimeError(error) if error else None,
            context={"team": name[:5], "agent": name[6:-4], "tenant": name[:5]},
            response=None,
        )
