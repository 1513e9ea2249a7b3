"""What is appended to a workflow's summary: bounded, cut between lines, folded parts closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.step_summary import MOST, append, bounded

if TYPE_CHECKING:
    from pathlib import Path


def table(rows: int) -> str:
    body = "".join(f"| {n} | größer |\n" for n in range(rows))
    return f"## Fail\n\n| a | b |\n| --- | --- |\n{body}\n<details>\n<summary>more</summary>\n\n{body}\n</details>\n"


@pytest.mark.parametrize("most", range(150, 1200, 7))
def test_it_is_cut_between_rows_and_closes_what_it_opened(most: int) -> None:
    text = table(20)
    cut = bounded(text, most)
    assert len(cut.encode()) <= most
    if cut != text:
        assert cut.count("<details>") == cut.count("</details>")
        lines, whole = cut.splitlines(), text.splitlines()
        kept = next(n for n, (mine, theirs) in enumerate(zip(lines, whole, strict=False)) if mine != theirs)
        missing = int(lines[-1].split()[0].lstrip("_"))
        assert "more lines did not fit" in lines[-1]
        # Where the next line is empty, as the one before the note is, it looks as if it were there.
        assert kept + missing - len(whole) in (0, 1)
        assert set(lines[kept:-1]) <= {"", "</details>"}


def test_what_fits_is_left_as_it_is_and_nothing_is_written_where_not_even_the_note_fits() -> None:
    assert bounded("short\n", 100) == "short\n"
    assert bounded(table(20), 40) == ""
    assert bounded(table(20), -5) == ""


def test_without_a_summary_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    append("text", pytest.fail)


def test_steps_append_and_all_of_them_stay_below_what_github_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    append("## One\n\n[The whole report](report.html)", pytest.fail)
    append("## Two\n\n[All of it](readiness.md) and [this](https://example.org)", pytest.fail)
    said = path.read_text(encoding="utf-8")
    assert said == (
        "## One\n\nThe whole report: `report.html`\n\n## Two\n\nAll of it: `readiness.md` and "
        "[this](https://example.org)\n\n"
    )
    for _ in range(4):
        append(table(15_000), pytest.fail)
    assert MOST - 200 < path.stat().st_size <= MOST < 1024 * 1024


def test_a_summary_that_cannot_be_written_is_complained_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    said: list[str] = []
    append("text", said.append)
    assert "step summary was not written" in said[0]
