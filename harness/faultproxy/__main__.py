"""The entry point: ``python -m harness.faultproxy --seed N --route NAME=HOST:PORT ...``

With `--first-port N` the admin listens on port N and the routes on the ports after it, in their order; else each on a
free one. Once all listen, one line of JSON on stdout says where: {"admin": "host:port", "routes": {name: "host:port"}}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys

from harness import open_files
from harness.faultproxy.admin import Admin
from harness.faultproxy.routes import Route

_LOOPBACK = "127.0.0.1"


async def _serve(routes: dict[str, Route], listen: str, first_port: int) -> None:
    ended = asyncio.Event()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(wanted, ended.set)
    for number, route in enumerate(routes.values(), 1):
        await route.open(listen, first_port and first_port + number)
    admin = await Admin(routes).open(listen, first_port)
    told = {"admin": admin, "routes": {name: route.listen for name, route in routes.items()}}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    await ended.wait()


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m harness.faultproxy")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--listen", default=_LOOPBACK)
    parser.add_argument("--first-port", type=int, default=0)
    parser.add_argument("--route", action="append", default=[], metavar="NAME=HOST:PORT")
    given = parser.parse_args()
    open_files.make_room()
    pairs = [text.partition("=")[::2] for text in given.route]
    asyncio.run(
        _serve({name: Route(name, upstream, given.seed) for name, upstream in pairs}, given.listen, given.first_port)
    )


if __name__ == "__main__":
    main()
