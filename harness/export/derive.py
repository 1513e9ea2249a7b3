"""From recordings to signals: every limit from something measured, or the SLO; what was not measured is said.

With several recordings each is derived for itself, and the limit that would have kept quiet in all of them counts:
runs differ by more than requests within a run tell (`methods.md`, Comparing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import ExitCode, NotComparable
from harness.export import derive_limits, derive_traffic
from harness.export.signals import HandOver, Missing, Shown, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from harness.export.source import Source

DERIVATIONS: tuple[Callable[[Source], Iterator[Signal | Missing]], ...] = (
    derive_traffic.error_budget,
    derive_traffic.slow,
    derive_traffic.breakers,
    derive_traffic.cache,
    derive_traffic.primary,
    derive_limits.saturation,
    derive_limits.growth,
    derive_limits.scale_out,
    derive_limits.silent,
    derive_limits.health,
)


def hand_over(
    sources: Sequence[Source],
    *,
    selector: str = "",
    namespace: str = "",
    dimensions: tuple[tuple[str, str], ...] = (),
) -> HandOver:
    """Return what to export of recordings of one target. NotComparable: of several targets, or one run is invalid."""
    targets = sorted({source.plan.target.target for source in sources})
    if len(targets) > 1:
        raise NotComparable(f"recordings of different targets: {', '.join(targets)}; export one target at a time")
    for source in sources:
        if not source.findings.validity.valid:
            why = "; ".join(source.findings.validity.reasons)
            raise NotComparable(
                f"{source.name} is invalid, nothing is derived of it: {why}", exit_code=ExitCode.INVALID
            )
    signals: dict[str, Signal] = {}
    missing: dict[str, Missing] = {}
    for source in sources:
        for derive in DERIVATIONS:
            for found in derive(source):
                if isinstance(found, Missing):
                    if found.noisy or found.name not in missing:
                        missing[found.name] = found
                elif found.name not in signals or _quieter(found, signals[found.name]):
                    signals[found.name] = found
    noisy = {one.name for one in missing.values() if one.noisy}
    made = [signal for signal in signals.values() if signal.name not in noisy]
    return HandOver(
        target=targets[0],
        recordings=tuple(source.name for source in sources),
        signals=tuple(made),
        missing=tuple(one for one in missing.values() if one.noisy or one.name not in signals),
        shown=_shown(sources),
        selector=selector,
        **({"namespace": namespace} if namespace else {}),
        dimensions=dimensions,
    )


def _quieter(one: Signal, other: Signal) -> bool:
    return one.limit > other.limit if one.rises else one.limit < other.limit


def _shown(sources: Sequence[Source]) -> Shown:
    """Return the metrics of the recording that showed most of them."""
    return max((source.shown for source in sources), key=lambda shown: sum(bool(v) for v in vars(shown).values()))
