"""What the last seconds of a running load say: abort conditions, triggers, and whether the system is well.

Everything here rests on the rows that have come in; one comes up to a second after its answer.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.clock import NS_PER_S
from harness.model.threshold import METRICS, parse_live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.evidence import Evidence
    from harness.live import Recent
    from harness.model.experiment import Experiment
    from harness.model.plan import Slo
    from harness.model.threshold import Threshold

SHORT = 12
"""A budget's second window is this part of the first: the first says that it matters, the second that it still goes on
(SRE workbook, ch. 5: 1 h and 5 min)."""
SHORTEST_S = 2.0
"""But no shorter: rows come up to a second late."""
STEADY_S = 30.0
"""The steady state is read off the last seconds of this length, as far as they belong to what is looked at."""

State = Literal["steady", "sick", "unknown"]


@dataclass(frozen=True)
class Checked:
    """One condition of a steady state: what was observed, its interval (None: open), on how many requests."""

    threshold: str
    state: State
    observed: float | None
    low: float | None
    high: float | None
    n: int
    holds: bool
    """Whether what was observed is on the good side, however certain that is."""

    @property
    def words(self) -> str:
        """Return the condition and what was observed."""
        if self.observed is None:
            return f"{self.threshold} (nothing was observed)"
        return f"{self.threshold} (observed {self.observed:.4g} of {self.n:,} requests)"


def longest_window_s(thresholds: list[Threshold], slo: Slo) -> float:
    """Return how far back these conditions look, and what is asked by an SLO's window (`Conditions.good_for`)."""
    return max([STEADY_S, slo.window, *(threshold.window_s or 0.0 for threshold in thresholds)])


def steady_state(experiment: Experiment, slo: Slo) -> Mapping[str, tuple[str, ...]]:
    """Return what holds of a system that is well: as the experiment says, else what recovery is measured by."""
    if experiment.steady_state is not None:
        return experiment.steady_state
    return slo_steady(slo)


def slo_steady(slo: Slo) -> Mapping[str, tuple[str, ...]]:
    """Return the steady state that an SLO implies: a system that is worse would never be seen to recover."""
    return {
        "request_failed": (f"rate<={1 - slo.good_share:.6g}",),
        "response_time": (f"p(95)<={slo.response_time * 1000:.6g}ms",),
    }


class Conditions:
    """Asks `recent` about conditions. Times are monotonic ns."""

    def __init__(self, recent: Recent, slo: Slo) -> None:
        self._recent, self._slo = recent, slo
        self._window_s = max(slo.window, SHORTEST_S)

    def met(self, threshold: Threshold, now: int) -> float | None:
        """Return what was observed when a condition with a window is certain to be met; else None."""
        from harness.judge import abort_crossed, observe_window  # noqa: PLC0415 - takes long, and is imported by then

        window_s = threshold.window_s or 0.0
        observed = abort_crossed(threshold, self._recent.table(now, window_s), self._slo)
        if observed is not None and METRICS[threshold.metric].kind == "budget":
            short_s = min(window_s, max(window_s / SHORT, SHORTEST_S))
            short = observe_window(threshold, self._recent.table(now, short_s), self._slo)
            return observed if short.observed is not None and threshold.holds(short.observed) else None
        return observed

    def well(self, steady: Mapping[str, tuple[str, ...]], now: int, window_s: float) -> list[Checked]:
        """Hold the last `window_s` seconds against a steady state. One is sick when that is certain: a condition's
        whole interval lies on its wrong side."""
        from harness.judge import observe_window  # noqa: PLC0415 - as above

        found, table = [], self._recent.table(now, window_s)
        for name, checks in steady.items():
            for check in checks:
                threshold = parse_live(name, check, windowed=False)
                seen = observe_window(threshold, table, self._slo, window_s)
                sick = not threshold.holds(seen.low) and not threshold.holds(seen.high) and not _mishap(threshold, seen)
                state: State = "unknown" if seen.observed is None else "sick" if sick else "steady"
                low, high = (side if abs(side) < math.inf else None for side in (seen.low, seen.high))
                holds = seen.observed is not None and threshold.holds(seen.observed)
                found.append(Checked(threshold.text, state, seen.observed, low, high, seen.n, holds))
        return found

    def served(self, provider: str, now: int) -> float:
        """Return the share of the answers of the SLO's window that name a provider, of those that name any: a cache is
        none. 0 where no answer does."""
        from harness.live import counts  # noqa: PLC0415 - imports Arrow

        named: Counter[str] = Counter()
        for names, n in counts(self._recent.table(now, self._window_s), "provider").items():
            named.update(dict.fromkeys(filter(None, names.split("+")), n))
        del named["cache"]
        return named[provider] / named.total() if named else 0.0

    def good_for(self, since_ns: int, now: int) -> bool:
        """Tell whether service has been good for the SLO's window (2 s at least), and all of that after `since_ns`: an
        estimate of recovery while it lasts; the report's is the exact one."""
        if now < since_ns + round(self._window_s * NS_PER_S):
            return False
        return all(seen.holds for seen in self.well(slo_steady(self._slo), now, self._window_s))


def _mishap(threshold: Threshold, seen: Evidence) -> bool:
    """Tell whether a share is on its wrong side by a single request: that may be bad luck among few."""
    if threshold.unit != "share" or seen.observed is None:
        return False
    wrong = seen.observed if threshold.operator.startswith("<") else 1 - seen.observed
    return round(wrong * seen.n) <= 1


def overall(checks: list[Checked]) -> State:
    """Return what several conditions come to: sick outranks unknown outranks steady."""
    states = {check.state for check in checks}
    return "sick" if "sick" in states else "unknown" if "unknown" in states else "steady"


def as_data(checks: list[Checked]) -> list[dict[str, Any]]:
    """Return checks as an event holds them."""
    return [asdict(check) for check in checks]
