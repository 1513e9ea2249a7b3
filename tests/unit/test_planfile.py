"""A bad plan costs one clear message: file, line, key, what was expected."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness import blas
from harness.errors import PlanError
from harness.planfile import dump, plan_hash, resolve
from harness.recording.reader import load_plan
from harness.runs import differing

SCENARIO = """\
scenario: tiny
workload: w.py
load: {kind: users, users: 3, hold: 60s, warmup: 5s, spawn: 2/s}
thresholds:
  response_time: ["p(95)<3s"]
"""
TARGET = """\
target: mine
system: {kind: external}
url: http://127.0.0.1:8000
upstreams:
  bedrock: {address: "127.0.0.1:9000"}
observe:
  provider: header:x-provider
"""
CHAOS = """\
experiment: gone
faults:
  - kind: refuse
    upstream: bedrock
    at: 10s
    for: 5s
"""

USERS_LOAD = "{kind: users, users: 3, hold: 60s, warmup: 5s, spawn: 2/s}"
KINDS = "needs a 'kind'; known: users, rate, replay, spike, steps, capacity"
ADDRESS = '{address: "127.0.0.1:9000"}'


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder, name, text in (
        ("scenarios", "s.yaml", SCENARIO),
        ("scenarios", "w.py", "# a workload"),
        ("targets", "t.yaml", TARGET),
        ("chaos", "c.yaml", CHAOS),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(**options: object) -> object:
    return resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", **{"seed": 1, **options})  # type: ignore[arg-type]


def test_the_plan_tells_what_it_was_read_from_and_is_the_same_without(files: Path) -> None:
    told = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1, overrides=["about=x"])
    assert told.files is not None
    assert told.files.model_dump() == {
        "scenario": "scenarios/s.yaml", "experiments": (), "target": "targets/t.yaml", "overrides": ("about=x",)
    }  # fmt: skip
    assert plan_hash(told) == plan_hash(told.model_copy(update={"files": None}))


def test_a_plan_keeps_what_of_the_environment_sets_its_system(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = "{kind: processes, settings: [MINE_*], services: {a: {command: [serve]}}}"
    (files / "targets" / "t.yaml").write_text(TARGET.replace("{kind: external}", system))
    monkeypatch.delenv("MINE_PROFILE", raising=False)
    without = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    monkeypatch.setenv("MINE_PROFILE", "happyos")
    monkeypatch.setenv("MINE_TOKEN", "secret")
    told = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    assert (without.environment, told.environment) == ({}, {"MINE_PROFILE": "happyos"})
    assert plan_hash(without) != plan_hash(told) == plan_hash(load_plan(dump(told)))


@pytest.mark.usefixtures("one_thread")
def test_what_we_set_for_our_own_processes_sets_no_system(files: Path) -> None:
    system = "{kind: processes, settings: [OPENBLAS_*], services: {a: {command: [serve]}}}"
    (files / "targets" / "t.yaml").write_text(TARGET.replace("{kind: external}", system))
    assert blas.THREADS in os.environ
    assert resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1).environment == {}


def test_a_plan_survives_its_file(files: Path) -> None:
    first = resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    again = load_plan(dump(first))
    assert again.model_dump(mode="json", by_alias=True) == first.model_dump(mode="json", by_alias=True)
    assert plan_hash(again) == plan_hash(first)


def test_scale_shortens_the_timeline_and_nothing_else(files: Path) -> None:
    short = resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1, scale=0.1)
    load = short.scenario.load
    assert load.kind == "users"
    assert [load.hold, load.warmup] == pytest.approx([6, 0.5])
    assert load.users == 3
    assert load.spawn == pytest.approx(20), "as many users within the shorter warm-up"
    fault = short.experiments[0].faults[0]
    assert [fault.at, fault.for_s] == pytest.approx([1, 0.5])
    assert short.scenario.slo.response_time == 3
    assert short.scenario.slo.window == pytest.approx(1)
    assert "scale 0.1" in short.title


def test_overrides_reach_scenario_and_target(files: Path) -> None:
    changed = resolve(
        "scenarios/s.yaml", [], "targets/t.yaml", seed=1, overrides=["load.users=7", "target.url=http://localhost:1"]
    )
    assert changed.scenario.load.kind == "users"
    assert (changed.scenario.load.users, changed.target.url) == (7, "http://localhost:1")


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "where", "says"),
    [
        ("chaos/c.yaml", "at: 10s", "at: {load: 180%}", "c.yaml:5", "at.load: input should be less than or equal to 1"),
        ("chaos/c.yaml", "at: 10s", "at: {lod: 80%}", "c.yaml:5", "did you mean 'load'"),
        ("chaos/c.yaml", "at: 10s", "at: 10", "c.yaml:5", "at: 10 is no duration"),
        ("chaos/c.yaml", "    at: 10s\n", "", "c.yaml:3", "begins 'at', 'after' or 'when'"),
        ("chaos/c.yaml", "at: 10s", "at: 10s\n    when: {requests: rate>3 over 5s}", "c.yaml:6", "found at and when"),
        ("chaos/c.yaml", "at: 10s", "when: {requests: rate>3}", "c.yaml:5", "needs a window"),
        ("chaos/c.yaml", "at: 10s", "when: {recovery_time: max<3s over 5s}", "c.yaml:5", "only known after the run"),
        ("chaos/c.yaml", "at: 10s", "after: {recovered: gon}", "c.yaml:3: experiment gone", "'gon'"),
        ("chaos/c.yaml", "faults:", "steady_state: {request_faild: rate<0.1}\nfaults:", "c.yaml:2", "request_failed"),
        ("chaos/c.yaml", "faults:", "steady_state: {recovery_time: max<3s}\nfaults:", "c.yaml:2", "after the run"),
        ("chaos/c.yaml", "faults:", "abort: ['error_budget: brn>3 over 1m']\nfaults:", "c.yaml:2", "allowed: burn"),
        ("chaos/c.yaml", "faults:", "thresholds: {error_budget: burn<3}\nfaults:", "c.yaml:2", "over a window"),
        ("scenarios/s.yaml", "users: 3", "usrs: 3", "s.yaml:3", "did you mean 'users'"),
        ("scenarios/s.yaml", "hold: 60s", "hold: 60", "s.yaml:3", "is no duration"),
        ("scenarios/s.yaml", "hold: 60s, ", "", "s.yaml:3", "'hold' is missing"),
        ("scenarios/s.yaml", "users: 3", "users: 0", "s.yaml:3", "greater than 0"),
        ("scenarios/s.yaml", "kind: users", "kind: user", "s.yaml:3", "did you mean 'users'"),
        ("scenarios/s.yaml", "kind: users, ", "", "s.yaml:3", KINDS),
        ("scenarios/s.yaml", USERS_LOAD, "5", "s.yaml:3", f"{KINDS} (found 5)"),
        ("scenarios/s.yaml", "response_time", "respons_time", "s.yaml:5", "did you mean 'response_time'"),
        ("scenarios/s.yaml", "p(95)<3s", "p(95)<3", "s.yaml:5", "needs a unit of time"),
        ("scenarios/s.yaml", "w.py", "none.py", "s.yaml:2", "no file 'none.py'"),
        ("scenarios/s.yaml", "scenario: tiny", "scenario: [", "s.yaml:", "not YAML"),
        ("scenarios/s.yaml", "thresholds:", "workload: x\nthresholds:", "s.yaml:4", "not YAML"),
        ("targets/t.yaml", "header:x-provider", "heder:x-provider", "t.yaml:7", "is no source"),
        ("targets/t.yaml", "kind: external", "kind: extrenal", "t.yaml:2", "did you mean 'external'"),
        ("targets/t.yaml", "http://127.0.0.1:8000", "http://example.com", "t.yaml:3", "allow_hosts"),
        ("targets/t.yaml", "kind: external", "file: x", "t.yaml:2", "a 'kind'; known: processes, external, compose"),
        ("targets/t.yaml", ADDRESS, "'127.0.0.1:9000'", "t.yaml:5", "as in {address: ...} (found '127.0.0.1:9000')"),
        ("targets/t.yaml", "\n  provider: header:x-provider", " x", "t.yaml:6", "with any of provider, cached,"),
        ("targets/t.yaml", f"\n  bedrock: {ADDRESS}", " x", "t.yaml:4", "keys and values were expected (found 'x')"),
        ("targets/t.yaml", "127.0.0.1:9000", "api.openai.com:443", "t.yaml:5", "in front of it (docs/docker.md)"),
        ("targets/t.yaml", "127.0.0.1:9000", "https://api.openai.com/v1", "t.yaml:5", "host:port, without https://"),
        ("targets/t.yaml", "  bedrock:", "\tbedrock:", "t.yaml:5", "indent with spaces"),
        ("targets/t.yaml", "bedrock:", "my provider:", "t.yaml:5", "upstreams.my provider"),  # parts of URLs
        ("targets/t.yaml", "bedrock:", "eu/bedrock:", "t.yaml:5", "upstreams.eu/bedrock"),
        ("targets/t.yaml", "bedrock:", "a=b:", "t.yaml:5", "upstreams.a=b"),
        ("chaos/c.yaml", "kind: refuse\n    upstream", "upstream", "c.yaml:3", "a 'kind'; known: refuse, reset, "),
        ("chaos/c.yaml", "kind: refuse", "kind: refus", "c.yaml:3", "did you mean 'refuse'"),
        ("chaos/c.yaml", "upstream: bedrock", "upstream: bedrok", "c.yaml:3", "did you mean 'bedrock'"),
        ("chaos/c.yaml", "at: 10s", "during: {state: down}", "c.yaml:3", "a load of kind 'users' has no states"),
        ("chaos/c.yaml", "at: 10s", "during: {stat: down}", "c.yaml:5", "did you mean 'state'"),
        ("chaos/c.yaml", "    for: 5s\n", "", "c.yaml:3", "key 'for' is missing"),
        ("chaos/c.yaml", "at: 10s", "during: {state: down}\n    repeat: 2", "c.yaml:6", "is on once"),
        ("chaos/c.yaml", "at: 10s", "at: ten", "c.yaml:5", "is no duration"),
        ("chaos/c.yaml", "at: 10s", "at: 58s", "c.yaml:3", "before"),
        ("chaos/c.yaml", "for: 5s", "for: 5s\n    latency: 1s", "c.yaml:7", "unknown key 'latency'"),
        ("chaos/c.yaml", "experiment: gone", "experiment: gone\nabort: ['x']", "c.yaml:2", "abort condition"),
    ],
)
def test_every_mistake_says_where_and_what(files: Path, name: str, old: str, new: str, where: str, says: str) -> None:
    edit(files, name, old, new)
    with pytest.raises(PlanError) as caught:
        plan()
    message = str(caught.value)
    assert where in message
    assert says in message
    assert caught.value.exit_code == 104


@pytest.mark.parametrize(
    ("load", "where", "says"),
    [
        ("{kind: steps, steps: [{users: 3, hold: 60s}, {rate: 3/s, hold: 1s}]}", "s.yaml:3",
         "step 2 gives 'rate' and step 1 'users'"),
        ("{kind: steps, steps: [{hold: 60s}]}", "s.yaml:3", "either 'users' (closed loop) or 'rate' (open loop)"),
        ("{kind: steps, steps: [{users: 1, rate: 1/s, hold: 60s}]}", "s.yaml:3", "either 'users'"),
        ("{kind: steps, steps: [{users: -1, hold: 60s}]}", "s.yaml:3", "greater than or equal to 0"),
        ("{kind: steps, steps: [{users: 0, hold: 60s}]}", "s.yaml:3", "there is no load"),
        ("{kind: steps, steps: []}", "s.yaml:3", "at least 1 item"),
        ("{kind: steps, steps: [{users: 3}]}", "s.yaml:3", "key 'hold' is missing"),
        ("\n  kind: steps\n  steps:\n    - {users: 3, hold: 60s}\n    - {user: 9, hold: 1s}", "s.yaml:7",
         "did you mean 'users'"),
        ("{kind: steps, arrivals: poisson, steps: [{users: 3, hold: 60s}]}", "s.yaml:3", "is for steps of 'rate'"),
        ("{kind: steps, hold: 9s, steps: [{users: 3, hold: 60s}]}", "s.yaml:3", "unknown key 'hold'"),
        ("{kind: replay, file: nine.csv}", "s.yaml:3", "did you mean 'ninety.csv'"),
        ("{kind: replay}", "s.yaml:3", "key 'file' is missing"),
        ("{kind: replay, file: ninety.csv, warmup: 2m}", "s.yaml:3", "within the warm-up"),
        ("{kind: replay, file: late.csv, hold: 30s}", "s.yaml:3", "after the load has ended"),
        ("{kind: replay, file: bad.csv}", "bad.csv:2", "'soon' is no time of an arrival"),
        ("{kind: capacity, min: 9/s, max: 3/s, budget: 1h}", "s.yaml:3", "'max' (3/s) must lie above 'min' (9/s)"),
        ("{kind: capacity, min: 9/s, max: 30/s}", "s.yaml:3", "key 'budget' is missing"),
        ("{kind: capacity, min: 9/s, max: 30/s, budget: 30s}", "s.yaml:3", "300 requests, which good_share 0.99 needs"),
        ("{kind: capacity, min: 9/s, max: 30/s, budget: 1h, resolution: 5}", "s.yaml:3", "less than or equal to 1"),
        ("{kind: capacity, min: 9/s, max: 30/s, budget: 1h, settle: {longest: 1s}}", "s.yaml:3", "than 'shortest'"),
        ("{kind: capacity, min: 9/s, max: 30/s, budget: 1h, states: [a, a]}", "s.yaml:3", "state 'a' is named twice"),
        ("{kind: capacity, min: 9/s, max: 30/s, budget: 1h, states: [healthy, cold]}", "s.yaml:3",
         "no fault of the plan is on during the state 'cold'"),
    ],
)  # fmt: skip
def test_a_bad_load_says_where_and_what(files: Path, load: str, where: str, says: str) -> None:
    arrive(files)
    edit(files, "scenarios/s.yaml", USERS_LOAD, load)
    with pytest.raises(PlanError) as caught:
        plan()
    assert where in str(caught.value)
    assert says in str(caught.value)


def arrive(files: Path) -> None:
    for name, text in (("ninety", "\n".join(map(str, range(91)))), ("late", "40\n50"), ("bad", "1\nsoon")):
        (files / "scenarios" / f"{name}.csv").write_text(text)


def test_a_replayed_file_is_in_the_plan_as_hash_and_count(files: Path) -> None:
    arrive(files)
    edit(files, "scenarios/s.yaml", USERS_LOAD, "{kind: replay, file: ninety.csv, warmup: 10s}")
    whole = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    load, replayed = whole.scenario.load, whole.replayed
    assert replayed
    assert (load.total_s, load.measured_s) == pytest.approx((90.001, 80.001))
    assert (replayed.arrivals, replayed.in_file) == (91, 91)
    (files / "scenarios" / "ninety.csv").unlink()
    again = load_plan(dump(whole))
    assert again == whole, "a recording needs the file no more"
    assert plan_hash(again) == plan_hash(whole)


def test_scale_replays_the_beginning_of_the_file_at_its_own_rate(files: Path) -> None:
    arrive(files)
    edit(files, "scenarios/s.yaml", USERS_LOAD, "{kind: replay, file: ninety.csv, warmup: 10s}")
    short = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1, scale=0.1)
    assert (short.scenario.load.warmup, short.scenario.load.total_s) == pytest.approx((1, 9.0001))
    assert short.replayed
    assert (short.replayed.arrivals, short.replayed.in_file) == (10, 91)
    with pytest.raises(PlanError, match="cannot be lengthened"):
        plan(scale=2)


def test_steps_are_scaled_and_their_boundaries_known(files: Path) -> None:
    steps = "{kind: steps, warmup: 20s, steps: [{users: 3, hold: 60s}, {users: 9, ramp: 10s, hold: 50s}]}"
    edit(files, "scenarios/s.yaml", USERS_LOAD, steps)
    load = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1, scale=0.1).scenario.load
    assert (load.total_s, load.measured_s) == pytest.approx((14, 12))
    (at, first, _), (then, second, data) = load.boundaries
    assert (at, then) == pytest.approx((0, 8))
    assert (first, second) == ("step 1 of 2: 3 users", "step 2 of 2: 9 users")
    assert data == {"step": 2, "of": 2, "users": 9, "ramp_s": pytest.approx(1)}
    assert not load.open_loop


@pytest.mark.parametrize("override", ["users", "=3", "load.kind.x=1", "load.users=[", "nope.users=3"])
def test_a_bad_override_is_named(files: Path, override: str) -> None:
    with pytest.raises(PlanError, match="--set"):
        plan(overrides=[override])


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("experiment.faults=3", "edit a copy of the experiment"),
        ("load.kind.x=3", "it is a single value: --set load.kind=..."),
        ("target.url.x=3", "it is a single value: --set target.url=..."),
        ("thresholds.response_time.x=3", "it is a list, and set as a whole: --set thresholds.response_time=..."),
    ],
)
def test_a_bad_override_says_what_can_be_set(files: Path, override: str, hint: str) -> None:
    with pytest.raises(PlanError, match=re.escape(hint)) as caught:
        plan(overrides=[override])
    assert str(caught.value).startswith(f"--set {override}: ")


def test_a_missing_file_lists_what_there_is(files: Path) -> None:
    with pytest.raises(PlanError, match=r"did you mean 'scenarios/s.yaml'"):
        resolve("scenarios/ss.yaml", [], "targets/t.yaml")


@pytest.mark.parametrize("scale", [0.0, -1.0, 11.0])
def test_a_scale_that_means_nothing_is_refused(files: Path, scale: float) -> None:
    with pytest.raises(PlanError, match="--scale"):
        plan(scale=scale)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("scenarios/s.yaml", "hold: 60s", "hold: 0s", "greater than 0"),
        ("scenarios/s.yaml", "hold: 60s", "hold: " + "9" * 400 + "s", "finite"),
        ("scenarios/s.yaml", "scenario: tiny", "scenario: a/../../b", "pattern"),
        ("scenarios/s.yaml", "w.py", '"a\\0b.py"', "no file"),
        ("scenarios/s.yaml", "w.py", "x" * 5000, "no file"),
        ("scenarios/s.yaml", "scenario: tiny", "scenario: " + "[" * 3000, "cannot be read"),
        ("scenarios/s.yaml", "scenario: tiny", "&x\nscenario: *x", "cannot be read"),
        ("scenarios/s.yaml", "users: 3", "users: !!bool x", "cannot be read"),
        ("scenarios/s.yaml", "users: 3", "users: !foo [1]", "cannot be read"),
        ("scenarios/s.yaml", "load: {", 'about: "\\ud83d"\nload: {', "cannot be read"),
        ("targets/t.yaml", "http://127.0.0.1:8000", "127.0.0.1:8000", "is no URL"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1"', "is no address"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", listen: nonsense', "is no address"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", listen: "127.0.0.1:99999"', "is no address"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", listen: "127.0.0.1:\u0661\u0662"', "is no address"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", listen: "${services.a}"', "is no address"),
        ("targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", ledger: x', "is no URL"),
        ("targets/t.yaml", "observe:", "health: /hälsa\nobserve:", "is no path"),
        ("targets/t.yaml", "observe:", "metrics: {every: 0s}\nobserve:", "greater than 0"),
        ("targets/t.yaml", "observe:", "probe: {path: /, body: {on: 2024-01-01}}\nobserve:", "JSON"),
        ("targets/t.yaml", "header:x-provider", "'regex:(a{99999999999999})'", "regex"),
    ],
)
def test_what_would_only_fail_when_it_runs_is_refused_before(
    files: Path, name: str, old: str, new: str, says: str
) -> None:
    edit(files, name, old, new)
    with pytest.raises(PlanError, match=says):
        plan()


def test_an_override_reaches_what_the_file_leaves_out_and_is_where_its_error_is(files: Path) -> None:
    changed = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1, overrides=["slo.window=3s", "scenario=other"])
    assert (changed.scenario.slo.window, changed.scenario.scenario) == (3, "other")
    for text in (
        "slo.widow=3s", "load.users=none", "load.users=2024-99-99", "load.users=!!bool x", "load.users=!!set x",
        'scenario="\\ud83d"',
    ):  # fmt: skip
        with pytest.raises(PlanError, match=re.escape(f"--set {text}")):
            plan(overrides=[text])


@pytest.mark.parametrize(
    ("edits", "override", "where"),
    [
        ({}, 'thresholds={response_time: ["p(95)<3"]}', "--set"),
        ({}, "load={kind: users, users: 3, hold: none}", "--set"),
        ({" hold: 60s,": ""}, "load.users=5", "scenarios/s.yaml:3"),
        ({}, "load.kind=rate", "scenarios/s.yaml:3"),
        ({}, "load.kind=uesrs", "--set"),
        ({}, "slo.widow=3s", "--set"),
        ({"users: 3": "users: 0"}, "load.hold=9s", "scenarios/s.yaml:3"),
    ],
)
def test_an_error_is_where_its_value_stands(files: Path, edits: dict[str, str], override: str, where: str) -> None:
    for old, new in edits.items():
        edit(files, "scenarios/s.yaml", old, new)
    with pytest.raises(PlanError) as caught:
        plan(overrides=[override])
    assert caught.value.where == (f"--set {override}" if where == "--set" else f"{files}/{where}")


def test_what_is_set_twice_is_where_it_was_set_last(files: Path) -> None:
    later = "load={kind: users, users: none, hold: 9s}"
    with pytest.raises(PlanError) as caught:
        plan(overrides=["load.users=5", later])
    assert caught.value.where == f"--set {later}"


SCRAPS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.sampled_from(["10s", "5/s", "users", "bedrock", "header:x", "p(95)<3s", "http://127.0.0.1:1", "json:$.a"]),
)  # fmt: skip
PLACES = [
    "scenario", "workload", "load", "load.kind", "load.users", "load.hold", "load.x", "slo.window", "thresholds",
    "thresholds.response_time", "target.url", "target.upstreams", "target.upstreams.bedrock.address", "target.system",
    "target.observe.provider", "target.probe.path", "target.metrics.breaker", "target.allow_hosts", "a.b.c", "", ".",
]  # fmt: skip


@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), scrap=SCRAPS)
def test_whatever_is_set_either_plans_or_is_one_message(files: Path, place: str, scrap: object) -> None:
    with contextlib.suppress(PlanError):
        plan(overrides=[f"{place}={json.dumps(scrap)}"])


FILES = {
    "scenarios/s.yaml": SCENARIO + "slo: {response_time: 3s, good_share: 0.9, p95_within: 0.5, window: 5s}\n",
    "targets/t.yaml": TARGET
    + """\
  cached: {from: [header:x], map: {hit: true}}
probe: {path: /, headers: {a: b}, body: {a: [b]}, rate: 5/s, timeout: 3s}
metrics: {url: /metrics, every: 1s, breaker: "state{provider}", breaker_states: {"0": closed}}
health: /health
allow_hosts: [example.com]
""",
    "chaos/c.yaml": CHAOS + "abort: ['request_failed: rate>0.5 over 30s']\nthresholds: {failover_time: ['max<30s']}\n",
}
ODD_YAML = [
    "", "~", "[]", "{}", "[~]", "{1: 2}", "{[1]: 2}", ".nan", "-.inf", "1e400", "2024-01-01", "2024-99-99", "9" * 5000,
    "9" * 320 + "s", "0s", '"\\0"', '"\\ud83d"', "&x [*x]", "&x {a: *x}", "*gone", "!!bool x", "!!int x",
    "!!set {a}", "!!set x", "!!binary x", "!foo [1]", "!foo x", "{<<: 1}", "x" * 5000, "[" * 2000, "../..",
    "http://[x", "${services}", "127.0.0.1:99999", "regex:(a{99999999999999})", "json:$.[", "max<", "{kind: users}",
    "{kind: [1]}", "{kind: {a: b}}",
]  # fmt: skip


def places(node: object, loc: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [loc, *(place for key, value in items for place in places(value, (*loc, key)))]


def with_scrap(node: object, place: tuple[object, ...], scrap: str) -> str:
    """Write `node` as YAML, with the text `scrap` where the value at `place` was."""
    if not place:
        return scrap
    key, *rest = place
    assert isinstance(node, (dict, list))
    marked: Any = node.copy()
    inner = with_scrap(marked[key], tuple(rest), scrap)
    marked[key] = "<scrap>"
    return json.dumps(marked).replace('"<scrap>"', inner)


PARSED = {name: YAML(typ="safe", pure=True).load(text) for name, text in FILES.items()}


@settings(max_examples=200, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.sampled_from([(name, place) for name, data in PARSED.items() for place in places(data)]),
    scrap=st.one_of(st.sampled_from(ODD_YAML), SCRAPS.map(json.dumps)),
)
def test_whatever_a_file_holds_either_plans_or_is_one_message(
    files: Path, at: tuple[str, tuple[object, ...]], scrap: str
) -> None:
    for name, text in FILES.items():
        (files / name).write_text(with_scrap(PARSED[name], at[1], scrap) if name == at[0] else text)
    with contextlib.suppress(PlanError):
        told = resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
        dump(told).encode()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "nobody is there to make the load"),
        ({"workers": 2, "remote_workers": 2}, "4 workers cannot share users: 3"),
        ({"remote_workers": 1, "bind": "5557"}, "--bind: '5557' is no address"),
        ({"bind": "10.0.0.5:5557"}, "--bind 10.0.0.5:5557: nobody is to join from elsewhere"),
    ],
)
def test_workers_that_cannot_be(files: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)):
        plan(**options)


def test_workers_share_the_users_of_steps_where_there_are_most(files: Path) -> None:
    steps = "load: {kind: steps, steps: [{users: 1, hold: 60s}, {users: 3, hold: 1s}]}"
    (files / "scenarios" / "s.yaml").write_text(f"scenario: tiny\nworkload: w.py\n{steps}\n")
    plan(workers=3)
    with pytest.raises(PlanError, match="4 workers cannot share users: 3"):
        plan(workers=4)


def test_where_workers_join_is_not_what_is_planned(files: Path) -> None:
    here, there = (resolve("s", [], "t", seed=1, workers=0, remote_workers=1, bind=b) for b in ("a:1", "b:2"))
    assert plan_hash(here) == plan_hash(there)


TWO = TARGET.replace(
    "upstreams:\n", 'groups: {all: [bedrock, openai]}\nupstreams:\n  openai: {address: "127.0.0.1:9001"}\n'
)


@pytest.mark.parametrize("named", ["[bedrock, openai]", "all", "[all]"])
def test_a_fault_on_several_upstreams_is_one_on_each(files: Path, named: str) -> None:
    (files / "targets/t.yaml").write_text(TWO)
    edit(files, "chaos/c.yaml", "upstream: bedrock", f"upstream: {named}")
    resolved = resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    assert [(f.kind, f.on, f.at, f.for_s) for f in resolved.experiments[0].faults] == [
        ("refuse", "bedrock", 10, 5), ("refuse", "openai", 10, 5),
    ]  # fmt: skip
    again = load_plan(dump(resolved))
    assert again.model_dump(mode="json", by_alias=True) == resolved.model_dump(mode="json", by_alias=True)


def test_of_several_faults_the_one_that_cannot_be_is_pointed_at(files: Path) -> None:
    (files / "targets/t.yaml").write_text(TWO)
    faults = ("upstream: all, at: 1s", "upstream: [bedrock, openai], at: 10s", "upstream: openai, at: 12s")
    written = "".join(f"  - {{kind: refuse, {fault}, for: 5s}}\n" for fault in faults)
    (files / "chaos/c.yaml").write_text(f"experiment: gone\nfaults:\n{written}")
    with pytest.raises(PlanError, match=r"c\.yaml:5: experiment gone: .* overlap on upstream openai"):
        plan()
    edit(files, "chaos/c.yaml", "at: 10s", "at: 3s")
    with pytest.raises(PlanError, match=r"c\.yaml:4: experiment gone: .* overlap on upstream "):
        plan()


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "targets/t.yaml",
            "[bedrock, openai]",
            "[bedrock, opnai]",
            ["groups.all", "'opnai'", "did you mean 'openai'?"],
        ),
        ("targets/t.yaml", "groups: {all:", "groups: {openai:", ["groups.openai", "is an upstream, too"]),
        ("targets/t.yaml", "[bedrock, openai]", "[]", ["groups.all", "at least 1 item"]),
        ("chaos/c.yaml", "upstream: bedrock", "upstream: al", ["'al'", "did you mean 'all'?", "groups of them: all"]),
        ("chaos/c.yaml", "upstream: bedrock", "upstream: []", ["upstream"]),
        ("chaos/c.yaml", "upstream: bedrock", "upstream: [all, bedrock]", ["overlap"]),
        ("chaos/c.yaml", "upstream: bedrock", "upstream: [bedrock, 5]", ["upstream", "string"]),
    ],
    ids=str,
)
def test_a_mistake_in_a_group_says_where_and_what(files: Path, name: str, old: str, new: str, said: list[str]) -> None:
    (files / "targets/t.yaml").write_text(TWO)
    edit(files, name, old, new)
    with pytest.raises(PlanError) as caught:
        resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    for words in said:
        assert words in str(caught.value)


SEARCH = "{kind: capacity, min: 5/s, max: 500/s, budget: 1h}"
STATE = {"scenarios/s.yaml": (USERS_LOAD, SEARCH), "chaos/c.yaml": ("at: 10s\n    for: 5s", "during: {state: down}")}


def searched(files: Path, **options: Any) -> Any:
    for name, (old, new) in STATE.items():
        edit(files, name, old, new)
    return plan(**options)


def test_states_left_out_are_those_of_the_faults_and_a_fault_lasts_as_long_as_the_load(files: Path) -> None:
    found = searched(files, scale=0.5)
    load = found.scenario.load
    assert load.states == ("healthy", "down")
    assert (load.budget, load.hold, load.settle.shortest, load.min) == (1800, 30, 7.5, 5)
    assert found.experiments[0].faults[0].for_s == 1800
    again = load_plan(dump(found))
    assert again.model_dump(mode="json", by_alias=True) == found.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("[healthy]", "'down', which the load does not search in"),
        ("[healthy, dwon]", "did you mean 'dwon'"),
        ("[healthy, down, cold]", "no fault of the plan is on during the state 'cold'"),
    ],
)
def test_states_and_faults_must_name_each_other(files: Path, states: str, said: str) -> None:
    with pytest.raises(PlanError, match=re.escape(said)) as caught:
        searched(files, overrides=[f"load.states={states}"])
    assert "c.yaml:3" in str(caught.value) or "--set load.states" in str(caught.value)


def test_nothing_is_broken_in_the_state_healthy(files: Path) -> None:
    edit(files, "chaos/c.yaml", "at: 10s", "during: {state: healthy}")
    edit(files, "scenarios/s.yaml", USERS_LOAD, SEARCH)
    with pytest.raises(PlanError, match="in which nothing is broken"):
        plan()


def test_a_share_of_one_cannot_be_searched_for(files: Path) -> None:
    with pytest.raises(PlanError, match="can be shown by no number of requests"):
        searched(files, overrides=["slo.good_share=1"])


def test_k6_refuses_to_search(files: Path) -> None:
    (files / "scenarios" / "w.js").write_text("// a workload")
    with pytest.raises(PlanError, match="k6 cannot make a load of kind 'capacity'"):
        searched(files, engine="k6")


FLAPPING = """\
experiment: gone
faults:
  - kind: flapping
    upstream: bedrock
    at: 10s
    for: 20s
    period: 5s
    fault:
      kind: slow
      latency: 1s
"""


def test_flapping_is_scaled_and_survives_its_file(files: Path) -> None:
    (files / "chaos/c.yaml").write_text(FLAPPING)
    short = resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1, scale=0.5)
    told = short.experiments[0].faults[0].model_dump(mode="json", by_alias=True)
    assert (told["for"], told["period"]) == ("10s", "2.5s")
    assert told["fault"] == {"kind": "slow", "share": 1.0, "latency": "1s", "jitter": "0s"}
    again = load_plan(dump(short))
    assert again.model_dump(mode="json", by_alias=True) == short.model_dump(mode="json", by_alias=True)
    with pytest.raises(PlanError, match=r"period of 0\.15 s as scaled, shorter than 0\.2 s") as caught:
        resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1, scale=0.03)
    assert "chaos/c.yaml:3" in caught.value.where


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("latency: 1s", "latncy: 1s", 10, "did you mean 'latency'?"),
        ("latency: 1s", "latency: 5", 10, "is no duration"),
        ("kind: slow", "kind: slwo", 8, "did you mean 'slow'?"),
        ("      latency: 1s", "      latency: 1s\n      at: 5s", 8, "'at' belongs to the flapping"),
        ("period: 5s", "period: 30s", 3, "never come back"),
    ],
    ids=str,
)
def test_a_mistake_within_says_where_and_what(files: Path, old: str, new: str, line: int, said: str) -> None:
    (files / "chaos/c.yaml").write_text(FLAPPING)
    edit(files, "chaos/c.yaml", old, new)
    with pytest.raises(PlanError) as caught:
        resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    assert said in str(caught.value)
    assert f"c.yaml:{line}" in str(caught.value)


def test_a_fault_of_http_answers_needs_an_upstream_that_speaks_http(files: Path) -> None:
    edit(files, "chaos/c.yaml", "kind: refuse", "kind: rate_limited")
    resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    edit(files, "targets/t.yaml", '"127.0.0.1:9000"', '"127.0.0.1:9000", protocol: redis')
    with pytest.raises(PlanError, match="the protocol of bedrock is redis"):
        resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)


def test_containers_without_an_image_for_it_get_no_faults_of_http_answers(files: Path) -> None:
    edit(files, "chaos/c.yaml", "kind: refuse", "kind: rate_limited")
    (files / "c.yml").write_text("services: {toxiproxy: {image: t}, bedrock: {image: b}}\n")
    target = TARGET.replace("{kind: external}", "{kind: compose, file: c.yml, publish: {toxiproxy: 8474}}")
    target = target.replace('"127.0.0.1:9000"', '"bedrock:9000", listen: "0.0.0.0:9401"')
    (files / "targets/t.yaml").write_text(target)
    with pytest.raises(PlanError, match="names no image in which it could run") as caught:
        resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1)
    assert "http_faults" in str(caught.value)
    edit(files, "targets/t.yaml", "file: c.yml", "file: c.yml, http_faults: 'python:3.12-slim'")
    assert resolve("scenarios/s.yaml", ["chaos/c.yaml"], "targets/t.yaml", seed=1).http_upstreams == ["bedrock"]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ('"1.10"', "1.10"),
        ("${env.STORM_SHA}", "abc123"),
        ("v2-${env.STORM_SHA} ${env.STORM_SHA}", "v2-abc123 abc123"),
        ("${env.STORM_NOT_SET}", None),
        ("v2-${env.STORM_EMPTY}", None),
        ("${env.STORM_BYTES}", "a ?"),
        ('" "', None),
    ],
)
def test_the_systems_version_is_read_and_is_no_part_of_the_plan(
    files: Path, monkeypatch: pytest.MonkeyPatch, given: str, read: str | None
) -> None:
    monkeypatch.setenv("STORM_SHA", "abc123")
    monkeypatch.setenv("STORM_EMPTY", "")
    monkeypatch.setenv("STORM_BYTES", "a\n\udcff\n")
    monkeypatch.delenv("STORM_NOT_SET", raising=False)
    without = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    edit(files, "targets/t.yaml", "target: mine", f"target: mine\nversion: {given}")
    told = resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    assert told.target.version == read
    assert load_plan(dump(told)).target.version == read, "a recording keeps it, whatever becomes of the environment"
    assert plan_hash(told) == plan_hash(without)
    assert differing(told, without) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("1.10", "version: input should be a valid string (found 1.1)"),
        ("${services.agents}", "version: '${services.agents}' names no environment variable"),
        ("${env.A", "version: '${env.A' names no environment variable"),
    ],
)
def test_a_version_that_is_none_is_refused_with_its_line(files: Path, given: str, said: str) -> None:
    edit(files, "targets/t.yaml", "target: mine", f"target: mine\nversion: {given}")
    with pytest.raises(PlanError) as caught:
        resolve("scenarios/s.yaml", [], "targets/t.yaml", seed=1)
    assert said in str(caught.value)
    assert "t.yaml:2" in str(caught.value)
