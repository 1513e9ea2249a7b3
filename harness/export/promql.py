"""Signals, and what a dashboard draws, as PromQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.export.signals import (
    Above,
    BreakerOpen,
    Burn,
    CacheLow,
    Growing,
    ProviderShift,
    Signal,
    Silent,
    Slow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def duration(seconds: int) -> str:
    """Return a duration as Prometheus writes it, in the largest unit that fits: ``5m``, ``6h``, ``3d``."""
    size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def number(value: float) -> str:
    """Return a number without a float's noise, and without an exponent where it is large."""
    return f"{value:.0f}" if abs(value) >= 1e5 else f"{value:.6g}"


def quoted(text: str) -> str:
    """Return a label's value, or a regular expression for one, as a string of PromQL."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def series(metric: str, selector: str, *matchers: str) -> str:
    """Return a selection of series."""
    inside = ",".join(m for m in (selector, *matchers) if m)
    return f"{metric}{{{inside}}}" if inside else metric


def rate(metric: str, window: str, selector: str, *matchers: str) -> str:
    """Return how fast counters grow together, per second."""
    return f"sum(rate({series(metric, selector, *matchers)}[{window}]))"


def failed_share(metric: str, label: str, failed: str, window: str, selector: str) -> str:
    """Return the share of failures; 0 where the metric has no failures yet, nothing where there is no traffic."""
    everything = rate(metric, window, selector)
    bad = rate(metric, window, selector, f"{label}=~{quoted(failed)}")
    return f"(({bad} or 0 * {everything}) / {everything})"


def cache_share(hits: str, misses: str, window: str, selector: str) -> str:
    """Return the share of lookups that hit."""
    both = [rate(name, window, selector) for name in (hits, misses)]
    hit, missed = (f"({one} or 0 * {other})" for one, other in (both, reversed(both)))
    return f"{hit} / ({hit} + {missed})"


def _burn(signal: Burn, selector: str) -> str:
    limit = number(signal.limit)
    return " and ".join(
        f"{failed_share(signal.metric, signal.label, signal.failed, duration(window), selector)} > {limit}"
        for window in (signal.long_s, signal.short_s)
    )


def _slow(signal: Slow, selector: str) -> str:
    window, buckets = duration(signal.window_s), f"{signal.metric}_bucket"
    below, everything = (
        rate(buckets, window, selector, f"le=~{quoted(_any_spelling(le))}") for le in (signal.le, "+Inf")
    )
    return f"1 - {below} / {everything} > {number(signal.share)}"


def _any_spelling(le: str) -> str:
    """Prometheus 3 writes 1 as 1.0; what a system shows may be either."""
    if le.startswith("+"):
        return "\\" + le
    whole = le.removesuffix(".0")
    return whole.replace(".", "\\.") if "." in whole else f"{whole}(\\.0)?"


def _breaker(signal: BreakerOpen, selector: str) -> str:
    # Of each replica first: one that is open counts whatever the others say, in whatever order the values are.
    return f"max by ({signal.label}) ({series(signal.metric, selector)} == bool {number(signal.limit)}) == 1"


def _cache(signal: CacheLow, selector: str) -> str:
    share = cache_share(signal.hits, signal.misses, duration(signal.window_s), selector)
    return f"{share} < {number(signal.limit)}"


def _shift(signal: ProviderShift, selector: str) -> str:
    window = duration(signal.window_s)
    everything = rate(signal.metric, window, selector)
    own = rate(signal.metric, window, selector, f"{signal.label}={quoted(signal.primary)}")
    return f"({own} or 0 * {everything}) / {everything} < {number(signal.limit)}"


def _above(signal: Above, selector: str) -> str:
    chosen = series(signal.metric, selector)
    per_process = f"sum by (instance) ({chosen})"
    if signal.window_s:
        per_process = f"sum by (instance) (rate({chosen}[{duration(signal.window_s)}]))"
    return f"{per_process} > {number(signal.limit)}"


def _growing(signal: Growing, selector: str) -> str:
    window = duration(signal.window_s)
    return f"sum by (instance) (deriv({series(signal.metric, selector)}[{window}])) > {number(signal.limit)}"


def _silent(signal: Silent, selector: str) -> str:
    return f"absent({series(signal.metric, selector)})"


_EXPRESSIONS: Mapping[type[Signal], Callable[[Any, str], str]] = {
    Burn: _burn,
    Slow: _slow,
    BreakerOpen: _breaker,
    CacheLow: _cache,
    ProviderShift: _shift,
    Above: _above,
    Growing: _growing,
    Silent: _silent,
}


def expression(signal: Signal, selector: str) -> str:
    """Return the query that has a result exactly when there is something to alert on."""
    return _EXPRESSIONS[type(signal)](signal, selector)
