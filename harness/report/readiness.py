"""The audit, answered, as a document of its own (`readiness.md`): English, or Swedish for the audit's readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.model.audit import CheckRow, Gap
from harness.report import block_audit, units
from harness.report.audit_words import number
from harness.report.markup import fold, plain, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.model.audit import CategoryScore, Readiness
    from harness.report.audit_words import Language
    from harness.report.block_audit import Line

_TEXT: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "heading": "Readiness", "recordings": "Recordings", "score": "Score", "category": "category",
        "weight": "weight", "printed": "heading", "mean": "mean of rows", "now": "with what was measured",
        "all": "weighted", "row": "row", "verdict": "verdict", "evidence": "evidence", "points": "points",
        "recording": "recording", "was": "the audit", "measured": "What was measured",
        "details": "The rows of the appendix that were measured", "missing": "Not measured by these recordings",
        "silent": "What load and chaos cannot speak to", "needs": "what it would need", "why": "why",
        "invalid": "invalid", "valid": "valid", "scale": "scale", "performance": "How that comes about",
        "rule": "By the audit's own rule a category's score is the mean of its rows; Unknown rows count with the "
        "points the audit gave them. A measured row is worth {passed:g} when it passes and {failed:g} when it fails; "
        "every other row keeps the audit's points. The audit's headings are not always that mean, and are shown "
        "beside it.",
        "nothing": "Nothing of it was measured.",
    },
    "sv": {
        "heading": "Beredskap", "recordings": "Inspelningar", "score": "Poäng", "category": "kategori",
        "weight": "vikt", "printed": "rubrik", "mean": "radernas medel", "now": "med det som mätts",
        "all": "viktat", "row": "rad", "verdict": "utfall", "evidence": "belägg", "points": "poäng",
        "recording": "inspelning", "was": "revisionen", "measured": "Vad som mättes",
        "details": "Bilagans rader som mättes", "missing": "Inte mätt av dessa inspelningar",
        "silent": "Vad last och kaos inte kan svara på", "needs": "vad som skulle krävas", "why": "varför",
        "invalid": "ogiltig", "valid": "giltig", "scale": "skala", "performance": "Så räknas det",
        "rule": "Enligt revisionens egen regel är en kategoris poäng medelvärdet av dess rader; rader med Unknown "
        "räknas med de poäng revisionen gav dem. En mätt rad ger {passed:g} om den godkänns och {failed:g} om den "
        "underkänns; alla andra behåller revisionens poäng. Revisionens rubriker är inte alltid det medelvärdet och "
        "visas bredvid.",
        "nothing": "Inget av detta mättes.",
    },
}  # fmt: skip
_WAS = {
    "en": {},
    "sv": {"critical": "kritiskt", "high": "högt", "medium": "medel", "low": "lågt"},
}


def document(answered: Readiness, language: Language = "en") -> str:
    """Return the whole document as GitHub-flavoured Markdown."""
    text, audit = _TEXT[language], answered.audit
    title = audit.original if language == "sv" and audit.original else audit.title
    measured, details, missing, silent = block_audit.folded(block_audit.lines(answered, language))
    several = len(answered.witnesses) > 1
    out = [
        f"# {text['heading']}: {plain(title)}", "",
        plain(block_audit.tally(answered, language)), "",
        f"## {text['score']}", "", *_scores(answered, language), "",
        f"## {text['measured']}", "", *(_measured(measured, language, several=several) or [text["nothing"]]), "",
        f"## {text['recordings']}", "", *_witnesses(answered, language), "",
    ]  # fmt: skip
    if details:
        out += fold(text["details"], _measured(details, language, several=several))
    out += fold(f"{text['missing']} ({len(missing)})", _reasons(missing, text["row"], text["needs"]))
    out += fold(f"{text['silent']} ({len(silent)})", _reasons(silent, text["row"], text["why"]))
    return "\n".join(out).rstrip() + "\n"


def section(answered: Readiness | None) -> list[str]:
    """Return the section of `report.md`; empty without an audit."""
    if answered is None:
        return []
    measured, *_ = block_audit.folded(block_audit.lines(answered))
    moved = [s for s in answered.scores if block_audit.changed(s)]
    titles = {category.id: category.title for category in answered.audit.categories}
    scores = [f"- {titles[s.category]}: {s.before:.3g} → {s.after:.3g} of 100" for s in moved]
    said = plain(block_audit.tally(answered))
    return [
        "", "### The audit, answered", "", f"{said} [All of it](readiness.md).", "", *scores,
        *([""] if scores else []),
        *fold(f"{units.plural(len(measured), 'row')} measured", _measured(measured, "en", several=False)),
    ]  # fmt: skip


def _scores(answered: Readiness, language: Language) -> list[str]:
    text, audit = _TEXT[language], answered.audit
    titles = {c.id: (c.original if language == "sv" and c.original else c.title, c.weight) for c in audit.categories}
    rows = [
        [plain(titles[s.category][0]), units.share(titles[s.category][1]), f"{s.heading:g}",
         number(f"{s.before:.3g}", language), number(_now(s), language)]
        for s in answered.scores
    ]  # fmt: skip
    overall = (answered.heading_overall, answered.before, answered.after)
    rows.append([f"**{text['all']}**", "", *(number(f"**{score:.3g}**", language) for score in overall)])
    head = (text["category"], text["weight"], text["printed"], text["mean"], text["now"])
    sums = [
        f"- {plain(titles[s.category][0])}: {number(block_audit.arithmetic(s), language)}"
        for s in answered.scores
        if block_audit.changed(s)
    ]
    rule = text["rule"].format(passed=audit.points.passed, failed=audit.points.failed)
    return [*table(head, rows, 1), "", rule, *(["", f"{text['performance']}:", "", *sums] if sums else [])]


def _now(score: CategoryScore) -> str:
    return f"**{score.after:.3g}**" if block_audit.changed(score) else f"{score.after:.3g}"


def _measured(lines: Iterable[Line], language: Language, *, several: bool) -> list[str]:
    """Return a table of rows; with `several` recordings it names the one that decides."""
    text = _TEXT[language]
    head = [text["verdict"], text["row"], text["was"], text["evidence"]]
    rows = [
        [f"{line.mark} {line.verdict}", f"**{plain(line.title)}** {plain(line.row.id)}", _was(line, language),
         plain(line.said), *([plain(line.found.recording)] if several else []), line.points]
        for line in lines
    ]  # fmt: skip
    if several:
        head.append(text["recording"])
    return table([*head, text["points"]], rows, len(head)) if rows else []


def _was(line: Line, language: Language) -> str:
    row = line.row
    was = row.status if isinstance(row, CheckRow) else row.severity if isinstance(row, Gap) else ""
    return _WAS[language].get(was, was)


def _reasons(lines: Iterable[Line], row: str, why: str) -> list[str]:
    rows = [[f"**{plain(line.title)}** {plain(line.row.id)}", plain(line.said)] for line in lines]
    return table((row, why), rows, 2) if rows else []


def _witnesses(answered: Readiness, language: Language) -> list[str]:
    text = _TEXT[language]
    rows = [
        [plain(w.name), plain(w.title), text["valid" if w.valid else "invalid"], f"{w.scale:g}"]
        for w in answered.witnesses
    ]
    return table((text["recording"], "", "", text["scale"]), rows, 3)
