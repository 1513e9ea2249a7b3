"""What a fault does to one exchange, and which exchanges it is for. Pure but for draws and a clock."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.faultproxy import vendors

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.faultproxy.framing import Head
    from harness.faultproxy.vendors import Made

MARK = b"x-agentstorm-fault"
"""Header of every answer that a fault has had its hands on, with the fault's name."""
PROBE_HOST = b"agentstorm-probe"
"""Host of our own questions. They meet a fault as others do, but take nobody's draw and nobody's quota."""

_ANSWERS = ("error", "empty", "garbage")
_ENDS = ("stall", "cut")


class BadEffectError(ValueError):
    """What was asked for is no effect; the message says why."""


@dataclass(frozen=True)
class Effect:
    """What happens to one exchange."""

    made: Callable[[Head, bytes], Made] | None = None
    """Makes the answer; the upstream is not asked."""
    delay_s: float = 0.0
    """Every piece of the answer's body comes this much later."""
    after: int | None = None
    """Bytes of the answer's body, as they are on the wire, that pass; at least its last byte does not."""
    then: str = ""
    """``stall`` or ``cut``, once these have passed."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers that take the place of the answer's own, or are added."""


class Misbehaviour:
    """A fault on a route. `how` (JSON) has `share` (default 1) and one of

    `answer` {what: error | empty | garbage, status, retry_after_s} · `delay_s` · `after` with `then`: stall | cut ·
    `content_type` · `quota` {requests, per_s}

    BadEffectError. `seed` is for the share; `now_s` is a monotonic clock.
    """

    def __init__(self, name: str, how: dict[str, Any], seed: int, now_s: Callable[[], float]) -> None:
        self.name, self.how, self._now_s = name, how, now_s
        self.met = 0
        """Exchanges that it was on, our own questions not counted."""
        self._draws = {probe: random.Random(f"{seed}/{name}/{probe}") for probe in (False, True)}  # noqa: S311
        self._window_s, self._used = now_s(), 0
        try:
            self._share = float(how.get("share", 1.0))
            (self._make,) = [make for key, make in _EFFECTS.items() if key in how]
            self._make(self, True)
        except (ValueError, KeyError, TypeError) as error:
            raise BadEffectError(f"no effect: {how!r}; one of {', '.join(_EFFECTS)} ({error})") from None

    def on(self, head: Head) -> Effect | None:
        """Return what it does to a request, None when that is not one of its share."""
        probe = PROBE_HOST in head.headers.get(b"host", b"")
        if self._draws[probe].random() >= self._share:
            return None
        effect = self._make(self, probe)
        self.met += not probe
        return effect

    def _answer(self, _probe: bool) -> Effect:
        asked = self.how["answer"]
        what = asked["what"]
        if what not in _ANSWERS:
            raise ValueError(f"answer is {what!r}, not one of {', '.join(_ANSWERS)}")
        if what == "error":
            status, retry_after_s = int(asked["status"]), asked.get("retry_after_s")
            return Effect(lambda head, _: vendors.error(head.target, status, retry_after_s))
        return Effect(
            (lambda _, __: vendors.empty()) if what == "empty" else lambda h, body: vendors.garbage(h.target, body)
        )

    def _delay(self, _probe: bool) -> Effect:
        return Effect(delay_s=float(self.how["delay_s"]))

    def _end(self, _probe: bool) -> Effect:
        if self.how.get("then") not in _ENDS:
            raise ValueError(f"then is not one of {', '.join(_ENDS)}")
        return Effect(after=int(self.how["after"]), then=self.how["then"])

    def _content_type(self, _probe: bool) -> Effect:
        return Effect(headers=((b"content-type", str(self.how["content_type"]).encode("latin-1")),))

    def _quota(self, probe: bool) -> Effect:
        """A window of fixed length, beginning with the fault (OpenAI's ``x-ratelimit-*`` headers tell of it)."""
        most, per_s = int(self.how["quota"]["requests"]), float(self.how["quota"]["per_s"])
        now_s = self._now_s()
        if now_s >= self._window_s + per_s:
            self._window_s += (now_s - self._window_s) // per_s * per_s
            self._used = 0
        left_s = self._window_s + per_s - now_s
        if self._used >= most:
            return Effect(
                lambda head, _: vendors.error(head.target, 429, left_s), headers=_rate_limits(most, 0, left_s)
            )
        self._used += not probe
        return Effect(headers=_rate_limits(most, most - self._used, left_s))


def _rate_limits(most: int, left: int, left_s: float) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"x-ratelimit-limit-requests", b"%d" % most),
        (b"x-ratelimit-remaining-requests", b"%d" % left),
        (b"x-ratelimit-reset-requests", b"%dms" % round(left_s * 1000)),
    )


_EFFECTS: dict[str, Callable[[Misbehaviour, bool], Effect]] = {
    "answer": Misbehaviour._answer,  # noqa: SLF001 - the table of its own methods
    "delay_s": Misbehaviour._delay,  # noqa: SLF001
    "after": Misbehaviour._end,  # noqa: SLF001
    "content_type": Misbehaviour._content_type,  # noqa: SLF001
    "quota": Misbehaviour._quota,  # noqa: SLF001
}


def rewritten(raw: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return an answer's head with `headers` in the place of its own of the same names; all else as it is."""
    first, *lines = raw[:-4].split(b"\r\n")
    names = {name for name, _ in headers}
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in names]
    return b"\r\n".join([first, *kept, *(name + b": " + value for name, value in headers), b"", b""])


_REASONS = {200: b"OK", 401: b"Unauthorized", 403: b"Forbidden", 429: b"Too Many Requests", 503: b"Service Unavailable"}


def on_the_wire(made: Made, headers: tuple[tuple[bytes, bytes], ...], method: bytes) -> bytes:
    """Return an answer of our own as it is sent."""
    lines = [b"HTTP/1.1 %d %s" % (made.status, _REASONS.get(made.status, b"Error"))]
    lines += [b"content-type: " + made.content_type, b"content-length: %d" % len(made.body)]
    lines += [name + b": " + value for name, value in (*made.headers, *headers)]
    return b"\r\n".join([*lines, b"", b"" if method == b"HEAD" else made.body])
