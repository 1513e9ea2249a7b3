"""How long the analysis of a recording takes, how much memory, and how many bytes a row is stored in.

    python -m benchmarks.report_scale [ROWS]...

Each recording is written (`synthetic`) and analysed in processes of their own. Seconds are those of
`harness.assess.assess` on an opened recording, after the imports, with the file in the page cache; memory is the whole
process's highest resident set (VmHWM). Seconds are this machine's, at this hour; `to_one_query` compares, in turns,
with one query by DuckDB over the same file: the exact p50, p95 and p99 of every agent, without intervals or more.

Not measured: the pages (figures, HTML, Markdown). The synthetic ledger has 1 % of the provider calls
(`synthetic.LEDGER_EVERY`), and no request is a stream, so there are no token times: a whole ledger, or many streams,
need more memory than is measured here (docs/decisions/0022: 2 GiB for 10^7 calls).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = (10**6, 10**7, 10**8)
ROOM_PER_ROW = 20
_ANALYSE = """
import json, sys
from time import perf_counter, process_time
from harness import blas
blas.one_thread()  # as the command line does
from harness.assess import assess
from harness.recording.reader import Recording
recording = Recording.open(sys.argv[1])
begin, used = perf_counter(), process_time()
findings, _ = assess(recording)
seconds, cpu = perf_counter() - begin, process_time() - used
# Not getrusage: on Linux a process's ru_maxrss begins at that of the one that started it.
lines = open("/proc/self/status").read().splitlines()
rss = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
print(json.dumps({"seconds": seconds, "cpu_s": cpu, "rss_mib": rss, "rows": findings.load.requests}))
"""
_QUERY = """
import json, sys
from time import perf_counter
import duckdb
asked = "SELECT agent, quantile_cont(end_ns - due_ns, [0.5, 0.95, 0.99]) FROM read_parquet(?) WHERE end_ns >= 0"
duckdb.execute("SET enable_progress_bar = false")  # of what takes seconds there is one, on standard output
begin = perf_counter()
duckdb.execute(asked + " GROUP BY agent", [sys.argv[1] + "/requests/*.parquet"]).fetchall()
print(json.dumps(perf_counter() - begin))
"""


def measure(sizes: Sequence[int] = SIZES, repeats: int = 3) -> dict[str, Any]:
    """Return ``{"report": {"1e6": {"seconds", "cpu_s", "rss_mib", "to_one_query"}, ...}, "bytes_per_row"}``.

    Medians of `repeats` processes, the
    highest memory, and bytes of the longest recording that there was room for (the others are left out)."""
    found: dict[str, Any] = {"report": {}}
    for rows in sizes:
        with TemporaryDirectory(prefix="agentstorm-scale-") as folder:
            if shutil.disk_usage(folder).free < 2 * rows * ROOM_PER_ROW:
                continue
            path = Path(folder) / "recording"
            _run("-m", "benchmarks.synthetic", str(path), str(rows))
            pairs = [[json.loads(_run("-c", code, str(path))) for code in (_ANALYSE, _QUERY)] for _ in range(repeats)]
            runs = [run for run, _ in pairs]
            found["report"][_power(rows)] = {
                "seconds": sorted(run["seconds"] for run in runs)[repeats // 2],
                "cpu_s": sorted(run["cpu_s"] for run in runs)[repeats // 2],
                "rss_mib": max(run["rss_mib"] for run in runs),
                "to_one_query": sorted(run["seconds"] / query for run, query in pairs)[repeats // 2],
            }
            size = sum(file.stat().st_size for file in (path / "requests").rglob("*.parquet"))
            found["bytes_per_row"] = size / rows
    return found


def _power(rows: int) -> str:
    text = f"{rows:.0e}".replace("e+0", "e").replace("e+", "e")
    return text if int(float(text)) == rows else str(rows)


def _run(*arguments: str) -> str:
    root = Path(__file__).resolve().parent.parent
    return subprocess.run([sys.executable, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(json.dumps(measure([int(float(size)) for size in sys.argv[1:]] or SIZES), indent=1))
