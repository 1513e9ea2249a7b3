"""The system's own health page, as an operator's monitoring would read it; held against the injected truth later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.clock import NS_PER_MS, now_ns
from harness.probes.periodic import Periodic
from harness.web import get

if TYPE_CHECKING:
    from harness.recording.tables import EventLog, SampleWriter

OK, DEGRADED, UNHEALTHY = "ok", "degraded", "unhealthy"
VALUES = {OK: 0.0, DEGRADED: 1.0, UNHEALTHY: 2.0}
"""Value of the sample ``health status``."""

_WORDS = {
    **dict.fromkeys(
        (
            "ok", "healthy", "up", "pass", "passing", "green", "available", "true", "running", "ready", "alive", "live",
            "serving", "online", "operational", "active", "normal", "good", "success", "succeeded",
        ),
        OK,
    ),
    **dict.fromkeys(("degraded", "warn", "warning", "yellow", "partial", "impaired"), DEGRADED),
    **dict.fromkeys(
        (
            "unhealthy", "down", "fail", "failed", "failing", "failure", "error", "critical", "red", "unavailable",
            "out_of_service", "offline", "outage", "dead", "stopped", "not_ready", "not_serving", "false",
        ),
        UNHEALTHY,
    ),
}  # fmt: skip


class Claim(NamedTuple):
    """What a health answer claims."""

    status: str
    providers: dict[str, Any]
    """What it says of each provider; ``{}`` when nothing."""
    unknown: str = ""
    """The word it says where that is none of those known."""


def judge(http_status: int, body: bytes) -> Claim:
    """Return what a health answer claims.

    Any status but 2xx is unhealthy. Then the word at the body's ``status`` decides (`_WORDS`; case, and spaces and
    hyphens for underscores, do not matter); with another word, without one, or without a body that is a JSON object, it
    is ok: who answers 2xx says so, and a word taken for bad news would notice every outage.
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    document = document if isinstance(document, dict) else {}
    providers = document.get("providers")
    said = providers if isinstance(providers, dict) else {}
    if not 200 <= http_status < 300:
        return Claim(UNHEALTHY, said)
    word = str(document.get("status", OK)).strip()
    status = _WORDS.get(word.lower().replace(" ", "_").replace("-", "_"))
    return Claim(OK, said, word) if status is None else Claim(status, said)


class Health(Periodic):
    """Reads the page every second. Samples of source ``health``: ``status`` (`VALUES`), ``latency_ms``, ``answered``.

    A change is an event `health` with ``{status, was, http_status, providers, error, low_ns, high_ns}``: it came
    about between the previous look and the answer of this one. No answer is unhealthy with ``http_status`` 0. A word
    that is not known is told once as an event `probe` with subject ``unknown_word``, ``{word}``.
    """

    def __init__(
        self,
        url: str,
        path: str,
        samples: SampleWriter,
        events: EventLog,
        *,
        every_s: float = 1.0,
        timeout_s: float = 5.0,
    ) -> None:
        super().__init__("health", every_s, events)
        self._url, self._path, self._samples, self._timeout_s = url.rstrip("/") + path, path, samples, timeout_s
        self._was: str | None = None
        self._unknown: set[str] = set()
        self._looked_ns = -1

    def look(self) -> None:
        """Read the page once."""
        asked_ns, http_status, body, error = now_ns(), 0, b"", ""
        try:
            http_status, body = get(self._url, self._timeout_s)
        except OSError as problem:
            error = str(problem)
        answered_ns = now_ns()
        status, providers, unknown = judge(http_status, body)
        if unknown and unknown not in self._unknown:
            self._unknown.add(unknown)
            self._events.emit("probe", "health", "unknown_word", word=unknown)
        sample = self._samples.sample
        sample("health", "status", VALUES[status], t_ns=answered_ns)
        sample("health", "latency_ms", (answered_ns - asked_ns) / NS_PER_MS, t_ns=answered_ns)
        sample("health", "answered", float(not error), t_ns=answered_ns)
        if status != self._was:
            self._events.emit(
                "health", "health", self._path, t_ns=answered_ns, status=status, was=self._was,
                http_status=http_status, providers=providers, error=error,
                low_ns=self._looked_ns if self._was is not None else asked_ns, high_ns=answered_ns,
            )  # fmt: skip
        self._was, self._looked_ns = status, asked_ns
