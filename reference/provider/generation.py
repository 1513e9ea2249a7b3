"""One generation call from arrival to its final row in the ledger."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reference.provider import answers
from reference.provider.connection import JSON_TYPE, Connection
from reference.provider.faults import REJECTIONS, Control, Mode
from reference.provider.wire import Answer, Wanted, WireFormat

if TYPE_CHECKING:
    from reference.provider.draws import Draw
    from reference.provider.ledger import Entry, Status
    from reference.provider.settings import ProviderSettings


@dataclass(frozen=True, slots=True)
class Call:
    """All there is to know about a call when its answer begins."""

    number: int
    wanted: Wanted
    draw: Draw
    wire: WireFormat
    entry: Entry
    connection: Connection


async def run(call: Call, control: Control, settings: ProviderSettings) -> Status:
    """Answer `call`, or do to it what `control` says; returns the status its ledger row ends with."""
    mode = control.mode_for(call.draw.share)
    if mode in REJECTIONS:
        await reject(call.connection, call.wire, call.entry, REJECTIONS[mode], mode, control.retry_after_s)
        return "rejected"
    answer = _compose(call)
    call.entry.http_status = 200
    if call.wanted.stream:
        return await _stream(call, answer, mode, settings)
    return await _plain(call, answer, mode)


async def reject(
    connection: Connection,
    wire: WireFormat,
    entry: Entry,
    status: int,
    why: str,
    retry_after_s: float = 1.0,
) -> None:
    """Answer with the vendor's own error for `status`."""
    headers, body = wire.error(status, f"simulated provider: {why}")
    if status == 429:
        headers.append((b"retry-after", b"%d" % math.ceil(retry_after_s)))
    entry.http_status = status
    await connection.answer(status, body, headers)


def _compose(call: Call) -> Answer:
    wanted, draw = call.wanted, call.draw
    limit = wanted.max_tokens if wanted.max_tokens is not None else draw.tokens
    pieces = answers.prose(draw.text_start, min(draw.tokens, limit))
    if wanted.json:
        pieces = [answers.json_text(wanted.schema, "".join(pieces))]
    return Answer(
        number=call.number,
        model=wanted.model,
        text="".join(pieces),
        pieces=pieces,
        tokens_in=wanted.tokens_in,
        tokens_out=min(draw.tokens, limit),
        truncated=draw.tokens > limit,
        latency_ms=round((draw.first_token_s if wanted.stream else draw.latency_s) * 1000),
    )


async def _plain(call: Call, answer: Answer, mode: Mode) -> Status:
    connection, entry = call.connection, call.entry
    if await connection.gone_within(call.draw.latency_s):
        return "cancelled"
    if mode == "garbage":
        await connection.answer(200, call.wire.garbage(stream=False))
        return "garbage"
    body = call.wire.plain(answer)
    entry.tokens_out = answer.tokens_out
    if mode == "cut_stream":
        await connection.start(200, JSON_TYPE, [(b"content-length", b"%d" % len(body))])
        await connection.write(body[: len(body) // 2], more=True)
        return "cut"
    await connection.answer(200, body)
    return "ok"


async def _stream(call: Call, answer: Answer, mode: Mode, settings: ProviderSettings) -> Status:
    connection, entry, wire = call.connection, call.entry, call.wire
    if await connection.gone_within(call.draw.first_token_s):
        return "cancelled"
    await connection.start(200, wire.stream_type, [(b"cache-control", b"no-cache")])
    if mode == "garbage":
        await connection.write(wire.garbage(stream=True), more=False)
        return "garbage"
    await connection.write(wire.head(answer), more=True)
    size = settings.tokens_per_chunk
    groups = [answer.pieces[at : at + size] for at in range(0, len(answer.pieces), size)]
    # Every token has its due time from the first on: a late wake-up is made up for, not added.
    clock = asyncio.get_running_loop().time
    first_at = clock()
    for index, group in enumerate(groups):
        if mode == "cut_stream" and index >= max(1, len(groups) // 2):
            return "cut"
        wait = first_at + index * size / settings.tokens_per_second - clock()
        if wait > 0 and await connection.gone_within(wait):
            return "cancelled"
        await connection.write(wire.delta(answer, "".join(group)), more=True)
        entry.tokens_out = min(answer.tokens_out, (index + 1) * size)
    if mode == "cut_stream":
        return "cut"
    entry.tokens_out = answer.tokens_out
    await connection.write(wire.tail(answer, call.wanted), more=False)
    return "ok"
