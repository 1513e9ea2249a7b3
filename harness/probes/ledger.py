"""The providers' own account of the calls they received, read directly, past the fault proxies: ground truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.clock import NS_PER_S, now_ns
from harness.model.request import request_id_of
from harness.probes.periodic import Periodic
from harness.web import get

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recording.tables import EventLog, LedgerWriter

_MOST = 2**31 - 1
_ODD = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
"""What reading an answer raises that is no ledger."""
_PAGE = 1000  # rows in one answer: decoding holds up our own threads, so not too many at once
_TIMEOUT_S = 5.0
_NOTHING_AFTER = 2**62
_OTHER_CLOCK_NS = NS_PER_S
"""A page's own time this far from ours is another machine's clock (Docker Desktop's engine runs in one of its own)."""


class _Book:
    """How far one upstream's ledger has been read."""

    def __init__(self, upstream: str, url: str) -> None:
        self.upstream, self._url = upstream, url
        self.after: int | None = None
        """Number of the last row read; None before the first look."""
        self.read_ns = -1
        """When the latest look began that read all there was; -1 before the first."""
        self.behind_ns = 0
        """What to add to the ledger's times to get ours: its clock is another's, or 0."""
        self.odd: list[str] = []
        """What was wrong with the rows that this look left out."""

    def page(self, after: int) -> dict[str, Any]:
        asked_ns = now_ns()
        status, body = get(f"{self._url}?after={after}&limit={_PAGE}", _TIMEOUT_S)
        if status != 200:
            raise OSError(f"{self._url}: HTTP {status}")
        page: dict[str, Any] = json.loads(body)
        answered_ns = now_ns()
        behind_ns = (asked_ns + answered_ns) // 2 - int(page.get("clock_ns", answered_ns))
        if abs(behind_ns) > max(_OTHER_CLOCK_NS, answered_ns - asked_ns) and not self.behind_ns:
            self.behind_ns = behind_ns
        return page


class Ledger(Periodic):
    """Reads every upstream's ledger each `every_s`, each final row once; goes on where it was after a restart.

    Rows from before `start` are left out. Rows the provider dropped before they were read are told as an event
    (kind `probe`, subject ``gap``, ``{upstream, rows}``), a ledger that began anew as subject ``restarted``, one that
    could not be read at the last look as subject ``unread`` (``{upstream, since_ns, error}``: what came since may be
    missing).
    A ledger whose page says that its clock is another machine's is written in our time, as exactly as the page came
    fast.
    What is unanswered at the last look is written with status ``in_flight``. A row that is none is left out and told
    with the look's other trouble.
    """

    def __init__(
        self, urls: Mapping[str, str], run_id: int, ledger: LedgerWriter, events: EventLog, *, every_s: float = 1.0
    ) -> None:
        super().__init__("ledger", every_s, events)
        self._books = [_Book(upstream, url) for upstream, url in urls.items()]
        self._run_id, self._ledger = run_id, ledger

    def start(self) -> None:
        """Skip what the ledgers hold already, then begin."""
        for book in self._books:
            if book.after is None:
                book.read_ns = now_ns()
                try:
                    book.after = int(book.page(_NOTHING_AFTER)["next_seq"]) - 1
                except (OSError, *_ODD):
                    book.after = 0  # the first look tells what is wrong; better too many rows than too few
        super().start()

    def look(self) -> None:
        """Read what is new in every ledger."""
        self._read_all(last=False)

    def last_look(self) -> None:
        """Read what is new, and what is still unanswered."""
        self._read_all(last=True)

    def _read_all(self, *, last: bool) -> None:
        problems = []
        for book in self._books:
            book.odd = []
            began_ns = now_ns()
            try:
                in_flight = self._read(book)
                for row in in_flight if last else []:
                    self._write(book, row, "in_flight")
                book.read_ns = began_ns
            except (OSError, *_ODD) as error:  # one that is gone must not hide the others
                said = f"{type(error).__name__}: {error}"
                problems.append(f"{book.upstream}: {said}")
                if last:
                    self._events.emit(
                        "probe", "ledger", "unread", upstream=book.upstream, since_ns=book.read_ns, error=said
                    )
            if book.odd:
                problems.append(f"{book.upstream}: {len(book.odd)} rows left out, the first: {book.odd[0]}")
        if problems:
            raise OSError("; ".join(problems))

    def _read(self, book: _Book) -> list[dict[str, Any]]:
        """Write down all new rows of one ledger, each once whatever it shows; return the calls it is still answering.
        It is asked again only while it has more, and that page had some."""
        while True:
            after = book.after or 0
            page = book.page(after)
            start = min(0, page["first_seq"] - 1)  # whether it counts from 1 or from 0
            if page["next_seq"] <= after and start < after:
                self._events.emit("probe", "ledger", "restarted", upstream=book.upstream, after=after)
                book.after = start
                continue
            if page["first_seq"] > after + 1:
                rows = page["first_seq"] - after - 1
                self._events.emit("probe", "ledger", "gap", upstream=book.upstream, rows=rows, after=after)
                book.after = page["first_seq"] - 1
            read = after
            for row in page["rows"]:
                if row["seq"] > after:
                    self._write(book, row)
                    book.after = read = max(row["seq"], read)
            if read == after or read >= page["next_seq"] - 1:
                in_flight: list[dict[str, Any]] = page["in_flight"]
                return in_flight

    def _write(self, book: _Book, row: Mapping[str, Any], status: str = "") -> None:
        try:
            self._ledger.add(*_columns(book, row, status or row["status"], self._run_id))
        except _ODD as error:  # one odd row must not hide those after it
            book.odd.append(f"{type(error).__name__}: {error}")


def _columns(book: _Book, row: Mapping[str, Any], status: Any, run_id: int) -> tuple[Any, ...]:
    """Return `row` as the columns of `layout.LEDGER_SCHEMA`.

    Converted here: a column of another type would be found out when the table is written, far from its cause.
    """
    answered = row["answered_ns"]
    return (
        _long(row["received_ns"]) + book.behind_ns,
        -1 if answered is None else _long(answered) + book.behind_ns,
        book.upstream,
        _long(request_id_of(row["trace_id"], run_id)),
        *(_word(row[name] or "") for name in ("tenant", "agent", "model")),
        *(max(-1, min(int(row[name] or 0), _MOST)) for name in ("tokens_in", "tokens_out")),
        bool(row["stream"]),
        _word(status),
    )


def _long(value: Any) -> int:
    number = int(value)
    if abs(number) >= 2**63:
        raise OverflowError(f"{number} does not fit 64 bits")
    return number


def _word(value: Any) -> str:
    return str(value).encode(errors="replace").decode()  # half an emoji is no text to a table
