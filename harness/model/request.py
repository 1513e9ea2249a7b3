"""A request, one row of a recording."""

from __future__ import annotations

from enum import StrEnum

UNKNOWN = -1
"""In integer columns: not shown by this system."""


class Outcome(StrEnum):
    """What became of a request, as its user sees it (`methods.md`, Outcomes)."""

    OK = "ok"
    DEGRADED = "degraded"
    """The system's own rule-based fallback."""
    FAILED = "failed"
    """An error, or a 200 whose body is an error, null, or a stream cut before its end."""
    TIMEOUT = "timeout"
    LOST = "lost"
    """In flight when the run ended or the worker died."""
    DROPPED = "dropped"
    """Due, and never sent."""


ANSWERED = (Outcome.OK, Outcome.DEGRADED, Outcome.FAILED, Outcome.TIMEOUT)
SUCCEEDED = (Outcome.OK, Outcome.DEGRADED)
"""Answered well, however late."""
BAD = (Outcome.FAILED, Outcome.TIMEOUT)


def trace_id(run_id: int, request_id: int) -> str:
    """Return the W3C trace id (32 hex) that request `request_id` of run `run_id` carries."""
    return f"{run_id:016x}{request_id:016x}"


def traceparent(run_id: int, request_id: int) -> str:
    """Return the W3C `traceparent` header value of a request; its span id is the request's number, never zero."""
    return f"00-{run_id:016x}{request_id:016x}-{request_id:016x}-01"


def request_id_of(trace: str | None, run_id: int) -> int:
    """Return the request number inside a trace id of this run; `UNKNOWN` for any other."""
    if trace and len(trace) == 32 and trace[:16] == f"{run_id:016x}":
        return int(trace[16:], 16)
    return UNKNOWN


def first_request_id(stream: int) -> int:
    """Return the first request number of a numbered stream (a worker, the canary): streams never meet."""
    return (stream << 40) + 1
