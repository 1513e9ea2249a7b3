"""Several runs of one system on one executive page, and the same in Markdown: what each said, what it comes to."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from harness.advice.case import Case
from harness.model.verdict import Verdict
from harness.report import block_audit, blocks, units, versions, words
from harness.report.block_executive import Told, executive
from harness.report.languages import LANGUAGES
from harness.report.markup import plain, table
from harness.report.micro import mark
from harness.report.template import render
from harness.report.timeline import Timeline, timeline
from harness.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.model.audit import Readiness
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording
    from harness.report.language import Phrases
    from harness.report.languages import Speech

WORST = (Verdict.FAIL, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.PASS)
"""Of several runs. What one run failed stays failed, whatever became of the others."""


@dataclass(frozen=True)
class Run:
    """A recording as it was found and judged, with a `report.html` in it."""

    recording: Recording
    findings: Findings
    verdicts: Verdicts

    @cached_property
    def axis(self) -> Timeline:
        """When things happened in it."""
        return timeline(self.recording)


def together(runs: Sequence[Run]) -> Verdict:
    """Return the verdict on all runs."""
    return min((run.verdicts.verdict for run in runs), key=WORST.index)


def write(runs: Sequence[Run], folder: Path, readiness: Readiness | None = None, lang: str = "en") -> list[Path]:
    """Write overview.html and overview.md into `folder`, with links from there to the runs; return their paths.

    `lang` is a key of `languages.LANGUAGES`, for the page; the Markdown is English.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        folder / "overview.html": _page(runs, folder, readiness, lang),
        folder / "overview.md": _markdown(runs, folder, readiness),
    }
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)


def _page(runs: Sequence[Run], folder: Path, readiness: Readiness | None, lang: str) -> str:
    speech, verdict = LANGUAGES[lang], together(runs)
    phrases = speech.language.phrases
    told = _told(runs, folder, speech)
    context: dict[str, Any] = {
        "lang": lang,
        "title": _title(runs, phrases),
        "verdict": verdict.value,
        "headline": phrases.headlines[verdict],
        "mark": mark(verdict),
        "why": why(runs, phrases),
        "quoted": "",
        "executive": executive(told, speech.language),
        "facts": _facts(runs, speech),
        "bodies": {one.page: (run.recording.path / "report.html").read_text(encoding="utf-8")
                   for one, run in zip(told, runs, strict=True)},
        "runs": [_row(run, one, speech) for run, one in zip(runs, told, strict=True)],
        "audit": block_audit.html(readiness),
    }  # fmt: skip
    return render("overview.html.j2", context)


def _told(runs: Sequence[Run], folder: Path, speech: Speech) -> list[Told]:
    """Return the runs as the page names them; those that were planned alike are told apart by their folders."""
    titles = [speech.title(run.recording.plan) for run in runs]
    return [
        Told(
            Case(run.recording.plan, run.findings, run.verdicts),
            speech.load(run.recording.plan.scenario.load),
            _link(run, folder, "report.html"),
            title if titles.count(title) == 1 else f"{title}, {run.recording.path.resolve().name}",
        )
        for run, title in zip(runs, titles, strict=True)
    ]


def _link(run: Run, folder: Path, name: str) -> str:
    return quote(os.path.relpath(run.recording.path.resolve() / name, folder.resolve()))


def _title(runs: Sequence[Run], phrases: Phrases) -> str:
    return phrases.overview[len(runs) > 1].format(n=len(runs), target=_targets(runs))


def _targets(runs: Sequence[Run]) -> str:
    return ", ".join(dict.fromkeys(run.recording.plan.target.target for run in runs))


def why(runs: Sequence[Run], phrases: Phrases) -> str:
    """Return how many runs have which verdict, the worst first, in a sentence."""
    count = Counter(run.verdicts.verdict for run in runs)
    if set(count) == {Verdict.PASS}:
        return phrases.unanimous[len(runs) > 1].format(n=len(runs))
    said = [
        phrases.together[verdict][count[verdict] > 1].format(n=count[verdict], all=len(runs))
        for verdict in WORST
        if count[verdict]
    ]
    return words.sentence(", ".join(said))


def _facts(runs: Sequence[Run], speech: Speech) -> list[tuple[str, str]]:
    phrases = speech.language.phrases
    started = sorted(when for run in runs if (when := run.axis.started))
    ours = dict.fromkeys(fact for run in runs for fact in blocks.version(run.recording))
    of = dict.fromkeys(versions.of_system(run.recording) or units.NONE for run in runs)
    told = [(phrases.target, _targets(runs))]
    if set(of) != {units.NONE}:
        told.append((phrases.version, "; ".join(of)))
    if started:
        first, last = speech.moment(started[0]), speech.moment(started[-1])
        told.append((phrases.ran, first if first == last else f"{first} \u2013 {last}"))
    return [*told, *ours]


def _row(run: Run, told: Told, speech: Speech) -> dict[str, Any]:
    """Return a run's cells; `sort` has what its numbers are sorted by."""
    load, axis, say = run.findings.load, run.axis, speech.language.say
    p95, failed = load.response_ms.p95.value, load.failed_share.value
    reason, quoted = speech.why(run.verdicts, run.findings)
    return {
        "mark": mark(run.verdicts.verdict), "rank": WORST.index(run.verdicts.verdict),
        "title": told.title, "page": told.page, "target": run.recording.plan.target.target, "load": told.load,
        "when": speech.moment(axis.started) if axis.started else "",
        "requests": say(load.requests, "count"), "p95": say(None if p95 is None else p95 / 1000, "s"),
        "failed": say(failed, "share"), "why": reason, "quoted": quoted,
        "sort": {"when": axis.zero_ns, "requests": load.requests, "p95": p95 or 0, "failed": failed or 0},
    }  # fmt: skip


def _markdown(runs: Sequence[Run], folder: Path, readiness: Readiness | None) -> str:
    speech, verdict = LANGUAGES["en"], together(runs)
    language = speech.language
    told = _told(runs, folder, speech)
    found = executive(told, language)
    rows = [
        [
            f"{words.MARKS[run.verdicts.verdict]} {run.verdicts.verdict.value}",
            f"[{plain(one.title)}]({_link(run, folder, 'report.md')})", plain(row["load"]), plain(row["why"]),
            row["requests"], row["p95"], row["failed"],
        ]
        for run, one in zip(runs, told, strict=True) for row in [_row(run, one, speech)]
    ]  # fmt: skip
    tiles = [(tile.title, f"{tile.figure} {tile.of}".strip(), tile) for tile in found["tiles"]]
    lines = [
        f"## {words.MARKS[verdict]} {words.HEADLINES[verdict]}: {plain(_title(runs, language.phrases))}", "",
        f"**{plain(why(runs, language.phrases))}**", "",
        *table(("", "run", "load", "why", "requests", "p95", "failed"), rows, 4), "",
        *(f"- **{title}** {plain(said or language.phrases.not_measured)}" + (f" ({plain(tile.source)})" if said else "")
          for title, said, tile in tiles), "",
    ]  # fmt: skip
    if found["risks"]:
        lines += ["### Risks", "", *(f"1. **{risk['word']}** {plain(risk['text'])}" for risk in found["risks"]), ""]
    if found["recommendations"]:
        lines += ["### What to do", ""]
        lines += [f"1. **{plain(one['title'])}** {plain(one['why'])}" for one in found["recommendations"]]
        lines += [""]
    if readiness is not None:
        lines += [f"**The audit, answered:** {plain(block_audit.tally(readiness))}", ""]
    return "\n".join([*lines, "[The whole page](overview.html)"]) + "\n"
