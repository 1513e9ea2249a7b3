"""What a load under way promises whatever the generator does: it ends, and an end that is wanted comes at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import underway
from harness.clock import NS_PER_S
from harness.errors import ExitCode, TrafficFailed
from harness.interrupt import Interrupt
from harness.model.plan import Slo
from harness.recording.tables import EventLog
from harness.system import Died
from harness.traffic import Progress, Pulse
from tests.unit.test_live import batch


class Stuck:
    """A generator that never says it is done."""

    finished = False
    asked = ""

    def __init__(self) -> None:
        self.stops: list[bool] = []
        self.killed = False

    def begin(self, start_ns: int, url: str) -> None:
        pass

    def batches(self) -> Progress:
        return Progress()

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        self.stops.append(at_once)

    def kill(self) -> None:
        self.killed = True


@pytest.fixture
def driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Drive a stuck generator whose load ended a moment ago; return it, the run and the interrupt."""
    monkeypatch.setattr(underway, "_GRACE_NS", NS_PER_S // 10)
    load = SimpleNamespace(kind="users", warmup=0.0, total_s=0.0, drain=0.1, boundaries=())
    plan: Any = SimpleNamespace(
        experiments=(), remote_workers=0, faults=(), scenario=SimpleNamespace(load=load, slo=Slo())
    )
    stage: Any = SimpleNamespace(url="", flush=lambda: None, died=list, trouble="")
    faults: Any = SimpleNamespace(start=lambda *_: None, stop=list, on=(), failed=[], waiting=(), stuck=[])
    view: Any = SimpleNamespace(update=lambda _: None)
    guardian: Any = SimpleNamespace(news=list, lost=False)
    engine, interrupt, events = Stuck(), Interrupt(), EventLog(tmp_path / "events.jsonl")
    run = underway.Underway(plan, stage, engine, events, interrupt, guardian)  # type: ignore[arg-type]
    run.schedule()
    yield SimpleNamespace(
        drive=lambda: run.drive(faults, view),
        engine=engine,
        run=run,
        interrupt=interrupt,
        stage=stage,
        view=view,
        faults=faults,
    )
    events.close()


def test_a_generator_that_does_not_end_is_killed(driven: Any) -> None:
    with pytest.raises(TrafficFailed, match="did not end"):
        driven.drive()
    assert driven.engine.killed
    assert driven.run.ended is ExitCode.PASS, "the judge calls it invalid"


def test_an_interrupt_while_draining_is_heard(driven: Any) -> None:
    original = driven.run._stop_load

    def then_interrupt(*args: Any) -> None:
        original(*args)
        driven.interrupt.signal = "SIGINT"
        driven.interrupt.wanted.set()

    driven.run._stop_load = then_interrupt
    with pytest.raises(TrafficFailed):
        driven.drive()
    assert driven.engine.stops == [True]
    assert driven.run.ended is ExitCode.INTERRUPTED


def test_a_service_that_stays_broken_ends_the_load_in_order(driven: Any) -> None:
    driven.run.end_ns += 5 * NS_PER_S
    driven.faults.stuck = ["kill-agents-1 could not be cleared: it does not come up"]
    with pytest.raises(TrafficFailed):  # the generator is stuck, too
        driven.drive()
    assert driven.engine.stops == [True]
    assert driven.run.message == driven.faults.stuck[0]
    assert driven.run.ended is ExitCode.PASS, "the judge calls it invalid"


@pytest.mark.parametrize("ours", [False, True])
def test_what_died_is_told_with_whose_it_was(driven: Any, tmp_path: Path, ours: bool) -> None:
    driven.run.end_ns += 5 * NS_PER_S
    driven.stage.died = lambda: [Died("a", 9, "a ended", ours)]
    with pytest.raises(TrafficFailed):  # the generator is stuck, too
        driven.drive()
    (died,) = events(tmp_path, "system")
    assert died["data"] == {"state": "died", "code": 9, "ours": ours, "message": "a ended"}


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [event for event in told if event["kind"] == kind]


@pytest.mark.parametrize("heard", ["before it ends", "as it ends"])
def test_a_generator_that_somebody_asked_to_stop_has_not_made_the_load(driven: Any, tmp_path: Path, heard: str) -> None:
    driven.run.end_ns += 60 * NS_PER_S

    def then_end() -> Progress:
        driven.engine.asked = "locust-0 was asked to stop (SIGTERM)"
        driven.engine.finished = heard == "as it ends" or driven.engine.stops == [True]
        return Progress()

    driven.engine.batches = then_end
    driven.drive()
    assert driven.run.message == driven.engine.asked
    assert [(e["subject"], e["data"]) for e in events(tmp_path, "instrument")] == [
        ("cut", {"error": "locust-0 was asked to stop (SIGTERM)"})
    ]
    assert events(tmp_path, "load")[-1]["data"] == {"early": True}
    assert driven.run.ended is ExitCode.PASS, "the judge calls it invalid"


@pytest.mark.parametrize(("missing_s", "cut"), [(60, True), (0, False)])
def test_a_generator_that_ends_too_early_is_told_of_whatever_made_it(
    driven: Any, tmp_path: Path, missing_s: int, cut: bool
) -> None:
    driven.run.end_ns += missing_s * NS_PER_S
    driven.engine.finished = True
    driven.drive()
    assert [e["subject"] for e in events(tmp_path, "instrument")] == ["cut"] * cut
    assert bool(driven.run.message) is cut
    assert [e["subject"] for e in events(tmp_path, "phase")] == ["cooldown"]
    assert events(tmp_path, "load")[-1]["data"] == {"early": cut}


def test_half_an_emoji_in_an_exception_of_the_workload_ends_nothing(driven: Any, tmp_path: Path) -> None:
    pulse = Pulse(
        t_ns=1, worker="w", users=1, in_flight=0, lags_ms=(), lag_max_ms=0, lateness_p99_ms=0, cpu=0, rss_mib=0,
        sent=1, dropped=0, errors=1, last_error=json.loads('"ValueError: \\ud83d"'),
    )  # fmt: skip
    shown: list[str] = []
    driven.stage.sample_worker = lambda _: None
    driven.view.update = lambda state: shown.extend(state.messages)
    driven.engine.batches = lambda: Progress(pulses=[pulse])
    with pytest.raises(TrafficFailed):
        driven.drive()
    told = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [e["data"]["error"] for e in told if e["subject"] == "raised"] == ["ValueError: ?"], "once"
    assert set(shown) == {"ValueError: ?"}


def test_recovery_is_asked_of_the_whole_of_a_long_slo_window(tmp_path: Path) -> None:
    slo, nothing = Slo.model_validate({"window": "60s"}), SimpleNamespace()
    experiment = SimpleNamespace(experiment="x", abort=(), faults=(), steady_state=None)
    load = SimpleNamespace(kind="users", boundaries=())
    plan: Any = SimpleNamespace(experiments=[experiment], faults=(), scenario=SimpleNamespace(load=load, slo=slo))
    run = underway.Underway(plan, *(nothing,) * 5)  # type: ignore[arg-type]
    for second in range(100, 161):  # one a second is answered, and failed 40 s ago
        end_ns, outcome = second * NS_PER_S, "failed" if second == 120 else "ok"
        rows: list[dict[str, object]] = [{"due_ns": end_ns - NS_PER_S // 10, "end_ns": end_ns, "outcome": outcome}]
        run._recent.add(end_ns, [batch(tmp_path / str(second), rows)])
    assert not run._conditions.good_for(0, 160 * NS_PER_S)
