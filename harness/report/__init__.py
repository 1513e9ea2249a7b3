"""Telling people what a recording means: a page, Markdown, JUnit and the terminal. No live run, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from harness.model.audit import Readiness
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording


def write_all(
    recording: Recording,
    findings: Findings,
    verdicts: Verdicts,
    readiness: Readiness | None = None,
    lang: str = "en",
) -> list[Path]:
    """Write report.html, report.md, junit.xml and figures/*.svg into the recording; return the paths, page first.

    With the answers to an audit they hold a section on it, and `readiness.md` holds all of it. `lang` is the language
    of the executive page (a key of `languages.LANGUAGES`).

    Each file is replaced whole, so a reader never sees half of one; figures of an earlier report go.
    """
    # Drawing needs matplotlib, which whoever only wants the live view shall not wait for.
    from harness.report.figures import figures  # noqa: PLC0415
    from harness.report.html import page  # noqa: PLC0415
    from harness.report.junit import junit  # noqa: PLC0415
    from harness.report.markdown import markdown  # noqa: PLC0415
    from harness.report.readiness import document  # noqa: PLC0415

    drawn = figures(recording, findings)
    folder = recording.path / "figures"
    folder.mkdir(exist_ok=True)
    texts = {
        recording.path / "report.html": page(recording, findings, verdicts, drawn, readiness, lang),
        recording.path / "report.md": markdown(recording, findings, verdicts, readiness),
        recording.path / "junit.xml": junit(recording, findings, verdicts),
        **{folder / f"{figure.name}.svg": figure.file for figure in drawn.every()},
    }
    if readiness is not None:
        texts[recording.path / "readiness.md"] = document(readiness)
    for old in (*folder.glob("*.svg"), recording.path / "readiness.md"):
        if old not in texts:
            old.unlink(missing_ok=True)
    for path, text in texts.items():
        write_whole(path, text)
    return list(texts)
