"""What is counted around a fault, against plain counting over all rows, row by row."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.analysis import scan
from harness.analysis.frame import Frame
from harness.analysis.scan import Scan
from harness.analysis.stats import Times
from harness.analysis.tally import Tally
from harness.analysis.windows import Felt
from harness.model.plan import Slo
from harness.recording import layout, ordered
from harness.recording.finish import rewrite_requests

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 10**9
LAST_NS = 40 * SECOND
LATE_NS = SECOND
GOOD, BAD = ("ok", "degraded"), ("failed", "timeout", "lost")
row = st.fixed_dictionaries(
    {
        "gap": st.sampled_from([0, 1, 10**8, 3 * 10**8, 10**9]),
        "late": st.sampled_from([0, 0, 0, 6 * 10**8, SECOND]),
        "took": st.sampled_from([1, 3 * 10**8, 7 * 10**8, LATE_NS, LATE_NS + 1, 5 * SECOND]),
        "outcome": st.sampled_from([*GOOD, *BAD, "dropped", *["ok"] * 8]),
    }
)


def stored(path: Path, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Scan]:
    """Write requests, and return what is true of them beside the scan of the file."""
    told, due = [], 0
    for r in rows:
        due += r["gap"]
        sent, over = r["outcome"] != "dropped", r["outcome"] not in ("dropped", "lost")
        start = due + r["late"] if sent else -1
        told.append({"due": due, "start": start, "end": start + r["took"] if over else -1, "outcome": r["outcome"]})
    columns: dict[str, list[Any]] = {
        field.name: [""] * len(rows) if pa.types.is_dictionary(field.type) else [0] * len(rows)
        for field in layout.REQUEST_SCHEMA
    }
    for name in ("due", "start", "end"):
        columns[f"{name}_ns"] = [r[name] for r in told]
    columns["outcome"] = [r["outcome"] for r in told]
    table = pa.table({f.name: pa.array(columns[f.name]) for f in layout.REQUEST_SCHEMA}).cast(layout.REQUEST_SCHEMA)
    rewrite_requests([table], path)
    load = Scan([path])
    load.last_ns = LAST_NS
    return told, load


def response(r: dict[str, Any]) -> int:
    end = LAST_NS if r["outcome"] == "lost" else r["end"]
    return end - r["due"] if r["outcome"] != "dropped" else -1


def good(r: dict[str, Any]) -> bool:
    return r["outcome"] in GOOD and response(r) <= LATE_NS


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(row, min_size=20, max_size=60),
    probes=st.lists(row, max_size=8),
    cuts=st.tuples(*[st.integers(0, 16)] * 3).map(sorted),
    last=st.booleans(),
    limit=st.sampled_from([10**6, 4 * 10**8, 10 * SECOND]),
    well=st.booleans(),
)
def test_a_tally_says_what_plain_counting_says(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    rows: list[dict[str, Any]],
    probes: list[dict[str, Any]],
    cuts: list[int],
    last: bool,
    limit: int,
    well: bool,
) -> None:
    if well:
        good_ones = {"outcome": "ok", "late": 0}
        rows, probes = ([r | good_ones | {"took": min(r["took"], LATE_NS)} for r in of] for of in (rows, probes))
    monkeypatch.setattr(ordered, "GROUP_ROWS", 16)
    monkeypatch.setattr(scan, "BLOCK", 7)
    t0, off, until = (cut * SECOND // 2 + 1 for cut in cuts)
    folder = tmp_path_factory.mktemp("tally")
    told, load = stored(folder / "load.parquet", rows)
    canary_told, canary = stored(folder / "canary.parquet", probes)
    slo = Slo.model_validate({"response_time": "1s", "p95_within": 0.5})
    healthy = Times(np.array([limit]), np.zeros(1, bool))
    tally = Tally(Felt(load, canary.whole(), slo, healthy), t0, off, until, last=last)
    for frame in load.blocks():
        tally.look(frame)

    mine = [r for r in told if r["due"] < until]
    ours = [r for r in mine if r["start"] >= t0 and (last or r["end"] < until)]
    early = [r for r in mine if 0 <= r["start"] < t0 and (r["end"] >= t0 or r["outcome"] == "lost")]
    assert (tally.in_flight, tally.in_flight_failed) == (len(early), sum(r["outcome"] in BAD for r in early))
    assert tally.failed == sum(r["outcome"] in BAD for r in ours)
    assert tally.slow == sum(r["outcome"] in GOOD and not good(r) for r in ours)
    met = [r for r in mine if 0 <= r["start"] < off and (r["end"] >= t0 or r["end"] < 0)]
    by_outcome = load.kinds.words("outcome")
    for outcome in by_outcome.words:
        expected = sum(r["outcome"] == outcome for r in met)
        assert int(tally.met[by_outcome.among([outcome])].sum()) == expected

    felt = [r for r in mine + [r for r in canary_told if r["due"] < until] if r["outcome"] != "dropped"]
    bad = [r["start"] for r in felt if not good(r) and t0 <= r["start"] < off]
    assert tally.first_bad == min(bad, default=None)
    seen = [r for r in felt if r["due"] >= t0]
    assert (tally.observed, tally.first_due) == (len(seen), min((r["due"] for r in seen), default=None))
    assert tally.harmed() == any(not good(r) or response(r) > 1.5 * limit for r in seen)
    for second, counted in enumerate(zip(tally._n, tally._good, strict=True)):
        within = [r for r in seen if (r["due"] - t0) // SECOND == second and (last or r["end"] < until)]
        assert tuple(map(int, counted)) == (len(within), sum(map(good, within)))

    successes = sorted(r["end"] for r in told + canary_told if r["outcome"] in GOOD)
    before = max((end for end in successes if end < t0), default=t0)
    after = sorted(r["end"] for r in mine + canary_told if r["outcome"] in GOOD and t0 <= r["end"] < until)
    moments = [before, *after, until]
    assert tally.worst_stall_s() == max(b - a for a, b in pairwise(moments)) / SECOND


def test_where_all_is_well_the_short_way_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"gap": 10**7, "late": 0, "took": 10**6, "outcome": "ok"} for _ in range(1000)]
    told, load = stored(tmp_path / "load.parquet", rows)
    healthy = Times(np.array([1]), np.zeros(1, bool))
    tally = Tally(Felt(load, Scan([]).whole(), Slo(), healthy), SECOND, 2 * SECOND, 9 * SECOND, last=False)
    looked = 0

    def service(frame: Frame) -> None:
        nonlocal looked
        looked += len(frame)

    monkeypatch.setattr(tally, "_service", service)
    for frame in load.blocks():
        tally.look(frame)
    met = [r for r in told if r["end"] >= SECOND and r["due"] < 2 * SECOND]
    assert looked == len(met), "those that were under way while the fault was on, and no other"
    assert tally.observed == sum(2 * SECOND <= r["due"] < 9 * SECOND for r in told)
