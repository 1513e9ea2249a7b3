"""What a reader of a state's capacity should know besides: where it is not certain, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.analysis.usl import MISFIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.analysis.capacity_slo import Bracket, State
    from harness.model.capacity import Level, Limit, LimitKind, Usl

_UNCERTAIN: Mapping[State, str] = {
    "at_least": "No level was shown to miss the SLO: the capacity lies beyond the tested range.",
    "below": "Not even the lowest level is shown to meet the SLO: the capacity lies below the tested range.",
    "undecided": "No level shows whether the SLO is met: let each hold longer.",
}
_AMONG: Mapping[State, tuple[str, str]] = {
    "at_least": ("No level was shown to miss the SLO", "above the highest shown to meet it"),
    "below": ("No level is shown to meet the SLO", "below the lowest shown to miss it"),
}
"""The same, where levels that tell nothing lie beyond the end that is known."""
_NOT_BY_LOAD: Mapping[LimitKind, str] = {
    "generator": "it is the harness's own",
    "stand_in": "it only stands in for a provider, and a real one may let the system carry more",
}
NO_THINK = "No think time is given (load.think), so the capacity is not told in users."


def notes(
    levels: Sequence[Level],
    found: Bracket,
    law: Usl | None,
    full: Sequence[Limit],
    *,
    untold: int,
    users_known: bool,
    saturated: bool,
) -> Iterator[str]:
    """Yield the notes, what weighs most first."""
    if not levels:
        yield "No level was run in this state: time was up, or what breaks it did not bite. Its capacity is not known."
        return
    if left_out := [level for level in levels if not level.counts]:
        yield f"{len(left_out)} of {len(levels)} levels do not count: {left_out[0].why}."
    if untold and found.state in _AMONG:
        (of, where), (noun, do) = _AMONG[found.state], ("levels", "do") if untold > 1 else ("level", "does")
        yield f"{of}, but {untold} {noun} {where} {do} not tell: the capacity may lie among them."
    elif found.state in _UNCERTAIN:
        yield _UNCERTAIN[found.state]
    if found.contradicted:
        yield "A level missed the SLO below one that met it: something else than the load changed."
    yield from _little(levels)
    if law is None:
        yield "Too few levels for the scalability law: it needs four."
    elif not law.fits:
        yield (
            f"The scalability law does not fit (a level lies more than {MISFIT:.0%} from it): something else than "
            "contention sets the limit, such as a pool or a quota, so there is no N*."
        )
    elif not law.past_knee:
        yield "The knee (N*) lies beyond the tested range, or is not certain to lie within it."
    yield from _limits(full, saturated=saturated)
    if not users_known and any(level.rate is not None for level in levels):
        yield NO_THINK


def _little(levels: Sequence[Level]) -> Iterator[str]:
    # That a level which never settled breaks it needs no saying: it is how such a level is known.
    for level in [level for level in levels if level.settled and not level.little.holds][:1]:
        off = abs(level.little.off or 0.0)
        yield f"Little's law is off by {off:.0%} on level {level.level}: {level.little.why}."
    for users in [users for level in levels if (users := level.little_users) and not users.holds][:1]:
        yield f"Little's law does not hold for users: {users.why}."


def _limits(full: Sequence[Limit], *, saturated: bool) -> Iterator[str]:
    if not full and saturated:
        yield (
            "Throughput grew no more, and nothing that was watched was full: look for what was not (a lock, a quota, a "
            "pool without a ledger behind it)."
        )
    elif not full:
        yield "Nothing that was watched came near its limit."
    elif all(limit.extrapolated for limit in full):
        yield "Nothing that was watched reached its limit; what would first is extrapolated."
    for limit in [limit for limit in full if not limit.by_load and not limit.extrapolated][:1]:
        why = _NOT_BY_LOAD.get(limit.kind, "so it was on the lowest level, by no load")
        yield f"{limit.resource} was full, but does not limit what to plan with: {why}."
    for limit in [limit for limit in full if limit.by_load and limit.at_most][:1]:
        yield (
            f"{limit.resource} was full on the lowest level already, so it may be at the load to plan with. Only lower "
            "levels would tell."
        )
