"""`python -m reference.gateway --host 127.0.0.1 --port 9100`; everything else is in the environment."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys

import uvicorn

from reference.gateway.app import create_app
from reference.gateway.logs import configure, get_logger
from reference.gateway.settings import Settings, from_env
from reference.gateway.system import System

# Longer than clients keep idle connections, so that it is always the client that closes them.
_KEEP_ALIVE_S = 75
_GRACE_S = 10


def main() -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are let finish."""
    parser = argparse.ArgumentParser(prog="python -m reference.gateway")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100)
    arguments = parser.parse_args()
    try:
        settings = from_env(os.environ)
    except ValueError as error:
        parser.error(str(error))
    configure(settings.log_level)
    # The server stops gracefully and then raises the signal again: being told to stop is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(settings, arguments.host, arguments.port))


async def _serve(settings: Settings, host: str, port: int) -> None:
    log = get_logger()
    system = await System.open(settings, log)
    config = uvicorn.Config(
        create_app(system, log),
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        backlog=2048,
    )
    # What was loaded at start lives for ever: the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    log.info("started", mode=settings.mode, host=host, port=port)
    try:
        await uvicorn.Server(config).serve()
    finally:
        log.info("stopped")


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional: not on every platform
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
