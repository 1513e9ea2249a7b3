"""The imports that must never be (design, *Imports that must never be*), read off the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIVE = ("system", "traffic", "faults", "probes")
ENTRY_POINTS = ("locust_main.py", "k6_main.py", "builtin_toxiproxy_main.py", "guardian_watch.py")
PURE = ("analysis", "judge", "advice", "report", "export")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "harness").with_suffix("").parts[0]


def offenders(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{name_of(path)} imports {found}"
        for path in paths
        for found in imports(path)
        if any(found == name or found.startswith(name + ".") for name in forbidden)
    ]


HARNESS = modules("harness")


def test_the_rules_look_at_real_modules() -> None:
    assert {part_of(p) for p in HARNESS} >= {*LIVE, *PURE, "clock", "seeds", "conduct", "cli"}


@pytest.mark.parametrize("part", LIVE)
def test_live_packages_meet_in_conduct_only(part: str) -> None:
    others = [f"harness.{other}" for other in LIVE if other != part]
    assert offenders([p for p in HARNESS if part_of(p) == part], *others) == []


def test_only_the_entry_points_import_live_packages() -> None:
    entry_points = {
        *LIVE,
        "cli",
        "conduct",
        "underway",
        "searching",
        "level_watch",
        "stage",
        "planfile",
        "doctor",
        "heal",
        "triggers",
    }
    live = [f"harness.{part}" for part in LIVE]
    assert offenders([p for p in HARNESS if part_of(p) not in entry_points], *live) == []


@pytest.mark.parametrize("part", PURE)
def test_everything_right_of_the_recording_is_pure(part: str) -> None:
    live = [f"harness.{p}" for p in LIVE]
    world = ["harness.clock.now_ns", "time", "random", "secrets", "socket", "urllib.request", "httpx", "requests"]
    assert offenders([p for p in HARNESS if part_of(p) == part], *live, *world) == []


def test_only_clock_reads_a_clock() -> None:
    assert offenders([p for p in HARNESS if part_of(p) != "clock"], "time") == []


def test_only_seeds_draws_seeds() -> None:
    assert offenders([p for p in HARNESS if part_of(p) != "seeds"], "secrets", "uuid") == []


def test_locust_and_gevent_stay_in_their_subprocess() -> None:
    paths = [p for p in HARNESS if not (part_of(p) == "traffic" and p.name.startswith("locust_"))]
    assert offenders(paths, "locust", "gevent", "geventhttpclient") == []


def test_harness_and_reference_never_meet() -> None:
    assert offenders(HARNESS, "reference", "scenarios", "chaos", "targets") == []
    assert offenders(modules("reference"), "harness") == []


def test_workloads_are_plain_locust_files() -> None:
    assert offenders(modules("scenarios"), "harness") == []


def test_nothing_below_cli_prints_or_exits() -> None:
    found = []
    for path in HARNESS:
        # Programs of their own: each is a process's entry point.
        if part_of(path) in ("cli", "leash", "leash_holder") or path.name in ENTRY_POINTS:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "exit", "quit", "sys.exit", "os._exit"):
                    found.append(f"{name_of(path)}:{node.lineno} calls {called}")
    assert found == []


def test_modules_can_be_read_on_a_few_screens() -> None:
    lengths = sorted((len(p.read_text().splitlines()), name_of(p)) for p in HARNESS)
    assert lengths[len(lengths) // 2][0] <= 150, "median module length"
    assert [name for length, name in lengths if length > 400] == []
