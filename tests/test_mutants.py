"""Every content file, broken in every way a hand or a merge breaks one: it plans, or one message says where and what.

Some hundred mutants in the suite; ``AGENTSTORM_MUTANTS=10000`` by hand or at night, from ``AGENTSTORM_MUTANTS_SEED``.
"""

from __future__ import annotations

import copy
import io
import os
import random
import re
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.cli import timeline
from harness.errors import PlanError
from harness.planfile import dump, resolve
from harness.recording.reader import load_plan

ROOT = Path(__file__).resolve().parent.parent
MUTANTS = int(os.environ.get("AGENTSTORM_MUTANTS", "300"))
SEED = os.environ.get("AGENTSTORM_MUTANTS_SEED", "1")
COMPOSE = "docker-compose.test.yml"
NAMES = [
    COMPOSE,
    *(str(p.relative_to(ROOT)) for f in ("scenarios", "chaos", "targets") for p in sorted((ROOT / f).glob("*.yaml"))),
    "chaos/all.yaml",
]
EVERYTHING = """\
experiment: all
about: What the experiments of the repository do not use
faults:
  - {kind: refuse, upstream: bedrock, name: first, at: {load: 80%}, for: 3s, repeat: 2, every: 8s}
  - {kind: slow, upstream: openai, latency: 1s, jitter: 100ms, after: {recovered: first, delay: 2s}, for: 3s}
  - {kind: blackhole, upstream: bedrock, when: {cache_hit: "rate>0.3 over 10s"}, for: 3s}
  - {kind: pause, service: agents, at: 1s, for: 2s}
steady_state: {request_failed: ["rate<0.05"], response_time: "p(95)<3s"}
abort: ["error_budget: burn>14.4 over 1m", "response_time{agent:architect}: max>20s over 10s"]
thresholds: {failover_claim: ["0.90 at 0.95 under 5s"], "response_time{phase:fault}": ["p(95)<1.5x vs baseline"]}
"""
SCRAPS: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, -0.0, 1e308, float("nan"), float("inf"), 2**70, "", " ", "~", "3", "3s", "-3s",
    "0s", "1e9d", "99999999999999999999d", "80%", "180%", "rate<0.05", "rate>0.5 over 3s", "p(95)<3s", "p(0)<3s",
    "p(95)<", "burn>2 over 0s", "burn>2 over 99d", "users", "external", "kind", "bedrock", "http://127.0.0.1:1",
    "http://[", "[::1]:1", "http://example.com", "127.0.0.1:0", "127.0.0.1:99999", "${services.x}",
    "${upstreams.bedrock}", "${", "${port}", "json:$.[", "regex:(", "regex:(a+)+$", "header:", "sse:$", "/", "..",
    "../../etc/passwd", "agents.py", "agents.js", "x" * 500, "\u0000", "\ud7ff", "\U0001f525", "a\nb", [], {}, [[]],
    [None], {"": None}, {"load": "80%"}, {"recovered": "x"}, {"kind": "users"}, {"kind": []}, {"a": {"b": {"c": []}}},
    ["rate<1"], {"from": [], "map": {}}, {1: 2}, {True: False},
]  # fmt: skip
PREFIXES = [" ", "  ", "\t", "- ", "? ", "& ", "* ", "<<: ", "!!set ", "---\n"]
WHERE = re.compile(r"(\S+\.ya?ml|--set|--scale)")
"""A file (and where that can be told, a line), or the option that changed it."""
Place = tuple[Any, ...]


def places(node: Any, place: Place = ()) -> Iterator[Place]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield (*place, key)
        yield from places(child, (*place, key))


def parent(data: Any, place: Place) -> Any:
    for key in place[:-1]:
        data = data[key]
    return data


def _replace(rng: random.Random, data: Any, at: Place) -> None:
    parent(data, at)[at[-1]] = copy.deepcopy(rng.choice(SCRAPS))


def _delete(rng: random.Random, data: Any, at: Place) -> None:
    del parent(data, at)[at[-1]]


def _rename(rng: random.Random, data: Any, at: Place) -> None:
    node = parent(data, at)
    if isinstance(node, dict):
        name = str(at[-1])
        cut = rng.randrange(len(name)) if name else 0
        node[rng.choice([name[:cut] + name[cut + 1 :], name.upper(), name + "s", name[::-1]])] = node.pop(at[-1])


def _twice(rng: random.Random, data: Any, at: Place) -> None:
    node = parent(data, at)
    if isinstance(node, list):
        node.insert(at[-1], copy.deepcopy(node[at[-1]]))
    else:
        node[f"{at[-1]}2"] = copy.deepcopy(node[at[-1]])


def _exchange(rng: random.Random, data: Any, at: Place) -> None:
    other = rng.choice(list(places(data)))
    parent(data, at)[at[-1]] = copy.deepcopy(parent(data, other)[other[-1]])


def _wrap(rng: random.Random, data: Any, at: Place) -> None:
    node = parent(data, at)
    node[at[-1]] = rng.choice([[node[at[-1]]], {at[-1]: node[at[-1]]}, str(node[at[-1]])])


def _edit(rng: random.Random, data: Any, at: Place) -> None:
    """Change digits and units of a text, or a character."""
    node = parent(data, at)
    text = str(node[at[-1]])
    if numbers := list(re.finditer(r"\d+", text)):
        match = rng.choice(numbers)
        node[at[-1]] = text[: match.start()] + rng.choice(["0", "-1", "7", "999999", "1e5", ""]) + text[match.end() :]
    elif text:
        cut = rng.randrange(len(text))
        node[at[-1]] = text[:cut] + rng.choice(["", " ", "{", ":", "$", "\u00e4", "%"]) + text[cut + 1 :]


BY_KEY: list[Callable[[random.Random, Any, Place], None]] = [
    _replace, _replace, _replace, _delete, _rename, _twice, _exchange, _exchange, _wrap, _edit, _edit,
]  # fmt: skip


def by_hand(rng: random.Random, text: str) -> bytes:
    """Break the text as such: lines lost, doubled, indented, characters struck, the end missing, no UTF-8."""
    lines = text.splitlines(keepends=True)
    at, cut = rng.randrange(len(lines)), rng.randrange(len(text))
    broken = [
        lambda: "".join(lines[:at] + lines[at + 1 :]),
        lambda: "".join([*lines[: at + 1], *lines[at:]]),
        lambda: "".join([*lines[:at], rng.choice(PREFIXES) + lines[at], *lines[at + 1 :]]),
        lambda: text[:cut] + rng.choice("{}[]:,&*!|>'\"%@`#\t\x07") + text[cut:],
        lambda: text[:cut] + text[cut + 1 :],
        lambda: text[:cut],
        lambda: "<<<<<<< ours\n" + text,
    ]  # fmt: skip
    if rng.random() < 0.05:
        return text.encode()[:cut] + b"\xff\xfe" + text.encode()[cut:]
    return rng.choice(broken)().encode()


def by_key(rng: random.Random, data: Any) -> bytes:
    """Break the data: a key or a value, or two of them."""
    data = copy.deepcopy(data)
    for _ in range(rng.choice([1, 1, 1, 2])):
        if there := list(places(data)):
            rng.choice(BY_KEY)(rng, data, rng.choice(there))
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(data, out)
    return out.getvalue().encode("utf-8", "surrogatepass")


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("scenarios", "chaos", "targets", "reference"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / COMPOSE, tmp_path)
    (tmp_path / "chaos" / "all.yaml").write_text(EVERYTHING)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def planned(name: str, rng: random.Random) -> None:
    """Plan a run with the broken file among its own."""
    of = {"scenario": "scenarios/smoke.yaml", "chaos": "chaos/bedrock_refuse.yaml", "target": "targets/external.yaml"}
    kind = Path(name).parts[0].removesuffix("s") if name != COMPOSE else "target"
    chaos = [of["chaos"]] if kind == "chaos" or rng.random() < 0.3 else []
    if chaos:
        of["target"] = "targets/compose.yaml"
    of[kind] = "targets/compose.yaml" if name == COMPOSE else name
    chaos = [of["chaos"]] if chaos else []
    hold = [] if kind == "scenario" else ["load.hold=1h"]
    plan = resolve(of["scenario"], chaos, of["target"], seed=1, scale=rng.choice([1.0, 0.1]), overrides=hold)
    told = dump(plan)
    timeline(plan)
    assert load_plan(told).model_dump(mode="json") == plan.model_dump(mode="json"), "it does not survive its file"


def verdict(name: str, rng: random.Random) -> str:
    """Return ``plans``, what the one message says, a traceback, or nothing where a message does not say where."""
    try:
        planned(name, rng)
    except PlanError as error:
        return str(error) if WHERE.match(error.where) and error.what else ""
    except Exception:  # noqa: BLE001 - this is what is looked for
        return traceback.format_exc()
    return "plans"


def test_a_broken_file_plans_or_says_where_it_is_broken(content: Path) -> None:
    rng = random.Random(SEED)
    originals = {name: (content / name).read_text() for name in NAMES}
    parsed = {name: YAML(typ="safe", pure=True).load(text) for name, text in originals.items()}
    plans = 0
    for number in range(MUTANTS):
        name = NAMES[number % len(NAMES)]
        broken = by_key(rng, parsed[name]) if rng.random() < 0.7 else by_hand(rng, originals[name])
        (content / name).write_bytes(broken)
        said = verdict(name, rng)
        plans += said == "plans"
        assert said, f"mutant {number} of {name}: nobody knows where, or what:\n{broken.decode(errors='replace')}"
        assert "Traceback" not in said, f"mutant {number} of {name}: {said}\n{broken.decode(errors='replace')}"
        (content / name).write_text(originals[name])
    assert 0.05 * MUTANTS < plans < 0.95 * MUTANTS, "mutants must reach both ends"
