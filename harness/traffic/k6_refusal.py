"""Why k6 did not take a workload: read off its log, which is JSON lines."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from harness.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path

_WRAPPED = re.compile(r"^could not initialize '[^']*': (could not load JS test '[^']*': )?")


def last_error(log: Path) -> str:
    """Return the last thing k6 complained about; "" when it did not."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            if line.strip():
                return line.strip()
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            return str(entry.get("error") or entry.get("msg") or "")
    return ""


def refusal(log: Path, workload: Path) -> PlanError | None:
    """Return what is wrong with `workload`, with its line; None when it is not the workload that is wrong."""
    said = last_error(log)
    if not said:
        return None
    place = re.escape(str(workload))
    # A stack frame (file:line:column), or a parser's complaint (file: ... (line:column)).
    match = re.search(rf"{place}:(\d+):\d+", said) or re.search(rf"{place}:.*?\((\d+):\d+\)", said, re.DOTALL)
    match = match or re.search(rf"{place}: Line (\d+):\d+", said)
    what = _WRAPPED.sub("", said.splitlines()[0]).replace(f"file://{workload}: ", "")
    return PlanError(
        f"k6 cannot run it: {what}",
        where=f"{workload}:{match[1]}" if match else str(workload),
        hint="a k6 workload has a default function, which makes one request with http from 'k6/http'",
    )
