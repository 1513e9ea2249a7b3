"""The page: one self-contained file, verdict first, one question a block (`report.html`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from harness.report import (
    block_cost,
    block_health,
    block_outages,
    block_resources,
    block_soak,
    block_streams,
    blocks,
    palette,
    words,
)
from harness.report.micro import mark

if TYPE_CHECKING:
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording
    from harness.report.figures import Figures

_PAGE = Path(__file__).parent / "page"


def page(recording: Recording, findings: Findings, verdicts: Verdicts, figures: Figures) -> str:
    """Return the whole page. Everything that comes from data is escaped."""
    plan = recording.plan
    context: dict[str, Any] = {
        # Our own style and script: the only text on the page that is not escaped, apart from finished figures.
        "style": Markup(palette.css_variables() + (_PAGE / "style.css").read_text(encoding="utf-8")),  # noqa: S704
        "script": Markup((_PAGE / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        "title": plan.title,
        "verdict": verdicts.verdict.value,
        "headline": words.HEADLINES[verdicts.verdict],
        "mark": mark(verdicts.verdict),
        "why": words.why(verdicts),
        "tally": words.sentence(words.tally(verdicts)),
        "facts": blocks.run_facts(recording, figures.axis),
        "checks": blocks.checks(verdicts),
        "validity": blocks.validity(findings),
        "users": blocks.users(findings, figures.axis),
        "outages": block_outages.outages(findings, figures),
        "health": block_health.health(findings),
        "providers": blocks.providers(findings, figures),
        "cache": blocks.cache(findings),
        "streams": block_streams.streams(findings),
        "cost": block_cost.cost(findings),
        "resources": block_resources.resources(recording, findings, figures),
        "soak": block_soak.soak(findings, figures),
        "groups": blocks.groups(findings, figures),
        "made": blocks.made(recording),
        "figures": {name: figure.tag for name, figure in figures.drawn.items()},
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((_PAGE / "report.html.j2").read_text(encoding="utf-8"))
    return template.render(context) + "\n"
