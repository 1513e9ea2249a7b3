"""Alerting rules for Prometheus, as a file for ``rule_files``."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from harness.export.promql import duration, expression
from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.export.signals import HandOver, Signal


def rules(found: HandOver) -> str:
    """Return the rule file; comments at its head say where it is from, and which alerts could not be made."""
    group = {"name": f"agentstorm-{found.target}", "rules": [_rule(signal, found) for signal in found.signals]}
    text = StringIO()
    yaml = YAML()
    yaml.width = 4096
    yaml.dump({"groups": [group] if found.signals else []}, text)
    return head(found) + text.getvalue()


def head(found: HandOver) -> str:
    """Return the comment lines that a file of alerts begins with."""
    lines = [
        f"Alerts for {found.target}, made by `agentstorm export prometheus-rules` from {', '.join(found.recordings)}.",
        "Each says which measured number it rests on. Make the file anew after a release that changes them.",
    ]
    if found.missing:
        lines += ["", "Not made, because the number was not measured:"]
        lines += [f"  {one.name}: {one.why}" for one in found.missing]
    return "".join(
        f"# {' '.join(line.split()) if not line.startswith('  ') else line}".rstrip() + "\n" for line in lines
    )


def _rule(signal: Signal, found: HandOver) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": signal.name, "expr": expression(signal, found.selector)}
    if signal.hold_s:
        rule["for"] = duration(signal.hold_s)
    rule["labels"] = {"severity": signal.severity, "system": found.target}
    rule["annotations"] = {"summary": signal.summary} | about(signal)
    return rule


_BYTES: Mapping[str, Callable[[float], str]] = {
    "bytes": lambda value: units.mib(value / 2**20),
    "bytes per second": lambda value: f"{units.mib(value * 3600 / 2**20)} an hour",
}
"""How amounts of memory are said."""


def about(signal: Signal) -> dict[str, str]:
    """Return where a signal's number comes from, in words, without the hard spaces that pages have."""
    evidence = signal.evidence
    told = {
        "measured": evidence.measured,
        "interval": evidence.interval or "none",
        "n": units.count(evidence.n),
        "margin": evidence.margin,
        "limit": _BYTES[signal.unit](signal.limit) if signal.unit in _BYTES else units.say(signal.limit, signal.unit),
        "recording": evidence.recording,
    }
    return {key: text.replace(units.SPACE, " ") for key, text in told.items()}
