"""What travels to a worker on another host: the workload, and every file beside it and below its folder.

Hidden files and Python's caches stay. A folder that is too big is an error, never half a folder.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

MOST_BYTES = 16 << 20
MOST_FILES = 1000


class TooMuch(Exception):
    """The folder holds more than is sent."""


def _travels(relative: Path) -> bool:
    return not any(part.startswith(".") or part == "__pycache__" for part in relative.parts)


def pack(workload: Path) -> dict[str, bytes]:
    """Return the content of each file by its path relative to the workload's folder (with "/"). TooMuch, OSError."""
    folder, total = workload.parent, 0
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not (_travels(relative) and path.is_file()):
            continue
        total += path.stat().st_size
        if total > MOST_BYTES or len(files) == MOST_FILES:
            raise TooMuch(
                f"{folder}, which is sent to the workers on other hosts with the workload, holds more than "
                f"{MOST_BYTES >> 20} MiB or {MOST_FILES} files"
            )
        files[relative.as_posix()] = path.read_bytes()
    return files


def unpack(files: dict[str, bytes], folder: Path) -> None:
    """Write the files into `folder`. ValueError: a path leads out of it."""
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{name!r} leads out of the workload's folder")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
