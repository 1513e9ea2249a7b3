"""Trace and request ids: taken over from the caller when it sent usable ones."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_HEX = re.compile(r"^[0-9a-f]{32}$")


def trace_id_of(headers: Mapping[str, str]) -> str:
    """32 hex digits: from `traceparent`, else from `X-MCP-Trace-ID` (a UUID or hex), else new."""
    if match := _TRACEPARENT.match(headers.get("traceparent", "")):
        return match[1]
    own = headers.get("x-mcp-trace-id", "").replace("-", "").lower()
    return own if _HEX.match(own) else secrets.token_hex(16)
