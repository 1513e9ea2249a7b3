from __future__ import annotations

import pytest

from harness import blas


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we set of OpenBLAS for our own processes is set in this one, and nothing by the user."""
    for name in (blas.THREADS, *blas.ALSO):
        monkeypatch.setenv(name, "")  # so that whatever becomes of it is undone
        monkeypatch.delenv(name)
    blas.one_thread()
