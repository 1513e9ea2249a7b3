"""A Toxiproxy server that needs nothing but Python: run as a script where the real one cannot be had.

    python -P builtin_toxiproxy_main.py [-host HOST] [-port PORT] [-seed N] [-config FILE] [-version]

The same flags, HTTP API and toxics as toxiproxy-server 2.12, on asyncio, with uvloop where that is installed. What the
toxics draw (toxicity, jitter, slices) comes from -seed. LOG_LEVEL=warn keeps it quiet but for warnings. SIGTERM and
SIGINT end it. `harness.programs` knows when it is used.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import logging
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import open_files
from harness.faults.builtin_toxiproxy_api import VERSION, Api
from harness.faults.builtin_toxiproxy_http import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = logging.getLogger("toxiproxy")
_LEVELS = {"trace": "DEBUG", "debug": "DEBUG", "info": "INFO", "warn": "WARNING", "error": "ERROR", "fatal": "CRITICAL"}


def _flags(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="toxiproxy-server (built into agentstorm)", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("-host", "--host", default="localhost", help="where the API listens (%(default)s)")
    parser.add_argument("-port", "--port", type=int, default=8474, help="the port it listens on (%(default)s)")
    parser.add_argument("-seed", "--seed", type=int, default=0, help="seed of what toxics draw (%(default)s)")
    parser.add_argument("-config", "--config", type=Path, help="JSON file with proxies to make at the start")
    parser.add_argument("-version", "--version", action="store_true", help="say which version it is")
    return parser.parse_args(argv)


def _loop() -> tuple[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the fastest loop there is, and what it is called."""
    if importlib.util.find_spec("uvloop") is None:
        return "asyncio", asyncio.new_event_loop
    uvloop = importlib.import_module("uvloop")
    return f"uvloop {uvloop.__version__}", uvloop.new_event_loop


async def _run(flags: argparse.Namespace) -> int:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    api = Api(random.Random(flags.seed))  # noqa: S311 - not for secrets
    if flags.config is not None:
        answer = await api.answer("POST", "/populate", "", flags.config.read_bytes())
        if answer.status != 201:
            _log.error("%s: %s", flags.config, answer.body.decode().strip())
    try:
        server = await serve(flags.host, flags.port, api.answer)
    except OSError as error:
        _log.error("the API cannot listen on %s:%d: %s", flags.host, flags.port, error)
        return 1
    _log.info("Toxiproxy %s listens on %s:%d", VERSION, flags.host, flags.port)
    await ended.wait()
    server.close()
    return 0


def main(argv: Sequence[str]) -> int:
    """Run until told to end; return the exit code."""
    flags = _flags(argv)
    name, loop = _loop()
    if flags.version:
        print(f"toxiproxy-server version {VERSION} (built into agentstorm, on {name})")  # noqa: T201 - a program of its own
        return 0
    level = _LEVELS.get(os.environ.get("LOG_LEVEL", "info").lower(), "INFO")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    open_files.make_room()
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_run(flags))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
