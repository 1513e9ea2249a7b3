"""From recordings to signals: every limit from something measured, or the SLO; what was not measured is said.

With several recordings each is derived for itself, and the limit that would have kept quiet in all of them counts:
runs differ by more than requests within a run tell (`methods.md`, Comparing). Of the loads at which to scale out it is
the lowest. A load that fills the system up says only that: what is slow, open or failing then is no healthy baseline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import ExitCode, NotComparable
from harness.export import derive_limits, derive_traffic
from harness.export.signals import Above, HandOver, Missing, Shown, Signal

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
_OF_ANY_LOAD = (derive_limits.scale_out, derive_limits.health)
"""Those that need no healthy times to be held against."""


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
    for source in sorted(sources, key=lambda source: source.full):  # why a healthy run makes no alert is said first
        for derive in DERIVATIONS:
            for one in derive(source):
                found = one if derive in _OF_ANY_LOAD or not source.full else _no_baseline(one.name, source)
                if isinstance(found, Missing):
                    if found.noisy or found.name not in missing:
                        missing[found.name] = found
                elif found.name not in signals or _counts(found, signals[found.name]):
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


def _no_baseline(name: str, source: Source) -> Missing:
    kind = source.plan.scenario.load.kind
    return Missing(name, f"a load of kind {kind} may fill the system up and shows no healthy times; a steady one does")


def _counts(one: Signal, other: Signal) -> bool:
    """Tell whether the limit of `one` counts rather than that of `other`."""
    cautious = isinstance(one, Above) and one.cautious
    return one.limit > other.limit if one.rises and not cautious else one.limit < other.limit


def _shown(sources: Sequence[Source]) -> Shown:
    """Return the metrics of the recording that showed most of them."""
    return max((source.shown for source in sources), key=lambda shown: sum(bool(v) for v in vars(shown).values()))
