"""What the container probe makes of an engine's answers, for cgroup v1 and v2, restarts, resets and limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from harness.model.event import Event
from harness.probes import Containers
from harness.probes import engine as container_engine
from harness.probes.container_stats import Counters, counters, limits, used_now, used_since
from harness.probes.engine import Seen
from harness.recording.reader import Recording
from harness.recording.tables import EventLog, SampleWriter

MIB = 1 << 20
V1 = {"total_inactive_file": 30 * MIB, "inactive_file": 1 * MIB, "total_rss": 60 * MIB}
V2 = {"inactive_file": 30 * MIB, "anon": 60 * MIB}


def stats(second: float = 0.0, **parts: Any) -> dict[str, Any]:
    """Return stats as the engine sends them, `second` seconds after a full minute."""
    return {
        "read": f"2026-11-24T13:51:{second:012.9f}Z",
        "cpu_stats": {
            "cpu_usage": {"total_usage": parts.get("cpu_ns", 0)},
            "throttling_data": {"periods": parts.get("periods", 0), "throttled_periods": parts.get("throttled", 0)},
        },
        "memory_stats": {"usage": 100 * MIB, "limit": 200 * MIB, "stats": parts.get("pages", V1)},
        "pids_stats": {"current": 3},
        "networks": {
            "eth0": {"rx_bytes": parts.get("received", 0), "tx_bytes": parts.get("sent", 0)},
            "eth1": {"rx_bytes": 0, "tx_bytes": 0},
        },
    }


STOPPED = {
    "read": "0001-01-01T00:00:00Z", "pids_stats": {}, "memory_stats": {},
    "cpu_stats": {"cpu_usage": {"total_usage": 0}, "throttling_data": {"periods": 0, "throttled_periods": 0}},
}  # fmt: skip


def facts(
    container: str = "c1", started: str = "2026-11-24T13:00:00Z", restarted: int = 0, cores: float = 0
) -> dict[str, Any]:
    """Return what inspect says of a running container; without `cores` no limit was set."""
    return {
        "Id": container,
        "State": {"Running": True, "StartedAt": started},
        "RestartCount": restarted,
        "HostConfig": {"NanoCpus": round(cores * 1e9), "CpuQuota": 0, "CpuPeriod": 0},
    }


def read(given: dict[str, Any]) -> Counters:
    found = counters(given)
    assert found is not None
    return found


@pytest.mark.parametrize("pages", [V1, V2], ids=["cgroup v1", "cgroup v2"])
def test_memory_is_what_is_left_without_pages_that_would_go_first(pages: dict[str, int]) -> None:
    assert used_now(stats(pages=pages)) == {"memory_mib": 70.0, "anon_mib": 60.0, "pids": 3}


@pytest.mark.parametrize(("pages", "mib"), [({"anon": 40 * MIB}, 40.0), ({"rss": 9, "total_rss": 30 * MIB}, 30.0)])
def test_memory_that_is_no_files_is_told_where_the_kernel_says_it(pages: dict[str, int], mib: float) -> None:
    assert used_now(stats(pages=pages))["anon_mib"] == mib


@pytest.mark.parametrize(("said", "limit"), [(100, 100.0), (0, None), (-1, None), (None, None), (2**31, None)])
def test_a_limit_of_processes_is_told_where_there_is_one(said: int | None, limit: float | None) -> None:
    assert limits(facts() | {"HostConfig": {"PidsLimit": said}}, stats(), cpus=8).get("pids_limit") == limit


def test_memory_is_never_negative_and_what_is_not_told_is_left_out() -> None:
    assert used_now(stats(pages={"inactive_file": 101 * MIB}))["memory_mib"] == 0
    assert used_now(STOPPED) == {}


def test_use_between_two_looks() -> None:
    before = read(stats(1, cpu_ns=10**9, periods=10, throttled=5, received=1000, sent=500))
    now = read(stats(3, cpu_ns=2 * 10**9, periods=30, throttled=20, received=21_000, sent=10_500))
    assert used_since(before, now) == pytest.approx(
        {"cpu": 0.5, "throttled": 0.75, "net_in": 10.0, "net_out": 5.0, "net": 15.0}
    )


def test_an_idle_container_with_a_limit_is_not_throttled_and_one_without_cannot_be() -> None:
    idle = read(stats(1, periods=10, throttled=5)), read(stats(2, periods=10, throttled=5))
    assert used_since(*idle)["throttled"] == 0
    assert "throttled" not in used_since(read(stats(1)), read(stats(2)))


def test_counters_that_go_backwards_give_nothing() -> None:
    before = read(stats(1, cpu_ns=10**9, periods=10, throttled=5, received=1000, sent=1000))
    reset = read(stats(2, cpu_ns=10**6, periods=1, received=10, sent=2000))
    assert used_since(before, reset) == {}
    assert used_since(before, before) == {}


def test_a_container_without_a_network_of_its_own_has_no_network_use() -> None:
    alone = {key: value for key, value in stats(1).items() if key != "networks"}
    assert read(alone).net is None
    assert "net" not in used_since(read(alone), read(stats(2)))


def test_of_a_container_that_does_not_run_nothing_is_read() -> None:
    assert counters(STOPPED) is None


@pytest.mark.parametrize(
    ("host", "cores"),
    [
        ({"NanoCpus": 1_500_000_000}, 1.5),
        ({"CpuQuota": 50_000, "CpuPeriod": 200_000}, 0.25),
        ({"CpuQuota": 50_000}, 0.5),
        ({"CpuQuota": -1}, 8.0),
        ({"CpusetCpus": "0-1"}, 2.0),
        ({"CpusetCpus": "0,2-3,3"}, 3.0),
        ({"CpusetCpus": "1", "NanoCpus": 1_500_000_000}, 1.0),
        ({"CpusetCpus": "0-3", "NanoCpus": 1_500_000_000}, 1.5),
        ({"CpusetCpus": ""}, 8.0),
        ({}, 8.0),
    ],
)
def test_limits(host: dict[str, Any], cores: float) -> None:
    assert limits(facts() | {"HostConfig": host}, stats(), cpus=8) == {"cpu_limit": cores, "memory_limit_mib": 200.0}


def test_a_memory_limit_that_is_not_told_is_left_out() -> None:
    assert limits(facts(), STOPPED, cpus=2) == {"cpu_limit": 2.0}


# ---- the probe, on an engine that says what the test wants


class Engine:
    """Answers look after look; an exception is raised."""

    cpus = 2

    def __init__(self, **looks: list[Any]) -> None:
        self.looks = looks
        self.closed = False

    def look(self, container: str) -> Seen | None:
        said = self.looks[container].pop(0)
        if isinstance(said, OSError):
            raise said
        return Seen(0, *said) if said else None

    def close(self) -> None:
        self.closed = True


Watch = Callable[..., tuple[dict[str, list[float]], list[Event]]]


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Looks until the engine has said all; returns samples by ``name metric``, and the events."""

    def looking(engine: Engine) -> tuple[dict[str, list[float]], list[Event]]:
        monkeypatch.setattr(container_engine, "Engine", lambda: engine)
        events, samples = EventLog(tmp_path / "events.jsonl"), SampleWriter(tmp_path)
        probe = Containers(lambda: {f"name-{c}": c for c in engine.looks}, samples, events)
        for _ in range(len(next(iter(engine.looks.values()))) - 1):
            probe._guarded(probe.look)
        probe._guarded(probe.last_look)
        assert engine.closed
        events.close()
        samples.close()
        recording = Recording(tmp_path)
        found: dict[str, list[float]] = {}
        for row in recording.samples.to_pylist():
            found.setdefault(f"{row['source']} {row['metric']}", []).append(row["value"])
        return found, list(recording.events)

    return looking


def test_use_is_held_against_limits_and_a_changed_limit_is_told(watch: Watch) -> None:
    half, quarter = facts(cores=0.5), facts(cores=0.25)
    found, events = watch(
        Engine(a=[(half, stats(1)), (half, stats(2, cpu_ns=2 * 10**8)), (quarter, stats(3, cpu_ns=4 * 10**8))])
    )
    assert found["container:name-a cpu"] == pytest.approx([0.2, 0.2])
    assert found["container:name-a cpu_of_limit"] == pytest.approx([0.4, 0.8])
    assert found["container:name-a cpu_limit"] == [0.5, 0.25]
    assert found["container:name-a memory_limit_mib"] == [200]
    assert found["container:name-a memory_of_limit"] == pytest.approx([0.35] * 3)
    assert found["container:name-a restarts"] == [0, 0, 0]
    assert events == []


def test_restarts_are_counted_and_nothing_is_measured_across_one(watch: Watch) -> None:
    found, _ = watch(
        Engine(
            a=[
                (facts(), stats(1, cpu_ns=10**9)),
                (facts(started="2026-11-24T13:51:01.5Z"), stats(2, cpu_ns=2 * 10**9)),  # started anew by hand
                (facts(started="2026-11-24T13:51:02.5Z", restarted=3), stats(3)),  # three times by its policy
                None,  # stopped
                (facts("c2", started="2026-11-24T13:51:04.5Z"), stats(5)),  # replaced
                (facts("c2", started="2026-11-24T13:51:04.5Z"), stats(6, cpu_ns=10**8)),
            ]
        )
    )
    assert found["container:name-a restarts"] == [0, 1, 4, 5, 5]
    assert found["container:name-a cpu"] == pytest.approx([0.1])


def test_restarts_of_one_that_is_never_seen_running_are_told(watch: Watch) -> None:
    moments = (("0001-01-01T00:00:00Z", 0), ("2026-11-24T13:51:01Z", 0), ("2026-11-24T13:51:02Z", 1),
               ("2026-11-24T13:51:02Z", 1), ("2026-11-24T13:51:05Z", 3))  # fmt: skip
    nothing: dict[str, Any] = {}
    looks = [(facts(started=started, restarted=restarted), nothing) for started, restarted in moments]
    found, events = watch(Engine(a=looks))
    assert found == {"container:name-a restarts": [1, 3]}
    assert events == []


def test_what_does_not_run_is_left_out_without_a_word(watch: Watch) -> None:
    found, events = watch(Engine(a=[None, None], b=[(facts(), stats(1)), (facts(), STOPPED)]))
    assert {key.split()[0] for key in found} == {"container:name-b"}
    assert found["container:name-b pids"] == [3]
    assert events == []


def test_trouble_with_the_engine_is_one_event_and_does_not_hide_the_others(watch: Watch) -> None:
    trouble = OSError("the Docker engine does not answer: timed out")
    here = [(facts(), stats(second)) for second in (1, 2, 3)]
    found, events = watch(Engine(a=[trouble, trouble, None], b=[trouble, trouble, None], c=list(here)))
    assert [(e.subject, e.data.get("error")) for e in events] == [("error", f"OSError: {trouble}"), ("recovered", None)]
    assert len(found["container:name-c pids"]) == 3


def test_who_watches_no_containers_does_not_load_the_sdk() -> None:
    code = "import sys, harness.probes; sys.exit('docker' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
