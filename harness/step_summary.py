"""What GitHub shows under a workflow's run: Markdown appended to the file that ``$GITHUB_STEP_SUMMARY`` names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1024 * 1024 - 16 * 1024
"""Bytes. GitHub drops a step's whole summary above 1 MiB (docs.github.com, Workflow commands, Adding a job summary);
what else the step writes gets the rest."""
_LINK = re.compile(r"\[([^\]]*)\]\(([^):]+\.(?:html|md))\)")
"""To a file beside the text, where a summary has none."""
_OPENS, _CLOSES = "<details>", "</details>"


def append(text: str, complain: Callable[[str], None]) -> None:
    """Append Markdown to the summary, if there is one; what does not fit is left out, and that is said.

    A summary that cannot be written is complained of and fails no run.
    """
    named = os.environ.get("GITHUB_STEP_SUMMARY")
    if not named:
        return
    path = Path(named)
    try:
        there = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8") as file:
            file.write(bounded(_LINK.sub(r"\1: `\2`", text).rstrip() + "\n\n", MOST - there))
    except OSError as error:
        complain(f"the step summary was not written: {error}")


def bounded(text: str, most: int) -> str:
    """Return Markdown of at most so many bytes, cut between two lines, with a note of what is missing.

    Folded parts that the cut leaves open are closed. Nothing where not even the note fits.
    """
    if len(text.encode()) <= most:
        return text
    lines = text.splitlines(keepends=True)
    cut, size, depth = "", 1 + len(_note(len(lines)).encode()), 0
    for number, line in enumerate(lines, 1):
        depth += line.count(_OPENS) - line.count(_CLOSES)
        size += len(line.encode())
        if size + depth * len(f"{_CLOSES}\n") > most:
            break
        cut = "\n" + f"{_CLOSES}\n" * depth + _note(len(lines) - number)
        kept = number
    return "".join(lines[:kept]) + cut if cut else ""


def _note(missing: int) -> str:
    return f"\n_{missing:,} more lines did not fit into this summary (GitHub shows 1 MiB): see `report.md`._\n"
