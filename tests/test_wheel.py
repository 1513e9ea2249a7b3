"""The wheel is built, opened and used: what a user gets from an index, not from a checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("agentstorm-*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_the_package_and_the_starter_content(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "harness/cli.py",
        "harness/traffic/k6_agentstorm.js",
        "harness/_content/scenarios/steady.yaml",
        "harness/_content/scenarios/agents.py",
        "harness/_content/scenarios/agents.js",
        "harness/_content/chaos/bedrock_blackhole.yaml",
        "harness/_content/targets/local.yaml",
        "harness/_content/targets/compose.yaml",
        "harness/_content/prices/audit.yaml",
        "harness/_content/audits/happyos.yaml",
        "harness/_content/docker-compose.test.yml",
        "harness/_content/.dockerignore",
        "harness/_content/reference/docker/Dockerfile",
        "harness/_content/reference/docker/offline.sh",
        "harness/_content/reference/gateway/__main__.py",
    ):
        assert needed in names
    assert any(name.startswith("harness/report/") and name.endswith(".css") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "reports/")) or "__pycache__" in name]
    assert {name.split("/")[0] for name in names if not name.startswith("agentstorm-")} == {"harness"}


@pytest.mark.slow
def test_installed_wheel_plans_with_its_own_content(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from harness.cli import cli; cli()"
    command = [sys.executable, "-c", program, str(installed), "plan", "scenarios/smoke.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(installed / "harness" / "_content") in done.stdout
