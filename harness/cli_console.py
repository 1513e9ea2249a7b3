"""Where the command line prints to. Only for the modules of the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """Return the terminal, or plain lines where there is none."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=stderr, highlight=False, soft_wrap=not (sys.stderr if stderr else sys.stdout).isatty())


def complain(message: str) -> None:
    """Say what went wrong."""
    console(stderr=True).print(f"agentstorm: {message}", markup=False, style="red")
