"""Whether a run may be judged at all: the instrument's confession, the faults that bit, and what is missing.

A reason makes the run invalid; a note is for the reader. Both are sentences one can act on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import searched
from harness.analysis.attribution import MOST_NAMES, accounted, everybody_named
from harness.analysis.bypass import never_called, past_the_proxy
from harness.analysis.frame import numbers, words
from harness.analysis.safety import hung, notes, sick_before
from harness.analysis.stats import percentile
from harness.analysis.witnesses import blind_spots, hanging_users
from harness.clock import NS_PER_MS, NS_PER_S
from harness.model.findings import Validity
from harness.model.instrument import CPU_LIMIT, LAG_LIMIT_MS, LATENESS_LIMIT_MS, SUSTAINED
from harness.model.request import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from harness.analysis.frame import Array, Frame
    from harness.analysis.ledger import Calls
    from harness.analysis.sample import Sample
    from harness.analysis.scan import Scan
    from harness.analysis.timeline import FaultSpan, Span, Timeline
    from harness.model.event import Event
    from harness.model.findings import Attribution, CacheFindings, Failover
    from harness.recording.reader import Recording

ERROR_SHARE = 0.05
"""Exceptions of the workload's own code per request from which on the load is not the planned one."""
CLOCK_NOTE_MS = 1.0
"""Clocks that agree to better than this are no matter: failover times are good to 10 ms."""
LEFT_OUT = "not injected: "
NEVER = "never injected: "
"""How the reason of a fault begins that was left out because the system was sick (`_sick_before` tells), and of one
whose trigger never fired."""
_GIVEN_UP = (
    "were not recorded, because the disk stayed full: make room where the recording is written, and run it again."
)
SILENT_AFTER_S = 5.0
"""A worker reports once a second; this long without a word before the load ended, it was dead or stuck."""


@dataclass(frozen=True)
class Facts:
    """What validity is judged from."""

    recording: Recording
    load: Scan
    counts: Array
    """Requests of the load of each kind."""
    measured: Array
    """Those of them that were due in the measured part."""
    lateness: Sample
    canary: Frame
    calls: Calls
    when: Timeline
    failovers: tuple[Failover, ...]
    cache: CacheFindings
    attribution: Attribution | str


def validity(facts: Facts) -> Validity:
    """Return whether the run is valid, why not, and what a reader should know besides."""
    instrument = _instrument(facts)
    reasons = (
        *_workload(facts),
        *_wholeness(facts),
        *_generator(facts, instrument),
        *_workers(facts),
        *sick_before(facts.recording.events),
        *_faults(facts),
        *past_the_proxy(facts.when, facts.calls, facts.load),
        *never_called(facts.when, facts.calls, facts.recording),
        *hung(facts.recording.events),
        *_system(facts),
    )
    return Validity(valid=not reasons, reasons=reasons, notes=tuple(_notes(facts, instrument)), instrument=instrument)


def _instrument(facts: Facts) -> dict[str, float | int | None]:
    aside, kinds = searched.beyond_generator(facts.recording.events), facts.load.kinds
    found, named = _accounted(facts)
    samples = _Workers(facts.recording.samples, facts.when, aside)
    return {
        "lateness_p99_ms": percentile(facts.lateness, 99) / NS_PER_MS if len(facts.lateness) else None,
        "lag_p99_ms": samples.lag_p99_ms(),
        "lag_max_ms": samples.percentile("lag_max_ms", 100),
        "cpu_median": samples.percentile("cpu", 50),
        "cpu_p95": samples.percentile("cpu", 95),
        "cpu_sustained": samples.sustained("cpu"),
        "gc_max_ms": samples.percentile("gc_max_ms", 100),
        "errors": samples.last("errors"),
        "dropped": int(facts.measured[kinds.dropped].sum()),
        "lost": int(facts.measured[kinds.lost].sum()),
        "ledger_found": found,
        "ledger_named": named,
        "ledger_coverage": found / named if found is not None and named else None,
    }


class _Workers:
    """The generator's own samples in the measured part; a figure is that of the worst worker."""

    def __init__(self, samples: pa.Table, when: Timeline, aside: Sequence[Span] = ()) -> None:
        self.source, self.metric = words(samples, "source"), words(samples, "metric")
        self.moments, self.values = numbers(samples, "t_ns"), numbers(samples, "value")
        self.measured = (self.moments >= when.zero_ns) & (self.moments < when.end_ns)
        for begin, end in aside:
            self.measured &= (self.moments < begin) | (self.moments >= end)
        self.names = [word for word in self.source.words if word.startswith("worker:")]

    def _series(self, metric: str) -> Iterator[Array]:
        """Yield each worker's values of the measured part, in order."""
        mine = self.measured & self.metric.among([metric])
        for name in self.names:
            if len(values := self.values[mine & self.source.among([name])]):
                yield values

    def percentile(self, metric: str, percent: float) -> float | None:
        return max((float(np.percentile(values, percent)) for values in self._series(metric)), default=None)

    def sustained(self, metric: str) -> float | None:
        """Return the highest mean over `SUSTAINED` seconds in a row, or over all where there are fewer."""
        window = np.ones(SUSTAINED)
        sums = (np.convolve(v, window[: len(v)], "valid") / min(SUSTAINED, len(v)) for v in self._series(metric))
        return max((float(means.max()) for means in sums), default=None)

    def lag_p99_ms(self) -> float | None:
        """Return how late the loop was at the latest in 99 of 100 looks. Older recordings hold only a p99 of each
        second: of these, what 95 of 100 seconds were below."""
        lag = self.percentile("lag_ms", 99)
        return self.percentile("lag_p99_ms", 95) if lag is None else lag

    def last(self, metric: str) -> int:
        """Return the last value of a counter, summed over workers."""
        rows = self.metric.among([metric])
        series = [values for name in self.names if len(values := self.values[rows & self.source.among([name])])]
        return round(float(sum(values[-1] for values in series)))

    def last_word(self) -> dict[str, int]:
        return {name: int(self.moments[self.source.among([name])].max()) for name in self.names}


def _accounted(facts: Facts) -> tuple[int, int] | tuple[None, None]:
    """Of full answers that name a provider: how many at least one ok ledger row belongs to, and how many there are."""
    if not facts.calls.joined:
        return None, None
    named, known = accounted(facts.load.kinds, facts.calls)
    return int(known.sum()), int(facts.counts[named].sum())


def _workload(facts: Facts) -> Iterator[str]:
    for event in facts.recording.events:
        if event.kind == "instrument" and event.subject == "workload":
            yield f"The workload's own code failed and made no load: {event.data.get('error', 'see logs/')}."


def _wholeness(facts: Facts) -> Iterator[str]:
    recording = facts.recording
    if not recording.finished:
        yield "The run did not end by itself: the recording stops where it was killed. Run it again."
    for missing in recording.truncated:
        yield f"Part of the recording is missing: {missing}."
    for event in recording.events:
        yield from _cut_off(event)
    if not facts.load.rows:
        yield "No request was made: look at logs/ for why the load generator sent nothing."
    elif unheard := _unheard(facts):
        yield unheard
    elif not facts.measured.any():
        yield "Only the warm-up was recorded, no measured request: let the load hold longer."


def _cut_off(event: Event) -> Iterator[str]:
    match event.kind, event.subject:
        case "instrument", "unrecorded":
            yield f"{event.data.get('rows', 0)} rows of samples and of providers' ledgers {_GIVEN_UP}"
        case "instrument", "cut":
            yield f"The load was not made to its end: {event.data.get('error', 'see logs/')}. Run it again."
        case "run", "interrupted":
            yield "The run was interrupted before the load had ended. Run it again."
        case "abort", _:
            observed = event.data.get("observed")
            said = f"{observed:.3g}" if isinstance(observed, float) else observed
            yield f"The run was stopped by its abort condition {event.data.get('threshold')!r} (observed {said})."


def _unheard(facts: Facts) -> str:
    """Return what to say when every request failed before any HTTP answer: then there was no system to measure."""
    kinds = facts.load.kinds
    sent = facts.counts * ~kinds.dropped
    unheard = kinds.words("outcome").among([Outcome.FAILED]) & (kinds.numbers("status") <= 0)
    if not sent.any() or not unheard[sent > 0].all():
        return ""
    errors = kinds.words("error")
    counts = np.bincount(errors.codes, sent, minlength=len(errors.words))
    most = errors.words[counts.argmax()] or "no reason given"
    other = (facts.canary.numbers("status") > 0).any()
    return (
        f"Not one of {sent.sum():,} requests got an HTTP answer ({most}: {counts.max() / sent.sum():.0%}), so there "
        "was no system to measure: "
        + (
            "the canary did get answers, so look at the addresses that the workload calls."
            if other
            else "start it, or correct 'url' in the target."
        )
    )


def _requests(number: float) -> str:
    return "1 request was" if number == 1 else f"{number} requests were"


def _raised(facts: Facts) -> str:
    """Return the latest exception of the workload's own code, in brackets, if the recording has it."""
    said = [e.data.get("error") for e in facts.recording.events if e.kind == "instrument" and e.subject == "raised"]
    return f" (the latest: {said[-1]})" if said else ""


def _generator(facts: Facts, instrument: dict[str, float | int | None]) -> Iterator[str]:
    dropped, errors = instrument["dropped"] or 0, instrument["errors"] or 0
    silent = instrument["lag_p99_ms"] is None or instrument["cpu_median"] is None
    if silent and facts.measured.any():
        yield "The generator said nothing about itself, so nobody knows how late and how busy it was. Run it again."
    if errors > ERROR_SHARE * facts.load.rows:
        yield (
            f"The workload's own code raised {errors} times for {facts.load.rows} requests{_raised(facts)}, so less "
            f"load was made than planned: see logs/{facts.recording.plan.engine}.log."
        )
    lateness, lag, cpu = (instrument[key] or 0 for key in ("lateness_p99_ms", "lag_p99_ms", "cpu_sustained"))
    # What users take to log in before they send what is due is not the generator's lateness: its own word has it not.
    aside = searched.beyond_generator(facts.recording.events)
    own = _Workers(facts.recording.samples, facts.when, aside).percentile("lateness_p99_ms", 99)
    lateness = lateness if own is None else min(lateness, own)
    if unrecorded := _Workers(facts.recording.samples, facts.when).last("unrecorded"):
        yield f"{unrecorded} rows of requests and their tokens {_GIVEN_UP}"
    if misread := _Workers(facts.recording.samples, facts.when).last("misread"):
        yield (
            f"{misread} answers could not be read, and what their rows say of them is not true: see "
            f"logs/{facts.recording.plan.engine}.log, and report it as a mistake of agentstorm."
        )
    search = searched.is_search(facts.recording.plan)
    if search:
        yield from searched.unreached(facts.recording.events)
    if dropped and not search:  # a search is told where the system's queue was full, and counts it against the system
        yield (
            f"{_requests(dropped)} due and never sent, so users would have seen worse than what was measured: "
            "raise max_in_flight, or lower the rate."
        )
    if facts.recording.plan.scenario.load.open_loop and lateness > LATENESS_LIMIT_MS:
        yield (
            f"The generator sent requests late (p99 {lateness:.0f} ms; limit {LATENESS_LIMIT_MS:.0f} ms): "
            "lower the rate, or give it more --workers, or a faster or less busy machine."
        )
    if lag > LAG_LIMIT_MS:
        yield (
            f"The generator's own loop lagged (p99 {lag:.0f} ms; limit {LAG_LIMIT_MS:.0f} ms), which shows up in every "
            "response time: take work out of the workload file, or give it a faster or less busy machine."
        )
    if cpu > CPU_LIMIT:
        yield (
            f"The generator used {cpu:.0%} of a core for {SUSTAINED} s (limit {CPU_LIMIT:.0%}) and may have been the "
            "bottleneck: give it more --workers, or a faster machine, or take fewer users or a lower rate."
        )


def _workers(facts: Facts) -> Iterator[str]:
    died = [e for e in facts.recording.events if e.kind == "instrument" and e.subject == "died"]
    for event in died:
        yield f"The load generator died: {event.data.get('error', 'see logs/')}."
    if died or not facts.recording.finished:  # with one of them the others were stopped
        return
    for source, t_ns in _Workers(facts.recording.samples, facts.when).last_word().items():
        silent_s = (facts.when.end_ns - t_ns) / NS_PER_S
        if silent_s > SILENT_AFTER_S:
            worker = source.partition(":")[2]
            yield f"Worker {worker} fell silent {silent_s:.0f} s before the load ended: see logs/."


def _faults(facts: Facts) -> Iterator[str]:
    planned = sum(fault.repeat for _, fault in facts.recording.plan.faults)
    events = facts.recording.events
    cut_short = any(e.kind == "load" and e.data.get("early") for e in events)
    if len(facts.when.faults) < planned and facts.recording.finished and not cut_short:
        yield f"{planned - len(facts.when.faults)} of {planned} planned faults were never injected."
    yield from filter(None, map(_about, facts.when.faults))
    for event in facts.recording.events:
        if event.kind == "run" and event.subject == "ended" and event.data.get("left"):
            left = ", ".join(map(str, event.data["left"]))
            yield f"Something was left broken or running: {left}. Run `agentstorm heal`."


def _about(fault: FaultSpan) -> str:
    """Return why one fault proves nothing; "" when it does, or when that is told elsewhere (`sick_before`)."""
    name = f"Fault {fault.fault} ({fault.kind} on {fault.upstream})"
    why = f": {fault.failed}" if fault.failed else ""
    if fault.failed.startswith(LEFT_OUT):
        return ""
    if fault.failed.startswith(NEVER):
        return f"{name} was {fault.failed}. Wait for something that comes, or let the load last longer."
    if fault.effective is None:
        return f"{name} did not bite, so nothing was tested{why}."
    if fault.cleared is not None:
        cut_short = f"{name} broke off before its end, so not all of it was tested: {fault.cut_short}."
        return cut_short if fault.cut_short else ""
    if fault.healed:
        return f"{name} was taken back, and nobody saw it gone{why}. Nothing of it is left: run it again."
    return f"{name} was not seen to heal{why}: run `agentstorm heal` before the next run."


def _system(facts: Facts) -> Iterator[str]:
    for event in facts.recording.events:
        if event.kind == "system" and event.data.get("state") == "died":
            yield f"{event.subject} died during the run: see logs/ for its last words."


def _notes(facts: Facts, instrument: dict[str, float | int | None]) -> Iterator[str]:
    lost, coverage = instrument["lost"] or 0, instrument["ledger_coverage"]
    if lost:
        yield (
            f"{_requests(lost)} never answered before the run ended, and {'counts' if lost == 1 else 'count'} with the "
            "time waited, so percentiles are lower bounds and their upper sides may be open."
        )
    yield from notes(facts.recording.events)
    yield from searched.notes(facts.recording.events)
    if errors := instrument["errors"]:
        yield f"The workload's own code raised {errors} times: see logs/{facts.recording.plan.engine}.log."
    if not len(facts.canary):
        yield "No canary ran: failover times are only as fine as the load is dense."
        scenario = facts.recording.plan.scenario
        yield from () if scenario.load.open_loop else hanging_users(facts.failovers, scenario.slo.response_time)
    if not len(facts.calls):
        yield "No provider ledger: who answered, failover and failback rest on nothing and are left out."
    elif not facts.calls.joined:
        yield "The system does not pass trace ids on: ledger rows cannot be told apart by request."
    elif coverage is not None and coverage < 1:
        yield f"The ledgers know of {coverage:.2%} of the answers that name a provider."
    yield from _fault_proxy(facts)
    yield from _clocks(facts)
    yield from blind_spots(facts.recording.events, int(facts.canary.dropped.sum()))
    if facts.when.faults and facts.when.healthy != facts.when.spans("baseline"):
        yield "No baseline before the first fault: recovery was held against everything before it, warm-up included."
    if (many := len(everybody_named(facts.load.kinds, facts.calls))) > MOST_NAMES:
        yield (
            f"{many} names of providers are too many to hold answers against ledgers (at most {MOST_NAMES}): see what "
            "observe.provider reads."
        )
    if not isinstance(facts.attribution, str) and facts.attribution.agree < facts.attribution.compared:
        wrong = facts.attribution.compared - facts.attribution.agree
        yield f"{wrong} of {facts.attribution.compared} answers name other providers than the ledgers do."
    yield from _disagreement(facts.cache)


def _fault_proxy(facts: Facts) -> Iterator[str]:
    proxy = facts.recording.manifest.get("components", {}).get("toxiproxy", {})
    if (version := str(proxy.get("version", ""))).endswith("+builtin"):
        yield f"Faults were made by the Toxiproxy built into agentstorm ({version}), not the real one: {proxy['how']}."


def _clocks(facts: Facts) -> Iterator[str]:
    samples = _Workers(facts.recording.samples, facts.when)
    uncertain = samples.percentile("clock_uncertainty_ms", 100) or 0
    if uncertain > CLOCK_NOTE_MS:
        yield (
            f"Workers on other hosts keep this host's time to within {uncertain:.1f} ms only: failover times and all "
            "that holds their requests against ledgers are no finer. Response times are not touched."
        )


def _disagreement(cache: CacheFindings) -> Iterator[str]:
    witnesses = {"answers": cache.answers, "metrics": cache.metrics, "ledger": cache.ledger}
    rates = {name: w.hit_rate for name, w in witnesses.items() if not isinstance(w, str) and w.hit_rate is not None}
    if rates and max(rates.values()) - min(rates.values()) > 0.02:
        said = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
        yield f"The witnesses of the cache disagree: {said}."
