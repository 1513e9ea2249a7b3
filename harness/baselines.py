"""Baselines: names for the runs that later ones are held against. ``baselines.json`` beside the recordings.

Not in the store, which may be thrown away: what somebody chose is in no recording.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.errors import RecordingError
from harness.model.base import nearest
from harness.recording.reader import Recording
from harness.store import REPORTS
from harness.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILE = "baselines.json"
_NAME = re.compile(r"\w[\w.+-]*")


class Baselines:
    """The baselines of one folder of recordings: name -> directories, relative to the folder where they lie in it."""

    def __init__(self, folder: Path = REPORTS) -> None:
        self._folder = folder
        self._path = folder / FILE

    def all(self) -> dict[str, list[Path]]:
        """Return every baseline's directories."""
        if not self._path.exists():
            return {}
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): [self._folder / path for path in paths] for name, paths in data.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise RecordingError(
                f"{self._path}: cannot be read: {error}\n  it maps names to lists of directories; mend it, or remove it"
            ) from None

    def get(self, name: str) -> list[Path]:
        """Return a baseline's directories; RecordingError says which baselines there are."""
        known = self.all()
        if name not in known:
            there = f"{nearest(name, tuple(known))}known: {', '.join(known)}" if known else "there is none yet"
            raise RecordingError(f"no baseline {name!r}; {there} (agentstorm baseline set NAME DIR...)")
        return known[name]

    def check(self, name: str) -> None:
        """Raise RecordingError if `set` could not give runs this name: it is none, or the file cannot be read."""
        if not _NAME.fullmatch(name):
            raise RecordingError(f"{name!r} cannot be the name of a baseline; letters, digits and . + - _ can")
        self.all()

    def set(self, name: str, recordings: Sequence[Path]) -> None:
        """Give runs a name, replacing what had it. RecordingError: as of `check`, or a directory is no recording."""
        self.check(name)
        for recording in recordings:
            Recording.open(recording)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            known = self.all() | {name: list(recordings)}
            told = {name: [self._told(path) for path in paths] for name, paths in sorted(known.items())}
            write_whole(self._path, json.dumps(told, indent=1) + "\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder's lock, so that of two who add a name none is lost."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _told(self, path: Path) -> str:
        absolute, folder = path.resolve(), self._folder.resolve()
        return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)
