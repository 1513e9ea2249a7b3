"""The catalogue says of every kind what its class says."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from harness.cli import cli
from harness.faults import KINDS
from harness.faults.catalogue import entries

ENTRIES = {entry.kind: entry for entry in entries()}


def test_every_kind_is_listed_in_the_registrys_order() -> None:
    assert list(ENTRIES) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_it_does_and_what_a_client_sees(kind: str) -> None:
    entry = ENTRIES[kind]
    assert entry.does == " ".join((KINDS[kind].__doc__ or "").partition("\n\n")[0].split())
    assert entry.client_sees == KINDS[kind].client_sees
    assert entry.does.endswith(".")
    assert not entry.client_sees.endswith(".")
    assert not {setting.name for setting in entry.settings} & {"kind", "at", "for", "for_s", "repeat", "upstream"}


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("slow", "latency (duration, 0.02s or more, required)"),
        ("cut", "after_bytes (size, 1B to 16384B, required)"),
        ("bandwidth", "rate (size per second, 1000B/s to 100000B/s, required)"),
        ("http_error", "status (one of 500, 502, 503, 504, 529, default 503)"),
        ("rate_limited", "retry_after (duration, 0s or more, default 1s)"),
        ("quota", "requests (whole number, 1 or more, required)"),
        ("memory", "limit (size, 6MiB or more, required)"),
        ("kill", "replicas (whole number, 1 or more, default all)"),
        ("flapping", "fault (a fault without place and time, required)"),
        ("flapping", "period (duration, 0.2s or more, required)"),
    ],
)
def test_settings_have_units_limits_and_defaults(kind: str, setting: str) -> None:
    assert setting in [str(found) for found in ENTRIES[kind].settings]


def test_the_command_says_where_a_kind_can_be_used() -> None:
    rows = {row["kind"]: row for row in json.loads(CliRunner().invoke(cli, ["faults", "--json"]).stdout)}
    assert list(rows) == list(KINDS)
    where = {kind: rows[kind]["targets"] for kind in ("refuse", "rate_limited", "kill", "cpu")}
    assert where == {
        "refuse": ["processes", "compose", "external"],
        "rate_limited": ["processes", "compose", "external"],
        "kill": ["processes", "compose"],
        "cpu": ["compose"],
    }
    assert (rows["slow"]["family"], rows["slow"]["on"]) == ("network", "upstream")
    text = CliRunner().invoke(cli, ["faults"]).stdout
    for kind in KINDS:
        assert f"{kind}  (" in text
