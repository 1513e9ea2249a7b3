"""What is written of a run of the benchmarks: ``results.json`` for machines, ``RESULTS.md`` for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.goals import table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EMPTY: dict[str, Any] = {
    "throughput_ratio": None,
    "flush_pause_ms": None,
    "bias_ms": {"rate": None, "users100": None, "spike": None, "streams": None},
    "bias_bare_ms": None,
    "stall_ms": None,
    "arrivals": None,
    "engines": None,
    "soak_slope_mib_per_day": None,
    "report": {"1e6": None, "1e7": None, "1e8": None},
    "bytes_per_row": None,
    "fault_proxy": None,
    "first_request_s": None,
}
"""The keys that are always there; None where nothing was measured."""
_READ_ON = """What each figure is and how it is measured: [README.md](README.md).
Every repeat, and the ranges: [results.json](results.json)."""
_READ_RATIOS = """A ratio above 1: ours needs less CPU. `HttpUser` is Locust's other client, `CsvRequestLogger` Locust's
own log of every request beside `FastHttpUser`; k6 and wrk keep sums, not requests. Server and generators share the
cores."""


def write(folder: Path, results: dict[str, Any]) -> None:
    """Write both files."""
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "RESULTS.md").write_text(page(results), encoding="utf-8")


def read(folder: Path) -> dict[str, Any] | None:
    """Return what was written there; None if nothing was."""
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def goals(results: dict[str, Any]) -> str:
    """The table of goals, in Markdown."""
    rows = [(row.what, row.goal, row.measured, row.verdict) for row in table(results)]
    return _markdown(("", "goal", "measured", "verdict"), rows)


def page(results: dict[str, Any]) -> str:
    """``RESULTS.md``."""
    machine, versions = results["machine"], results["versions"]
    size = "`make bench-quick` (smaller sizes, fewer repeats)" if results["quick"] else "`make bench`"
    return "\n\n".join(
        [
            "# What the instrument measures, and what it costs",
            f"Written by {size} on {results['date']}. {_READ_ON}",
            goals(results),
            *_renewed(results.get("renewed", {})),
            *_failed(results["failed"]),
            *_others(results),
            "## Where",
            ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items()) + ".",
            ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
            "## Again",
            "On a machine that does nothing else: `make bench`, or `make bench-quick` for a first look.\n",
        ]
    )


def _renewed(renewed: dict[str, str]) -> list[str]:
    said = ", ".join(f"{name} on {date}" for name, date in renewed.items())
    return [f"Measured again since, on the same machine: {said}."] if said else []


def _failed(failed: dict[str, str]) -> list[str]:
    return [f"Could not be carried out: {name}: {why}" for name, why in failed.items()]


def _others(results: dict[str, Any]) -> list[str]:
    throughput = results.get("throughput")
    if throughput is None:
        return []
    rows = []
    for name, cost in throughput["costs"].items():
        against = throughput["against"].get(name)
        ratio = f"{against['cpu']:.3f} ({against['low']:.3f} to {against['high']:.3f})" if against else "1"
        rows.append((name, f"{cost['cpu_us']:.1f}", f"{cost['per_s']:.0f}", ratio))
    head = ("one process, 50 users, no pause", "CPU us/request", "requests/s", "CPU, its / ours: median (range)")
    return ["## Beside what else there is", _markdown(head, rows), _READ_RATIOS]


def _markdown(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
