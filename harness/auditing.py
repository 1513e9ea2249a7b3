"""Finding and reading the audit that recordings are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.audit import readiness
from harness.analysis.audit_evidence import misfit
from harness.analysis.audit_seen import Seen
from harness.document import locate, read, validate
from harness.errors import RecordingError
from harness.model.audit import Audit
from harness.recording import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.document import Document
    from harness.model.audit import Readiness
    from harness.model.findings import Findings
    from harness.recording.reader import Recording

FOLDER = "audits"


def load_audit(document: Document) -> Audit:
    """Validate an audit file, and that every row asks for evidence there is."""
    audit = validate(document, Audit, document.data)
    if wrong := misfit(audit):
        row, said = wrong
        raise document.error(_loc(document.data, row), f"{row}: {said}")
    return audit


def _loc(data: object, row: str) -> tuple[int | str, ...]:
    """Return where in the document the row with this id stands."""
    if isinstance(data, dict):
        if data.get("id") == row:
            return ("id",)
        parts = list(data.items())
    else:
        parts = list(enumerate(data)) if isinstance(data, list) else []
    for key, part in parts:
        if loc := _loc(part, row):
            return (key, *loc)
    return ()


def open_audit(name: str) -> Audit:
    """Return the audit that a name means: a file, or one of `audits/` here or among the starter content."""
    return load_audit(read(locate(name, FOLDER)))


def audit_of(recording: Recording) -> Audit | None:
    """Return the audit to hold a recording against; None when its target names none.

    What its target named is kept in the recording when it is first reported, so that a report can be made again where
    that file is not.
    """
    if recording.plan.target.audit is None:
        return None
    kept = recording.path / layout.AUDIT
    if kept.is_file():
        try:
            return Audit.model_validate_json(kept.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RecordingError(f"{kept}: cannot be read: {error}; give the audit: --audit FILE") from error
    audit = open_audit(recording.plan.target.audit)
    kept.write_text(audit.model_dump_json(indent=1, by_alias=True, exclude_defaults=True) + "\n", encoding="utf-8")
    return audit


def agreed(recordings: Sequence[Recording], named: str | None = None) -> Audit | None:
    """Return the audit `named`, or the one that the recordings name between them; None when none does.

    RecordingError when they name several.
    """
    if named is not None:
        return open_audit(named)
    found = {audit.audit: audit for recording in recordings if (audit := audit_of(recording)) is not None}
    if len(found) > 1:
        raise RecordingError(f"the recordings name several audits ({', '.join(found)}); give one: --audit FILE")
    return next(iter(found.values()), None)


def answers(audit: Audit, recordings: Sequence[tuple[Recording, Findings]]) -> Readiness:
    """Hold recordings against an audit."""
    return readiness(audit, [Seen(r.path.resolve().name, r.plan, findings) for r, findings in recordings])
