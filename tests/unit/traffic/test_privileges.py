"""What a generator asks of the system, in processes of their own: what is given cannot be given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

ASK = "import json, os; {before}; from harness.traffic import privileges; given = privileges.ask(realtime={realtime})"
TELL = "print(json.dumps([given, os.sched_getscheduler(0) == os.SCHED_RR]))"
LINUX = pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="no real-time scheduling on this system")


def asked(*, realtime: bool, before: str = "os") -> tuple[dict[str, Any], bool]:
    code = ASK.format(before=before, realtime=realtime) + "; " + TELL
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    given, real = json.loads(said)
    return given, real


@LINUX
@pytest.mark.parametrize("realtime", [False, True])
def test_what_is_told_is_what_was_given(realtime: bool) -> None:
    given, real = asked(realtime=realtime)
    assert given["scheduler"] == ("rr" if real else "other")
    assert not real or realtime
    if realtime and os.geteuid() == 0 and (os.cpu_count() or 1) > 1:
        assert real, "root may"


@LINUX
@pytest.mark.parametrize(
    "before",
    [
        "os.sched_setscheduler = lambda *a: (_ for _ in ()).throw(PermissionError())",  # an ordinary user
        "del os.sched_setscheduler",  # another system
        "os.cpu_count = lambda: 1",  # the system under test would have nothing left
    ],
)
def test_without_it_the_load_goes_on(before: str) -> None:
    given, real = asked(realtime=True, before=before)
    assert (given["scheduler"], real) == ("other", False)
