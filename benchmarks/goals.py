"""What the figures are meant to be, and whether they are. Pure functions of ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.stall import TRUTH_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Results = dict[str, Any]

_STALL_WITHIN = 0.015
_GROWTH_MIB = 1.0
_NO_GROWTH = f"at most {_GROWTH_MIB:g}"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    goal: str
    measured: str
    verdict: str


def table(results: Results) -> list[Row]:
    """One row per goal; a figure that is not there is "not measured", never met."""
    return [_row(results, *goal) for goal in GOALS]


def _row(
    results: Results, what: str, goal: str, measured: Callable[[Results], str], verdict: Callable[[Results], str]
) -> Row:
    try:
        return Row(what, goal, measured(results), verdict(results))
    except (KeyError, TypeError):  # a benchmark that was left out, or a size of it
        return Row(what, goal, "-", "not measured")


def _met(met: bool) -> str:
    return "met" if met else "missed"


def _list(numbers: Iterable[float], digits: int = 2) -> str:
    return " / ".join(f"{number:.{digits}f}" for number in numbers)


def _within(figures: list[float], limits: Iterable[float]) -> bool:
    return all(abs(figure) <= limit for figure, limit in zip(figures, limits, strict=True))


def _near_truth(figures: list[float], dropped: int) -> str:
    limits = [_STALL_WITHIN * truth for truth in TRUTH_MS]
    return _met(dropped == 0 and _within([f - t for f, t in zip(figures, TRUTH_MS, strict=True)], limits))


def _soaks(results: Results) -> dict[str, dict[str, float]]:
    event, http = results["soak_slope_mib_per_day"], results["soak"]["http"]["slopes"]["all"]
    return {"event": event, "http": http}


def _real_time(results: Results) -> dict[str, dict[str, float]]:
    return {"real_time": results["soak"]["real_time"]["slopes"]["run"]}


def _flat(slopes: dict[str, dict[str, float]]) -> str:
    """Flat and a leak are both claims about the whole interval (decision 33). To be told from 0 is none: the more exact
    a soak is, the less that takes, down to a few pages."""
    if any(slope["low"] > _GROWTH_MIB for slope in slopes.values()):
        return "missed"
    return "met" if all(slope["high"] <= _GROWTH_MIB for slope in slopes.values()) else "inconclusive"


def _slope(results: Results, slopes: dict[str, dict[str, float]]) -> str:
    limits = {client: results["soak"][client]["detection_limit_mib_per_day"] for client in slopes}
    return "; over HTTP ".join(f"{_interval(slope)}, detects {limits[client]:.2f}" for client, slope in slopes.items())


_AGREEMENT = {"pass": "met", "fail": "missed", "inconclusive": "inconclusive"}


def _ratios(results: Results) -> str:
    ratios = (results["engines"][percentile]["ratio"] for percentile in ("p50", "p95", "p99"))
    return " / ".join(f"{ratio['value']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})" for ratio in ratios)


def _interval(slope: dict[str, float]) -> str:
    return f"{slope['value']:.2f} ({slope['low']:.2f} to {slope['high']:.2f})"


def _analysed(found: Results) -> str:
    query = f" ({found['to_one_query']:.1f} x one DuckDB query)" if "to_one_query" in found else ""
    return f"{found['seconds']:.2f} s{query}, {found['rss_mib']:.0f} MiB"


def _pause(results: Results) -> str:
    page = results.get("page_us")
    return f"{results['flush_pause_ms']:.2f}" + ("" if page is None else f"; a page that rested, {page:.1f} us")


def _report(size: str, seconds: float) -> tuple[str, str, Callable[[Results], str], Callable[[Results], str]]:
    return (
        f"report on {size} requests: seconds, MiB",
        f"<= {seconds:g} s, <= 512 MiB",
        lambda r: _analysed(r["report"][size]),
        lambda r: _met(r["report"][size]["seconds"] <= seconds and r["report"][size]["rss_mib"] <= 512),
    )


GOALS: tuple[tuple[str, str, Callable[[Results], str], Callable[[Results], str]], ...] = (
    (
        "CPU per request, everything recorded: bare FastHttpUser / ours",
        ">= 0.98",
        lambda r: f"{r['throughput_ratio']:.3f}",
        lambda r: _met(r["throughput_ratio"] >= 0.98),
    ),
    (
        "longest flush pause, ms",
        "<= 1",
        _pause,
        lambda r: _met(r["flush_pause_ms"] <= 1),
    ),
    (
        "bias at 1000/min, p50 / p95 / p99, ms",
        "<= 1 / 1.5 / 2",
        lambda r: (
            _list(r["bias_ms"]["rate"]) + (f"; a bare client's {_list(bare)}" if (bare := r["bias_bare_ms"]) else "")
        ),
        lambda r: _met(_within(r["bias_ms"]["rate"], (1, 1.5, 2))),
    ),
    (
        "bias at 100 users, p50 / p95 / p99, ms",
        "<= 1 / 1.5 / 2",
        lambda r: _list(r["bias_ms"]["users100"]),
        lambda r: _met(_within(r["bias_ms"]["users100"], (1, 1.5, 2))),
    ),
    (
        "bias in the ramp of a spike to 500 users, p50 / p95 / p99, ms",
        "p99 <= 3",
        lambda r: _list(r["bias_ms"]["spike"]),
        lambda r: _met(abs(r["bias_ms"]["spike"][2]) <= 3),
    ),
    (
        "bias of the time to the first token, 50 streams, p50 / p95 / p99, ms",
        "<= 1 / 1.5 / 2",
        lambda r: _list(r["bias_ms"]["streams"]),
        lambda r: _met(_within(r["bias_ms"]["streams"], (1, 1.5, 2))),
    ),
    (
        "a stall of 5 s in 30 s at 1000/min, p95 / p99, ms",
        f"within 1.5 % of {_list(TRUTH_MS, 0)}, 0 dropped",
        lambda r: f"{_list(r['stall_ms'], 0)}, {r['stall']['dropped']} dropped",
        lambda r: _near_truth(r["stall_ms"], r["stall"]["dropped"]),
    ),
    (
        "the same with two workers",
        "the same",
        lambda r: f"{_list(r['stall']['two_workers_ms'], 0)}, {r['stall']['dropped']} dropped",
        lambda r: _near_truth(r["stall"]["two_workers_ms"], r["stall"]["dropped"]),
    ),
    (
        "requests sent in a minute at 1000/min, through a stall of 5 s",
        "1000 +- 1, 0 dropped",
        lambda r: "{} to {}, {} dropped".format(*r["arrivals"]["per_minute"], r["arrivals"]["dropped"]),
        lambda r: _met(
            r["arrivals"]["dropped"] == 0 and all(abs(many - 1000) <= 1 for many in r["arrivals"]["per_minute"])
        ),
    ),
    (
        "dispersion of Poisson arrivals as they were sent, windows of 10 ms",
        "<= 1.1 (1 expected)",
        lambda r: f"{r['arrivals']['dispersion']:.3f}",
        lambda r: _met(r["arrivals"]["dispersion"] <= 1.1),
    ),
    (
        "k6 and Locust on one plan, p50 / p95 / p99: k6's to Locust's (95 % interval)",
        "agree within their intervals or 1 %",
        _ratios,
        lambda r: _AGREEMENT[r["engines"]["verdict"]],
    ),
    (
        "memory in a compressed soak, MiB/day at 1000/min",
        _NO_GROWTH,
        lambda r: _slope(r, _soaks(r)),
        lambda r: _flat(_soaks(r)),
    ),
    (
        "memory of the run's own process in real time, MiB/day",
        _NO_GROWTH,
        lambda r: _slope(r, _real_time(r)),
        lambda r: _flat(_real_time(r)),
    ),
    _report("1e6", 0.5),
    _report("1e7", 1.5),
    _report("1e8", 10),
    (
        "bytes per recorded request",
        "<= 10",
        lambda r: f"{r['bytes_per_row']:.1f}",
        lambda r: _met(r["bytes_per_row"] <= 10),
    ),
    (
        "the HTTP fault proxy adds, no fault on, p50 / p95 / p99, ms",
        "p99 <= 1",
        lambda r: _list(r["fault_proxy"]["added_ms"]),
        lambda r: _met(r["fault_proxy"]["added_ms"][2] <= 1),
    ),
    (
        "`agentstorm run` to its first request (local, warm), s",
        "<= 3",
        lambda r: f"{r['first_request_s']:.2f}",
        lambda r: _met(r["first_request_s"] <= 3),
    ),
)
