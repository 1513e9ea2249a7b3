"""The journal: what was written before a run died is what is read after."""

from __future__ import annotations

import errno
import json
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import journal
from harness.errors import RecordingError
from harness.journal import Journal, Start, journals, read, started_at
from tests.processes import another

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "recording", 0xABC, tmp_path)) as opened:
        yield opened


def test_what_is_not_healed_is_read_back(open_journal: Journal, tmp_path: Path) -> None:
    process = open_journal.process(os.getpid(), "gateway")
    proxy = open_journal.proxy("127.0.0.1:8474", "agentstorm-0000000000000abc-bedrock")
    fault = open_journal.fault(
        "refuse-bedrock-1", api="127.0.0.1:8474", proxy="agentstorm-0000000000000abc-bedrock", toxics=[]
    )
    open_journal.healed(fault)
    open_journal.healed(fault)  # again: nothing happens

    found = read(open_journal.path)
    assert [(e.number, e.kind) for e in found.still_open] == [(process, "process"), (proxy, "proxy")]
    assert found.still_open[0].data["create_time"] == started_at(os.getpid())
    assert (found.run_id, found.recording) == (0xABC, str(tmp_path / "recording"))
    assert found.owned
    assert list(found.still_open) == open_journal.still_open()

    assert not open_journal.close()
    assert journals(tmp_path) == [open_journal.path]


def test_it_goes_when_everything_is_undone(open_journal: Journal, tmp_path: Path) -> None:
    open_journal.healed(open_journal.proxy("a:1", "p"))
    assert open_journal.close()
    assert journals(tmp_path) == []
    assert list((tmp_path / "runs").iterdir()) == []


def test_each_line_is_on_disk_before_the_call_returns(open_journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(open_journal.path.read_text().splitlines()[-1])

    monkeypatch.setattr(os, "fsync", fsync)
    open_journal.fault("refuse-bedrock-1", api="a:1", proxy="p", toxics=[])
    assert json.loads(synced[0])["fault_id"] == "refuse-bedrock-1"


def test_a_cut_last_line_was_never_acted_on(open_journal: Journal) -> None:
    kept = open_journal.proxy("a:1", "first")
    open_journal.proxy("a:1", "second")
    text = open_journal.path.read_text()
    last = text.splitlines(keepends=True)[-1]
    for cut in range(1, len(last) + 1):
        open_journal.path.write_text(text[:-cut])
        assert [e.number for e in read(open_journal.path).still_open] == [kept]


@pytest.mark.parametrize("text", ["", "not json\n", '{"entry": 1, "kind": "proxy"}\n', "[]\n"])
def test_what_is_no_journal_is_an_error_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(RecordingError, match="delete the file"):
        read(path)


def test_another_process_of_the_same_number_is_not_the_owner(open_journal: Journal) -> None:
    own_by(open_journal, another(started_at(os.getpid())))
    assert not read(open_journal.path).owned


def own_by(opened: Journal, create_time: Start) -> None:
    owner = json.loads(opened.path.read_text().splitlines()[0])
    opened.path.write_text(json.dumps({**owner, "create_time": create_time}) + "\n")


def test_a_step_of_the_wall_clock_makes_no_living_run_look_dead(
    open_journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc/sys/kernel/random/boot_id").exists():
        pytest.skip("what there is here moves with the wall clock")
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + 3600)
    assert read(open_journal.path).owned


def test_a_process_of_another_boot_is_another_whatever_its_ticks(open_journal: Journal) -> None:
    own_by(open_journal, f"another-boot/{str(started_at(os.getpid())).rpartition('/')[2]}")
    assert not read(open_journal.path).owned


def test_a_journal_of_an_earlier_version_is_read_with_its_wall_times(open_journal: Journal) -> None:
    wall = psutil.Process().create_time()
    own_by(open_journal, wall + 0.5)
    assert read(open_journal.path).owned
    own_by(open_journal, wall - 60)
    assert not read(open_journal.path).owned


def test_without_proc_wall_times_have_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_boot_id", lambda: "")
    started = started_at(os.getpid())
    assert isinstance(started, float)
    assert journal.is_same(os.getpid(), started)
    assert not journal.is_same(os.getpid(), "some-boot/1")


def test_a_name_may_hold_anything_and_a_zombie_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PROC", tmp_path)
    monkeypatch.setattr(journal, "_boot_id", lambda: "boot")
    for pid, state in ((7, "S"), (8, "Z")):
        (tmp_path / str(pid)).mkdir()
        numbers = " ".join(map(str, range(4, 53)))  # each the number of its field
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) Z (b \n) {state} {numbers}\n")
    assert [started_at(pid) for pid in (7, 8, 9)] == ["boot/22", None, None]


def test_the_state_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTSTORM_STATE", str(tmp_path / "there"))
    assert journal.runs_dir() == tmp_path / "there" / "runs"


def test_a_run_id_is_used_once(open_journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "recording", 0xABC, tmp_path)


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with closing(Journal(tmp_path / "recording", 0xABC, tmp_path)) as opened:
        opened.proxy("a:1", "p")
        found = read(opened.path)
        assert (found.run_id, found.owned, len(found.still_open)) == (0xABC, True, 1)
        assert [path.name for path in (tmp_path / "runs").iterdir()] == [opened.path.name]
        with pytest.raises(FileExistsError):
            Journal(tmp_path / "recording", 0xABC, tmp_path)
        assert len(read(opened.path).still_open) == 1, "another run's journal is not touched"


@settings(max_examples=25)  # each line is an fsync
@given(st.lists(st.one_of(st.just("add"), st.integers(0, 20)), max_size=30))
def test_open_entries_are_what_was_added_less_what_was_healed(
    tmp_path_factory: pytest.TempPathFactory, acts: list[str | int]
) -> None:
    with_journal = Journal(tmp_path_factory.mktemp("r"), 1, tmp_path_factory.mktemp("s"))
    made: list[int] = []
    healed: set[int] = set()
    for act in acts:
        if isinstance(act, str):
            made.append(with_journal.proxy("a:1", "p"))
        elif act < len(made):
            with_journal.healed(made[act])
            healed.add(made[act])
    expected = [number for number in made if number not in healed]
    assert [e.number for e in read(with_journal.path).still_open] == expected
    assert with_journal.close() == (not expected)
