"""How many threads OpenBLAS has, and in whose processes."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from harness import blas

BUILT_WITH = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
SEVERAL = pytest.mark.skipif(
    sys.platform != "linux" or "openblas" not in BUILT_WITH or len(os.sched_getaffinity(0)) < 2,
    reason=f"OpenBLAS has one thread on one processor (this numpy has {BUILT_WITH}); counted in /proc",
)


def threads(code: str, **environment: str) -> int:
    """Return how many threads a process has that runs some code and imports what the analysis does."""
    given = {name: value for name, value in os.environ.items() if name not in (blas.THREADS, *blas.ALSO)} | environment
    code += "; import os, numpy, scipy.special; print(len(os.listdir('/proc/self/task')))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=given).stdout
    return int(said)


@SEVERAL
def test_no_threads_are_started_that_nothing_needs() -> None:
    assert threads("pass") > 1
    assert threads("from harness import blas; blas.one_thread()") == 1


@SEVERAL
@pytest.mark.parametrize("name", [blas.THREADS, *blas.ALSO])
def test_what_the_user_set_stays(name: str) -> None:
    assert threads("from harness import blas; blas.one_thread()", **{name: "2"}) > 1


@pytest.mark.usefixtures("one_thread")
def test_programs_that_are_not_ours_do_not_inherit_it() -> None:
    assert int(os.environ[blas.THREADS]) == 1
    assert blas.THREADS not in blas.users_environment()
    assert blas.users_environment().items() < os.environ.items()


@pytest.mark.parametrize("value", ["1", "4"])
def test_but_what_the_user_set_they_do(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blas.THREADS, value)
    blas.one_thread()
    assert blas.users_environment() == dict(os.environ)
    assert os.environ[blas.THREADS] == value
