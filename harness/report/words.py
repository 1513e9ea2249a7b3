"""The answers as sentences: said once, the same on the page, in Markdown and on the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from harness.model.verdict import Verdict
from harness.report import units
from harness.report.units import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.model.findings import CacheWitness, Claim, Failover, Findings, Group, OutageKind, Resources
    from harness.model.load import Load, StepsLoad
    from harness.model.verdict import Check, Verdicts

MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.INCONCLUSIVE: "?", Verdict.INVALID: "!"}
HEADLINES = {
    Verdict.PASS: "Pass",
    Verdict.FAIL: "Fail",
    Verdict.INCONCLUSIVE: "Inconclusive",
    Verdict.INVALID: "Invalid",
}
_RANK = {Verdict.INVALID: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.PASS: 3}
_VERDICT_WORD = re.compile(r"^\s*(pass(es|ed)?|fail(s|ed)?|inconclusive|invalid):\s*", re.IGNORECASE)


def sentence(text: str) -> str:
    """Return `text` as a sentence: a capital first, a full stop last."""
    text = text.strip()
    if not text:
        return ""
    first = text[0].upper() if text.split()[0].rstrip(",:;").isalpha() else text[0]  # p95 stays p95
    return first + text[1:] + ("" if text[-1] in ".!?" else ".")


def why(verdicts: Verdicts) -> str:
    """Return the one sentence under the verdict; the verdict's own word stands above it and is not said again."""
    return sentence(_VERDICT_WORD.sub("", verdicts.why, count=1))


def worst_first(checks: Sequence[Check]) -> list[Check]:
    """Order checks: failed, inconclusive, passed; otherwise as the plan has them."""
    return sorted(checks, key=lambda c: _RANK[c.verdict])


def tally(verdicts: Verdicts) -> str:
    """Return ``1 failed, 3 inconclusive, 4 passed``."""
    words = ((Verdict.FAIL, "failed"), (Verdict.INCONCLUSIVE, "inconclusive"), (Verdict.PASS, "passed"))
    counts = [(sum(c.verdict == v for c in verdicts.checks), word) for v, word in words]
    said = ", ".join(f"{n} {word}" for n, word in counts if n)
    return f"{units.plural(len(verdicts.checks), 'check')}: {said}" if said else "no checks: nothing was promised"


def load(profile: Load) -> str:
    """Return what traffic was made: ``50 users for 5 min``."""
    return str(_LOADS[profile.kind](profile, units.seconds(profile.measured_s)))


def _rate(rate: float) -> str:
    return f"{units.three(rate)}{SPACE}requests/s"


def _steps(profile: StepsLoad, held: str) -> str:
    levels = [_rate(step.level) if profile.open_loop else f"{step.level:,.0f}" for step in profile.steps]
    unit = f" ({profile.arrivals} arrivals)" if profile.open_loop else " users"
    return f"{units.plural(len(levels), 'step')} in {held}: {', '.join(levels)}{unit}"


_LOADS: Mapping[str, Callable[[Any, str], str]] = {
    "users": lambda p, held: f"{units.plural(p.users, 'user')} for {held}",
    "rate": lambda p, held: f"{_rate(p.rate)} ({p.arrivals} arrivals) for {held}",
    "replay": lambda p, held: f"the arrivals of {p.file} for {held}",
    "spike": lambda p, _: f"0 to {p.users:,} users in {units.seconds(p.ramp)}, held for {units.seconds(p.hold)}",
    "steps": _steps,
    "capacity": lambda p, held: (
        f"a search from {_rate(p.min)} to {_rate(p.max)} ({p.arrivals} arrivals), {held} at most"
    ),
}


def validity(findings: Findings) -> str:
    """Return whether the run can be believed, with what vouches for it."""
    if not findings.validity.valid:
        return "No: this run cannot be judged."
    facts = findings.validity.instrument
    said = []
    lag, late = facts.get("lag_p99_ms"), facts.get("lateness_p99_ms")
    if lag is not None:
        said.append(f"the generator's own loop was at most {units.milliseconds(lag)} late (p99)")
    if late:  # zero by definition in a closed loop
        said.append(f"requests left at most {units.milliseconds(late)} after they were due (p99)")
    lost, dropped = facts.get("lost") or 0, facts.get("dropped") or 0
    said.append(f"{units.plural(int(dropped), 'request')} dropped and {lost} lost")
    if findings.failovers:
        bit = sum(f.bit for f in findings.failovers)
        cleared = sum(f.cleared_ns is not None for f in findings.failovers)
        said.append(f"{bit} of {len(findings.failovers)} faults bit and {cleared} were verified cleared")
    coverage = facts.get("ledger_coverage")
    if coverage is not None:
        said.append(f"ledgers account for {units.share(coverage)} of the answers")
    return "Yes: " + "; ".join(said) + "."


def users(group: Group) -> str:
    """Return what users felt."""
    if not group.requests:
        return "No requests were made in the measured part."
    if not group.answered:
        counts = ((group.lost, "sent and never answered"), (group.dropped, "never sent"))
        return f"No request was answered: {', '.join(f'{_were(n)} {what}' for n, what in counts if n)}."
    bad = group.failed + group.timeout
    failed = f"{units.share(group.failed_share.value)} failed" if bad else "none failed"
    never = f", {_were(group.lost)} never answered" if group.lost else ""
    return f"{_waited(group)}; {failed}{never}."


def _were(number: int) -> str:
    return f"{number:,} {'was' if number == 1 else 'were'}"


_SHARES = (
    (0.5, "Half of all requests", "Half of all requests"),
    (0.95, f"95{SPACE}%", f"5{SPACE}%"),
    (0.99, f"99{SPACE}%", f"1{SPACE}%"),
)
"""Share of requests, how those are called that were answered by a percentile, and the others."""
_VERBS = {True: "were answered within", False: "took at least"}


def _waited(group: Group) -> str:
    """Return by when how many were answered. Lost requests count with the time waited: where so few were answered that
    a percentile lies among the lost, it is only what the others took at least."""
    times = group.response_ms
    said: list[str] = []
    before: bool | None = None
    for (share, by_then, others), found in zip(_SHARES, (times.p50, times.p95, times.p99), strict=True):
        known = group.answered >= share * (group.answered + group.lost)
        verb = ("within" if known else "at least") if known == before else _VERBS[known]
        said.append(f"{by_then if known else others} {verb} {units.milliseconds(found.value)}")
        before = known
    return ", ".join(said)


def kind_of(findings: Findings, upstream: str, kind: str) -> OutageKind | None:
    """Return what outages of this kind on `upstream` have in common; None when none bit."""
    return next((k for k in findings.outage_kinds if (k.upstream, k.kind) == (upstream, kind)), None)


def claim_of(findings: Findings, upstream: str, kind: str) -> Claim | None:
    """Return the claim that outages of this kind on `upstream` support; None when none bit."""
    return next((c for c in findings.claims if (c.upstream, c.kind) == (upstream, kind)), None)


def claim(said: Claim) -> str:
    """Return a claim in words, never rounded up, with what a stronger one needs."""
    least = units.share(units.supported(said.share))
    text = f"≥{SPACE}{least} of such outages at {units.share(said.confidence)} confidence"
    if said.more_needed and said.next_share:
        text += f"; {said.more_needed} more in a row for {units.share(said.next_share)}"
    return text


def outage(upstream: str, kind: str, failovers: Sequence[Failover], said: Claim | None) -> str:
    """Return what became of one kind of outage; those that were never seen to bite are told apart."""
    whole, bit = f"{upstream} {kind}: ", [f for f in failovers if f.bit]
    missed = len(failovers) - len(bit)
    if not bit:
        return whole + "not seen to bite"
    also = f"; {missed} not seen to bite" if missed else ""
    if said is not None and said.outages == len(bit):
        return whole + f"{said.recovered} of {said.outages} recovered under {units.seconds(said.limit_s)}{also}"
    good = sum(not f.censored for f in bit)
    return whole + f"{good} of {len(bit)} recovered while observed{also}"


def served(failovers: Sequence[Failover]) -> bool:
    """Tell whether the faults were on a provider that answers move away from and back to."""
    return any(f.failover_s or f.failback_s or f.failback_censored for f in failovers)


def not_back(failovers: Sequence[Failover]) -> str:
    """Return what is said where a provider was not seen to serve its share again: for how long at least."""
    least = min((f.failback_beyond_s for f in failovers if f.failback_censored), default=0.0)
    return f"not within {units.seconds(least)}" if least else "not watched to it"


def witness(one: CacheWitness | str) -> str:
    """Return a cache witness in words."""
    if isinstance(one, str) or one.hit_rate is None:
        return one if isinstance(one, str) else "no lookups"
    return units.share(one.hit_rate)


def cache(findings: Findings) -> str:
    """Return what the three witnesses say together."""
    heard = {
        name: one.hit_rate
        for name, one in (("answers", findings.cache.answers), ("metrics", findings.cache.metrics),
                          ("ledgers", findings.cache.ledger))
        if not isinstance(one, str) and one.hit_rate is not None
    }  # fmt: skip
    if not heard:
        return "Nothing shows whether the cache was hit."
    low, high = min(heard.values()), max(heard.values())
    if len(heard) == 1:
        name = next(iter(heard))
        return f"The cache hit rate was {units.share(low)}, as the {name} say; no other witness."
    first, last = units.share(low), units.share(high)
    between = first if first == last else f"{first} to {last}"
    verb = "agree on" if high - low <= 0.02 else "disagree about"
    return f"{len(heard)} witnesses {verb} the cache hit rate: {between}."


def attribution(findings: Findings) -> str:
    """Return whether answers name the provider that really gave them."""
    said = findings.attribution
    if isinstance(said, str) or not said.compared:
        return ""
    wrong = said.compared - said.agree
    if said.compared == 1 and not wrong:
        return "The one answer compared names the provider whose ledger has it."
    if not wrong:
        return f"All {said.compared:,} answers compared name the provider whose ledger has them."
    return f"{wrong:,} of {said.compared:,} answers name another provider than the ledgers do."


NAMED = 3
"""Saturated containers told about in full; the others are named."""


def limit_shares(used: Resources) -> dict[str, tuple[float, str]]:
    """Return how much of its ``cpu`` (p95) and ``memory`` (highest) limit was used, also as ``97 % of 0.5 cores``."""
    found = {}
    cpu, memory = used.cpu_of_limit, used.memory_of_limit
    if cpu:
        found["cpu"] = (cpu.p95, units.cores(used.cpu_limit))
    if memory:
        found["memory"] = (memory.max, units.mib(used.memory_limit_mib))
    return {
        what: (share, f"{units.share(share)} of {'a changed limit' if what in used.limits_changed else limit}")
        for what, (share, limit) in found.items()
    }


def saturated(findings: Findings) -> str:
    """Return which containers were at a limit, fullest first, and of what: one clause, empty when none was."""
    full = {name: used for name, used in findings.resources.items() if used.saturated}
    names = sorted(full, key=lambda name: -max(share for share, _ in limit_shares(full[name]).values()))
    said = [f"{name} is {_at_limits(full[name])}" for name in names[:NAMED]]
    return "; ".join([*said, f"so are {', '.join(names[NAMED:])}"] if names[NAMED:] else said)


def _at_limits(used: Resources) -> str:
    shares, said = limit_shares(used), []
    if "memory" in used.saturated:
        said.append(f"at its memory limit: {shares['memory'][1]} at most")
    if not {"cpu", "throttled"}.isdisjoint(used.saturated):
        how = "at" if "cpu" in used.saturated else "held back by"
        held = (
            f", throttled in {units.share(used.throttled.mean)} of periods"
            if used.throttled and used.throttled.mean
            else ""
        )
        said.append(f"{how} its CPU limit: {shares['cpu'][1]} at p95{held}")
    return ", and ".join(said)


def limits(findings: Findings) -> str:
    """Return who is at a limit; if nobody, who is closest to one; if nothing has limits, who used most."""
    if full := saturated(findings):
        return full
    every, close = findings.resources.items(), []
    for what, title, at in (("cpu", "CPU", "at p95"), ("memory", "memory", "at most")):
        shares = [(*limit_shares(used)[what], name) for name, used in every if what in limit_shares(used)]
        if shares:
            _, said, name = max(shares)
            close.append(f"{name}'s {title} ({said} {at})")
    if close:
        return f"no container was at a limit; closest: {' and '.join(close)}"
    busiest = max(((r.cpu.p95, n) for n, r in every if r.cpu), default=None)
    largest = max(((r.memory_mib.max, n) for n, r in every if r.memory_mib), default=None)
    most = [f"{busiest[1]} used most CPU: {units.cores(busiest[0])} at p95"] if busiest else []
    return "; ".join([*most, f"{largest[1]} most memory: {units.mib(largest[0])} at most"] if largest else most)


def restarts(findings: Findings) -> str:
    """Return which containers were started anew; empty when none was."""
    said = [f"{n} {units.times(r.restarts)}" for n, r in findings.resources.items() if r.restarts]
    return f"started anew during the run: {', '.join(said)}" if said else ""
