"""Every reason a run is invalid for, alone; and none for a good one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis import analyse
from harness.model.findings import Validity
from harness.recording import layout
from tests.recordings import RecordingBuilder, experiment, plan, storm

Story = Callable[[RecordingBuilder], object]


def validity(path: Path, story: Story = lambda _: None, *, requests: int = 60, faulted: bool = False) -> Validity:
    experiments = [experiment()] if faulted else []
    builder = RecordingBuilder(path, plan(hold_s=60, warmup_s=5, experiments=experiments))
    builder.phases(warmup=-5, steady=0, cooldown=60)
    builder.instrument(0, 60)
    for i in range(requests):
        builder.request(i)
        builder.request(i + 0.5, canary=True)
    story(builder)
    return analyse(builder.close(61))[0].validity


def test_a_good_run_is_valid_without_notes(tmp_path: Path) -> None:
    found = validity(tmp_path)
    assert found == Validity(
        valid=True,
        instrument={
            "lateness_p99_ms": 0.0, "lag_p99_ms": 2.0, "lag_max_ms": 5.0, "cpu_median": 0.25, "cpu_p95": 0.25,
            "cpu_sustained": 0.25, "gc_max_ms": 1.0, "errors": 0, "dropped": 0, "lost": 0, "ledger_coverage": 1.0,
            "ledger_found": 60, "ledger_named": 60,
        },
    )  # fmt: skip
    assert analyse(storm(tmp_path / "storm"))[0].validity.valid


def late(builder: RecordingBuilder) -> None:
    for i in range(60):
        builder.request(i, late_s=0.2)
    builder.instrument(0, 60, "w2", lateness_p99_ms=200.0)


def refused(builder: RecordingBuilder) -> None:
    for i in range(60):
        builder.request(i, outcome="failed", error="connection refused", ledger=False)


def cut_short(builder: RecordingBuilder) -> None:
    builder.fault("f1", 20.0, 40.0)
    told = {"kind": "flapping", "upstream": "bedrock", "bit": True, "cut_short": True}
    builder.event(30, "fault", "f1", state="failed", evidence="its second turn was refused", **told)


def late_by_itself(builder: RecordingBuilder) -> None:
    builder.fault("f1", 20.0, None)
    builder.event(40, "fault", "f1", state="clearing")
    builder.event(45, "fault", "f1", state="failed", evidence="nor does the upstream", healed=True)


def fault(effective: float | None, cleared: float | None) -> Story:
    return lambda b: b.fault("f1", effective, cleared, injecting_s=19.9)


@pytest.mark.parametrize(
    ("story", "reason"),
    [
        (lambda b: b.request(3, outcome="dropped"), "1 request was due and never sent"),
        (late, "sent requests late (p99 200 ms; limit 50 ms)"),
        (lambda b: b.instrument(0, 60, "w1", lag_ms=30.0), "loop lagged (p99 30 ms; limit 5 ms)"),
        (lambda b: b.instrument(0, 60, "w1", cpu=0.93), "used 93% of a core for 10 s (limit 60%)"),
        (lambda b: b.instrument(0, 30, "w1"), "Worker w1 fell silent 30 s before the load ended"),
        (lambda b: b.sample(59, "worker:w0", "errors", 12.0), "own code raised 12 times for 60 requests"),
        (lambda b: b.sample(59, "worker:w0", "unrecorded", 7.0), "7 rows of requests and their tokens were not"),
        (lambda b: b.event(61, "instrument", "unrecorded", rows=3), "3 rows of samples and of providers' ledgers"),
        (lambda b: b.event(9, "instrument", "died", error="exit 1"), "The load generator died: exit 1."),
        (lambda b: b.event(9, "instrument", "cut", error="w0 was asked to stop"), "not made to its end: w0 was asked"),
        (lambda b: b.sample(59, "worker:w0", "misread", 2.0), "2 answers could not be read"),
        (lambda b: b.event(9, "instrument", "workload", error="w.py: x"), "own code failed and made no load: w.py: x."),
        (fault(None, None), "Fault f1 (blackhole on bedrock) did not bite, so nothing was tested: probe unaffected."),
        (cut_short, "Fault f1 (blackhole on bedrock) broke off before its end, so not all of it was tested: its"),
        (late_by_itself, "was taken back, and nobody saw it gone: nor does the upstream. Nothing of it is left"),
        (fault(20.0, None), "was not seen to heal: run `agentstorm heal`"),
        (lambda b: b.event(61, "run", "ended", left=["proxy bedrock"]), "left broken or running: proxy bedrock"),
        (lambda b: b.event(9, "system", "gateway", state="died"), "gateway died during the run"),
        (lambda b: b.event(9, "run", "interrupted"), "interrupted before the load had ended"),
        (lambda b: b.event(9, "abort", "x", threshold="rate>0.5", observed=0.71), "'rate>0.5' (observed 0.71)"),
    ],
)  # fmt: skip
def test_each_reason(tmp_path: Path, story: Story, reason: str) -> None:
    found = validity(tmp_path, story)
    assert not found.valid
    assert len(found.reasons) == 1, found.reasons
    assert reason in found.reasons[0]


def test_a_planned_fault_that_was_never_injected_makes_the_run_invalid(tmp_path: Path) -> None:
    found = validity(tmp_path, faulted=True)
    assert found.reasons == ("1 of 1 planned faults were never injected.",)


def test_faults_left_out_of_a_run_that_was_cut_short_are_no_reason_of_their_own(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.event(10, "run", "interrupted", signal="SIGINT")
        builder.event(10, "load", "stopped", early=True)

    (reason,) = validity(tmp_path, story, faulted=True).reasons
    assert "interrupted" in reason


def test_a_dead_worker_is_one_reason_though_the_others_fell_silent_with_it(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.event(20, "instrument", "died", error="w1 died (signal 9)")
        builder.instrument(0, 20, "w1")

    assert validity(tmp_path, story).reasons == ("The load generator died: w1 died (signal 9).",)


def test_a_clock_that_is_not_known_well_is_a_note(tmp_path: Path) -> None:
    found = validity(tmp_path / "bad", lambda b: b.sample(30, "worker:w0", "clock_uncertainty_ms", 4.2))
    assert found.valid
    assert any("to within 4.2 ms only" in note for note in found.notes)
    assert not validity(tmp_path / "good", lambda b: b.sample(30, "worker:w0", "clock_uncertainty_ms", 0.4)).notes


def unsent(builder: RecordingBuilder) -> None:
    builder.request(7.7, outcome="dropped", canary=True)
    builder.event(7.7, "instrument", "unsent", error="not sent: Too many open files")


@pytest.mark.parametrize(
    ("story", "says"),
    [
        (lambda b: b.ledger_restarted(9, "bedrock"), "ledger of bedrock is not whole: the provider restarted"),
        (lambda b: b.ledger_unread(9, 61, "openai"), "ledger of openai is not whole: it could not be read to the end"),
        (lambda b: b.event(9, "probe", "unknown_word", word="so lala"), "says 'so lala', a word that is not known"),
        (unsent, "canary were not sent, 1 in all (not sent: Too many open files)"),
    ],
)
def test_what_a_witness_did_not_see_is_a_note(tmp_path: Path, story: Story, says: str) -> None:
    found = validity(tmp_path, story)
    assert found.valid
    (note,) = found.notes
    assert says in note


def test_a_generator_at_its_limit_is_told_of_workers(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        late(builder)
        builder.request(3, outcome="dropped")
        builder.instrument(0, 60, "w1", lag_ms=30.0, cpu=0.93)

    found = validity(tmp_path, story)
    assert len(found.reasons) == 4
    assert sum("--workers" in reason for reason in found.reasons) == 2, "not where more of them would not help"


def test_a_generator_that_says_nothing_about_itself_makes_the_run_invalid(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60))
    builder.phases(steady=0, cooldown=60)
    for i in range(60):
        builder.request(i)
        builder.request(i + 0.5, canary=True)
    found = analyse(builder.close(61))[0].validity
    assert len(found.reasons) == 1
    assert "said nothing about itself" in found.reasons[0]


@pytest.mark.parametrize(("canary", "advice"), [(True, "the addresses that the workload calls"), (False, "'url'")])
def test_a_system_that_was_never_there(tmp_path: Path, canary: bool, advice: str) -> None:
    def story(builder: RecordingBuilder) -> None:
        refused(builder)
        if canary:
            builder.request(1, canary=True)

    found = validity(tmp_path, story, requests=0)
    assert not found.valid
    assert "Not one of 60 requests got an HTTP answer (connection refused: 100%)" in found.reasons[0]
    assert advice in found.reasons[0]


def test_a_system_that_answers_once_and_then_refuses_failed_by_itself(tmp_path: Path) -> None:
    assert validity(tmp_path, refused, requests=1).valid


def test_a_login_before_the_request_that_is_due_is_not_the_generators_lateness(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        for i in range(60):
            builder.request(i, late_s=0.2)

    assert validity(tmp_path, story).valid


def test_what_the_workload_raised_is_quoted(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.sample(59, "worker:w0", "errors", 12.0)
        builder.event(9, "instrument", "raised", error="KeyError: 'x' (w.py:5)")

    assert "60 requests (the latest: KeyError: 'x' (w.py:5)), so" in validity(tmp_path, story).reasons[0]


def test_a_few_exceptions_of_the_workload_are_a_note(tmp_path: Path) -> None:
    found = validity(tmp_path, lambda b: b.sample(59, "worker:w0", "errors", 1.0))
    assert found.valid
    assert found.notes == ("The workload's own code raised 1 times: see logs/locust.log.",)


def test_rare_pauses_of_the_loop_are_forgiven(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        for second in (10.5, 20.5):
            builder.sample(second, "worker:w0", "lag_ms", 80.0)

    assert validity(tmp_path, story).valid


def test_no_requests_and_warm_up_only(tmp_path: Path) -> None:
    assert "No request was made" in validity(tmp_path / "a", requests=0).reasons[0]
    warm = validity(tmp_path / "b", lambda b: b.request(-3), requests=0)
    assert "Only the warm-up" in warm.reasons[0]


def test_a_killed_run_is_analysed_and_invalid(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, experiments=[experiment()]))
    builder.event(0, "load", "started")
    builder.event(0, "phase", "baseline")
    for i in range(2000):
        builder.request(i / 100)
    builder.fault("f1", 15.0, None)
    builder.event(15, "phase", "fault")
    recording = builder.close(parquet=False)
    stream = next((tmp_path / layout.REQUESTS).glob("*.arrows"))
    stream.write_bytes(stream.read_bytes()[:-200])
    with (tmp_path / layout.EVENTS).open("a") as events:
        events.write('{"t_ns": 12')
    findings, _ = analyse(recording)
    assert not findings.validity.valid
    assert any("killed" in reason for reason in findings.validity.reasons)
    assert any("last line cut" in reason for reason in findings.validity.reasons)
    assert any("not seen to heal" in reason for reason in findings.validity.reasons)


def test_an_empty_recording_is_analysed(tmp_path: Path) -> None:
    findings, _ = analyse(RecordingBuilder(tmp_path).close())
    assert findings.load.requests == 0
    assert findings.load.response_ms.p99.value is None
    assert findings.failovers == ()


def test_a_stand_in_for_the_fault_proxy_is_named_and_changes_nothing(tmp_path: Path) -> None:
    def story(version: str) -> Story:
        return lambda b: b.component("toxiproxy", how="built in, because there is no network", version=version)

    found = validity(tmp_path / "ours", story("2.12.0+builtin"))
    assert found.valid
    (note,) = found.notes
    assert note == (
        "Faults were made by the Toxiproxy built into agentstorm (2.12.0+builtin), not the real one: "
        "built in, because there is no network."
    )
    assert validity(tmp_path / "real", story("2.12.0")).notes == ()


def test_notes(tmp_path: Path) -> None:
    def story(builder: RecordingBuilder) -> None:
        builder.request(50, outcome="lost")
        builder.request(51, provider="openai", ledger=False)

    notes = " ".join(validity(tmp_path, story).notes)
    assert "1 request was never answered before the run ended, and counts with the time waited" in notes
    assert "1 of 61 answers name other providers than the ledgers do" in notes
    assert "The ledgers know of 98.36% of the answers" in notes
    ids = validity(tmp_path / "ids", lambda b: [b.request(i, provider=f"id-{i}", ledger=False) for i in range(62)])
    assert any(note.startswith("63 names of providers are too many") for note in ids.notes)
    bare = RecordingBuilder(tmp_path / "bare")
    bare.phases(steady=0, cooldown=60)
    bare.request(1, ledger=False)
    notes = " ".join(analyse(bare.close(61))[0].validity.notes)
    assert "No canary ran" in notes
    assert "No provider ledger" in notes


@pytest.mark.parametrize(
    ("load", "canary", "told"),
    [
        ({"kind": "users", "users": 10, "hold": "60s"}, False, True),
        ({"kind": "users", "users": 10, "hold": "60s"}, True, False),
        ({"kind": "rate", "rate": "1/s", "hold": "60s"}, False, False),
    ],
)
def test_users_who_hang_tell_nobody_for_how_long(
    tmp_path: Path, load: dict[str, object], canary: bool, told: bool
) -> None:
    """Ten users ask just before the fault and are answered 15 s later: no request says that nothing was to be had."""
    slo = {"response_time": "2s", "window": "5s"}
    builder = RecordingBuilder(tmp_path, plan(load=load, slo=slo, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=60)
    builder.fault("bedrock-blackhole#1", 20.0, 40.0, width_s=0.0)
    for second in (s for s in range(60) if not 20 <= s < 35):
        builder.request(second, 0.5)
    for _ in range(10):
        builder.request(19.9, 15.1)
    for tick in range(600 if canary else 0):
        builder.request(tick / 10, 0.05, canary=True, outcome="failed" if 200 <= tick < 350 else "ok")
    findings = analyse(builder.close(61))[0]
    (found,) = findings.failovers
    assert found.unavailable_s == (15.0 if canary else 0.0)
    said = [note for note in findings.validity.notes if note.startswith("Users hung")]
    assert len(said) == told
    if told:
        assert "in bedrock-blackhole#1 nothing succeeded for 15.5 s, and 0.0 s count as unavailable." in said[0]
