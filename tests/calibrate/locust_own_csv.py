"""Writes Locust's own CSV files for requests given as JSON: in a process of its own, because gevent patches it.

Reads [begin, [[ended, name, ms, bytes, error or ""], ...]] (seconds since 1970, by `ended`); argument: the prefix.
"""

import json
import sys
from types import SimpleNamespace

import locust.stats
from locust.env import Environment

begin, rows = json.load(sys.stdin)
now = begin
locust.stats.time = SimpleNamespace(time=lambda: now)  # type: ignore[assignment,attr-defined]
environment = Environment()
environment.stats.clear_all()
files = locust.stats.StatsCSVFileWriter(environment, locust.stats.PERCENTILES_TO_REPORT, sys.argv[1])
files.requests_csv_writer.writerow(files.requests_csv_columns)
files.stats_history_csv_writer.writerow(files.stats_history_csv_columns)
files.failures_csv_writer.writerow(files.failures_columns)
files.exceptions_csv(files.exceptions_csv_writer)
second = int(rows[0][0]) + 1 if rows else 0
for ended, name, ms, size, error in rows:
    while ended >= second:
        if environment.stats.num_requests:
            files._stats_history_data_rows(files.stats_history_csv_writer, second)
        second += 1
    now = ended
    environment.stats.log_request("", name, ms, size)
    if error:
        environment.stats.log_error("", name, error)
files._stats_history_data_rows(files.stats_history_csv_writer, second)
files._requests_data_rows(files.requests_csv_writer)
files._failures_data_rows(files.failures_csv_writer)
files.close_files()
