"""The documents of the repository, and the commands in their code blocks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "reference" / "docker" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
_OURS = ("agentstorm", "make", "pytest", "python")
_OTHERS = ("cd", "cp", "cat", "docker", "duckdb", "git", "export", "sudo", "ssh", "mkdir")
"""Programs that may stand first in a line of a code block; whatever else does is no command."""
_SHELLS = ("console", "sh", "")


@dataclass(frozen=True)
class Command:
    """A command as it stands in a document. `argv` without the folder of the program, environment and `sudo`."""

    page: str
    line: int
    text: str
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def blocks(page: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield (first line, language, lines) of every code block, fenced or indented."""
    text = page.read_text(encoding="utf-8")
    shown = re.sub(r"<!--.*?-->", lambda hidden: "\n" * hidden[0].count("\n"), text, flags=re.DOTALL)
    lines = shown.splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence := re.match(r"\s*```(\w*)", line):
            end = next(n for n in range(number + 1, len(lines)) if lines[n].lstrip().startswith("```"))
            yield number + 2, fence[1], lines[number + 1 : end]
            number = end + 1
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield number + 1, "", [text[4:] for text in lines[number:end]]
            number = end
        else:
            number += 1


def _joined(first: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    """Yield (number, line), with lines that end in a backslash, or within quotes, joined to the next."""
    begun, text = first, ""
    for number, line in enumerate(lines, first):
        begun, text = (number, line) if not text else (begun, f"{text} {line.strip()}")
        if text.endswith("\\"):
            text = text[:-1].rstrip()
            continue
        if text.count('"') % 2 and text.lstrip().startswith(_OTHERS):
            continue
        yield begun, text
        text = ""


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands of a document's code blocks, those in the steps of a workflow included."""
    for first, language, lines in blocks(page):
        if language not in (*_SHELLS, "yaml"):
            continue
        for number, line in _joined(first, lines):
            text = re.sub(r"^(\$ |- run: |run: )", "", line.strip())
            text = re.split(r" \|\| | && | > | >> |; ", text)[0]
            try:
                words = shlex.split(text, comments=True)
            except ValueError:
                continue
            while words and (words[0] == "sudo" or re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0])):
                words.pop(0)
            if not words:
                continue
            program = words[0].rsplit("/", 1)[-1]
            if program in (*_OURS, *_OTHERS) and len(words) > 1 and not words[1].startswith(":"):
                yield Command(str(page.relative_to(ROOT)), number, text, (program, *words[1:]))
