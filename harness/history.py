"""Looking back: the runs of the store as series, and where each figure of a series changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.change_points import change_points
from harness.analysis.quantities import QUANTITIES
from harness.assess import assess
from harness.errors import AgentstormError
from harness.model.history import History, Moved, Night, Series
from harness.model.verdict import Verdicts
from harness.paths import shown
from harness.recording import layout
from harness.runs import Run
from harness.seeds import generator
from harness.settings import apart
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path


_TROUBLES = (AgentstormError, OSError, KeyError, ValueError)
MOST = 400
"""Runs of one series that are looked at, the newest: more than a year of nights."""


def history(nights: Iterable[Night], metrics: Sequence[str] = ()) -> History:
    """Return the runs by series, each with the changes of its figures. Invalid runs are listed and not looked at."""
    by_series: dict[tuple[str, ...], list[Night]] = {}
    for night in nights:
        by_series.setdefault(night.series, []).append(night)
    return History(
        series=tuple(_series(every[-MOST:], _apart(series, by_series), metrics) for series, every in by_series.items())
    )


def _apart(series: tuple[str, ...], by_series: Mapping[tuple[str, ...], Sequence[Night]]) -> tuple[str, ...]:
    """Say what tells a series from those of the same names: what was asked, and what the system was set to."""
    mine = by_series[series][-1]
    alike = [nights[-1] for nights in by_series.values() if _named(nights[-1]) == _named(mine)]
    asked = () if mine.asked is None else apart(mine.asked, [night.asked for night in alike])
    return (*asked, *apart(mine.settings, [night.settings for night in alike]))


def _named(night: Night) -> tuple[object, ...]:
    return night.scenario, night.experiments, night.target, night.engine, night.scale


def _series(nights: list[Night], set_to: tuple[str, ...], metrics: Sequence[str]) -> Series:
    last = nights[-1]
    moved: list[Moved] = []
    for name in metrics or QUANTITIES:
        told = [night for night in nights if night.valid and name in night.figures]
        values = [night.figures[name] for night in told]
        for change in change_points(values, generator(0, f"change-points {'/'.join(last.series)} {name}")):
            quantity, at = QUANTITIES[name], change.index
            worse = quantity.sign * (change.after - change.before) > 0
            moved.append(
                Moved(
                    metric=name, unit=quantity.unit, scale=quantity.scale, since=told[at].recording,
                    started=told[at].started, last_before=told[at - 1].recording, before=change.before,
                    after=change.after, p=change.p, worse=worse,
                )
            )  # fmt: skip
    return Series(
        scenario=last.scenario, experiments=last.experiments, target=last.target, engine=last.engine, scale=last.scale,
        settings=last.settings, apart=set_to, nights=tuple(nights),
        moved=tuple(sorted(moved, key=lambda m: m.started)),
    )  # fmt: skip


def rebuild(store: Store, say: Callable[[str], Any]) -> int:
    """Make the store anew from the recordings in its folder; return how many it holds. What cannot be read is said."""
    store.forget()
    told: list[tuple[Run, Verdicts]] = []
    for path in store.recordings():
        try:
            run = Run.open(path)
            told.append((run, _verdicts(run)))
        except _TROUBLES as error:
            say(f"{shown(path)}: left out: {error}")
    store.add(told)
    return len(told)


def _verdicts(run: Run) -> Verdicts:
    try:
        return Verdicts.model_validate_json((run.recording.path / layout.VERDICTS).read_bytes())
    except (OSError, ValueError):
        return assess(run.recording)[1]


def remember(recording: Path, say: Callable[[str], Any]) -> None:
    """Write a judged run into the store, if it lies in its folder. What goes wrong is said and harms nothing."""
    try:
        store = Store()
        if store.holds(recording):
            run = Run.open(recording)
            store.add([(run, _verdicts(run))])
    except _TROUBLES as error:
        say(f"{shown(recording)}: not written into the history: {error}")
