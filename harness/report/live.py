"""What a run looks like while it lasts: a live panel on a terminal, a plain line every few seconds without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.report import units

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from rich.console import Console, RenderableType

PLAIN_EVERY_S = 5.0
_BAR = 40
_STYLES = ("blue", "yellow", "magenta", "cyan", "green")


@dataclass(frozen=True)
class LiveState:
    """A run at one moment. Times and rates are of the last few seconds; None where there was nothing to measure."""

    elapsed_s: float
    total_s: float
    phase: str
    users: int = 0
    rate_per_s: float = 0.0
    in_flight: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    level: str = ""
    """Of a search for capacity: where it stands."""
    faults: tuple[str, ...] = ()
    """Faults that are on."""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Requests so far, by outcome."""
    providers: Mapping[str, int] = field(default_factory=dict)
    """Answers of the last few seconds, by provider."""
    messages: tuple[str, ...] = ()
    """The last few things worth knowing, oldest first."""

    @property
    def bad(self) -> int:
        """Requests so far that were not answered, or with an error."""
        return sum(n for outcome, n in self.outcomes.items() if outcome not in ("ok", "degraded"))


def plain(state: LiveState) -> str:
    """Return a state as one line of a log."""
    words = [f"t={state.elapsed_s:.0f}s", f"phase={state.phase}", f"rate={state.rate_per_s:.1f}/s"]
    for name, value in (("p50", state.p50_ms), ("p95", state.p95_ms), ("p99", state.p99_ms)):
        words.append(f"{name}={units.milliseconds(value).replace(units.SPACE, '')}")
    words += [f"users={state.users}", f"in_flight={state.in_flight}", f"bad={state.bad}"]
    if state.level:
        words.append(f"search={state.level!r}")
    if state.faults:
        words.append(f"faults={','.join(state.faults)}")
    if whole := sum(state.providers.values()):
        shares = (f"{name} {n / whole:.0%}" for name, n in _ordered(state.providers))
        words.append(f"providers={','.join(shares).replace(' ', ':')}")
    return " ".join(words)


def _ordered(providers: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((n or "none", c) for n, c in providers.items()), key=lambda p: p[0])


def _providers(state: LiveState, styles: dict[str, str]) -> Text:
    text, whole = Text(), sum(state.providers.values())
    if not whole:
        return Text("no answers yet", style="dim")
    shares = [(name, n / whole) for name, n in _ordered(state.providers)]
    for name, _ in shares:
        styles.setdefault(name, _STYLES[len(styles) % len(_STYLES)])
    for name, share in shares:
        text.append("█" * round(share * _BAR), style=styles[name])
    text.append("  ")
    for name, share in shares:
        text.append(f"{name} {share:.0%}  ", style=styles[name])
    return text


def panel(state: LiveState, styles: dict[str, str]) -> RenderableType:
    """Return a state as it is shown on a terminal; `styles` remembers each provider's colour, new ones are added."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    head = Text(state.phase, style="bold")
    head.append(f"   {units.clock(state.elapsed_s)} of {units.clock(state.total_s)}", style="dim")
    grid.add_row("phase", head)
    grid.add_row(
        "", ProgressBar(total=max(state.total_s, 1.0), completed=min(state.elapsed_s, state.total_s), width=_BAR)
    )
    if state.level:
        grid.add_row("search", Text(state.level))
    faults = Text(", ".join(state.faults), style="bold red") if state.faults else Text("none", style="dim")
    grid.add_row("faults", faults)
    load = f"{state.rate_per_s:.1f}/s   {state.users:,} users   {state.in_flight:,} in flight"
    grid.add_row("load", Text(load))
    times = (("p50", state.p50_ms), ("p95", state.p95_ms), ("p99", state.p99_ms))
    grid.add_row("response", Text("   ".join(f"{name} {units.milliseconds(v)}" for name, v in times)))
    outcomes = Text()
    for outcome, number in state.outcomes.items():
        style = "" if outcome == "ok" else "yellow" if outcome == "degraded" else "red"
        outcomes.append(f"{number:,} {outcome}   ", style=style if number else "dim")
    grid.add_row("requests", outcomes)
    grid.add_row("providers", _providers(state, styles))
    for number, message in enumerate(state.messages[-4:]):
        grid.add_row("" if number else "messages", Text(message, overflow="ellipsis", no_wrap=True))
    return Group(grid)


class LiveView:
    """A context manager fed by `update`. The console decides: a live panel, or a line every 5 s of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._styles: dict[str, str] = {}
        self._next_s = 0.0
        self._told: tuple[str, tuple[str, ...]] = ("", ())
        self._messages: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def update(self, state: LiveState) -> None:
        """Show `state`; without a terminal new messages, and a line every 5 s and at each change of phase or faults."""
        if self._live:
            self._live.update(panel(state, self._styles), refresh=True)
            return
        for message in state.messages:
            if message not in self._messages:
                self._write(message)
        self._messages = state.messages
        if state.elapsed_s >= self._next_s or self._told != (state.phase, state.faults):
            self._write(plain(state))
            self._told = (state.phase, state.faults)
            self._next_s = (state.elapsed_s // PLAIN_EVERY_S + 1) * PLAIN_EVERY_S

    def _write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True, highlight=False)
