"""The store of runs, history and baselines: what is written down, what survives a broken file, what changed when."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from harness import baselines as baselines_module
from harness import store as store_module
from harness.baselines import Baselines
from harness.cli import cli
from harness.errors import StoreFailed
from harness.history import history, rebuild, remember
from harness.model.history import History, Night
from harness.recording import layout
from harness.runs import Run
from harness.seeds import generator
from harness.soaking import last_good
from harness.store import APART, Store
from harness.whole import write_whole
from tests.recordings import RecordingBuilder, plan

Record = Callable[..., Path]


def agentstorm(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Write a recording into ``reports/`` of a working directory of this test's own."""
    monkeypatch.chdir(tmp_path)
    number = 0

    def write(took_s: float = 0.3, *, night: int = 1, where: str = "reports", **options: Any) -> Path:
        nonlocal number
        number += 1
        path = Path(where) / f"n{number:02d}"
        builder = RecordingBuilder(path, plan(hold_s=4, **options))
        builder.phases(steady=0, cooldown=4)
        for i in range(40):
            builder.request(i / 10, took_s + i / 1000)
        builder.instrument(0, 4)
        builder.close(5)
        manifest = json.loads((path / layout.MANIFEST).read_text())
        manifest |= {"run_id": number, "clock": {"monotonic_ns": 1, "utc": f"2026-11-{night:02d}T01:00:00+01:00"}}
        (path / layout.MANIFEST).write_text(json.dumps(manifest))
        return path

    return write


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_a_report_is_written_down_once_however_often_it_is_made(record: Record) -> None:
    path = record(night=3)
    for _ in range(2):
        assert agentstorm("report", str(path))[0] == 0
    (night,) = Store().nights()
    assert (night.recording, night.scenario, night.target, night.valid) == ("n01", "steady", "synthetic", True)
    assert (night.started.isoformat(), night.requests) == ("2026-11-03T00:00:00", 40)
    assert night.figures["response_time.p50"] == pytest.approx(319.5)


def test_a_report_is_said_to_lie_where_it_does_from_here(record: Record) -> None:
    code, output = agentstorm("judge", str(record().resolve()))
    assert (code, "report       reports/n01/report.html" in output) == (75, True), output


def test_recordings_elsewhere_are_nobodys_business(record: Record) -> None:
    assert agentstorm("report", str(record(where="elsewhere")))[0] == 0
    assert not Store().path.exists()


def test_copies_of_a_run_are_one_night(record: Record) -> None:
    path = record(night=3)
    shutil.copytree(path, "reports/copied")
    for one in (path, Path("reports/copied")):
        remember(one, refuse)
    (night,) = Store().nights()
    assert (night.recording, night.figures.keys() > {"throughput"}) == ("copied", True)
    rebuild(Store(), refuse)
    assert len(Store().nights()) == 1
    assert "1 run" in agentstorm("history")[1]


def test_what_is_kept_apart_is_no_night(record: Record) -> None:
    apart = record(where="reports/sample")
    Path("reports/sample/.no-history").touch()
    record()
    remember(apart, refuse)
    assert not Store().path.exists()
    assert rebuild(Store(), refuse) == 1
    (night,) = Store().nights()
    assert night.recording == "n02"


def test_the_sample_is_kept_apart() -> None:
    assert (Path(__file__).resolve().parents[2] / "reports" / "sample" / APART).is_file()


def test_a_broken_store_fails_no_report_and_is_rebuilt(record: Record) -> None:
    first, second = record(), record(0.4)
    agentstorm("report", str(first))
    Store().path.write_bytes(b"not a database" * 100)
    code, output = agentstorm("report", str(second))
    assert code == 0
    assert "not written into the history" in output
    assert (second / layout.VERDICTS).exists()
    code, output = agentstorm("history")
    assert (code, "history --rebuild" in output) == (1, True)
    code, output = agentstorm("history", "--rebuild")
    assert code == 0
    assert "2 runs" in output
    assert [night.recording for night in Store().nights()] == ["n01", "n02"]


def test_rebuilding_leaves_out_what_cannot_be_read_and_says_so(record: Record) -> None:
    record()
    broken = record()
    (broken / layout.PLAN).write_text("no plan")
    code, output = agentstorm("history", "--rebuild")
    assert code == 0
    assert "n02: left out" in output
    assert len(Store().nights()) == 1


def test_a_store_that_another_process_holds_is_waited_for_and_then_left(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record()
    monkeypatch.setattr(store_module, "_TRIES", 2)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(Store().path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreFailed, match="lock"):
            Store().nights()
        said: list[str] = []
        remember(path, said.append)
        assert "not written into the history" in said[0]
        assert holder.stdin is not None
        holder.stdin.close()
        assert holder.wait(20) == 0
    remember(path, refuse)
    assert len(Store().nights()) == 1


def test_the_store_is_plain_sql(record: Record) -> None:
    rebuild(Store(record().parent), refuse)
    with duckdb.connect(Store().path, read_only=True) as connection:
        rows = connection.execute(
            "SELECT scenario, value FROM runs JOIN figures USING (recording) WHERE metric = 'throughput'"
        ).fetchall()
    assert rows == [("steady", pytest.approx(10.0))]


def nights(values: list[float], **edits: Any) -> list[Night]:
    first = {"scenario": "soak", "experiments": "", "target": "t", "engine": "locust", "scale": 1.0, "question": "q",
             "verdict": "pass", "valid": True, "requests": 1000}  # fmt: skip
    return [
        Night.model_validate(
            {**first, "recording": f"n{i}", "started": f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00",
             "figures": {"response_time.p95": value}, **edits}
        )
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_a_step_over_nights_is_told_with_both_its_sides() -> None:
    random = generator(1, "nights")
    values = [*(100 + random.standard_normal(20)), *(115 + random.standard_normal(10))]
    (series,) = history(nights(values)).series
    (moved,) = series.moved
    assert (moved.metric, moved.last_before, moved.since, moved.worse) == ("response_time.p95", "n19", "n20", True)
    assert moved.before == pytest.approx(100, abs=1)
    assert moved.after == pytest.approx(115, abs=1)


def test_series_are_not_mixed_and_invalid_nights_not_looked_at() -> None:
    values = [100.0 + i % 3 for i in range(20)]
    mixed = [*nights(values), *nights([2 * v for v in values], target="other"), *nights(values, question="longer")]
    found = history(mixed)
    assert len(found.series) == 3
    assert not any(series.moved for series in found.series)
    (series,) = history([*nights(values), *nights([500.0] * 20, valid=False)]).series
    assert (len(series.nights), series.moved) == (40, ())


def set_to(program: str = "serve", port: int = 9000, **env: str) -> dict[str, Any]:
    """A target whose service is started so."""
    service = {"command": [program], "port": port, "env": env}
    return {"system": {"kind": "processes", "services": {"agents": service}}}


def test_a_changed_setting_is_a_series_of_its_own_and_no_change_of_the_system(record: Record) -> None:
    before, after = [100.0 + i % 3 for i in range(12)], [200.0 + i % 3 for i in range(6)]
    (one,) = history(nights([*before, *after])).series
    assert [moved.since for moved in one.moved] == ["n12"], "as it was told of a system that somebody set otherwise"
    found = history([*nights(before, settings={}), *nights(after, settings={"AGENTS_PROFILE": "happyos"})])
    assert [(len(series.nights), series.moved) for series in found.series] == [(12, ()), (6, ())]
    record(night=1, target=set_to())
    record(night=2, target=set_to(AGENTS_PROFILE="happyos"))
    rebuild(Store(), refuse)
    assert [night.settings for night in Store().nights()] == [{}, {"agents.AGENTS_PROFILE": "happyos"}]
    _, output = agentstorm("history")
    assert "steady on synthetic, agents.AGENTS_PROFILE unset: 1 run" in output
    assert "steady on synthetic, agents.AGENTS_PROFILE=happyos: 1 run" in output


def test_series_that_differ_in_their_load_alone_say_so(record: Record) -> None:
    for night, rate in enumerate(("10/s", "20/s"), 1):
        record(night=night, load={"kind": "rate", "rate": rate, "hold": "4s"})
    rebuild(Store(), refuse)
    _, output = agentstorm("history")
    assert "steady on synthetic, load.rate=10/s: 1 run" in output
    assert "steady on synthetic, load.rate=20/s: 1 run" in output
    with duckdb.connect(Store().path) as connection:
        connection.execute("DROP TABLE asked")
    shutil.rmtree("reports/n02")
    assert [night.asked is None for night in Store().nights()] == [False, True], "of an older store it is looked up"


def test_a_new_version_elsewhere_with_another_seed_stays_in_its_series(record: Record) -> None:
    for version in (1, 2):
        started = set_to(f"/opt/v{version}/serve", 9000 + version, APP_VERSION=f"{version}.0")
        record(night=version, seed=version, target=started)
    rebuild(Store(), refuse)
    (series,) = history(Store().nights()).series
    assert (len(series.nights), series.apart) == (2, ())


def test_the_last_good_run_is_one_with_the_same_settings(record: Record) -> None:
    passes = {"response_time": ["p(50)<3s"]}
    first = record(night=1, thresholds=passes, target=set_to())
    record(night=2, thresholds=passes, target=set_to(AGENTS_PROFILE="happyos"))
    now = record(night=3, thresholds=passes, target=set_to(port=9001))
    rebuild(Store(), refuse)
    found = last_good(Store().nights(), Run.open(now))
    assert found is not None
    assert found.recording == first.name


def test_a_store_that_is_older_than_settings_still_opens_and_learns_them(record: Record) -> None:
    here = record(night=1, target=set_to(AGENTS_PROFILE="happyos"))
    gone = record(night=2, target=set_to(AGENTS_PROFILE="happyos"))
    rebuild(Store(), refuse)
    with duckdb.connect(Store().path) as connection:
        connection.execute("DROP TABLE settings")
    shutil.rmtree(gone)
    for _ in range(2):
        told = [night.settings for night in Store().nights()]
        assert told == [{"agents.AGENTS_PROFILE": "happyos"}, None]
        shutil.rmtree(here, ignore_errors=True)  # the second time it is in the store
    assert "steady on synthetic, settings not known: 1 run" in agentstorm("history")[1]
    added = record(night=3, target=set_to())
    remember(added, refuse)
    assert Store().nights()[-1].settings == {}


def test_an_old_store_that_cannot_be_written_is_read(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    record(target=set_to(AGENTS_PROFILE="happyos"))
    rebuild(Store(), refuse)
    with duckdb.connect(Store().path) as connection:
        connection.execute("DROP TABLE settings")
    connect = Store._connect

    def read_only(store: Store, *, writing: bool) -> Any:
        if writing:
            raise OSError("read-only file system")
        return connect(store, writing=False)

    monkeypatch.setattr(Store, "_connect", read_only)
    (night,) = Store().nights()
    assert night.settings == {"agents.AGENTS_PROFILE": "happyos"}


def test_history_shows_what_it_is_asked_for(record: Record) -> None:
    assert "no runs here yet" in agentstorm("history")[1]
    for number in range(12):
        record(0.3 if number < 8 else 0.6, night=number + 1)
    agentstorm("history", "--rebuild")
    code, output = agentstorm("history")
    assert code == 0
    assert "steady on synthetic: 12 runs" in output
    assert "response_time.p95 is worse since 2026-11-09 00:00" in output
    assert output.count("response_time.p50 ") > output.count("service_time.p95 ")
    assert "no runs" in agentstorm("history", "--scenario", "none")[1]
    found = History.model_validate_json(agentstorm("history", "--json", "--metric", "throughput")[1])
    assert found.series[0].moved == ()
    assert agentstorm("history", "--metric", "p95")[0] == 2


def test_baselines_are_kept_beside_the_recordings(record: Record) -> None:
    assert "no baseline yet" in agentstorm("baseline", "list")[1]
    one, two, far = record(), record(), record(where="elsewhere")
    assert agentstorm("baseline", "set", "main", str(one), str(two)) == (0, "main  2 runs\n")
    assert agentstorm("baseline", "set", "v1.2", str(far))[0] == 0
    assert json.loads(Path("reports/baselines.json").read_text()) == {
        "main": ["n01", "n02"], "v1.2": [str(far.resolve())]
    }  # fmt: skip
    (two / layout.MANIFEST).unlink()
    two.rename("reports/moved")
    _, output = agentstorm("baseline", "list")
    assert "reports/n02  (gone)" in output
    for arguments, says in (
        (("set", "main", "reports/none"), "no such directory"),
        (("set", "a b", str(one)), "cannot be the name"),
    ):
        code, output = agentstorm("baseline", *arguments)
        assert (code, says in output) == (1, True)
    Path("reports/baselines.json").write_text("[]")
    code, output = agentstorm("baseline", "list")
    assert (code, "cannot be read" in output) == (1, True)


def test_names_that_are_given_at_once_are_all_kept(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = record(), record()
    has_read = threading.Event()

    def slowly(path: Path, text: str) -> None:
        has_read.set()
        threading.Event().wait(0.2)  # for the other to have read, too, if nothing keeps it
        write_whole(path, text)

    monkeypatch.setattr(baselines_module, "write_whole", slowly)
    first = threading.Thread(target=Baselines().set, args=("first", [one]))
    first.start()
    assert has_read.wait(5)
    Baselines().set("second", [two])
    first.join()
    assert Baselines().all().keys() == {"first", "second"}


def test_writers_of_one_file_have_drafts_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, replace = tmp_path / "x.json", Path.replace

    def meanwhile(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        write_whole(path, "second")
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    write_whole(path, "first")
    assert path.read_text() == "first"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half an emoji: \ud83d")
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]
