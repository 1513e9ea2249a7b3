"""The page as a document: one way through it, nothing that leads nowhere, and what paper, phones and scripts need."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.report import contents as finding
from harness.report import html as html_page
from harness.report import palette
from harness.report.html import page
from tests.unit.advice.builders import capacity, cost, soak
from tests.unit.report import story

if TYPE_CHECKING:
    from tests.unit.report.conftest import Reported

STYLE = (Path(html_page.__file__).parent / "page" / "style.css").read_text()
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Document(HTMLParser):
    """What a page has: ids, links to them, references by ARIA, and pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.named: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if href := found.get("href", found.get("xlink:href", "")):
            self.links.append(href)
        self.named += found.get("aria-labelledby", "").split()
        assert tag not in ("img", "link", "iframe", "object", "embed"), f"<{tag}> asks for something"
        assert "src" not in found
        assert not [name for name in found if name.startswith("on")], f"a script in <{tag}>"


@pytest.fixture(scope="module", params=["story", "parts", "containers", "everything"])
def text(request: pytest.FixtureRequest, told: Reported, parted: Reported, contained: Reported) -> str:
    if request.param == "everything":
        more = {"soak": soak(), "capacity": capacity(), "cost": cost(bedrock__blackhole=4.0)}
        findings = told.findings.model_copy(update=more)
        return page(told.recording, findings, story.verdicts(), told.figures, lang="sv")
    return {"story": told, "parts": parted, "containers": contained}[request.param].page


def test_ids_are_unique_and_links_lead_somewhere(text: str) -> None:
    document = Document(text)
    assert len(document.ids) == len(set(document.ids))
    assert all(link.startswith("#") for link in document.links)
    assert {link.removeprefix("#") for link in document.links} <= set(document.ids)
    assert set(document.named) <= set(document.ids)


def test_the_contents_name_every_block_in_order(text: str) -> None:
    nav = text[text.index("<nav") : text.index("</nav>")]
    linked = re.findall(r'<a href="#([^"]+)">', nav)
    assert linked == re.findall(r'<section id="([^"]+)"', text)
    assert {"checks", "validity", "users", "made"} <= set(linked)


def test_the_first_place_that_is_there_counts() -> None:
    body = '<section id="a"><h2>A &amp; B</h2></section> <p id="b">'
    assert finding.first_of(("x", "b", "a"), body) == "b"
    assert finding.first_of(("x",), body) == ""
    assert finding.contents(body) == [("a", "A &amp; B")]


def test_paper_gets_light_colours_whole_figures_and_heads_on_every_sheet() -> None:
    sheet = STYLE[STYLE.index("@media print") :]
    for rule in ("@page{size:A4", "break-after:page", "break-before:page", "table-header-group", "break-inside:avoid"):
        assert rule in sheet
    dark = palette.css_variables()
    assert "@media screen and (prefers-color-scheme:dark)" in dark
    assert dark.count("prefers-color-scheme") == 1


def test_every_figure_is_there_without_a_script(told: Reported) -> None:
    silent = re.sub(r"<script>.*?</script>", "", told.page, flags=re.DOTALL)
    silent = re.sub(r' data-hover="[^"]*"', "", silent).replace("\u00a0", " ")
    for group in told.findings.load.by["agent"].values():
        assert f"{group.requests:,}" in silent
    for check in story.CHECKS:
        assert html.escape(check.threshold) in silent
    assert "hidden" not in re.sub(
        r"<style>.*?</style>|<div id=\"tip\" hidden>|aria-hidden", "", silent, flags=re.DOTALL
    )
    assert len(re.findall(r"<table", silent)) > 8


def test_figures_say_their_values_to_pointers(told: Reported, contained: Reported) -> None:
    hovered = dict(re.findall(r'<figure id="figure-([^"]+)" data-hover="([^"]+)"', told.page + contained.page))
    assert {"response", "ecdf", "providers", "resources-cpu", "resources-memory_mib", "resources-net"} <= set(hovered)
    shares = told.figures.drawn["ecdf"].hover
    assert shares is not None
    for name, values in dict(shares["rows"]).items():  # type: ignore[call-overload]
        assert values == sorted(values), name
        assert values[-1] == 100
    used = contained.figures.drawn["resources-cpu"].hover
    assert used is not None
    assert 0.48 in dict(used["rows"])["agents-1"]  # type: ignore[call-overload]


SCRIPT = """
<script>
addEventListener("load", () => {
  const inner = document.querySelector("iframe").contentDocument, said = {};
  said.width = inner.documentElement.scrollWidth;
  const table = [...inner.querySelectorAll("#groups table")][0];
  const head = (n) => table.tHead.rows[0].cells[n];
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim());
  head(1).querySelector("button").click();
  said.down = [head(1).getAttribute("aria-sort"), order()];
  head(1).querySelector("button").click();
  said.up = [head(1).getAttribute("aria-sort"), order()];
  head(0).querySelector("button").click();
  said.name = [head(0).getAttribute("aria-sort"), head(1).getAttribute("aria-sort"), order()];
  said.buttons = inner.querySelectorAll("th.nosort button").length;
  const svg = inner.querySelector("#figure-response .narrow svg"), box = svg.getBoundingClientRect();
  const at = {bubbles: true, clientX: box.left + box.width / 2, clientY: box.top + 50};
  svg.dispatchEvent(new PointerEvent("pointermove", at));
  said.tip = inner.getElementById("tip").textContent;
  document.title = JSON.stringify(said);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_sorts_tables_shows_values_and_fits_a_phone(told: Reported, tmp_path: Path) -> None:
    import json  # noqa: PLC0415

    frame = f'<iframe style="width:360px;height:800px;border:0" srcdoc="{html.escape(told.page)}"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!doctype html><meta charset=utf-8>{SCRIPT}{frame}")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
               "--dump-dom", f"file://{tmp_path / 'frame.html'}"]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title>", run.stdout, re.DOTALL)
    assert title, run.stdout[:500]
    said = json.loads(html.unescape(title[1]))
    agents = {name: group.requests for name, group in told.findings.load.by["agent"].items()}
    falling = sorted(agents, key=lambda agent: -agents[agent])
    assert said["width"] <= 360
    assert said["down"] == ["descending", falling]
    assert said["up"] == ["ascending", falling[::-1]]
    assert said["name"] == ["descending", None, sorted(agents, reverse=True)]
    assert said["buttons"] == 0
    assert "p95" in said["tip"]
