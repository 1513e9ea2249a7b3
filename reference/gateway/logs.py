"""JSON log lines on standard output."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(level: str) -> None:
    """Set structlog up for the whole process. Lines below `level` cost next to nothing."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard library; only what matters is let through.
    plain = '{"event": "%(message)s", "logger": "%(name)s"}'
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format=plain)


def get_logger() -> Any:
    """The logger; takes an event name and fields."""
    return structlog.get_logger()
