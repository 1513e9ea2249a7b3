"""JSON Schemas for editors: they take every file of the repository, and refuse what the reader refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from harness.cli import cli
from harness.schemas import SCHEMAS, schema
from harness.starter import FILES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"scenario": "scenarios", "experiment": "chaos", "target": "targets", "prices": "prices"}


@pytest.fixture(scope="module")
def validators() -> dict[str, Draft202012Validator]:
    made = {name: schema(name) for name in SCHEMAS}
    for one in made.values():
        Draft202012Validator.check_schema(one)
    return {name: Draft202012Validator(one) for name, one in made.items()}


def complaints(validator: Draft202012Validator, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_file_of_the_repository_fits_its_schema(validators: dict[str, Draft202012Validator], kind: str) -> None:
    files = sorted((ROOT / FOLDERS[kind]).glob("*.yaml"))
    assert files
    assert {p.name: c for p in files if (c := complaints(validators[kind], YAML(typ="safe").load(p)))} == {}


def test_the_samples_findings_fit_theirs(validators: dict[str, Draft202012Validator]) -> None:
    told = json.loads((ROOT / "reports" / "sample" / "steady" / "findings.json").read_text())
    assert complaints(validators["findings"], told) == []


LOAD = {"kind": "users", "users": 5, "hold": "10s"}


@pytest.mark.parametrize(
    "load",
    [LOAD | {"hold": 10}, LOAD | {"hold": "10"}, LOAD | {"usrs": 5}, LOAD | {"kind": "user"}, {"kind": "users"}],
)
def test_what_the_reader_refuses_the_schema_refuses(
    validators: dict[str, Draft202012Validator], load: dict[str, Any]
) -> None:
    good = {"scenario": "x", "workload": "x.py", "load": LOAD, "thresholds": {"response_time": "p(95)<3s"}}
    assert complaints(validators["scenario"], good) == []
    assert complaints(validators["scenario"], good | {"load": load}) != []


def test_a_name_that_is_part_of_urls_has_no_space(validators: dict[str, Draft202012Validator]) -> None:
    target = {"target": "x", "system": {"kind": "external"}, "url": "http://127.0.0.1:1"}
    found = [target | {"upstreams": {name: {"address": "127.0.0.1:2"}}} for name in ("openai", "open ai")]
    assert [len(complaints(validators["target"], one)) for one in found] == [0, 1]


def test_a_key_says_what_it_is_and_its_default_has_its_unit() -> None:
    drain = schema("scenario")["$defs"]["UsersLoad"]["properties"]["drain"]
    assert drain["default"] == "35s"
    assert drain["description"].startswith("How long requests in flight")


def test_the_command_prints_it_and_knows_what_there_is() -> None:
    done = CliRunner().invoke(cli, ["schema", "scenario"])
    assert json.loads(done.output) == schema("scenario")
    done = CliRunner().invoke(cli, ["schema", "scenari"])
    assert (done.exit_code, "one of target, scenario" in done.output) == (2, True)


def test_a_repository_of_ones_own_can_be_planned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = CliRunner().invoke(cli, ["init", str(tmp_path / "mine")])
    assert done.exit_code == 0, done.output
    monkeypatch.chdir(tmp_path / "mine")
    done = CliRunner().invoke(cli, ["plan", "first", "--target", "mine", "--chaos", "openai_hangs"])
    assert done.exit_code == 0, done.output
    assert "openai-hangs" in done.output
    for name in FILES:
        first = (tmp_path / "mine" / name).read_text().splitlines()[0]
        if name.endswith(".yaml"):
            assert (tmp_path / "mine" / name).parent.joinpath(first.split("$schema=")[1]).exists()


def test_init_writes_over_nothing(tmp_path: Path) -> None:
    theirs = tmp_path / "chaos" / "openai_hangs.yaml"
    theirs.parent.mkdir()
    theirs.write_text("mine\n")
    done = CliRunner().invoke(cli, ["init", str(tmp_path)])
    assert (done.exit_code, "chaos/openai_hangs.yaml: there already" in done.output) == (104, True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert theirs.read_text() == "mine\n"
