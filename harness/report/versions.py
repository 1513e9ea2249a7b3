"""Which version of the system a run was of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.model.target import ComposeSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.recording.reader import Recording

_DIGITS = 12
"""Of an image's id, as `docker images` shows it."""
_HTTP_FAULTS = "agentstorm-http-faults"


def of_system(recording: Recording) -> str:
    """Return what the target says is the system's version; empty where it does not."""
    return recording.plan.target.version or ""


def told_apart(recording: Recording) -> str:
    """Return the same, or the images where nobody says which version it is; empty where neither is known."""
    return of_system(recording) or images(recording)


def images(recording: Recording) -> str:
    """Return the names and short ids of the images that the system's containers were made of, which tell versions apart
    where nobody says which it is; empty where it has none."""
    target = recording.plan.target
    if not isinstance(target.system, ComposeSystem):
        return ""
    described = recording.manifest.get("components", {}).get("system") or {}
    return ", ".join(sorted(set(_images(described, (target.system.toxiproxy, _HTTP_FAULTS)))))


def _images(described: dict[str, Any], ours: tuple[str, ...]) -> Iterator[str]:
    """Yield each container's image, but for those that carry faults."""
    known = described.get("images") or {}
    for container, made in (described.get("containers") or {}).items():
        if container in ours or not (found := known.get(made["image"])):
            continue
        name = "" if made["image"].startswith("sha256:") else f"{made['image']} "  # its name is another image's by now
        yield f"{name}{found['id'].removeprefix('sha256:')[:_DIGITS]}"
