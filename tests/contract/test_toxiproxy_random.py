"""Random commands, the same on the built-in Toxiproxy and on the real one: after each, all is the same on both.

Connections are opened, written to, closed, half closed and reset, from either end, while toxics are added, changed and
removed and the proxy is switched off and on. After each step both sides come to rest; then every byte that has arrived
at every end, how every connection has ended, and what the API shows must be equal. A seed that fails says its commands.
"""

from __future__ import annotations

import os
import random
import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.faults.toxiproxy_server import ToxiproxyServer
from tests.contract.toxiproxy_twins import NAME, OPEN, Side, builtin_program, real_program

pytestmark = pytest.mark.real

STEPS = 45
QUIET_S = 0.15
KINDS: dict[str, Callable[[random.Random], dict[str, int]]] = {
    # Nothing here takes longer than QUIET_S, and nothing holds bytes for ever.
    "latency": lambda rng: {"latency": rng.randrange(60)},
    "bandwidth": lambda rng: {"rate": rng.randrange(100, 2000)},
    "slow_close": lambda rng: {"delay": rng.randrange(60)},
    "timeout": lambda rng: {"timeout": rng.choice((0, 0, 20))},
    "reset_peer": lambda rng: {"timeout": rng.choice((0, 20))},
    "slicer": lambda rng: {"average_size": rng.randrange(200, 3000), "delay": rng.randrange(200)},
    "limit_data": lambda rng: {"bytes": rng.randrange(6000)},
}
Command = tuple[str, Callable[[Side], object]]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Side, Side]]]:
    logs = tmp_path_factory.mktemp("logs")
    servers = {"real": ToxiproxyServer.start(real_program(), logs / "real.log")}
    for loop in ("uvloop", "asyncio"):
        servers[loop] = ToxiproxyServer.start(builtin_program(loop, logs), logs / f"{loop}.log", seed=1)
    pairs = {
        loop: (Side("real", servers["real"].address), Side(loop, servers[loop].address))
        for loop in ("uvloop", "asyncio")
    }
    yield pairs
    for side in (side for pair in pairs.values() for side in pair):
        side.forget()
        side.upstream.close()
        side.session.close()
    for server in servers.values():
        server.stop()
    for loop in ("uvloop", "asyncio"):
        assert "Traceback" not in (logs / f"{loop}.log").read_text()


class Commands:
    """Draws the next command, knowing what is there: connections by number, toxics by name."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.on = True
        self.toxics: dict[str, str] = {}
        self._made = 0

    def draw(self, side: Side) -> Command:
        """Return a command, given a side at rest."""
        opened = [n for n in range(0, len(side.ends), 2) if side.ends[n].state == side.ends[n + 1].state == OPEN]
        choices: list[Callable[[list[int]], Command]] = [self._switch] if self.on else [self._switch] * 20
        if self.on:
            choices += [self._connect] * (8 if len(opened) < 4 else 2)
        if opened:
            choices += [self._send] * 12 + [self._end] * 2
        if len(self.toxics) < 4:
            choices += [self._add] * 3
        if self.toxics:
            choices += [self._change] * 2 + [self._remove] * 2 * len(self.toxics)
        return self.rng.choice(choices)(opened)

    def _connect(self, _opened: list[int]) -> Command:
        return "connect", Side.connect

    def _send(self, opened: list[int]) -> Command:
        number = self.rng.choice(opened) + self.rng.randrange(2)
        data = self.rng.randbytes(self.rng.choice((1, 100, 3000)))
        return f"end {number} sends {len(data)}", lambda side: side.ends[number].send(data)

    def _end(self, opened: list[int]) -> Command:
        number = self.rng.choice(opened) + self.rng.randrange(2)
        how = self.rng.choice(("close", "reset", "half"))
        acts: dict[str, Callable[[Side], object]] = {
            "close": lambda side: side.ends[number].close(),
            "reset": lambda side: side.ends[number].reset(),
            "half": lambda side: side.ends[number].socket.shutdown(1),
        }
        return f"end {number}: {how}", acts[how]

    def _switch(self, _opened: list[int]) -> Command:
        self.on = not self.on
        on = self.on
        return f"enabled {on}", lambda side: side.enable(enabled=on)

    def _add(self, _opened: list[int]) -> Command:
        self._made += 1
        kind = self.rng.choice(list(KINDS))
        name = f"{kind}{self._made}"
        self.toxics[name] = kind
        body: dict[str, Any] = {
            "name": name,
            "type": kind,
            "stream": self.rng.choice(("upstream", "downstream")),
            "toxicity": self.rng.choice((1, 1, 1, 0)),
            "attributes": KINDS[kind](self.rng),
        }
        return f"add {body}", lambda side: side.api("POST", f"/proxies/{NAME}/toxics", body)

    def _change(self, _opened: list[int]) -> Command:
        name = self.rng.choice(list(self.toxics))
        body = {"attributes": KINDS[self.toxics[name]](self.rng)}
        return f"change {name} {body}", lambda side: side.api("POST", f"/proxies/{NAME}/toxics/{name}", body)

    def _remove(self, _opened: list[int]) -> Command:
        name = self.rng.choice(list(self.toxics))
        del self.toxics[name]
        return f"remove {name}", lambda side: side.api("DELETE", f"/proxies/{NAME}/toxics/{name}")


def rest(side: Side) -> None:
    """Read all that comes, at all ends, until nothing has for a while."""
    while True:
        listening = {end.socket: end for end in side.ends if end.state == OPEN}
        ready = select.select(list(listening), [], [], QUIET_S)[0]
        if not ready:
            return
        for one in ready:
            listening[one].read(0, until=1)
            listening[one].read(0.001, until=1)


def seen(side: Side) -> dict[str, Any]:
    """Return all that can be seen of a side at rest, without its ports."""
    _, proxy = side.api("GET", f"/proxies/{NAME}")
    ends = {n: (end.state, len(end.received), hash(end.received)) for n, end in enumerate(side.ends)}
    return {"enabled": proxy["enabled"], "toxics": proxy["toxics"], "ends": ends}


SEEDS = int(os.environ.get("AGENTSTORM_TWIN_SEEDS", "3"))
"""How many; more of them by hand."""


@pytest.mark.parametrize(("loop", "seed"), [(("uvloop", "asyncio")[n % 2], n) for n in range(SEEDS)])
def test_the_same_after_every_step(sides: dict[str, tuple[Side, Side]], loop: str, seed: int) -> None:
    pair = sides[loop]
    commands = Commands(random.Random(seed))
    done: list[str] = []

    def step(side: Side, act: Callable[[Side], object]) -> dict[str, Any]:
        act(side)
        rest(side)
        return seen(side)

    def again(side: Side) -> dict[str, Any]:
        return step(side, rest)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Side.fresh, pair))
        for _ in range(STEPS):
            said, act = commands.draw(pair[0])
            done.append(said)
            for attempt in range(3):  # a side that had no processor for a while is not at rest yet
                real, builtin = pool.map(step, pair, (act, act)) if not attempt else pool.map(again, pair)
                if real == builtin:
                    break
            assert builtin == real, "\n".join(done)
    assert sum(len(end.received) for end in pair[0].ends) > 200, "nothing much happened"
    assert len({end.state for end in pair[0].ends}) > 1, "nothing much happened"
