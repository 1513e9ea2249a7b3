"""`python -m benchmarks [--quick] [--only NAME]... [--renew] [--out DIR]`: measure, print the table, write it down."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    arrivals,
    bias,
    engines,
    fault_proxy,
    first_request,
    flush,
    machine,
    report_scale,
    results,
    soak,
    stall,
    throughput,
)
from benchmarks.sizes import FULL, QUICK, Sizes
from harness.clock import NS_PER_S, now_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


BENCHMARKS: Mapping[str, Callable[[Path, Sizes], dict[str, Any]]] = {
    "throughput": lambda folder, s: throughput.measure(folder, repeats=s.turns, window_s=s.window_s),
    "flush": lambda folder, s: flush.measure(folder, repeats=s.flush_repeats, seconds=s.flush_s),
    "bias": lambda folder, s: bias.measure(folder, repeats=s.bias_repeats, seconds=s.bias_s),
    "stall": lambda folder, s: stall.measure(folder, repeats=s.stall_repeats),
    "arrivals": lambda folder, s: arrivals.measure(folder, minutes=s.arrivals_minutes),
    "engines": lambda folder, s: engines.measure(folder, seconds=s.engines_s),
    "soak": lambda folder, s: soak.measure(
        folder,
        events=s.soak_events,
        http=s.soak_http,
        warm_up=s.soak_warm_up,
        http_warm_up=s.soak_http_warm_up,
        real_time_s=s.soak_real_time_s,
    ),
    "report": lambda _, s: report_scale.measure(s.report_rows),
    "fault_proxy": lambda folder, s: fault_proxy.measure(folder, requests=s.fault_proxy_requests),
    "first_request": lambda folder, s: first_request.measure(folder, repeats=s.first_requests),
}


def run(names: Sequence[str], sizes: Sizes, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Carry out the benchmarks and return the results. One that cannot be is named under `failed`; the others go on.

    With `before` they take the place of those figures in earlier results, which say when under `renewed`.
    """
    now = machine.describe()
    found = {**results.EMPTY, **now, "quick": sizes is not FULL, "failed": {}, "took_s": {}}
    if before is not None:
        found = {
            **results.EMPTY,
            **before,
            "renewed": {**before.get("renewed", {}), **dict.fromkeys(names, now["date"])},
        }
    for name in names:
        found["failed"].pop(name, None)
        print(f"{name} ...", end=" ", flush=True)
        begin_ns = now_ns()
        with tempfile.TemporaryDirectory(prefix="agentstorm-bench-") as folder:
            try:
                _add(found, BENCHMARKS[name](Path(folder), sizes))
            except Exception as error:  # noqa: BLE001 - an hour of other figures must not be lost
                found["failed"][name] = f"{type(error).__name__}: {error}"
        found["took_s"][name] = round((now_ns() - begin_ns) / NS_PER_S, 1)
        print(found["failed"].get(name, f"{found['took_s'][name]:.0f} s"), flush=True)
    return found


def _add(found: dict[str, Any], figures: dict[str, Any]) -> None:
    """Take figures in; a size that was left out keeps its None."""
    for key, figure in figures.items():
        found[key] = {**found[key], **figure} if isinstance(found.get(key), dict) and figure is not None else figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit code is 1 when a benchmark could not be carried out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats: under five minutes")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS), help="just this one; repeatable")
    parser.add_argument("--renew", action="store_true", help="with --only: among the results that are there")
    parser.add_argument(
        "--out",
        type=Path,
        help="where results.json and RESULTS.md go (default: beside this file; nowhere with --only)",
    )
    options = parser.parse_args(arguments)
    out = options.out or (None if options.only and not options.renew else Path(__file__).parent)
    if out is not None:  # before the hour, not after it
        out.mkdir(parents=True, exist_ok=True)
    before = results.read(out) if out is not None and options.renew else None
    if options.renew and (before is None or before["quick"] != options.quick):
        parser.error(f"--renew: {out} has no results of this size; leave it out")
    found = run(options.only or list(BENCHMARKS), QUICK if options.quick else FULL, before)
    print(f"\n{results.goals(found)}")
    if out is not None:
        results.write(out, found)
        print(f"\n{out / 'results.json'}, {out / 'RESULTS.md'}")
    return int(bool(found["failed"]))


if __name__ == "__main__":
    sys.exit(main())
