"""What travels to a worker on another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.traffic import workload_files
from harness.traffic.workload_files import TooMuch, pack, unpack


def test_the_folder_travels_whole_without_what_is_hidden(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for name in ("load.py", "words.jsonl", "tools/deep/asking.py", ".env", ".git/config", "__pycache__/load.pyc"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(name.encode())
    files = pack(here / "load.py")
    assert sorted(files) == ["load.py", "tools/deep/asking.py", "words.jsonl"]
    unpack(files, there)
    assert {p.relative_to(there).as_posix(): p.read_bytes() for p in there.rglob("*") if p.is_file()} == files


def test_too_much_is_an_error_not_half_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload_files, "MOST_BYTES", 1 << 20)
    (tmp_path / "load.py").write_text("")
    (tmp_path / "big").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(TooMuch, match="more than 1 MiB"):
        pack(tmp_path / "load.py")
    (tmp_path / "big").unlink()
    monkeypatch.setattr(workload_files, "MOST_FILES", 2)
    for n in range(2):
        (tmp_path / f"{n}.py").write_text("")
    with pytest.raises(TooMuch, match="or 2 files"):
        pack(tmp_path / "load.py")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up"])
def test_nothing_is_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        unpack({name: b""}, tmp_path / "in")
    assert not (tmp_path / "up").exists()
