"""The page: answers first, nothing from outside, nothing unescaped, whatever the recording lacks."""

# ruff: noqa: RUF001 - typographic dashes are what is tested

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from harness.analysis import analyse
from harness.model.findings import Findings
from harness.model.verdict import Verdict
from harness.report import blocks, write_all
from harness.report.figures import figures
from harness.report.html import page
from tests.recordings import RecordingBuilder, experiment, plan
from tests.unit.report import story
from tests.unit.report.conftest import Reported, report

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "br", "img", "link", "input"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without being open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_verdict_comes_first(told: Reported) -> None:
    body = told.page[told.page.index("<body>") :]
    order = [body.index(word) for word in (
        "<h1>Fail</h1>", "Users wait up to 2.78", "May we ship?", "Can I believe this run?", "What do users feel?",
        "What happened when something broke?", "Who answered?", "What is close to its limit?", "By agent, team",
        "How was this made?",
    )]  # fmt: skip
    assert order == sorted(order)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_is_a_word_a_colour_and_a_shape(told: Reported, verdict: Verdict) -> None:
    text = page(told.recording, told.findings, story.verdicts(verdict), told.figures)
    assert f'<div class="verdict {verdict.value}">' in text
    assert f'class="mark {verdict.value}"' in text
    assert f"<h1>{verdict.value.capitalize()}</h1>" in text


def test_it_is_one_file_that_asks_for_nothing(told: Reported) -> None:
    text = re.sub(r'xmlns(:xlink)?="[^"]*"', "", told.page)
    assert "http://" not in text.replace("http://127.0.0.1", "")  # the plan's own addresses, as text
    assert "https://" not in text
    assert not re.search(r"<(link|img|iframe|object|embed)\b|@import|\burl\((?!#)|\ssrc=", text)
    assert all(href.startswith("#") for href in re.findall(r'href="([^"]*)"', text))


def test_the_fault_proxy_is_named(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan())
    builder.component("toxiproxy", path="/x", how="built in, because", version="2.12.0+builtin")
    made = blocks.made(builder.close(1))
    assert ("fault proxy", "Toxiproxy 2.12.0+builtin, built in, because") in made["facts"]


def test_failures_of_the_baseline_that_were_the_first_faults_are_told_apart(told: Reported, tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path, plan(hold_s=60, experiments=[experiment()]))
    builder.phases(baseline=0, fault=20, recovery=40, cooldown=60)
    builder.fault("one", 20.0, 40.0, width_s=0.0)
    for i in range(600):
        builder.request(i / 10, 0.05)
    for _ in range(3):
        builder.request(19.9, 5.0, outcome="timeout")
    builder.request(10.0, outcome="failed")
    findings, _ = analyse(builder.close(61))
    assert findings.load.by["phase"]["baseline"].failed_share.n == 204, "they count where they were due"
    block = blocks.users(findings, told.figures.axis)
    assert block["note"].endswith("3 were under way when the first fault began.")
    assert block["note"] in page(told.recording, findings, story.verdicts(), told.figures)
    assert blocks.users(told.findings, told.figures.axis)["note"] == ""


def test_it_is_well_formed(told: Reported) -> None:
    parser = Balanced()
    parser.feed(told.page)
    assert parser.open == []


def test_it_stays_small(told: Reported) -> None:
    assert len(told.page) < 1_000_000


def test_containers_at_a_limit_are_named_and_marked(contained: Reported) -> None:
    block = contained.page[contained.page.index('<section id="resources">') :].replace("\u00a0", " ")
    block = block[: block.index("</section>")]
    for words in (
        "Redis is at its memory limit: 96.9 % of 64 MiB at most; agents-1 is at its CPU limit: 96 % of 0.5 cores",
        " at p95, throttled in 40 % of periods.",
        "Started anew during the run: agents-1 once.",
        "<details open>",
    ):
        assert words in block
    marked = re.findall(r'<td class="num reached"[^>]*>([^<]+)<', block)
    assert marked == ["96 % of 0.5 cores", "40 %", "96.9 % of 64 MiB"]


def test_what_only_containers_have_is_no_column_of_a_run_without(told: Reported) -> None:
    block = told.page[told.page.index('<section id="resources">') : told.page.index('<section id="groups">')]
    heads = re.findall(r"<th[^>]*>([^<]+)<", block)
    assert heads == [
        "process or container", "CPU mean", "CPU p95", "CPU max", "memory mean", "memory p95", "memory max",
    ]  # fmt: skip
    assert "<details open>" not in block


def test_what_broke_says_what_it_cost(parted: Reported) -> None:
    block = parted.page[parted.page.index('<section id="failover">') : parted.page.index('<section id="providers">')]
    block = block.replace("\u00a0", " ")
    for said in (
        "Agents killed twice: none of 200 requests was answered; 6 of 8 requests already in flight were lost; ",
        "; service was good again within 2.05 s of being started again each time.",
        (
            "Redis refused connections twice: every request made meanwhile was answered, p95 106 ms instead of 96 ms, "
            "provider calls per answer 1 instead of 0.6 (+66.7 % tokens); no harm was seen."
        ),
        "Cache slow: not seen to bite.",
        "Slow on cache was never seen to bite, so nothing was tested.",
        "<small>before 0.6</small> 1</dd>",
        "<small>in all</small> 6 of 8</dd>",
        "mean of 2; 200 requests due",
    ):
        assert said in block
    heads = re.findall(r"<th[^>]*>([^<]+)<", block)
    each = ["at", "first harm", "recovered", "after clearing", "failed", "slow", "unavailable", "stall", "in flight"]
    spread = ["median", "p95", "worst", "outages"]
    assert heads == [*spread, *each] * 2
    assert "never<" not in block
    assert block.count("<article ") == 3
    assert block.count("<figure") == 2


def test_names_from_data_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    text = report(story.write(tmp_path / "r", team=evil, rate=5)).page
    assert evil not in text
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<script>") == 1


def test_a_check_shows_observed_interval_n_and_limit(told: Reported) -> None:
    row = told.page[told.page.index("<code>response_time{phase:fault}: p(95)&lt;2s") :][:900].replace("\u00a0", " ")
    for said in ("2.78 s", "2.6 – 3.01 s", "1,360", "2 s"):
        assert f">{said}<" in row


def test_checks_are_worst_first(told: Reported) -> None:
    body = told.page[told.page.index("<tbody>") :]
    verdicts = re.findall(r'<td data-sort="\d+"><svg class="mark (\w+)"', body)
    assert verdicts == ["fail"] + ["inconclusive"] * 3 + ["pass"] * 4


def _nothing(path: Path) -> RecordingBuilder:
    builder = RecordingBuilder(path, plan(hold_s=5))
    builder.phases(steady=0, cooldown=5)
    return builder


def test_a_run_without_requests_has_a_page(tmp_path: Path) -> None:
    text = report(_nothing(tmp_path / "r").close(6)).page
    assert "No requests were made in the measured part." in text
    assert "<figure" not in text


def test_a_run_that_died_before_its_first_event_has_a_page(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(hold_s=5))
    builder.event(0, "run", "started", state="started")
    assert "<h1>" in report(builder.close(parquet=False)).page


def test_a_run_without_faults_leaves_the_block_out(tmp_path: Path) -> None:
    told = report(story.write(tmp_path / "r", faults=False, hold=30))
    assert "What happened when something broke?" not in told.page
    assert told.figures.recorders == {}


def test_a_run_without_ledger_says_who_says_so(tmp_path: Path) -> None:
    text = report(story.write(tmp_path / "r", ledger=False, hold=90)).page
    assert "as the answers claim" in text
    assert "failed over (ledger)" not in text


def test_an_invalid_run_gives_its_reasons_in_full(told: Reported) -> None:
    invalid = told.findings.validity.model_copy(update={"valid": False, "reasons": ("it was late", "it dropped 9")})
    findings: Findings = told.findings.model_copy(update={"validity": invalid})
    text = page(told.recording, findings, story.verdicts(Verdict.INVALID), told.figures)
    assert "No: this run cannot be judged." in text
    assert "<li>It was late.</li><li>It dropped 9.</li>" in text


def test_a_run_that_was_killed_has_a_page(tmp_path: Path) -> None:
    path = story.write(tmp_path / "r", hold=90, parquet=False).path
    stream = path / "requests" / "w0.arrows"
    stream.write_bytes(stream.read_bytes()[:-300])
    recording = type(story.write(tmp_path / "other", hold=1, rate=0)).open(path)
    text = report(recording).page
    assert recording.truncated
    assert "<figure" in text


def test_an_outage_that_never_ended_says_never(tmp_path: Path) -> None:
    builder = _nothing(tmp_path / "r")
    builder.fault("f#1", 1.0, None)
    for k in range(50):
        builder.request(k / 10, 0.2, outcome="ok" if k < 10 else "failed", canary=bool(k % 2))
    told = report(builder.close())
    assert "recovered: never" in told.figures.recorders["bedrock", "blackhole"].wide
    assert "0 of 1 recovered" in told.page


def test_a_shortened_run_says_so_in_its_title(tmp_path: Path) -> None:
    short = plan(hold_s=5).model_copy(update={"scale": 0.1})
    builder = RecordingBuilder(tmp_path / "r", short)
    builder.phases(steady=0, cooldown=5)
    builder.request(1.0)
    text = report(builder.close(6)).page
    assert "(scale 0.1: not full length)</title>" in text
    assert "shows nothing about full length" in text


def test_a_four_hour_soak_stays_under_three_megabytes(tmp_path: Path) -> None:
    builder = RecordingBuilder(tmp_path / "r", plan(hold_s=14_400))
    builder.phases(steady=0, cooldown=14_400)
    for k in range(14_400):
        builder.request(float(k), 0.3 + (k % 7) / 10, provider=("bedrock", "openai", "cache")[k % 3])
        for service in ("gateway", "bedrock", "openai"):
            builder.sample(k, f"process:{service}", "cpu", 0.2 + (k % 5) / 10)
    told = report(builder.close(14_405))
    assert len(told.page) < 3_000_000


def test_everything_is_written_and_old_figures_go(told: Reported) -> None:
    old = told.recording.path / "figures" / "gone.svg"
    old.parent.mkdir(exist_ok=True)
    old.write_text("<svg/>")
    paths = write_all(told.recording, told.findings, story.verdicts())
    names = [str(p.relative_to(told.recording.path)) for p in paths]
    assert names[:4] == ["report.html", "report.md", "junit.xml", "figures/response.svg"]
    assert all(p.stat().st_size for p in paths)
    assert not old.exists()
    assert not list(told.recording.path.rglob("*.tmp"))


def test_a_rebuilt_page_is_the_same(told: Reported) -> None:
    again = figures(told.recording, told.findings)
    assert page(told.recording, told.findings, story.verdicts(), again) == told.page
