"""The terminal: colours and a table for people, whole plain lines for logs."""

# ruff: noqa: RUF001 - typographic dashes are what is tested

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness.model.verdict import Verdict
from harness.report.live import LiveState, LiveView, plain
from harness.report.terminal import print_summary
from tests.unit.advice.builders import cost, soak
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported

STATE = LiveState(
    elapsed_s=35.2, total_s=300, phase="fault", users=50, rate_per_s=18.23, in_flight=9, p50_ms=340, p95_ms=2800,
    faults=("bedrock-blackhole#1",), outcomes={"ok": 900, "degraded": 3, "failed": 4},
    providers={"openai": 80, "bedrock": 20}, messages=("bedrock: breaker open",),
)  # fmt: skip


def console(*, terminal: bool, width: int = 110) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def written(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_the_summary_says_verdict_checks_and_answers(told: Reported, terminal: bool) -> None:
    screen = console(terminal=terminal)
    print_summary(screen, told.recording, told.findings, story.verdicts())
    text = written(screen)
    order = [text.index(w) for w in ("✗ FAIL", "Users wait", "p(95)<2s", "believe it?", "users ", "outage ", "cache ")]
    assert order == sorted(order)
    assert "report.html" in text


def test_a_log_gets_whole_lines_without_escapes(told: Reported) -> None:
    screen = console(terminal=False, width=40)
    print_summary(screen, told.recording, told.findings, story.verdicts())
    lines = written(screen).splitlines()
    assert "\x1b" not in written(screen)
    assert sum(line.startswith(("pass ", "fail ", "inconclusive ")) for line in lines) == len(story.CHECKS)


def test_who_is_at_a_limit_is_named(contained: Reported, told: Reported) -> None:
    for reported, named in ((contained, True), (told, False)):
        screen = console(terminal=False)
        print_summary(screen, reported.recording, reported.findings, story.verdicts())
        assert ("limits       Redis is at its memory limit: 96.9 % of 64 MiB" in written(screen)) is named


def test_cost_and_drift_are_a_line_each_where_there_is_something_to_say(told: Reported) -> None:
    texts = []
    for more in ({}, {"cost": cost(bedrock__blackhole=5.0), "soak": soak()}):
        screen = console(terminal=False)
        print_summary(screen, told.recording, told.findings.model_copy(update=more), story.verdicts())
        texts.append(written(screen))
    without, whole = texts
    assert "\ncost " not in without
    assert "\ndrift " not in without
    assert "\ncost         1,000 requests cost 2 USD, a user 0.5 USD an hour; 2.5 times the healthy price " in whole
    assert "\ndrift        Yes: " in whole
    order = [whole.index(word) for word in ("\ncache ", "\ncost ", "\ndrift ", "\nreport ")]
    assert order == sorted(order)


def test_each_kind_of_outage_says_what_it_cost(parted: Reported) -> None:
    screen = console(terminal=False)
    print_summary(screen, parted.recording, parted.findings, story.verdicts())
    lines = written(screen).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("outage       agents kill: "))
    assert lines[at + 1].startswith(
        "             Agents killed twice: none of 200 requests was answered; 6 of 8 requests"
    )


def test_names_are_not_markup(told: Reported) -> None:
    screen = console(terminal=True)
    check = story.CHECKS[0].model_copy(update={"threshold": "[bold]x[/bold]"})
    print_summary(
        screen, told.recording, told.findings, story.verdicts(Verdict.PASS).model_copy(update={"checks": (check,)})
    )
    assert "[bold]x[/bold]" in written(screen)


def test_a_state_is_one_line() -> None:
    assert plain(STATE) == (
        "t=35s phase=fault rate=18.2/s p50=340ms p95=2.8s p99=– users=50 in_flight=9 bad=4 "
        "faults=bedrock-blackhole#1 providers=bedrock:20%,openai:80%"
    )


def test_without_a_terminal_a_line_every_five_seconds_and_at_every_change() -> None:
    screen = console(terminal=False)
    with LiveView(screen) as view:
        for second in range(12):
            view.update(LiveState(elapsed_s=second, total_s=60, phase="baseline" if second < 7 else "fault"))
    assert [line.split()[0] for line in written(screen).splitlines()] == ["t=0s", "t=5s", "t=7s", "t=10s"]


def test_a_message_is_told_once() -> None:
    screen = console(terminal=False)
    with LiveView(screen) as view:
        for messages in (("a",), ("a", "b"), ("b", "c")):
            view.update(LiveState(elapsed_s=1, total_s=60, phase="baseline", messages=messages))
    assert [line for line in written(screen).splitlines() if len(line) == 1] == ["a", "b", "c"]


def test_on_a_terminal_it_shows_everything_and_cleans_up() -> None:
    screen = console(terminal=True)
    with LiveView(screen) as view:
        view.update(LiveState(elapsed_s=0, total_s=300, phase="warmup"))
        view.update(STATE)
    text = written(screen)
    for said in ("0:35 of 5:00", "bedrock-blackhole#1", "18.2/s", "p95 2.8", "4 failed", "openai 80%", "breaker open"):
        assert said in text
