"""The binary framing `application/vnd.amazon.eventstream` that Bedrock streams in.

A message is: total length, header length, CRC-32 of those eight bytes, headers, payload, CRC-32 of
everything before it; all integers big-endian. A header is: name length (1 byte), name, type
(7 = string), value length (2 bytes), value. Source: the Smithy "Amazon Event Stream" specification.
"""

from __future__ import annotations

import json
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7


def event(event_type: str, body: Mapping[str, Any]) -> bytes:
    """One event of `event_type` with a JSON payload, framed."""
    return frame(_event_headers(event_type), json.dumps(body, separators=(",", ":")).encode())


def frame(headers: bytes, payload: bytes) -> bytes:
    """A framed message from encoded headers and a payload."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return start + struct.pack("!I", crc32(start))


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """String headers, encoded. Names up to 255 bytes, values up to 65535."""
    parts = []
    for name, value in headers.items():
        name_bytes, value_bytes = name.encode(), value.encode()
        parts.append(struct.pack("!B", len(name_bytes)) + name_bytes)
        parts.append(struct.pack("!BH", _STRING, len(value_bytes)) + value_bytes)
    return b"".join(parts)


@lru_cache(maxsize=32)
def _event_headers(event_type: str) -> bytes:
    return encode_headers({":event-type": event_type, ":content-type": "application/json", ":message-type": "event"})
