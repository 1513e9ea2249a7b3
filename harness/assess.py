"""From a recording to its findings and verdicts, written beside it. Needs no live system."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

from harness.analysis import analyse
from harness.judge import judge
from harness.memory import frugal
from harness.paths import shown
from harness.recording import layout
from harness.whole import write_whole

if TYPE_CHECKING:
    from harness.model.base import Frozen
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording

_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Why nothing can be written into somebody else's recording, or one on a medium that is only read."""
_log = logging.getLogger(__name__)


def assess(recording: Recording) -> tuple[Findings, Verdicts]:
    """Analyse and judge a recording; writes ``findings.json`` and ``verdicts.json``. Where that is not allowed it is
    said on stderr, and no harm; OSError: it cannot be written for another reason."""
    frugal()
    findings, measure = analyse(recording)
    verdicts = judge(recording.plan, findings, measure)
    _write(recording, layout.FINDINGS, findings)
    _write(recording, layout.VERDICTS, verdicts)
    return findings, verdicts


def _write(recording: Recording, name: str, data: Frozen) -> None:
    text = data.model_dump_json(indent=1) + "\n"
    try:
        write_whole(recording.path / name, text)
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        _log.warning("agentstorm: %s is not kept: %s", shown(recording.path / name), error.strerror)
