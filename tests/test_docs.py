"""The documents hold: links resolve, commands are what they say and work, examples load, reference pages are current.

Commands that make load are planned, not run: their options are parsed, and every file they name is read by the real
reader; `tests/e2e` runs such ones. All others are run, page by page, in a folder as a reader would have it.
`AGENTSTORM_DOCS=1` runs the tutorial to the letter, but shorter (`TUTORIAL_SHORTER`): some minutes, real processes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import duckdb
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.analysis.stats import at_least, wilson
from harness.cli import cli
from harness.document import read
from harness.planfile import load_experiment, load_scenario, load_target, resolve
from harness.programs import TOOLS
from tests.documents import PAGES, ROOT, Command, blocks, commands
from tests.recordings import Script, experiment, plan, storm
from tests.reference_pages import FOLDER as REFERENCE_FOLDER
from tests.reference_pages import PAGES as REFERENCE
from tests.searches import Search, record

CONTENT = ("scenarios", "chaos", "targets", "prices", "audits")
TOGETHER = ("steady", "rate_failover-sla", "spike", "soak", "capacity")
"""Runs that speak together: to an audit, and on one page."""
WRITTEN = [page for page in PAGES if page.parent != REFERENCE_FOLDER and "decisions" not in page.parts]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- links -----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return what can be linked to within a page, as GitHub makes it of headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\[(.+?)\]\(.+?\)", r"\1", head).lower()).replace(" ", "-") for head in heads
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [p.relative_to(ROOT / "docs") for p in PAGES if p.is_relative_to(ROOT / "docs")]
    assert [
        str(p) for p in pages if f"({p})" not in index and p.parts[0] != "decisions" and str(p) != "README.md"
    ] == []


# --- reference -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", REFERENCE)
def test_reference_pages_are_current(page: str) -> None:
    written = (REFERENCE_FOLDER / page).read_text(encoding="utf-8").splitlines()
    assert written == REFERENCE[page]().rstrip().splitlines(), "make reference"


def test_an_argument_has_its_dots_once() -> None:
    assert "| DIR... |" in REFERENCE["command-line.md"]()
    assert "...." not in REFERENCE["command-line.md"]()


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small recording, with one outage."""
    path = tmp_path_factory.mktemp("made") / "run"
    script = Script(outages=1, at=5, every=15, lasts=6)
    fault = experiment("blackhole", "bedrock", None, **{"at": "5s", "for": "6s"})
    asked = plan(hold_s=script.length, warmup_s=2, experiments=[fault], target={"audit": "happyos"})
    storm(path, script, asked, warmup_s=2)
    (path / "report.md").touch()  # `report` on a page makes a real one
    record(path.with_name("capacity"), Search())
    return path


class Reader:
    """Somebody who types a page's commands, one after the other."""

    def __init__(self, folder: Path, recording: Path) -> None:
        self.folder, self.recording, self.levels = folder, recording, recording.with_name("capacity")
        self.complaints: list[str] = []
        self.runs = 0

    def type(self, command: Command) -> None:
        program, *args = command.argv
        does: dict[str, Callable[[list[str]], str]] = {
            "agentstorm": self._agentstorm, "make": self._make, "python": self._python, "duckdb": self._duckdb,
            "cat": self._there, "cp": self._copy, "cd": self._enter, "pytest": self._pytest,
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            try:
                complaint = does[program](args) if program in does else ""
            except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to this command
                complaint = f"{type(error).__name__}: {error}"
        if complaint:
            self.complaints.append(f"{command}\n    {complaint}")

    def _agentstorm(self, args: list[str]) -> str:
        if args[0] == "capacity":  # of which other loads have none
            args = [arg if not (self.folder / arg).is_dir() and arg != "DIR" else str(self.levels) for arg in args]
            if "--users" in args and "--think" not in args:
                args += ["--think", "6s"]  # as scenarios/capacity.yaml has it
        args = self._filled_in(args)
        chosen, *rest = args
        command = cli.commands[chosen]
        if chosen in ("run", "gate"):
            return self._plan(command.make_context(chosen, rest))
        if (chosen, *rest[:1]) == ("tools", "install"):
            return "" if rest[1] in TOOLS else f"no tool {rest[1]}"
        if chosen == "worker":
            command.make_context(chosen, rest)
            return ""
        done = CliRunner().invoke(cli, args)
        if done.exception and not isinstance(done.exception, SystemExit):
            return repr(done.exception)
        if chosen == "report" and not (Path(args[1]) / "report.md").read_text():
            return "report.md is not written"
        good = (0, 1) if chosen == "doctor" else (0, 75, 98, 99) if chosen in ("judge", "compare", "soak") else (0,)
        return "" if done.exit_code in good else f"exit code {done.exit_code}: {done.output[-300:]}"

    def _filled_in(self, args: list[str]) -> list[str]:
        """Return the arguments with recordings in place of words that stand for them, and without brackets."""
        filled: list[str] = []
        for arg in args:
            if arg.startswith("[") or arg.endswith("]"):
                continue
            if re.fullmatch(r"(DIR|BASE|CANDIDATE|LOCUST|K6)(\.\.\.)?", arg):
                filled.append(str(self._recorded(arg.strip("."))))
            else:
                filled += sorted(map(str, Path().glob(arg))) or [arg] if "*" in arg else [arg]
        return filled

    def _recorded(self, where: str) -> Path:
        if not Path(where).exists():
            shutil.copytree(self.recording, where)
            manifest = Path(where) / "manifest.json"
            told = json.loads(manifest.read_text())
            self.runs += 1
            manifest.write_text(json.dumps(told | {"run_id": told["run_id"] + self.runs}))
        return Path(where)

    def _plan(self, context: click.Context) -> str:
        """Read every file that a run or gate names, and leave what it would."""
        told = dict(context.params)
        target, out, other = told.pop("target"), told.pop("out"), told.pop("baseline_target", None)
        own = (
            "scenario",
            "chaos",
            "engine",
            "workers",
            "remote_workers",
            "bind",
            "replicas",
            "scale",
            "seed",
            "overrides",
        )
        options = {key: told[key] for key in own}
        for one in filter(None, (target, other)):
            resolve(target=one, **options)
        if out and context.info_name == "run":
            self._recorded(str(out))
        elif out:
            out.mkdir(parents=True)
            (out / "comparison.md").touch()
        return ""

    def _make(self, args: list[str]) -> str:
        done = subprocess.run(["make", "-n", "-C", str(ROOT), *args], capture_output=True, text=True, check=False)
        return done.stderr

    def _python(self, args: list[str]) -> str:
        return "" if args[0] == "-m" and importlib.util.find_spec(args[1]) else f"no module {args[1]}"

    def _duckdb(self, args: list[str]) -> str:
        CliRunner().invoke(cli, ["history", "--rebuild"])
        with duckdb.connect(args[0], read_only=True) as store:
            store.execute(args[1]).fetchall()
        return ""

    def _there(self, args: list[str]) -> str:
        return "" if Path(args[0]).exists() else f"{args[0]}: not there"

    def _copy(self, args: list[str]) -> str:
        if args[0] == "-r":
            shutil.copytree(args[1], args[2])
        elif args[0].startswith(CONTENT):
            shutil.copyfile(args[0], args[1])
        return ""

    def _enter(self, args: list[str]) -> str:
        self.folder = self.folder / args[0]
        return "" if self.folder.is_dir() else f"{args[0]}: not there"

    def _pytest(self, args: list[str]) -> str:
        known = [
            arg for arg in args if arg.startswith("tests/") and not Path(arg).exists() and not (ROOT / arg).exists()
        ]
        return f"{known}: not there" if known else ""


FILES = {"experiment": ("chaos", "faults", load_experiment), "scenario": ("scenarios", "load", load_scenario),
         "target": ("targets", "system", load_target)}  # fmt: skip
"""Plan files by the key that names them: folder, a key that a whole one has, and what reads it."""


def write_examples(page: Path, desk: Path) -> list[tuple[str, Path]]:
    """Write a page's plan files to where they belong; return kind and place of each."""
    written = []
    for kind, called, text in examples(page):
        folder = FILES[kind][0] if kind in FILES else "."
        path = desk / folder / f"{called}.{'yaml' if kind in FILES else 'yml'}"
        path.write_text(text)
        written.append((kind, path))
    for _, language, lines in blocks(page):
        if language == "python" and any(line.startswith("def test_") for line in lines):
            (desk / "tests").mkdir(exist_ok=True)
            (desk / "tests" / "test_storm.py").write_text("\n".join(lines))
    return written


@cache
def examples(page: Path) -> list[tuple[str, str, str]]:
    """Return (kind, file's name, text) of every whole plan file that stands on a page."""
    found = []
    for _, _, lines in blocks(page):
        if not any(line.startswith((*(f"{kind}:" for kind in FILES), "services:")) for line in lines):
            continue
        try:
            data = YAML(typ="safe").load("\n".join(lines))
        except YAMLError:
            continue
        for kind, (_, needed, _) in FILES.items():
            if isinstance(data, dict) and {kind, needed} <= data.keys():
                found.append((kind, str(data[kind]).replace("-", "_"), "\n".join(lines)))
        if isinstance(data, dict) and {"services", "networks"} <= data.keys():
            found.append(("compose", "compose", "\n".join(lines)))
    return found


@pytest.fixture
def desk(tmp_path: Path, recording: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder like a clone, with files of a reader's own and recordings."""
    desk = tmp_path / "desk"
    for folder in CONTENT:
        shutil.copytree(ROOT / folder, desk / folder)
    shutil.copyfile(ROOT / "docker-compose.test.yml", desk / "docker-compose.test.yml")
    for own in ("v1", "v2"):
        shutil.copyfile(desk / "targets" / "local.yaml", desk / "targets" / f"{own}.yaml")
    yours = (
        (ROOT / "targets" / "external.yaml")
        .read_text()
        .replace("# allow_hosts: [staging.example.com]", "allow_hosts: [x.org]")
    )
    (desk / "targets" / "yours.yaml").write_text(yours.replace("http://127.0.0.1:8000", "http://x.org"))
    shutil.copyfile(desk / "scenarios" / "steady.yaml", desk / "scenarios" / "yours.yaml")
    shutil.copyfile(desk / "audits" / "happyos.yaml", desk / "audits" / "ours.yaml")
    for night in ("20261120T010000Z_demo", "20261121T010000Z_demo", *(f"20261122T010000Z_{run}" for run in TOGETHER)):
        shutil.copytree(recording, desk / "reports" / night)
    for run in ("steady", "spike"):
        shutil.copytree(recording, desk / "reports" / "sample" / run)
    monkeypatch.setenv("COLUMNS", "200")
    return desk


@pytest.mark.parametrize("page", [page for page in WRITTEN if list(commands(page))], ids=name)
def test_commands_of_a_page_work(page: Path, desk: Path, recording: Path) -> None:
    write_examples(page, desk)
    reader = Reader(desk, recording)
    for command in commands(page):
        reader.type(command)
    assert reader.complaints == [], "\n".join(reader.complaints)


@pytest.mark.parametrize("page", WRITTEN, ids=name)
def test_examples_on_a_page_are_read(page: Path, desk: Path) -> None:
    for kind, path in write_examples(page, desk):
        if kind in FILES:
            FILES[kind][2](read(path))  # or PlanError
    for _, language, lines in blocks(page):
        if language == "python":
            compile("\n".join(lines), str(page), "exec")


def test_the_commands_are_found() -> None:
    found = [command for page in WRITTEN for command in commands(page)]
    assert {command.argv[0] for command in found} >= {"agentstorm", "make", "pytest", "python", "duckdb"}
    assert len([c for c in found if c.argv[0] == "agentstorm"]) > 50
    assert {kind for page in WRITTEN for kind, _, _ in examples(page)} == {*FILES, "compose"}
    assert [str(c) for c in found if c.argv[0] == "agentstorm" and c.argv[1] not in cli.commands] == []


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_of_the_explanations() -> None:
    inconclusive = (ROOT / "docs" / "explanation" / "inconclusive.md").read_text()
    intervals = (ROOT / "docs" / "explanation" / "intervals.md").read_text()
    open_loop = (ROOT / "docs" / "explanation" / "open-loop.md").read_text()
    assert f"in {0.95**20:.0%} of runs".replace("%", " %") in inconclusive
    needed = next(n for n in range(1, 1000) if wilson(0, n)[1] < 0.01)
    assert f"until {needed} requests" in inconclusive
    assert f"0 to {100 * wilson(0, 20)[1]:.0f} %" in intervals
    assert f"is {100 * 0.9**29:.1f} %" in intervals
    assert at_least(29, 29) >= 0.90
    stalled = 5 * 1000 / 60
    assert f"meet it {stalled:.0f} times among {30 * 1000 // 60}" in open_loop
    # Whoever comes u seconds into the stall waits 5 - u and is then served: the quantiles of an even spread.
    for share, said in ((0.05, 3553), (0.01, 4751)):
        assert 1000 * (5 - share * 30) + 50 == pytest.approx(said, abs=5)
        assert str(said) in open_loop


# --- the tutorial, to the letter -------------------------------------------------------------------------------------

TUTORIAL_SHORTER = {
    "steps": ["--scale", "0.05"],
    "mine": ["--scale", "0.5"],
    "demo": ["--scale", "0.5"],
    "gate": ["--scale", "0.1", "--runs", "2", "--spare", "9"],
}
"""Scenario, or command -> how much shorter it is run than it says."""


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif("AGENTSTORM_DOCS" not in os.environ, reason="takes many minutes: AGENTSTORM_DOCS=1")
def test_the_tutorial_to_the_letter(desk: Path) -> None:
    page = ROOT / "docs" / "tutorial.md"
    shutil.copytree(ROOT / "reference", desk / "reference", ignore=shutil.ignore_patterns("__pycache__"))
    write_examples(page, desk)
    for command in commands(page):
        program, *args = command.argv
        if program == "agentstorm":
            more = TUTORIAL_SHORTER.get(args[0]) or (TUTORIAL_SHORTER.get(args[1], []) if args[0] == "run" else [])
            done = subprocess.run([sys.executable, "-m", "harness", *args, *more], cwd=desk, check=False)
            assert done.returncode in (0, 75, 98, 99), command
        elif program == "cp" and args[0] == "-r":
            shutil.copytree(desk / args[1], desk / args[2])
        elif program == "cp" and not (desk / args[1]).exists():  # what a page shows of its own stands there already
            shutil.copyfile(desk / args[0], desk / args[1])
