"""Arrivals from a file: exact, or one message with the line, what stands there and what was allowed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import PlanError
from harness.traffic import arrivals


def write(folder: Path, text: str) -> Path:
    path = folder / "a.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("0\n0.5\n1.25\n", None),
        ("seconds\n0\n0.5\n1.25\n", None),
        ("# a trace\n\n0\n 0.5 \n\n125e-2", None),
        ("\ufeffid,at,name\r\n1,0,a\r\n2,0.5,\"b,c\"\r\n3,1.25,d\r\n", "at"),
    ],
)  # fmt: skip
def test_forms_of_the_same_times(tmp_path: Path, text: str, column: str | None) -> None:
    assert arrivals.read(write(tmp_path, text), column).tolist() == [0, 500_000_000, 1_250_000_000]


@given(st.lists(st.integers(0, 31 * 86_400 * 10**9 - 1), min_size=1, max_size=20))
def test_every_nanosecond_is_kept(tmp_path_factory: pytest.TempPathFactory, times: list[int]) -> None:
    path = write(tmp_path_factory.mktemp("a"), "\n".join(str(Decimal(t).scaleb(-9)) for t in sorted(times)))
    assert arrivals.read(path).tolist() == sorted(times)


@pytest.mark.parametrize(
    ("text", "column", "line", "said", "hint"),
    [
        ("0\n0.5\nx\n", None, 3, "'x' is no time of an arrival", "seconds from the start of the load"),
        ("0\n-1\n", None, 2, "'-1' is no time of an arrival", "not negative"),
        ("nan\n", None, 1, "'nan' is no time of an arrival", "ascending"),
        ("t\n0\n\n3\n2\n", None, 5, "'2' is earlier than the arrival before it (3 s)", "sort the file"),
        ("1732464000\n", None, 1, "'1732464000' is no time of an arrival", "times of day, subtract the first"),
        ("a,b\n1,2\n", None, 1, "has 2 columns and nothing says which", "first line: a, b"),
        ("a,seconds\n1,2\n", "second", 1, "the header has no column 'second'", "did you mean 'seconds'?"),
        ("a,b\n1,2\n3\n", "b", 3, "the line has 1 columns", "at least 2 columns"),
        ("0\n1,2\n", None, 2, "the line has 2 columns", "a number alone"),
        ("", None, 0, "holds no arrivals", "seconds"),
        ("seconds\n", None, 0, "a header and no arrivals", "seconds"),
    ],
)
def test_bad_lines(tmp_path: Path, text: str, column: str | None, line: int, said: str, hint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PlanError) as caught:
        arrivals.read(path, column)
    assert caught.value.where == (f"{path}:{line}" if line else str(path))
    assert said in caught.value.what
    assert hint in caught.value.hint


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe0\x00")
    with pytest.raises(PlanError, match="cannot be read"):
        arrivals.read(tmp_path / "a.csv")
