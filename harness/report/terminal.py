"""The report on a terminal: the same order as the page, in brief."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from harness.analysis.outages import alike
from harness.model.verdict import Verdict
from harness.paths import shown
from harness.report import block_capacity, block_cost, block_soak, block_streams, units, versions, words
from harness.report.toll import toll

if TYPE_CHECKING:
    from rich.console import Console

    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording

STYLES = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "bold yellow",
          Verdict.INVALID: "bold magenta"}  # fmt: skip


def _checks(verdicts: Verdicts) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("threshold", overflow="fold")
    for name in ("observed", "95 % interval", "n", "limit"):
        table.add_column(name, justify="right", no_wrap=True)
    for check in words.worst_first(verdicts.checks):
        table.add_row(
            Text(f"{words.MARKS[check.verdict]} {check.verdict.value}", style=STYLES[check.verdict]),
            Text(check.threshold),
            units.say(check.observed, check.unit),
            units.between(check.low, check.high, check.unit),
            units.count(check.n),
            units.say(check.limit, check.unit),
        )
    return table


def _plain_checks(console: Console, verdicts: Verdicts) -> None:
    for check in words.worst_first(verdicts.checks):
        around = units.between(check.low, check.high, check.unit)
        said = units.say(check.observed, check.unit) + (f" ({around})" if around else "")
        line(console, f"{check.verdict.value:<12} {check.threshold}  observed {said}, n {check.n:,}, "
                       f"limit {units.say(check.limit, check.unit)}")  # fmt: skip


def line(console: Console, text: str, style: str = "") -> None:
    """Write one line as it is: nothing in it is markup, and a log keeps it whole."""
    console.print(Text(text.replace(units.SPACE, " "), style=style), soft_wrap=True, highlight=False)


def print_summary(console: Console, recording: Recording, findings: Findings, verdicts: Verdicts) -> None:
    """Write the verdict, its reason, what ran, the checks, validity, what users felt, outages, cache, capacity, cost,
    limits and drift to `console`."""
    title = recording.plan.title
    line(console, "")
    line(console, f"{words.MARKS[verdicts.verdict]} {words.HEADLINES[verdicts.verdict].upper()}  {title}",
          STYLES[verdicts.verdict])  # fmt: skip
    line(console, words.why(verdicts))
    if version := versions.of_system(recording):
        line(console, f"{recording.plan.target.target}, version {version}")
    line(console, "")
    if console.is_terminal:
        if verdicts.checks:
            console.print(_checks(verdicts))
    else:
        _plain_checks(console, verdicts)
    line(console, "")
    believe = "" if findings.validity.valid else STYLES[Verdict.INVALID]
    line(console, f"believe it?  {words.validity(findings)}", believe)
    for reason in findings.validity.reasons:
        line(console, f"             {words.sentence(reason)}", believe)
    line(console, f"users        {words.users(findings.load)}")
    if flow := block_streams.said(findings):
        line(console, f"streams      {flow}")
    for (upstream, kind), group in alike(findings.failovers).items():
        claim = words.claim_of(findings, upstream, kind)
        said = words.outage(upstream, kind, group, claim)
        line(console, f"outage       {said}" + (f" (claim: {words.claim(claim)})" if claim else ""))
        line(console, f"             {words.sentence(toll(upstream, kind, group))}")
    line(console, f"cache        {words.cache(findings)}")
    rest = {
        "capacity": block_capacity.said(findings),
        "cost": block_cost.said(findings),
        "limits": words.sentence(words.saturated(findings)),
        "drift": block_soak.said(findings),
    }
    for what, said in rest.items():
        if said:
            line(console, f"{what:<12} {said}")
    line(console, f"report       {shown(recording.path / 'report.html')}")
