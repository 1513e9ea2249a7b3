"""The block on capacity: its answer, figures, tables; on the page, in Markdown, on the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.analysis import analyse
from harness.analysis.capacity_use import MACHINE
from harness.judge import judge
from harness.report import block_capacity, figure_capacity
from harness.report.figures import figures
from harness.report.html import page
from harness.report.markdown import markdown
from tests.recordings import storm
from tests.searches import Search, System, record

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.findings import Findings
    from harness.recording.reader import Recording

Told = tuple["Recording", "Findings"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    cold = System(connections=4, work_s=0.3)
    path = tmp_path_factory.mktemp("capacity") / "r"
    recording = record(path, Search(), Search("cache_cold<b>", (2, 4, 8, 12, 16), cold))
    return recording, analyse(recording)[0]


def html_of(recording: Recording) -> str:
    findings, measure = analyse(recording)
    return page(recording, findings, judge(recording.plan, findings, measure), figures(recording, findings))


def test_the_answer_is_the_worst_states_capacity_and_what_fills_up_first(told: Told) -> None:
    said = block_capacity.said(told[1]).replace("\xa0", " ")
    assert re.match(r"The system carries [\d.]+ requests/s within its SLO in its worst state, cache cold<b>; ", said)
    assert "bedrock pool fills up first, at " in said
    assert "Plan with " in said
    assert said.endswith("70 % of it.")


def test_the_page_has_the_block_with_both_figures_and_escapes_names(told: Told) -> None:
    text = html_of(told[0])
    assert 'id="capacity"' in text
    assert 'id="figure-capacity"' in text
    assert 'id="figure-capacity-response"' in text
    assert "cache cold&lt;b&gt;" in text
    assert "cold<b>" not in text
    assert "What to configure" in text
    assert text.count('<tr><td class="soft">healthy</td><td class="num">') == 6  # every level


@pytest.mark.parametrize(
    ("resource", "kind", "says"),
    [
        (
            "bedrock rate limit",
            "rate_limit",
            "Bedrock rate limit is what fills up first: more replicas do not raise it.",
        ),
        (MACHINE, "cpu", "The machine is what fills up first: replicas on it share its cores."),
        ("gateway cpu", "cpu", ""),
    ],
)
def test_where_more_replicas_do_not_help_the_row_on_scaling_out_says_so(
    told: Told, resource: str, kind: str, says: str
) -> None:
    found = told[1].capacity
    assert found is not None
    assert found.governing is not None
    limit = found.governing.limits[0]
    ours = limit.model_copy(update={"resource": "load generator", "kind": "generator"})
    first = limit.model_copy(update={"resource": resource, "kind": kind})
    state = found.governing.model_copy(update={"limits": (ours, first)})
    (_, _, word), *_ = (row for row in block_capacity.advice_rows(found, state) if row[0] == "scale out at")
    assert word == (f"measured with 1. {says}" if says else "measured with 1")


def test_a_run_without_levels_reports_as_before(tmp_path: Path) -> None:
    recording = storm(tmp_path / "r")
    findings, measure = analyse(recording)
    assert findings.capacity is None
    assert block_capacity.said(findings) == ""
    text = page(recording, findings, judge(recording.plan, findings, measure), figures(recording, findings))
    assert 'id="capacity"' not in text
    assert "### Capacity" not in markdown(recording, findings, judge(recording.plan, findings, measure))


def test_markdown_has_the_table_and_escapes_names(told: Told) -> None:
    recording, findings = told
    _, measure = analyse(recording)
    text = markdown(recording, findings, judge(recording.plan, findings, measure))
    block = text[text.index("### Capacity") :]
    assert "| state | requests/s at SLO | 95 % interval |" in block
    assert "cache cold\\<b\\>" in block


def test_what_is_true_of_every_state_is_said_once(told: Told) -> None:
    assert told[1].capacity is not None
    notes = block_capacity.notes(told[1].capacity)
    assert sum("think time" in note for note in notes) == 1
    assert len(notes) == len(set(notes))


def test_figures_say_what_they_show_and_mark_every_level(told: Told) -> None:
    assert told[1].capacity is not None
    drawn = figure_capacity.figures(told[1].capacity)
    assert set(drawn) == {"capacity", "capacity-response"}
    assert "healthy: the SLO is met up to" in drawn["capacity"].about
    for words in ("requests in flight", "requests per second"):
        assert words in drawn["capacity"].wide
    assert "objective" in drawn["capacity-response"].wide
    assert figure_capacity.figures(told[1].capacity) == drawn  # the same data, the same bytes


def test_a_knee_beyond_the_tested_range_is_told_as_such(tmp_path: Path) -> None:
    recording = record(tmp_path / "r", Search(rates=(4, 6, 8, 10, 12), system=System(connections=400)), hold_s=20)
    findings, _ = analyse(recording)
    assert findings.capacity is not None
    cells = block_capacity.state_cells(findings.capacity.states[0])
    assert cells[4].endswith("beyond the tested range")
    assert "beyond the tested range" in " ".join(block_capacity.notes(findings.capacity))
