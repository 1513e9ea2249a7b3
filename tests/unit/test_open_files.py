"""How many open files are allowed to whom. In processes of their own: a limit that was lowered need not come back."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from harness import leash

if TYPE_CHECKING:
    from pathlib import Path

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
pytestmark = pytest.mark.skipif(0 <= HARD < 1024, reason="nothing to raise it to")


def told(code: str) -> list[int]:
    """Run code with a low limit, after ``import json, resource``; return what it prints."""
    low = "import json, resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; "
    low += "resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard)); "
    said = subprocess.run([sys.executable, "-c", low + code], check=True, capture_output=True, text=True).stdout
    numbers: list[int] = json.loads(said)
    return numbers


def test_the_limit_is_raised_and_what_it_was_is_known() -> None:
    code = (
        "from harness import open_files; open_files.raise_limit(); "
        "print(json.dumps([open_files.GIVEN, *resource.getrlimit(resource.RLIMIT_NOFILE)]))"
    )
    given, soft, hard = told(code)
    assert given == 200
    assert soft == (65536 if hard < 0 else min(hard, 65536))
    assert hard == HARD


def test_one_that_is_high_is_not_lowered() -> None:
    if not hasattr(resource, "prlimit") or 0 <= HARD <= 65536:
        pytest.skip("there is none that is higher")
    code = (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (70000, hard)); from harness import open_files; "
        "open_files.raise_limit(); print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)[:1]))"
    )
    assert told(code) == [70000]


def test_a_program_on_a_leash_can_be_given_another_limit(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "ulimit -Sn"], log=tmp_path / "log", files=150)
    assert process.wait(10) == 0
    leash.stop(process, 1)
    assert (tmp_path / "log").read_text() == "150\n"


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_NOFILE"), reason="limits of others are not shown here")
@pytest.mark.parametrize(
    ("module", "proxy", "started"),
    [
        ("http_proxy", "HttpFaultProxy", "{'a': '127.0.0.1:1'}"),
        ("toxiproxy_server", "ToxiproxyServer", "programs.TOXIPROXY.obtain()"),
    ],
)
def test_our_proxies_take_what_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, proxy: str, started: str
) -> None:
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", "builtin")
    code = (
        f"import pathlib, psutil; from harness import programs; from harness.faults.{module} import {proxy}; "
        f"up = {proxy}.start({started}, pathlib.Path({str(tmp_path / 'log')!r})); "
        "limit = psutil.Process(up.process.real_pid).rlimit(psutil.RLIMIT_NOFILE)[0]; "
        "up.stop(); print(json.dumps([limit]))"
    )
    assert told(code)[0] >= min(HARD % 2**63, 1024)
