"""How the path of a recording is said to a person."""

from __future__ import annotations

from pathlib import Path


def shown(path: Path | str, below: Path | None = None) -> str:
    """Return `path` relative to the folder `below` (the working directory) where it lies in there, else as it is.

    Only for what is read by people: data keeps the path that leads there from everywhere.
    """
    path = Path(path)
    folder = Path.cwd() if below is None else below
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
