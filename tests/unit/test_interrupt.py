"""Which signals end a run in order, and which the user has said shall not reach it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.interrupt import Interrupt, Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hang_up() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
def test_a_closed_terminal_ends_a_run_in_order() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Interrupted, match="SIGHUP"):
            interrupt.check()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.usefixtures("hang_up")
def test_under_nohup_a_closed_terminal_is_no_wish() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGHUP)
        interrupt.check()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.signal == "SIGTERM"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
