"""Levels of load of systems whose capacity is known, as the rows a recording would hold of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special
from scipy.optimize import brentq

from harness.analysis.capacity_levels import Stretch
from harness.analysis.capacity_rows import Measured, measured
from harness.analysis.frame import Frame, Kinds
from harness.model.plan import Slo
from harness.model.request import UNKNOWN
from harness.recording.ordered import KIND_SCHEMA

Array = np.ndarray[Any, np.dtype[Any]]

OUTCOMES = ("ok", "failed", "lost", "dropped")


def _kinds() -> Kinds:
    rows = [
        {
            f.name: UNKNOWN if str(f.type).startswith("int") else outcome if f.name == "outcome" else ""
            for f in KIND_SCHEMA
        }
        for outcome in OUTCOMES
    ]
    return Kinds(KIND_SCHEMA.empty_table().from_pylist(rows, schema=KIND_SCHEMA))


KINDS = _kinds()


def frame(due: Array, end: Array, *, late: float = 0.0, outcome: Array | None = None) -> Frame:
    """Return requests (seconds) as a frame; `outcome` are places in `OUTCOMES`."""
    kind = np.zeros(len(due), np.int64) if outcome is None else outcome
    columns = {
        "due_ns": np.round(due * 1e9).astype(np.int64),
        "start_ns": np.where(kind == 3, -1, np.round((due + late) * 1e9)).astype(np.int64),
        "end_ns": np.where(kind >= 2, -1, np.round((end + late) * 1e9)).astype(np.int64),
    }
    return Frame(KINDS, kind, columns, int(1e9 * (float(end.max()) + 60)))


def stretch(
    level: int, begin_s: float, end_s: float, *, rate: float | None = None, users: int | None = None
) -> Stretch:
    """Return a level that has settled."""
    return Stretch("healthy", level, rate, users, round(begin_s * 1e9), round(end_s * 1e9), settled=True)


@dataclass(frozen=True)
class Usl:
    """A system that does X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)) requests per second, by chance (a
    Poisson process), in the order they came. In a closed loop without think time N stays what it is."""

    lambda_: float = 5.0
    sigma: float = 0.03
    kappa: float = 0.0008

    def rate(self, n: float) -> float:
        """Return X(N), 1/s."""
        return self.lambda_ * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    @property
    def peak(self) -> float:
        """Return N*."""
        return float(np.sqrt((1 - self.sigma) / self.kappa))

    def capacity(self, limit_s: float, good: float) -> float:
        """Return the users at which exactly the share `good` is answered within the limit: a response is N gaps of a
        Poisson process (Erlang)."""
        return float(brentq(lambda n: special.gammainc(n, self.rate(n) * limit_s) - good, 1.0, 10 * self.peak))

    def level(self, random: np.random.Generator, users: int, lasts_s: float, slo: Slo, number: int = 1) -> Measured:
        """Return what is measured of one level of so many users."""
        many = int((lasts_s + 5) * self.rate(users) * 1.2) + 10 * users + 50
        over = np.cumsum(random.exponential(1 / self.rate(users), many))
        begin = over[users]
        rows = frame(over[:-users], over[users:])
        return measured(stretch(number, begin, begin + lasts_s, users=users), rows, slo, 0, None)


@dataclass(frozen=True)
class OneServer:
    """M/M/1, first come first served: arrivals by chance, one server. Responses are exponential (Kleinrock 1975)."""

    serves: float = 20.0

    def capacity(self, limit_s: float, good: float) -> float:
        """Return the rate at which exactly the share `good` is answered within the limit."""
        return self.serves + float(np.log(1 - good)) / limit_s

    def level(self, random: np.random.Generator, rate: float, lasts_s: float, slo: Slo, number: int = 1) -> Measured:
        """Return what is measured of one level, half as long again after it began."""
        settles = lasts_s / 2
        many = int((lasts_s + settles) * rate * 1.3) + 100
        due = np.cumsum(random.exponential(1 / rate, many))
        due = due[due < settles + lasts_s]
        work = random.exponential(1 / self.serves, len(due))
        done = np.cumsum(work)
        end = done + np.maximum.accumulate(due - np.concatenate([[0.0], done[:-1]]))
        return measured(stretch(number, settles, settles + lasts_s, rate=rate), frame(due, end), slo, 0, None)
