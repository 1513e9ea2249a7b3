"""How many threads OpenBLAS has, and in whose processes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from harness import blas

LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")  # noqa: PTH112
BUILT_WITH = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


def threads(code: str, **environment: str) -> int:
    """Return how many threads a process has that runs some code and imports what the analysis does."""
    given = {name: value for name, value in os.environ.items() if name != blas.THREADS} | environment
    code += "; import os, numpy, scipy.special; print(len(os.listdir('/proc/self/task')))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=given).stdout
    return int(said)


@LINUX
@pytest.mark.skipif("openblas" not in BUILT_WITH, reason=f"this numpy has {BUILT_WITH}")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one processor there are no further threads")
def test_no_threads_are_started_that_nothing_needs() -> None:
    assert threads("pass") > 1
    assert threads("from harness import blas; blas.one_thread()") == 1


@LINUX
@pytest.mark.skipif("openblas" not in BUILT_WITH, reason=f"this numpy has {BUILT_WITH}")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one processor there are no further threads")
def test_what_the_user_set_stays() -> None:
    assert threads("from harness import blas; blas.one_thread()", **{blas.THREADS: "2"}) > 1


def test_programs_that_are_not_ours_do_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(blas.THREADS, raising=False)
    blas.one_thread()
    try:
        assert int(os.environ[blas.THREADS]) == 1
        assert blas.THREADS not in blas.users_environment()
        assert blas.users_environment().items() < os.environ.items()
    finally:
        os.environ.pop(blas.THREADS)


@pytest.mark.parametrize("value", ["1", "4"])
def test_but_what_the_user_set_they_do(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blas.THREADS, value)
    blas.one_thread()
    assert blas.users_environment() == dict(os.environ)
    assert os.environ[blas.THREADS] == value
