"""The page: one self-contained file, verdict first, one question a block (`report.html`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.advice.case import Case
from harness.report import (
    block_audit,
    block_capacity,
    block_cost,
    block_health,
    block_outages,
    block_resources,
    block_soak,
    block_streams,
    blocks,
    words,
)
from harness.report.block_executive import Told, executive
from harness.report.languages import LANGUAGES, facts
from harness.report.micro import mark
from harness.report.template import render

if TYPE_CHECKING:
    from harness.model.audit import Readiness
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording
    from harness.report.figures import Figures


def page(
    recording: Recording,
    findings: Findings,
    verdicts: Verdicts,
    figures: Figures,
    readiness: Readiness | None = None,
    lang: str = "en",
) -> str:
    """Return the whole page, its executive page in `lang` (a key of `languages.LANGUAGES`). Everything that comes from
    data is escaped."""
    plan, speech = recording.plan, LANGUAGES[lang]
    case = Case(plan, findings, verdicts)
    why, quoted = speech.why(verdicts, findings)
    context: dict[str, Any] = {
        "lang": lang,
        "title": speech.title(plan),
        "verdict": verdicts.verdict.value,
        "headline": speech.language.phrases.headlines[verdicts.verdict],
        "mark": mark(verdicts.verdict),
        "why": why,
        "quoted": quoted,
        "executive": executive([Told(case, speech.load(plan.scenario.load))], speech.language),
        "tally": words.sentence(words.tally(verdicts)),
        "facts": facts(recording, figures.axis, speech),
        "checks": blocks.checks(verdicts),
        "validity": blocks.validity(findings),
        "users": blocks.users(findings, figures.axis),
        "outages": block_outages.outages(findings, figures),
        "health": block_health.health(findings),
        "providers": blocks.providers(findings, figures),
        "cache": blocks.cache(findings),
        "streams": block_streams.streams(findings),
        "capacity": block_capacity.capacity(findings),
        "cost": block_cost.cost(findings),
        "resources": block_resources.resources(recording, findings, figures),
        "soak": block_soak.soak(findings, figures),
        "groups": blocks.groups(findings, figures),
        "audit": block_audit.html(readiness),
        "made": blocks.made(recording),
        "figures": {name: figure.tag for name, figure in figures.drawn.items()},
    }
    return render("report.html.j2", context)
