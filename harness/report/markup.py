"""GitHub-flavoured Markdown: names that stay names, tables, parts that are folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|~"})


def plain(text: str) -> str:
    """Escape what Markdown or HTML would read as markup; a name stays a name."""
    return " ".join(text.translate(_SPECIAL).split())


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> list[str]:
    """Return a table whose last columns, from `numbers` on, are right-aligned."""
    rule = ["---" if i < numbers else "---:" for i in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def fold(summary: str, body: Sequence[str]) -> list[str]:
    """Return a part that is closed until somebody opens it; nothing for an empty one."""
    return ["<details>", f"<summary>{plain(summary)}</summary>", "", *body, "", "</details>", ""] if body else []
