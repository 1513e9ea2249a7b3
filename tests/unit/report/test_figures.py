"""Figures: named, small, the page's own colours, the same bytes for the same data."""

# ruff: noqa: S314 - the XML is our own

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from harness.analysis import analyse
from harness.report import micro, palette
from harness.report.drawing import draw, gaps, spread
from harness.report.figure_summary import ecdf
from harness.report.figures import figures
from harness.report.timeline import timeline
from tests.recordings import RecordingBuilder, plan
from tests.unit.report import story

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from harness.model.verdict import Check
    from tests.unit.report.conftest import Reported


def test_there_is_one_for_every_question(told: Reported) -> None:
    assert list(told.figures.drawn) == ["response", "ecdf", "providers", "resources-cpu", "resources-memory_mib"]
    assert list(told.figures.recorders) == [("bedrock", "blackhole"), ("bedrock", "refuse")]


def test_every_figure_is_named_described_and_well_formed(told: Reported) -> None:
    for figure in told.figures.every():
        for svg in (figure.wide, figure.narrow, figure.file):
            root = Xml.fromstring(svg)
            title, about = root[0], root[1]
            assert (title.tag[-5:], about.tag[-4:], root.get("role")) == ("title", "desc", "img")
            assert title.text
            assert about.text
            assert root.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"


def test_ids_are_unique_on_the_page(told: Reported) -> None:
    ids = re.findall(r'\sid="([^"]+)"', told.page)
    assert len(ids) == len(set(ids))


def test_colours_are_the_pages(told: Reported) -> None:
    for figure in told.figures.every():
        assert not any(sentinel in figure.wide + figure.narrow for sentinel in palette.SENTINELS.values())
        assert set(re.findall(r"#[0-9a-f]{6}\b", figure.wide)) <= {"#000000", "#ffffff"}
        assert "var(--soft)" in figure.wide


def test_text_stays_text_in_the_pages_typeface(told: Reported) -> None:
    svg = told.figures.drawn["response"].wide
    assert ">p95</text>" in svg
    assert "DejaVu" not in svg


def test_the_same_data_gives_the_same_bytes(told: Reported) -> None:
    again = figures(told.recording, told.findings)
    assert [f.wide for f in again.every()] == [f.wide for f in told.figures.every()]


def test_figures_are_small(told: Reported) -> None:
    for figure in told.figures.every():
        assert len(figure.wide) < 120_000


def test_the_recorder_says_what_happened_in_order(told: Reported) -> None:
    svg = told.figures.recorders["bedrock", "blackhole"].wide.replace("\u00a0", " ")
    words = ("effective, 50 ms", "first harm", "breaker open 2.11 s", "failed over (ledger) 2.", "recovered 2.")
    heights = [float(found[1]) for word in words for found in re.finditer(f'y="([^"]+)"[^>]*>{re.escape(word)}', svg)]
    assert len(heights) == len(words)
    assert heights == sorted(heights)
    assert ">failed back 5" in svg


def test_the_recorder_of_a_service_says_nothing_of_providers(parted: Reported) -> None:
    assert list(parted.figures.recorders) == [("agents", "kill"), ("redis", "refuse")], "none of what never bit"
    killed, refused = (
        [text.replace("\u00a0", " ") for text in re.findall(r">([^<]*)</text>", figure.wide)]
        for figure in parted.figures.recorders.values()
    )
    told = ("effective, 5 ms after injection", "first harm ", "fault cleared 10 s", "recovered 11")
    assert all(any(text.startswith(start) for text in killed) for start in told)
    assert "recovered: service stayed good" in refused
    assert "first harm: none seen" in refused
    for text in (*killed, *refused):
        assert not any(word in text for word in ("failed over", "failed back", "breaker", "since it was cleared"))


def test_a_limit_is_a_line_where_it_is_on_the_scale_and_is_said_in_any_case(contained: Reported) -> None:
    drawn = contained.figures.drawn
    assert list(drawn) == ["response", "ecdf", "providers", "resources-cpu", "resources-memory_mib", "resources-net"]
    cpu, memory = (drawn[f"resources-{name}"].wide.replace("\u00a0", " ") for name in ("cpu", "memory_mib"))
    assert (">limit 0.5<" in cpu, ">limit 2 \u2191<" in cpu) == (True, True)
    assert (">limit 256 MiB<" in memory, ">limit 64 MiB<" in memory, ">limit 23.5 GiB \u2191<" in memory) == (True,) * 3
    dashed = "stroke-dasharray"
    assert (cpu.count(dashed), memory.count(dashed)) == (2, 2)
    assert dashed not in drawn["resources-net"].wide


def test_moments_of_throttling_are_marked(contained: Reported, told: Reported) -> None:
    marks = [r.figures.drawn["resources-cpu"].wide.count("stroke-width: 3") for r in (contained, told)]
    assert marks[0] > 0
    assert marks[1] == 0


def test_there_is_room_for_the_curve_of_any_number_of_faults() -> None:
    many = {f"fault {n}": np.linspace(0.1, 1 + n, 50) for n in range(30)}
    drawn = ecdf(many).wide
    assert all(f">{name}</text>" in drawn for name in many)


def test_text_from_data_is_escaped_and_is_no_formula() -> None:
    def paint(figure: Figure) -> None:
        figure.text(0.5, 0.5, "<b>$x$ & --> y</b>")

    drawn = draw("x", "<t>", "a & b", {"wide": (100, 50), "narrow": (50, 50)}, paint)
    assert "&lt;b&gt;$x$ &amp; --&gt; y&lt;/b&gt;</text>" in drawn.wide
    assert '<title id="x-w-t">&lt;t&gt;</title>' in drawn.wide
    assert Xml.fromstring(drawn.file) is not None


def test_labels_keep_their_distance_and_their_order() -> None:
    placed = spread([50, 50, 52, 10], 15, 0, 100)
    assert np.diff(sorted(placed)).min() >= 15 - 1e-3
    assert np.argsort(placed).tolist() == [3, 0, 1, 2]


def test_what_was_not_seen_is_not_drawn() -> None:
    x, y = gaps(np.array([0.0, 1, 9, 10]), np.array([1, 2, 3, 4]), 3)
    assert np.isnan(y).tolist() == [False, False, True, False, False]
    assert np.isnan(x).tolist() == np.isnan(y).tolist()


@pytest.mark.parametrize("check", story.CHECKS, ids=lambda c: c.threshold)
def test_a_checks_bar_stays_inside_its_box(check: Check) -> None:
    bar = micro.check_bar(check)
    if check.observed is None:
        assert bar == ""
        return
    numbers = [float(n) for n in re.findall(r'c?x="([\d.]+)"', bar)]
    assert numbers
    assert all(0 <= n <= 150 for n in numbers)


def test_providers_keep_their_colours_whoever_answers() -> None:
    both = palette.provider_variables(["bedrock", "openai"], ["bedrock", "openai", "cache", "local", "other"])
    one = palette.provider_variables(["bedrock", "openai"], ["openai"])
    assert both == {"bedrock": "p0", "openai": "p1", "cache": "cache", "local": "local", "other": "p2"}
    assert one["openai"] == both["openai"]


@pytest.mark.parametrize(
    ("load", "said", "levels", "unit"),
    [
        ("users", {"users": (25, 1200, 50)}, ("25", "1,200", "50"), "users"),
        ("rate", {"rate": (0.5, 20.0, 2.0)}, ("0.5", "20", "2"), "per s"),
    ],
)
def test_a_load_of_steps_shows_which_step_was_on(
    tmp_path: Path, load: str, said: dict[str, tuple[float, ...]], levels: tuple[str, ...], unit: str
) -> None:
    steps = [{load: f"{level}/s" if load == "rate" else level, "hold": "20s"} for level in said[load]]
    builder = RecordingBuilder(tmp_path / "r", plan(load={"kind": "steps", "warmup": "5s", "steps": steps}))
    builder.phases(warmup=-5, steady=0, cooldown=60)
    for number, (begin, level) in enumerate(zip((-5.0, 20.0, 40.0), said[load], strict=True), 1):
        builder.event(begin, "load", "step", step=number, of=3, ramp_s=0.0, **{load: level})
    for at in range(-5, 60):
        builder.request(float(at), 0.2)
    recording = builder.close(61)
    axis = timeline(recording)
    assert [(span.name, span.begin, span.end) for span in axis.steps] == [
        (levels[0], -5, 20), (levels[1], 20, 40), (levels[2], 40, 60),
    ]  # fmt: skip
    response = figures(recording, analyse(recording)[0]).drawn["response"]
    for svg in (response.wide, response.narrow):
        assert all(f">{text}</text>" in svg for text in (*levels, unit))
        assert ">steady</text>" not in svg
    assert response.about.endswith(f" Steps, {unit}: {', '.join(levels)}.")
    root = Xml.fromstring(response.wide)
    lines = [path.get("d") for path in root.iter() if path.get("style", "").count("var(--line)")]
    one = r"M ([\d.]{2,}) [\d.]+ L %s [\d.]+ ?"
    upright = [d for d in lines if d and re.fullmatch(one % r"\1" + one % r"\2", d)]
    assert len(upright) == 2, "two steps began, in both panels"


def test_a_search_shows_its_levels_and_faults_go_before_them(tmp_path: Path) -> None:
    builder = RecordingBuilder(
        tmp_path / "r", plan(load={"kind": "capacity", "min": "10/s", "max": "80/s", "budget": "10m"})
    )
    builder.phases(warmup=-5, baseline=0, cooldown=60)
    for number, (begin, rate) in enumerate(((0.0, 10.0), (29.0, 20.0), (40.0, 40.0)), 1):
        builder.event(begin, "capacity", "level", state="healthy", level=number, rate=rate)
    builder.fault("blackhole-bedrock-1", 30.0, 55.0)
    for at in range(-5, 60):
        builder.request(float(at), 0.2)
    recording = builder.close(61)
    axis = timeline(recording)
    assert [(span.name, span.begin, span.end) for span in axis.steps] == [
        ("10", 0, 29), ("20", 29, 40), ("40", 40, 60),
    ]  # fmt: skip
    svg = figures(recording, analyse(recording)[0]).drawn["response"].wide
    assert f">{axis.faults[0].name}</text>" in svg
    assert ">10</text>" in svg
    assert ">20</text>" not in svg, "there is no room for both, and the fault is what one has to know"


def test_any_other_load_names_its_phases(told: Reported) -> None:
    assert timeline(told.recording).steps == ()
    assert ">users</text>" not in told.figures.drawn["response"].wide
    assert "Steps, " not in told.figures.drawn["response"].about
