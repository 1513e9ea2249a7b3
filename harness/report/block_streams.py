"""What the block on streams says: how fast the first token and each next one came, and whether streams ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.report import units, words

if TYPE_CHECKING:
    from harness.model.findings import Estimate, Findings, StreamGroup

SHOWN, FOLDED = ("phase", "provider"), ("agent",)
"""Groups that stand in the open, and those behind a click."""
COLUMNS = (
    "streams", "complete", "first token p50", "p95", "p99", "next token p50", "p95", "p99", "tokens/s p50", "p5",
)  # fmt: skip


def said(findings: Findings) -> str:
    """Return how streams flowed, in a sentence or two; empty when there were none."""
    found = findings.load.streams
    if found is None:
        return ""
    count = f"{units.plural(found.streams, 'stream')}, {units.share(found.complete_share.value)} complete"
    parts = [f"{what} {_three(p.p50, p.p95, p.p99)}" for what, p in (("the first token took", found.ttft_ms),
             ("each next one", found.inter_token_ms)) if p.p50.value is not None]  # fmt: skip
    slow = found.tokens_per_s.p5.value
    if slow is not None:
        parts.append(f"95{units.SPACE}% of streams ran at {units.three(slow)}{units.SPACE}tokens/s or more")
    return words.sentence(f"{count}: {'; '.join(parts)}" if parts else f"{count}; no token was seen")


def _three(p50: Estimate, p95: Estimate, p99: Estimate) -> str:
    named = zip(("p50", "p95", "p99"), (p50, p95, p99), strict=True)
    return ", ".join(f"{units.milliseconds(p.value)} ({name})" for name, p in named)


def notes(findings: Findings) -> list[str]:
    """Return what a reader should know about these figures."""
    found, told = findings.load.streams, []
    if found is not None and found.at_once:
        told.append(
            f"of {units.plural(found.at_once, 'stream')} all tokens arrived at once: "
            "something on the way holds them back, or the system does not stream"
        )
    if found is not None and found.tokens_per_event and not 0.95 <= found.tokens_per_event <= 1.05:
        told.append(
            "a token here is an event of the stream that holds text; by the answers' own count one carries "
            f"{units.three(found.tokens_per_event)} of the model's tokens"
        )
    return [words.sentence(one) for one in told]


def _row(kind: str, name: str, group: StreamGroup) -> dict[str, Any]:
    first, following, rates = group.ttft_ms, group.inter_token_ms, group.tokens_per_s
    cells = [
        (units.count(group.streams), "", float(group.streams)),
        _cell(group.complete_share, "share"),
        *(_cell(p, "ms") for p in (first.p50, first.p95, first.p99, following.p50, following.p95, following.p99)),
        *(_cell(p, "per_s") for p in (rates.p50, rates.p5)),
    ]
    return {"kind": kind, "name": name, "cells": cells}


def _cell(value: Estimate, unit: str) -> tuple[str, str, float]:
    """Return what a cell says, its interval, and what it is sorted by."""
    around = units.between(value.low, value.high, unit)
    return units.say(value.value, unit), around, -1.0 if value.value is None else value.value


def streams(findings: Findings) -> dict[str, Any]:
    """Return the streams: the answer, notes, and tables of all of them and of each group; {} without streams."""
    found = findings.load.streams
    if found is None:
        return {}
    shown, folded = (
        [_row(kind, name, group) for kind in kinds for name, group in found.by.get(kind, {}).items()]  # type: ignore[call-overload]
        for kinds in (SHOWN, FOLDED)
    )
    return {
        "answer": said(findings),
        "notes": notes(findings),
        "columns": COLUMNS,
        "rows": [_row("", "all", found), *shown],
        "folded": folded,
    }
