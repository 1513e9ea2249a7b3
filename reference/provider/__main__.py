"""`python -m reference.provider --name bedrock --host 127.0.0.1 --port 9101 [--seed 1]`."""

from __future__ import annotations

import logging
import signal
import sys

import uvicorn

from reference.provider.app import ProviderApp
from reference.provider.settings import from_command_line

# Longer than any client keeps an idle connection, so that the client is always the one to close it
# and never writes into a connection we are just closing.
_KEEP_ALIVE_S = 75
_GRACE_S = 5


def _not_a_planned_cut(record: logging.LogRecord) -> bool:
    # The fault `cut_stream` leaves answers incomplete on purpose; the server reports each as an error.
    return "without completing response" not in record.getMessage()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = from_command_line()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn.error").addFilter(_not_a_planned_cut)
    # The server stops gracefully and then raises the signal again: being told to stop is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        ProviderApp(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        backlog=2048,
    )


if __name__ == "__main__":
    main()
