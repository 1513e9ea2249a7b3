"""Files that are replaced whole."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_drafts = count()


def write_whole(path: Path, text: str) -> None:
    """Write `text`; whoever reads `path` meanwhile, or after a crash, finds the old file or the new one, never half.

    Of several who write at once the last one's stays: each has a draft of its own, which is gone when this fails.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}-{next(_drafts)}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
