"""The journal: what was written before a run died is what is read after."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import journal
from harness.errors import RecordingError
from harness.journal import Journal, journals, read, started_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
    assert found.still_open[0].data["create_time"] == pytest.approx(started_at(os.getpid()), abs=1)
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
    lines = open_journal.path.read_text().splitlines()
    owner = json.loads(lines[0])
    open_journal.path.write_text(json.dumps({**owner, "create_time": owner["create_time"] - 60}) + "\n")
    assert not read(open_journal.path).owned


def test_the_state_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGENTSTORM_STATE", str(tmp_path / "there"))
    assert journal.runs_dir() == tmp_path / "there" / "runs"


def test_a_run_id_is_used_once(open_journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        Journal(tmp_path / "recording", 0xABC, tmp_path)


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
