"""What lies where in a recording.

    plan.yaml  manifest.json  events.jsonl
    arrivals.csv                                              of a `replay` load: a copy of its file
    audit.json                                                the readiness audit its target names, once reported
    requests/<worker>.arrows -> requests/<worker>.parquet     one row per request, stored as `ordered` says
    tokens/<worker>.arrows   -> tokens/<worker>.parquet       one row per token of a stream
    canary/canary.arrows     -> canary/canary.parquet         the probe's own requests, likewise
    samples.arrows           -> samples.parquet               t_ns source metric labels value
    ledger.arrows            -> ledger.parquet                what the providers say they received
    logs/
    findings.json verdicts.json report.html report.md readiness.md junit.xml figures/ locust/   derived, rebuildable

While a run lasts, tables are Arrow IPC streams (``.arrows``): each batch is whole once flushed, so a reader of a
killed run has everything but the last flush. Finishing a run turns them into Parquet.
"""

from __future__ import annotations

import pyarrow as pa

PLAN, MANIFEST, EVENTS, ARRIVALS = "plan.yaml", "manifest.json", "events.jsonl", "arrivals.csv"
AUDIT = "audit.json"
REQUESTS, CANARY, SAMPLES, LEDGER, LOGS = "requests", "canary", "samples", "ledger", "logs"
TOKENS = "tokens"
FINDINGS, VERDICTS = "findings.json", "verdicts.json"
SCHEMA_VERSION = 1

WORD = pa.dictionary(pa.int32(), pa.string())

REQUEST_SCHEMA = pa.schema(
    [
        ("due_ns", pa.int64()),
        ("start_ns", pa.int64()),
        ("first_byte_ns", pa.int64()),
        ("end_ns", pa.int64()),
        ("name", WORD),
        ("team", WORD),
        ("agent", WORD),
        ("tenant", WORD),
        ("worker", WORD),
        ("request_id", pa.int64()),
        ("outcome", WORD),
        ("status", pa.int32()),
        ("error", WORD),
        ("provider", WORD),
        ("cached", pa.int32()),
        ("cache_lookups", pa.int32()),
        ("cache_hits", pa.int32()),
        ("tokens_in", pa.int32()),
        ("tokens_out", pa.int32()),
        ("bytes_in", pa.int32()),
        ("bytes_out", pa.int32()),
        ("first_token_ns", pa.int64()),
        ("last_token_ns", pa.int64()),
        ("stream_tokens", pa.int32()),
    ]
)
"""Times are monotonic ns. Of a request never sent (`dropped`) start, first byte and end are -1; of one in flight at
the end (`lost`) end is -1. Integer -1 means "not shown". `worker`, `error`, `provider` ... are "" where there is none.
`bytes_in` is what the user received, `bytes_out` what was sent (bodies, bytes). `stream_tokens` counts the events of a
stream that are tokens (`Observe.token`), -1 for what is no stream; the token times are -1 where there was none, or the
client does not show when bytes arrive."""

TOKEN_SCHEMA = pa.schema([("request_id", pa.int64()), ("t_ns", pa.int64())])
"""When each token of a stream arrived: the rows of one request stand together, in order. Without streams no file."""
ADDED = ("first_token_ns", "last_token_ns", "stream_tokens")
"""Columns that older recordings of the same schema version do not have: all rows hold -1."""

SAMPLE_SCHEMA = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("source", pa.string()),
        ("metric", pa.string()),
        ("labels", pa.string()),
        ("value", pa.float64()),
    ]
)
"""`labels` is JSON with sorted keys, ``{}`` for none. Sources: ``process:<service>``,
``container:<name>``, ``metrics``, ``health``, ``worker:<name>``, ``proxies``."""

LEDGER_SCHEMA = pa.schema(
    [
        ("t_ns", pa.int64()),
        ("answered_ns", pa.int64()),
        ("upstream", pa.string()),
        ("request_id", pa.int64()),
        ("tenant", pa.string()),
        ("agent", pa.string()),
        ("model", pa.string()),
        ("tokens_in", pa.int32()),
        ("tokens_out", pa.int32()),
        ("stream", pa.bool_()),
        ("status", pa.string()),
    ]
)
"""`t_ns` received, `answered_ns` answered (-1 never); `request_id` as in requests, -1 when the call carried no trace
id of this run. `status`: ok, cancelled (the caller went away), rejected, cut, garbage, in_flight."""

TABLES = {
    REQUESTS: REQUEST_SCHEMA, TOKENS: TOKEN_SCHEMA, CANARY: REQUEST_SCHEMA, SAMPLES: SAMPLE_SCHEMA,
    LEDGER: LEDGER_SCHEMA,
}  # fmt: skip
