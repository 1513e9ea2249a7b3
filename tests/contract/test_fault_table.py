"""The table in docs/faults.md: every kind of fault on real components, as a plain client meets it, and how soon.

    pytest tests/contract/test_fault_table.py --write-docs

measures again and rewrites the table. Without it, the table is only held against the catalogue: figures belong to the
machine they were taken on.
"""

from __future__ import annotations

import json
import re
import statistics
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.clock import NS_PER_MS, now_ns, sleep
from harness.faults import KINDS
from harness.faults.conductor import Conductor
from harness.faults.fault import UpstreamFault
from harness.faults.service import ServiceFault, sites
from harness.faults.timeline import occurrences
from harness.faults.toxiproxy_server import ToxiproxyServer
from harness.journal import Journal
from harness.programs import TOXIPROXY
from harness.recording.tables import EventLog
from harness.web import get
from tests.contract import fault_chain
from tests.contract.fault_chain import ask, fault
from tests.contract.small_systems import running, small_target

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->"
HEAD = "| kind | a plain client meets | effective within (ms) | healed within (ms) | verified both ways |"
TIMES = 5


def rows() -> dict[str, list[str]]:
    """Return the cells of the page's table by kind."""
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: [cell.strip() for cell in line.strip("|").split("|")] for line in lines}


def test_every_kind_has_its_row_and_was_verified_both_ways() -> None:
    assert list(rows()) == list(KINDS)
    for kind, (_, met, effective, healed, verified) in rows().items():
        if "limits" in KINDS[kind].needs:
            assert (effective, healed) == ("-", "-"), kind
            assert "containers" in verified
            continue
        assert met
        assert verified == f"{TIMES} of {TIMES}", kind
        for cell in (effective, healed):
            median, worst = re.fullmatch(r"([\d.]+) \(([\d.]+)\)", cell).groups()  # type: ignore[union-attr]
            assert 0 < float(median) <= float(worst) < 10_000


def times(path: Path) -> tuple[float, float]:
    """Return ms from the injection to effective, and from the clearing to cleared, of the one fault in an event log."""
    told = {e["data"]["state"]: e for e in map(json.loads, path.read_text().splitlines())}
    return (
        (told["effective"]["data"]["high_ns"] - told["injecting"]["t_ns"]) / NS_PER_MS,
        (told["cleared"]["data"]["high_ns"] - told["clearing"]["t_ns"]) / NS_PER_MS,
    )


def row(kind: str, met: set[str], measured: list[tuple[float, float]]) -> str:
    effective, healed = (
        f"{statistics.median(t[i] for t in measured):.3g} ({max(t[i] for t in measured):.3g})" for i in (0, 1)
    )
    return f"| `{kind}` | {'; '.join(sorted(met))} | {effective} | {healed} | {len(measured)} of {TIMES} |"


def on_upstreams(folder: Path) -> Mapping[str, str]:
    """Measure every fault of an upstream, on the whole chain."""
    found = {}
    server = ToxiproxyServer.start(TOXIPROXY.ensure(), folder / "toxiproxy.log", seed=1)
    for chain in fault_chain.chain(server.address, folder):
        for kind in [name for name, cls in KINDS.items() if issubclass(cls, UpstreamFault)]:
            measured, met = [], set()
            for _ in range(TIMES):
                conductor, path, events = chain.conduct(fault(kind))
                if conductor.on:
                    if kind == "quota":
                        ask(chain.address, stream=False)
                    met.add(words(chain.address))
                assert conductor.stop() == []
                assert conductor.failed == []
                events.close()
                assert ask(chain.address, stream=False).words == "answered"
                measured.append(times(path))
            found[kind] = row(kind, met, measured)
    server.stop()
    return found


def words(address: str) -> str:
    seen = ask(address, stream=True)
    late = " late" if seen.took_s > 0.3 and seen.words.startswith("answered") else ""
    late = ", late" if seen.took_s > 0.3 and seen.words.startswith("HTTP") else late
    return seen.words + late + (", connection closed late" if seen.closing_s > 0.3 else "")


def on_services(folder: Path) -> Mapping[str, str]:
    """Measure every fault of a service that processes can have."""
    found = {}
    kinds = [kind for kind, cls in KINDS.items() if issubclass(cls, ServiceFault) and "limits" not in cls.needs]
    with running(small_target("processes", folder), folder, 1) as system:
        control = system.control("a")
        address = str(control.look()[0].address)
        for kind in kinds:
            spec: Any = KINDS[kind].model_validate({"kind": kind, "service": "a", "at": "0s", "for": "2s"})
            measured, met = [], set()
            for number in range(TIMES):
                path = folder / f"{kind}-{number}.jsonl"
                with closing(Journal(folder, now_ns(), folder / "state")) as journal, closing(EventLog(path)) as events:
                    conductor = Conductor(
                        occurrences([("t", spec)]), {}, sites({"a": control}, {}), events=events, journal=journal
                    )
                    conductor.start(now_ns())
                    while not conductor.on and not conductor.done:
                        sleep(0.001)
                    met.add(asked(address))
                    while not conductor.done:
                        sleep(0.01)
                    assert conductor.stop() == []
                    assert conductor.failed == []
                assert asked(address) == "answered"
                measured.append(times(path))
            found[kind] = row(kind, met, measured)
    return found


def asked(address: str) -> str:
    """Return what a plain client meets that asks a service once."""
    try:
        get(f"http://{address}/", 0.5)
    except OSError as error:
        return str(error).replace("no answer within 0.5 s", "no answer")
    return "answered"


def test_the_table_is_measured(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if not request.config.getoption("--write-docs"):
        pytest.skip("measures for two minutes and rewrites docs/faults.md: give --write-docs")
    found = {**on_upstreams(tmp_path), **on_services(tmp_path)}
    for kind, cls in KINDS.items():
        found.setdefault(kind, f"| `{kind}` | {cls.client_sees} | - | - | on containers, by the test suite |")
    lines = [HEAD, "|---|---|---|---|---|", *(found[kind] for kind in KINDS)]
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    assert begin, f"{PAGE} has lost its mark {BEGIN.strip()}"
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + END + rest.partition(END)[2])
