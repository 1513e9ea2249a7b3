"""How many open files are allowed to whom. In processes of their own: a limit that was lowered need not come back."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness import leash, open_files
from tests.processes import file_table

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
        "from harness import open_files; open_files.make_room(); "
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
        "open_files.make_room(); print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)[:1]))"
    )
    assert told(code) == [70000]


def test_a_program_on_a_leash_can_be_given_another_limit(tmp_path: Path) -> None:
    process = leash.start(["sh", "-c", "ulimit -Sn"], log=tmp_path / "log", files=150)
    assert process.wait(10) == 0
    leash.stop(process, 1)
    assert (tmp_path / "log").read_text() == "150\n"


def test_the_table_of_open_files_is_long_before_they_are_opened() -> None:
    code = (
        "from tests.processes import file_table; before = file_table(); "
        "from harness import open_files; open_files.make_room(); print(json.dumps([before, file_table()]))"
    )
    file_table()
    before, after = told(code)
    assert before < 1024
    assert after >= min(HARD % 2**63, open_files.ROOM)


def test_a_program_on_a_leash_starts_with_a_long_table() -> None:
    def started(room: int) -> tuple[int, int]:
        process = leash.start(["sleep", "30"], files=150, room=room)
        try:
            return psutil.Process(process.real_pid).rlimit(psutil.RLIMIT_NOFILE)[0], file_table(process.real_pid)
        finally:
            leash.stop(process, 1)

    allowed, long = started(0)
    assert allowed == 150
    assert long < 1024
    expected = min(HARD % 2**63, open_files.ROOM)
    allowed, long = started(open_files.ROOM)
    assert allowed == expected
    assert long >= expected


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
        "import pathlib, psutil; from harness import programs; from tests.processes import file_table; "
        f"from harness.faults.{module} import {proxy}; "
        f"up = {proxy}.start({started}, pathlib.Path({str(tmp_path / 'log')!r})); "
        "limit = psutil.Process(up.process.real_pid).rlimit(psutil.RLIMIT_NOFILE)[0]; "
        "long = file_table(up.process.real_pid); up.stop(); print(json.dumps([limit, long]))"
    )
    file_table()
    limit, long = told(code)
    assert limit >= min(HARD % 2**63, 1024)
    assert long >= min(HARD % 2**63, open_files.ROOM)
