"""The verdict's one sentence in Swedish, and what was run. English has its own (`harness.wording`, `report.words`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.model.experiment import names_of
from harness.model.threshold import METRICS, parse_threshold
from harness.model.verdict import Verdict
from harness.report import units, words
from harness.report.language_sv import SWEDISH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.model.findings import Failover, Findings
    from harness.model.load import Load
    from harness.model.threshold import Threshold
    from harness.model.verdict import Check, Verdicts

TREND: Mapping[str, str] = {
    "response_time": "användarna väntar {value}",
    "service_time": "svaren tar {value}",
    "time_to_first_byte": "första byten dröjer {value}",
    "time_to_first_token": "första token dröjer {value}",
    "inter_token_latency": "nästa token dröjer {value}",
    "tokens_per_second": "svaren strömmar med {value}",
}
RATE: Mapping[str, str] = {
    "request_failed": "{value} av anropen misslyckas",
    "request_ok": "{value} av anropen får ett fullständigt svar",
    "request_degraded": "{value} av anropen får bara det regelbaserade svaret",
    "stream_complete": "{value} av de strömmade svaren är hela",
    "cache_hit": "{value} av cacheuppslagen träffar",
}
OUTAGE: Mapping[str, str] = {
    "impact_delay": "första skadan kom {value} efter felet",
    "detection_time": "brytaren löste ut efter {value}",
    "failover_time": "en annan leverantör svarade efter {value}",
    "recovery_time": "tjänsten var bra igen efter {value}",
    "failback_time": "leverantören bar sin andel igen efter {value}",
    "unavailable_time": "tjänsten var dålig i {value}",
    "worst_stall": "ingen fick svar på {value}",
    "flaps": "leverantören byttes {value} gånger",
}
NOT_YET: Mapping[str, str] = {
    "failback_time": "leverantören hade inte tagit tillbaka sin andel {value} efter att felet var borta",
    "unavailable_time": "tjänsten var dålig i minst {value}",
    "worst_stall": "ingen fick svar på minst {value}",
}
"""Det som inte var över när observationen slutade."""
OTHERS: Mapping[str, str] = {
    "requests": "{value} gjordes",
    "memory_slope": "minnet växer med {value}",
    "fds_slope": "de öppna filerna ökar med {value}",
    "threads_slope": "trådarna ökar med {value}",
    "connections_slope": "anslutningarna ökar med {value}",
    "leak": "{value} av {n} serier läcker",
    "drift": "{value} av {n} serier glider åt fel håll",
}
_UNITS = {"tokens_per_second": "token/s", "requests": "rate", "capacity": "rate"}
"""What a rate is one of, by metric."""
_COUNTED = {"requests": "requests", "capacity": "users"}
_PHASES = {"warmup": "under uppvärmningen", "baseline": "före felen", "recovery": "efter ett fel", "fault": "under fel"}
_AGGREGATORS = {"med": "median", "avg": "medelvärde", "min": "lägst", "max": "högst"}


def why(verdicts: Verdicts, findings: Findings) -> tuple[str, str]:
    """Return the sentence under the verdict, and what it quotes in English (of an invalid run: the reason)."""
    if verdicts.verdict is Verdict.INVALID:
        return "Körningen går inte att bedöma. Skälet, på engelska:", words.why(verdicts)
    told = [c for c in verdicts.checks if c.verdict is verdicts.verdict]
    if not told:
        return "Planen ställer inga krav, så det finns inget att godkänna.", ""
    if verdicts.verdict is Verdict.PASS:
        return ("Det enda kravet är uppfyllt." if len(told) == 1 else f"Alla {len(told)} krav är uppfyllda."), ""
    # The judge tells of one of them: the worst.
    chosen = next((c for c in told if verdicts.why.startswith(c.why.removesuffix("."))), told[0])
    more = f" (och {len(told) - 1} krav till)" if len(told) > 1 else ""
    own = [o for o in findings.failovers if chosen.scope in ("scenario", o.experiment)]
    return words.sentence(check(chosen, own) + more), ""


def check(said: Check, outages: Iterable[Failover]) -> str:
    """Return what was seen of a threshold, as a clause; of a steady state, which is looked at last, also when."""
    return f"efter det sista felet: {_check(said, outages)}" if said.of_steady_state else _check(said, outages)


def _check(said: Check, outages: Iterable[Failover]) -> str:
    metric, _, text = said.threshold.partition(": ")
    try:
        threshold = parse_threshold(metric, text)
    except ValueError:
        return f"kravet {said.threshold} är inte uppfyllt"
    limit = _say(threshold, said.limit, said.unit)
    if said.observed is None:
        never = METRICS[threshold.metric].kind == "outage" and said.verdict is Verdict.FAIL
        return f"{_never(threshold.metric)}; gränsen är {limit}" if never else f"inget mättes för {said.threshold}"
    value = _say(threshold, said.observed, said.unit)
    unknown = ", men underlaget räcker inte för att avgöra det" if said.verdict is Verdict.INCONCLUSIVE else ""
    if threshold.share is not None:
        least, outages_seen = SWEDISH.say(units.supported(said.low or 0.0), "share"), SWEDISH.counted(said.n, "outages")
        in_time = f"{round(said.observed * said.n)} av {outages_seen} avhjälptes i tid"
        return f"{in_time}, vilket styrker minst {least}; kravet är {limit}{unknown}"
    return f"{_about(threshold, said, value, outages)}; gränsen är {limit}{unknown}"


def _never(metric: str) -> str:
    return "ingen annan leverantör svarade" if metric == "failover_time" else "tjänsten återhämtade sig inte"


def _about(threshold: Threshold, said: Check, value: str, outages: Iterable[Failover]) -> str:
    if said.unit == "x":
        return f"{threshold.metric} är {value} så hög som före felen"
    if threshold.metric == "capacity":
        return _capacity(threshold, said, value)
    statistic = "(som värst)" if said.at_least and threshold.aggregator == "max" else _statistic(threshold)
    return " ".join(filter(None, (_seen(threshold, said, value), statistic, _setting(threshold, outages))))


def _say(threshold: Threshold, value: float, unit: str) -> str:
    """Return a value of a check; a rate with what it is one of, and what is counted with its noun."""
    if unit == "count" and threshold.metric in _COUNTED:
        return SWEDISH.counted(value, _COUNTED[threshold.metric])
    return SWEDISH.say(value, _UNITS.get(threshold.metric, unit) if unit == "per_s" else unit)


def _seen(threshold: Threshold, said: Check, value: str) -> str:
    metric = threshold.metric
    if threshold.aggregator == "count" and metric in OUTAGE:
        return f"{metric} mättes på {SWEDISH.counted(said.observed or 0.0, 'outages')}"
    phrases = {**TREND, **RATE, **OUTAGE, **OTHERS}
    return (NOT_YET if said.at_least else phrases)[metric].format(value=value, n=SWEDISH.say(said.n, "count"))


def _capacity(threshold: Threshold, said: Check, value: str) -> str:
    """Return what the system carries, or the end that is known of it, in which state."""
    how = "minst " if said.observed == said.low else "mindre än " if said.observed == said.high else ""
    states = [f"läget {SWEDISH.states.get(state, state)}" for _, state in threshold.tags]
    return f"systemet klarar {how}{value} inom sitt mål i {states[0] if states else 'det sämsta läget'}"


def _statistic(threshold: Threshold) -> str:
    if threshold.aggregator in ("rate", "count"):
        return ""
    if threshold.percentile is not None and threshold.aggregator != "med":
        return f"(p{threshold.percentile:g})"
    return f"({_AGGREGATORS.get(threshold.aggregator, threshold.aggregator)})"


def _setting(threshold: Threshold, outages: Iterable[Failover]) -> str:
    told, seen = [], list(outages)
    for tag, value in threshold.tags:
        meant = [
            o
            for o in seen
            if (tag, value) == ("phase", "fault")
            or (tag == "fault" and value in names_of(o.fault, o.kind))
            or (tag == "upstream" and value == o.upstream)
        ]
        if meant:
            broken = dict.fromkeys(f"{o.upstream} {SWEDISH.kinds.get(o.kind, o.kind)}" for o in meant)
            told.append(f"medan {' eller '.join(broken)}")
        elif tag == "phase":
            told.append(_PHASES.get(value, ""))
        else:
            told.append(f"för {value}")
    return " ".join(filter(None, told))


def load(profile: Load) -> str:
    """Return what traffic was made: ``50 användare i 5 min``."""
    held = SWEDISH.say(profile.measured_s, "s")
    known = LOADS.get(profile.kind)
    return known(profile, held) if known else f"{profile.kind} i {held}"


def _spike(profile: Any, _: str) -> str:
    ramp, hold = (SWEDISH.say(seconds, "s") for seconds in (profile.ramp, profile.hold))
    return f"0 till {SWEDISH.counted(profile.users, 'users')} på {ramp}, kvar i {hold}"


LOADS: Mapping[str, Callable[[Any, str], str]] = {
    "users": lambda p, held: f"{SWEDISH.counted(p.users, 'users')} i {held}",
    "rate": lambda p, held: f"{SWEDISH.say(p.rate, 'rate')} i {held}",
    "replay": lambda p, held: f"anropen i {p.file} under {held}",
    "spike": _spike,
    "steps": lambda p, held: f"{SWEDISH.counted(len(p.steps), 'steps')} under {held}",
    "capacity": lambda _, held: f"stigande last under {held}",
}


MONTHS = (
    "januari", "februari", "mars", "april", "maj", "juni", "juli", "augusti", "september", "oktober", "november",
    "december",
)  # fmt: skip


def moment(when: Any) -> str:
    """Return a wall time, UTC: ``24 november 2026 kl. 14.56 UTC``."""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year} kl. {when:%H.%M} UTC"
