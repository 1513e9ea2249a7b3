"""What to do about what was found: rules that turn findings and verdicts into risks and recommendations.

Every rule is a pure function of a `Case` and yields advice only with its evidence: the figures, the limit they are held
against, and where on the page they stand. A healthy run gets little advice, or none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.advice import capacity, evidence, outages, system
from harness.advice.case import Advice, Case, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

RULES: Mapping[str, Callable[[Case], Iterable[Advice]]] = {
    "generator": evidence.generator,
    "invalid": evidence.invalid,
    "never_recovered": outages.never_recovered,
    "slow_recovery": outages.slow_recovery,
    "failed_times": evidence.failed_times,
    "failed_share": evidence.failed_share,
    "not_steady_again": evidence.not_steady_again,
    "capacity_below": capacity.capacity_below,
    "unanswered": outages.unanswered,
    "breaker_silent": outages.breaker_silent,
    "health_false_ok": system.health_false_ok,
    "leak": capacity.leak,
    "drift": capacity.drift,
    "saturated": system.saturated,
    "restarted": system.restarted,
    "degraded": outages.degraded,
    "budget": outages.budget,
    "retries": outages.retries,
    "price": outages.price,
    "flapping": outages.flapping,
    "no_failback": outages.no_failback,
    "breaker_false_alarm": system.breaker_false_alarm,
    "health_false_alarm": system.health_false_alarm,
    "cache_low": system.cache_low,
    "cache_disagree": system.cache_disagree,
    "capacity_limit": capacity.capacity_limit,
    "undecided": evidence.undecided,
    "too_few": evidence.too_few,
    "no_data": evidence.no_data,
    "claim": outages.claim,
    "soak_short": capacity.soak_short,
    "capacity_beyond": capacity.capacity_beyond,
    "shortened": evidence.shortened,
    "unpriced": system.unpriced,
}
"""Every rule there is; among equally severe ones, in the order in which they are told."""
OF_INVALID = ("generator", "invalid", "shortened")
"""What there is to say of a run that cannot be judged: nothing that rests on its figures."""
OF_A_BEARABLE_LOAD = (
    "never_recovered", "slow_recovery", "unanswered", "degraded", "budget", "retries", "price", "flapping",
    "no_failback", "claim", "saturated", "breaker_false_alarm", "health_false_alarm",
)  # fmt: skip
"""What nothing can be said of while a search drives the system past what it carries, with a fault on or without."""

MOST_RISKS, MOST_RECOMMENDATIONS = 5, 7


def advise(*cases: Case, only: Mapping[str, int] | None = None) -> tuple[Advice, ...]:
    """Return all advice on one run, or on several of one system together, worst first.

    Of each rule what is worst only, whichever run shows it, so that one trouble does not hide the others. `only` names
    rules that a single run is asked for, by its number: what one run was too short to tell, another may have told.
    """
    found: dict[str, tuple[int, Advice]] = {}
    for number, case in enumerate(cases):
        for place, (rule, look) in enumerate(RULES.items()):
            if not case.findings.validity.valid and rule not in OF_INVALID:
                continue
            if case.searched and rule in OF_A_BEARABLE_LOAD:
                continue
            if only and only.get(rule, number) != number:
                continue
            for advice in look(case):
                worst = found.get(advice.rule)
                if worst is None or (advice.severity, advice.excess) > (worst[1].severity, worst[1].excess):
                    found[advice.rule] = place, replace(advice, run=number)
    ranked = sorted(found.values(), key=lambda pair: (-pair[1].severity, pair[0], -pair[1].excess))
    return tuple(advice for _, advice in ranked)


def risks(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return the worst of what the system may do to its users, or its owners' money: at most `MOST_RISKS`."""
    return tuple(one for one in advice if one.severity > Severity.KNOW)[:MOST_RISKS]


def recommendations(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """Return what to do first: at most `MOST_RECOMMENDATIONS`."""
    return tuple(advice)[:MOST_RECOMMENDATIONS]
