"""What surrounds a load tells what it could not record, and what it left."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import FaultFailed
from harness.faults.conductor import Uncleared
from harness.faults.proxies import Proxied
from harness.journal import Journal
from harness.recording.stream import read_stream
from harness.recording.tables import EventLog
from harness.stage import Stage
from harness.system import Died
from harness.traffic.base import Pulse
from tests.recordings import plan


def test_rows_that_a_full_disk_cost_are_told_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, journal = EventLog(tmp_path / "events.jsonl"), SimpleNamespace(still_open=list)
    stage = Stage(plan(), tmp_path, 1, events, journal, lambda _: None)  # type: ignore[arg-type]
    monkeypatch.setattr("harness.recording.spool.MOST_WAITING", 0)  # all that is handed in is too much
    for number in range(3):
        stage.samples.sample("worker:w0", "cpu", number)
    stage.down()
    events.close()
    told: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(e["kind"], e["subject"], e["data"]) for e in told[1:]] == [("instrument", "unrecorded", {"rows": 3})]


def test_all_numbers_of_a_worker_are_written_down_and_each_lag(tmp_path: Path) -> None:
    said: dict[str, Any] = {
        field.name: {"str": "", "tuple[float, ...]": [0.5, 7.5]}.get(str(field.type), 10 * number)
        for number, field in enumerate(fields(Pulse), 1)
    }
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        stage = Stage(plan(), tmp_path, 1, events, cast("Any", SimpleNamespace(still_open=list)), lambda _: None)
        stage.sample_worker(Pulse(**(said | {"worker": "w0"})))  # as it comes from a generator's JSON
        stage.down()
    rows = read_stream(tmp_path / "samples.arrows")[0].to_pylist()
    assert {(row["t_ns"], row["source"]) for row in rows} == {(said["t_ns"], "worker:w0")}
    assert [row["value"] for row in rows if row["metric"] == "lag_ms"] == [0.5, 7.5]
    numbers = {row["metric"]: row["value"] for row in rows if row["metric"] != "lag_ms"}
    assert numbers == {name: value for name, value in said.items() if isinstance(value, int) and name != "t_ns"}
    assert {"cpu", "in_flight", "clock_uncertainty_ms"} <= set(numbers)


@pytest.mark.parametrize("gone", [True, False])
def test_a_fault_that_was_not_cleared_goes_with_its_proxy(tmp_path: Path, gone: bool) -> None:
    def delete(_name: str) -> None:
        if not gone:
            raise FaultFailed("it does not answer")

    with closing(Journal(tmp_path, 5, tmp_path / "state")) as journal, closing(EventLog(tmp_path / "events")) as events:
        stage = Stage(plan(), tmp_path, 5, events, journal, lambda _: None)
        proxy: Any = SimpleNamespace(server=SimpleNamespace(delete=delete))
        probe = cast("Any", None)
        stage.proxied = {"bedrock": Proxied("bedrock", proxy, probe, probe, {"as-5-bedrock": journal.proxy("", "p")})}
        journal.fault("slow-bedrock-1", api="", proxy="as-5-bedrock", toxics=[])
        stage._undo.callback(stage._take_proxies_away)
        stage.settle([Uncleared("slow-bedrock-1 could not be cleared", on_service=False)])
        stage.down()
        problems = ["proxy as-5-bedrock: it does not answer", "slow-bedrock-1 could not be cleared"]
        assert stage.left == ([] if gone else problems)
        assert journal.close() is gone


def test_a_fault_proxy_that_ends_is_none_of_the_systems_own(tmp_path: Path) -> None:
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        stage = Stage(plan(), tmp_path, 1, events, cast("Any", None), lambda _: None)
        proxy = SimpleNamespace(alive=False, log="toxiproxy.log", process=SimpleNamespace(returncode=1))
        stage._toxiproxy = cast("Any", proxy)
        stage._system.watch = lambda: [Died("gateway", 9, "it ended")]  # type: ignore[method-assign]
        assert [(died.service, died.ours) for died in stage.died()] == [("gateway", False), ("toxiproxy", True)]
        stage._toxiproxy = None
        stage.down()
