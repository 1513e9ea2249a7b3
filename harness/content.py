"""Where the starter content lies: scenarios, experiments, targets, prices, audits and the reference system.

In a checkout (and so in an editable install) the folders stand beside `harness/`; in a wheel they travel inside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the folder that holds `scenarios/`, `chaos/`, `targets/`, `prices/`, `audits/` and `reference/`."""
    bundled = _PACKAGE / "_content"
    return bundled if bundled.is_dir() else _PACKAGE.parent


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have is no file."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find(name: str, folder: str) -> Path | None:
    """Return the file a plan name means (``scenarios/steady.yaml``, or just ``steady``), here or as starter content."""
    for base in (Path(), root()):
        for path in (base / name, base / folder / f"{name}.yaml"):
            if is_file(path):
                return path.resolve()
    return None


def names(folder: str) -> list[str]:
    """Return what could have been meant: the YAML files of `folder`, here and among the starter content."""
    bases = (Path(), root())
    return sorted({f"{folder}/{path.name}" for base in bases for path in (base / folder).glob("*.yaml")})
