"""What the block on resources says: who was at a limit, and the table behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.report import units, words
from harness.report.figure_resources import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.model.findings import Findings, Resources, Usage
    from harness.recording.reader import Recording
    from harness.report.figures import Figures

Cell = tuple[str, float, bool]
"""What a cell of the resource table says, what it is sorted by, and whether it is a limit reached."""


def _columns(used: Resources) -> dict[str, Cell]:
    """Return the cells of one process or container, by column; what was not measured is left out."""
    cells: dict[str, Cell] = {}

    def put(name: str, usage: Usage | None, part: str, say: Callable[[float], str], full: str = "") -> None:
        if usage:
            value = float(getattr(usage, part))
            cells[name] = (say(value), value, full in used.saturated)

    for part in ("mean", "p95", "max"):
        put(f"CPU {part}", used.cpu, part, units.cores)
        put(f"memory {part}", used.memory_mib, part, units.mib)
    for what, (share, said) in words.limit_shares(used).items():
        cells[OF_LIMIT[what]] = (said, share, what in used.saturated)
    put("throttled", used.throttled, "mean", units.share, "throttled")
    put("received", used.net_in, "mean", units.kb_per_s)
    put("sent", used.net_out, "mean", units.kb_per_s)
    put("processes", used.pids, "max", units.count)
    if used.restarts is not None:
        cells["restarts"] = (units.count(used.restarts), used.restarts, False)
    return cells


OF_LIMIT = {"cpu": "CPU of limit, p95", "memory": "memory of limit, max"}
COLUMNS = (
    "CPU mean", "CPU p95", "CPU max", OF_LIMIT["cpu"], "throttled", "memory mean", "memory p95", "memory max",
    OF_LIMIT["memory"], "received", "sent", "processes", "restarts",
)  # fmt: skip
SAID_BY_LIMITS = ("CPU max", "memory p95", "memory max")
"""What shares of limits say better; a table of both is wider than the page."""
NOTHING: Cell = (units.NONE, -1.0, False)


def resources(recording: Recording, findings: Findings, figures: Figures) -> dict[str, Any]:
    """Return the resources: the answer, the figures, and a table of the columns that hold anything."""
    table = {name: _columns(used) for name, used in findings.resources.items()}
    limited = any(used.cpu_limit for used in findings.resources.values())
    columns = [column for column in COLUMNS if any(column in cells for cells in table.values())
               and not (limited and column in SAID_BY_LIMITS)]  # fmt: skip
    said = [words.limits(findings), words.restarts(findings), _machine(recording)]
    dashed = "dashed: limit (\u2191 above the scale)"
    notes = {"cpu": f"{dashed}; thick: throttled", "memory_mib": dashed} if limited else {}
    metrics = [name.removeprefix("resources-") for name in figures.drawn if name.startswith("resources-")]
    return {
        "answer": " ".join(words.sentence(one) for one in said if one),
        "columns": columns,
        "rows": [(name, [cells.get(column, NOTHING) for column in columns]) for name, cells in table.items()],
        "figures": [(TITLES[m], notes.get(m, ""), figures.drawn[f"resources-{m}"].tag) for m in metrics],
        "limited": limited,
    }


def _machine(recording: Recording) -> str:
    host = recording.manifest.get("host")
    if not isinstance(host, dict) or "cores" not in host:
        return ""
    size = f" and {units.mib(float(host['memory_mib']))}" if "memory_mib" in host else ""
    return f"the machine has {units.cores(float(host['cores']))}{size}"
