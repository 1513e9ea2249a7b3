"""Several runs on one page: each question is answered by one of them, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.model.verdict import Verdict
from harness.report import overview
from harness.report.html import page
from harness.report.language_en import ENGLISH
from harness.report.language_sv import SWEDISH
from tests.recordings import RecordingBuilder, plan
from tests.unit.advice.builders import capacity, cost, soak
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported


def run(told: Reported, path: Path, verdict: Verdict, **findings: Any) -> overview.Run:
    """Return the story as a run of its own at `path`, with its page."""
    path.mkdir(parents=True)
    for part in told.recording.path.iterdir():
        (path / part.name).symlink_to(part)
    recording = type(told.recording).open(path)
    found = told.findings.model_copy(update=findings)
    made = overview.Run(recording, found, story.verdicts(verdict))
    (path / "report.html").unlink(missing_ok=True)
    (path / "report.html").write_text(page(recording, found, made.verdicts, told.figures))
    return made


@pytest.fixture
def runs(told: Reported, tmp_path: Path) -> list[overview.Run]:
    bare: dict[str, Any] = {"claims": (), "failovers": (), "outage_kinds": (), "health": None}
    longer = soak("inconclusive").model_copy(update={"length_s": 9000})  # which takes nothing back
    return [
        run(told, tmp_path / "runs" / "outages one", Verdict.FAIL, cost=cost(), soak=longer),
        run(told, tmp_path / "runs" / "search", Verdict.PASS, capacity=capacity(), **bare),
        run(told, tmp_path / "runs" / "night", Verdict.INCONCLUSIVE, soak=soak(), **bare),
    ]


def written(runs: list[overview.Run], folder: Path, lang: str = "en") -> tuple[str, str]:
    html, markdown = overview.write(runs, folder, lang=lang)
    return html.read_text().replace("\u00a0", " "), markdown.read_text().replace("\u00a0", " ")


def test_each_answer_comes_from_the_run_that_has_it(runs: list[overview.Run], tmp_path: Path) -> None:
    html, markdown = written(runs, tmp_path / "out")
    expected = (
        ("How many users?", "search", "400"), ("At what cost?", "outages one", ""),
        ("What can we promise?", "outages one", "of"), ("Does it hold out?", "night", "Leak"),
    )  # fmt: skip
    tiles = re.findall(r'<div class="tile">(.*?)</div>\s*(?=<div class="tile">|</div>)', html, re.DOTALL)
    assert len(tiles) == 4
    for tile, (title, source, figure) in zip(tiles, expected, strict=True):
        assert title in tile
        assert re.search(r'<p class="figure">[^<]*' + figure, tile)
        assert re.search(rf"measured by [^<]*, {source}", tile)
    assert "not measured" not in markdown.lower()
    assert "- **How many users?** 400 users, healthy" in markdown


def test_every_link_leads_to_a_place_that_is_there(runs: list[overview.Run], tmp_path: Path) -> None:
    html, markdown = written(runs, tmp_path / "out" / "deep")
    links = re.findall(r'href="([^"]+)"', html)
    assert len(links) > 8
    for link in links:
        file, _, place = link.partition("#")
        target = (tmp_path / "out" / "deep" / unquote(file)).resolve() if file else None
        text = target.read_text() if target else html
        assert not place or f'id="{place}"' in text, link
    assert "](../../runs/outages%20one/report.md)" in markdown


def test_what_one_run_was_too_short_for_is_not_asked_again_where_another_told(told: Reported, tmp_path: Path) -> None:
    (hangs, _), more = told.findings.claims, {"outages": 29, "recovered": 29, "share": 0.902, "more_needed": None}
    few = run(told, tmp_path / "few", Verdict.PASS)
    many = run(told, tmp_path / "many", Verdict.PASS, claims=(hangs.model_copy(update=more),))
    alone, _ = written([few], tmp_path / "alone")
    both, _ = written([few, many], tmp_path / "both")
    assert 'id="advice-claim"' in alone
    assert 'id="advice-claim"' not in both


@pytest.mark.parametrize(
    ("verdicts", "expected", "english", "swedish"),
    [
        ("pass pass", "pass", "All 2 runs pass.", "Alla 2 körningar är godkända."),
        ("pass", "pass", "The run passes.", "Körningen är godkänd."),
        ("pass invalid fail", "fail", "1 of 3 runs fails, 1 cannot be judged, 1 passes.",
         "1 av 3 körningar är underkänd, 1 går inte att bedöma, 1 är godkänd."),
        ("pass invalid inconclusive", "invalid", "1 cannot be judged, 1 is inconclusive, 1 passes.",
         "1 går inte att bedöma, 1 har otillräckligt underlag, 1 är godkänd."),
        ("inconclusive inconclusive", "inconclusive", "2 are inconclusive.", "2 har otillräckligt underlag."),
    ],
)  # fmt: skip
def test_what_one_run_failed_stays_failed(
    told: Reported, verdicts: str, expected: str, english: str, swedish: str
) -> None:
    runs = [overview.Run(told.recording, told.findings, story.verdicts(Verdict(v))) for v in verdicts.split()]
    assert overview.together(runs) == expected
    assert overview.why(runs, ENGLISH.phrases) == english
    assert overview.why(runs, SWEDISH.phrases) == swedish


def test_one_run_is_one(told: Reported) -> None:
    run = overview.Run(told.recording, told.findings, story.verdicts(Verdict.PASS))
    assert overview._title([run], ENGLISH.phrases) == "1 run of synthetic"
    assert overview._title([run, run], SWEDISH.phrases) == "2 körningar av synthetic"


def test_an_invalid_run_answers_nothing(runs: list[overview.Run], tmp_path: Path) -> None:
    validity = runs[1].findings.validity.model_copy(update={"valid": False, "reasons": ("it was late",)})
    runs[1] = overview.Run(
        runs[1].recording, runs[1].findings.model_copy(update={"validity": validity}), story.verdicts(Verdict.INVALID)
    )
    html, _ = written(runs, tmp_path / "out")
    first = html[html.index("How many users?") : html.index("At what cost?")]
    assert "Not measured." in first
    assert "400" not in first
    assert "agentstorm run scenarios/capacity.yaml" in re.sub(r"<[^>]+>", "", first)


def test_it_speaks_swedish(runs: list[overview.Run], tmp_path: Path) -> None:
    html, _ = written(runs, tmp_path / "out", "sv")
    assert '<html lang="sv">' in html
    for said in ("3 körningar av synthetic", "Vad kördes?", "mätt i", "underlag i"):
        assert said in html


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        builder = RecordingBuilder(tmp_path / name, plan(load={"kind": "users", "users": 10, "hold": "10s"}))
        builder.phases(steady=0, cooldown=10)
        for n in range(100):
            builder.request(n / 10, 0.2)
        builder.instrument(0, 10)
        builder.close(10)
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = CliRunner().invoke(
        cli, ["overview", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "o")]
    )
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / "o" / name) for name in ("overview.html", "overview.md")]
    assert (tmp_path / "one" / "report.html").exists()
    assert "one: `../one/report.md`" in summary.read_text()
    missing = CliRunner().invoke(cli, ["overview", str(tmp_path / "three")])
    assert missing.exit_code != 0
    assert "three" in missing.output
    assert "Traceback" not in missing.output
