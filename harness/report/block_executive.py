"""What the executive page says: capacity, cost, what can be promised, endurance, risks and what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.advice import MOST_RECOMMENDATIONS, advise, recommendations, risks
from harness.advice.case import Severity
from harness.model.cost import CostFindings
from harness.report import units, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.advice.case import Advice, Case
    from harness.model.capacity import CapacityState
    from harness.model.findings import Claim
    from harness.model.soak import SoakSeries
    from harness.report.language import Language

MOST_ROWS = 4
"""Rows of a tile: more make the page longer than one sheet."""


@dataclass(frozen=True)
class Told:
    """A run that the page tells of. One of several has a page of its own, at `page` (a relative URL), and a title."""

    case: Case
    load: str
    """What was run, in the page's language."""
    page: str = ""
    title: str = ""


@dataclass(frozen=True)
class Tile:
    """One of the four answers. `command`, where it was not measured, is what would."""

    title: str
    link: str
    figure: str = ""
    of: str = ""
    rows: list[tuple[str, str]] = field(default_factory=list)
    note: str = ""
    command: str = ""
    page: str = ""
    source: str = ""
    """Which of several runs measured it."""


def executive(told: Sequence[Told], language: Language) -> dict[str, Any]:
    """Return the tiles, risks and recommendations of a run, or of several together, for the template."""
    phrases, best = language.phrases, [_best(answer, told) for answer in ANSWERS]
    only = {rule: run for answer, run in zip(ANSWERS, best, strict=True) for rule in answer.rules}
    advice = advise(*(run.case for run in told), only=only)
    chosen = recommendations(advice)
    left_out = len(advice) - len(chosen)
    again = told[0].case.again if len(told) == 1 else ""
    return {
        "words": phrases,
        "tiles": [_tile(answer, told, run, language) for answer, run in zip(ANSWERS, best, strict=True)],
        "risks": [_risk(one, told[one.run], language) for one in risks(advice)],
        "recommendations": [_recommendation(one, told[one.run], language) for one in chosen],
        "verify_all": again if sum(one.verify == again for one in chosen) > 1 else "",
        "more": phrases.more_advice[left_out > 1].format(n=left_out)
        if left_out and len(chosen) == MOST_RECOMMENDATIONS
        else "",
    }


def _best(answer: Answer, told: Sequence[Told]) -> int:
    """Return the number of the run that has most to say; what others saw otherwise is among the risks."""
    cases = [run.case for run in told]
    return max(range(len(told)), key=lambda n: (cases[n].findings.validity.valid, answer.weight(cases[n])))


def _tile(answer: Answer, told: Sequence[Told], number: int, language: Language) -> Tile:
    run = told[number]
    tile = answer.tile(run.case, language, run.load)
    if not run.case.findings.validity.valid:
        return Tile(tile.title, tile.link, note=language.phrases.no_figures)
    if len(told) == 1:
        return tile
    if not tile.figure:
        return replace(tile, note="" if tile.command else tile.note)
    return replace(tile, page=run.page, source=language.phrases.measured_in.format(run=run.title))


def _evidence(advice: Advice, run: Told, language: Language) -> dict[str, Any]:
    phrases = language.phrases
    said = phrases.evidence_in.format(run=run.title) if run.title else phrases.evidence
    return {"evidence": advice.evidence, "page": run.page, "link": said}


def _risk(advice: Advice, run: Told, language: Language) -> dict[str, Any]:
    return {
        "severity": advice.severity.name.lower(),
        "word": language.phrases.severities[advice.severity - Severity.KNOW],
        "text": words.sentence(language.fill(language.advice[advice.rule].risk, advice)),
        **_evidence(advice, run, language),
    }


def _recommendation(advice: Advice, run: Told, language: Language) -> dict[str, Any]:
    said = language.advice[advice.rule]
    return {
        "rule": advice.rule,
        "title": words.sentence(language.fill(said.title, advice)),
        "why": words.sentence(language.fill(said.why, advice)),
        "verify": advice.verify,
        **_evidence(advice, run, language),
    }


# --- how many users --------------------------------------------------------------------------------------------------


def _capacity(case: Case, language: Language, load: str) -> Tile:
    phrases, found = language.phrases, case.capacity
    if found is None or not found.states:
        rate, closed = case.findings.load.rate_per_s, not case.plan.scenario.load.open_loop
        said = phrases.carried_at if closed else phrases.carried
        carried = said.format(rate=language.say(rate, "rate"), load=load) if rate else ""
        return Tile(phrases.capacity, "capacity", note=carried, command=case.command("capacity"))
    governing = found.worst_state or min(found.states, key=lambda state: state.capacity.known)  # the one nobody knows
    figure, of = _most(governing, language)
    rows = [(language.states.get(s.state, s.state), _carries(s, language)) for s in found.states]
    return Tile(phrases.capacity, "capacity", figure, of, rows)


def _bound(estimate: Any, state: str, unit: str, language: Language) -> str:
    """Return a capacity with its interval, or the side that is known of it."""
    phrases = language.phrases
    if state == "at_least" and estimate.low is not None:
        return f"{phrases.at_least} {language.say(_whole(estimate.low, unit), unit)}"
    if state == "below" and estimate.high is not None:
        return f"{phrases.below} {language.say(_whole(estimate.high, unit), unit)}"
    if estimate.value is None:
        return phrases.undecided
    low, high = _whole(estimate.low, unit), _whole(estimate.high, unit)
    around = language.around(low, high, unit if unit != "rate" else "number")
    return f"{language.say(_whole(estimate.value, unit), unit)} {around}".strip()


def _whole(value: float | None, unit: str) -> float | None:
    """Round users down: nobody is a third of one, and more than that was not shown."""
    return math.floor(value) if value is not None and unit == "count" else value


def _most(state: CapacityState, language: Language) -> tuple[str, str]:
    named = language.states.get(state.state, state.state)
    if state.capacity.users is not None:
        said = _bound(state.capacity.users, state.capacity.state, "count", language)
        return said.partition(" (")[0], f"{language.phrases.users}, {named}"
    said = _bound(state.capacity.rate, state.capacity.state, "rate", language)
    return said.partition(" (")[0], named


def _carries(state: CapacityState, language: Language) -> str:
    capacity, parts = state.capacity, []
    if capacity.users is not None and capacity.state != "undecided":
        users = _bound(capacity.users, capacity.state, "count", language)
        parts.append(f"{users} {language.phrases.users}")
    parts.append(_bound(capacity.rate, capacity.state, "rate", language))
    return ", ".join(parts)


# --- at what cost ----------------------------------------------------------------------------------------------------


def _cost(case: Case, language: Language, _: str) -> Tile:
    phrases, found = language.phrases, case.findings.cost
    if not isinstance(found, CostFindings) or found.total.per_1k_requests is None:
        if found is not None:
            return Tile(phrases.cost, "cost", note=phrases.no_ledgers)
        return Tile(phrases.cost, "cost", note=phrases.no_prices, command=f"{case.again} --set target.prices=audit")
    currency = found.currency
    rows = []
    if found.per_user_hour is not None:
        rows.append((phrases.per_user_hour, language.say(found.per_user_hour, currency)))
    healthy = found.by_state.get("healthy")
    if healthy and healthy.per_1k_requests is not None and len(found.by_state) > 1:
        rows.append((phrases.healthy, language.say(healthy.per_1k_requests, currency)))
    failing = [(n, s.per_1k_requests) for n, s in found.by_state.items() if n != "healthy" and s.per_1k_requests]
    for name, price in sorted(failing, key=lambda pair: -pair[1])[: MOST_ROWS - 2]:
        upstream, _, what = name.rpartition(" ")
        outage = f"{upstream} {language.kinds.get(what, what)}"
        rows.append((phrases.in_outage.format(outage=outage), language.say(price, currency)))
    if found.cache and found.cache.share:
        rows.append((phrases.cache_saves, language.say(found.cache.share, "share")))
    return Tile(phrases.cost, "cost", language.say(found.total.per_1k_requests, currency), phrases.per_1k, rows)


# --- what can we promise ---------------------------------------------------------------------------------------------


def _sla(case: Case, language: Language, _: str) -> Tile:
    phrases, claims = language.phrases, sorted(case.findings.claims, key=lambda c: c.share)
    if not claims or case.searched:
        command = case.command("rate", "failover-sla")
        return Tile(phrases.sla, "failover", command=command)
    worst, several = claims[0], len(claims) > 1
    rows = [
        (f"{c.upstream} {language.kinds.get(c.kind, c.kind)}", _promise(c, language, count=several))
        for c in claims[:MOST_ROWS]
    ]
    of = phrases.recovered.format(limit=language.say(worst.limit_s, "s"))
    figure = _count(worst, language)
    return Tile(phrases.sla, "failover", figure, f"{of}, {rows[0][0]}" if several else of, rows)


def _count(claim: Claim, language: Language) -> str:
    return language.phrases.of_all.format(n=claim.recovered, all=claim.outages)


def _promise(claim: Claim, language: Language, *, count: bool) -> str:
    phrases = language.phrases
    share = language.say(units.supported(claim.share), "share")
    said = phrases.claim.format(share=share, confidence=language.say(claim.confidence, "share"))
    if not claim.share:
        said = phrases.claim_nothing
    if count:
        said = f"{_count(claim, language)}: {said}"
    if claim.more_needed and claim.next_share:
        more, following = language.say(claim.more_needed, "count"), language.say(claim.next_share, "share")
        said += "; " + phrases.claim_next.format(more=more, next=following)
    return said


# --- does it hold out ------------------------------------------------------------------------------------------------


def _soak(case: Case, language: Language, _: str) -> Tile:
    phrases, found = language.phrases, case.soak
    if found is None:
        return Tile(phrases.soak, "soak", command=case.command("soak"))
    moving = [s for s in found.series if not s.instrument and s.verdict in ("leak", "drift") and s.slope]
    rows = [(f"{s.owner.partition(':')[2] or s.owner}: {language.series.get(s.what, s.what)}", _moves(s, language))
            for s in moving[:MOST_ROWS]]  # fmt: skip
    length = phrases.soak_length.format(length=language.say(found.length_s, "s"))
    figure = phrases.soak_verdicts.get(found.verdict, found.verdict)
    command = case.command("soak") if found.verdict == "inconclusive" else ""
    return Tile(phrases.soak, "soak", figure, length, rows, command=command)


def _moves(series: SoakSeries, language: Language) -> str:
    slope = series.slope.value if series.slope else 0.0
    said = language.slope(slope, series.unit)
    if series.to_limit_h is not None:
        left = language.say(series.to_limit_h.value * 3600, "s")
        said += "; " + language.phrases.to_limit.format(left=left)
    return said


@dataclass(frozen=True)
class Answer:
    """A question of the page: what a run answers, how much it has to say on it (larger is more), and the rules that say
    only what more it would take to answer it in full."""

    tile: Callable[[Case, Language, str], Tile]
    weight: Callable[[Case], tuple[float, ...]]
    rules: tuple[str, ...] = ()


def _priced(case: Case) -> tuple[float, ...]:
    found = case.findings.cost
    return (found.total.requests if isinstance(found, CostFindings) and found.total.per_1k_requests is not None else 0,)


def _promised(case: Case) -> tuple[float, ...]:
    return (0 if case.searched else sum(claim.outages for claim in case.findings.claims),)


def _watched(case: Case) -> tuple[float, ...]:
    """What moved for the worse was seen, however long others looked; and who can tell says more than who cannot."""
    if case.soak is None:
        return (0, 0)
    return ({"leak": 4, "drift": 3, "inconclusive": 1}.get(case.soak.verdict, 2), case.soak.length_s)


ANSWERS = (
    Answer(
        _capacity,
        lambda case: (sum(bool(s.levels) for s in case.capacity.states) if case.capacity else 0,),
        ("capacity_beyond", "capacity_untold"),
    ),
    Answer(_cost, _priced, ("unpriced",)),
    Answer(
        _sla, lambda case: (0 if case.searched else sum(claim.outages for claim in case.findings.claims),), ("claim",)
    ),
    Answer(_soak, _watched, ("soak_short",)),
)
"""The four answers, in the order of the page."""
