"""What a recording's outages show of an audit: failover, breakers, what is kept, health pages, restarts, chaos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.audit_seen import FAIL, OPEN, PASS, RANK, above, answer, below, pooled, supported, worst
from harness.analysis.claims import recovered_within
from harness.analysis.outages import MONTH_S, alike, flaps, never_back
from harness.analysis.stats import Share, at_least, more_successes, share_estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.analysis.audit_seen import Seen
    from harness.model.audit import Answer, Ask, Fact
    from harness.model.findings import Failover


def failover(seen: Seen, ask: Ask) -> Answer | None:
    """For each kind of outage of a provider: does the number of recoveries in time support the share asked for?"""
    found = []
    for (upstream, kind), group in alike(seen.of_providers()).items():
        in_time = [f for f in group if recovered_within(f, ask.under or 0)]
        share = ask.share or 0
        facts: dict[str, Fact] = {
            "upstream": upstream, "kind": kind, "good": len(in_time), "n": len(group), "limit": ask.under,
            "share": share, "least": at_least(len(in_time), len(group)), **_median(group),
            "more": more_successes(len(in_time), len(group), share),
        }  # fmt: skip
        found.append(answer(supported(len(in_time), len(group), share), "failover", len(group), facts))
    if not found:
        return None
    # The kind that decides is the worst; how many others there were is said with it.
    decides = min(found, key=lambda a: (RANK[a.verdict], a.facts["least"]))
    return decides.model_copy(update={"facts": decides.facts | {"kinds": len(found)}})


def _median(group: Sequence[Failover]) -> dict[str, float | None]:
    """Return the middle and the longest recovery, by the later ends of their intervals."""
    times = sorted(f.recovery_s.high for f in group if f.recovery_s is not None)
    return {"median": times[len(times) // 2] if times else None, "worst": times[-1] if times else None}


def breakers(seen: Seen, ask: Ask) -> Answer | None:
    """Did breakers open in outages of providers, and did the provider get its share back after each? None where nobody
    could see a breaker."""
    group = [f for f in seen.of_providers() if f.breaker_seen]
    if not group:
        return None
    opened = [f for f in group if f.detection_s is not None]
    if not opened:
        return answer(OPEN, "breakers_none", len(group), {"n": len(group)})
    back = [f for f in opened if f.failback_s is not None]
    known = [f for f in opened if f.failback_s is not None or never_back(f)]
    times = sorted(f.failback_s.high for f in back if f.failback_s is not None)
    facts: dict[str, Fact] = {
        "opened": len(opened), "of": len(group), "back": len(back), "n": len(known),
        "least": at_least(len(back), len(known)), "median": times[len(times) // 2] if times else None,
        "worst": times[-1] if times else None, "flaps": flaps(opened),
    }  # fmt: skip
    return answer(supported(len(back), len(known), ask.share or 0), "breakers", len(known), facts)


def functionality(seen: Seen, ask: Ask) -> Answer | None:
    """The share of requests answered, fully or by the system's own rules, while no provider was left."""
    group = seen.without_llm()
    counts = {word: sum(f.answers[word] for f in group) for word in ("ok", "degraded", "failed")}
    n = sum(counts.values())
    if not n:
        return None
    kept = pooled([f.answers["ok"] + f.answers["degraded"] for f in group], [sum(f.answers.values()) for f in group])
    low, high = kept.low or 0.0, 1.0 if kept.high is None else kept.high
    verdict = above(low, high, ask.above or 0)
    facts: dict[str, Fact] = {"share": kept.value, "low": low, "high": high, "limit": ask.above, "n": n}
    facts |= {f"{word}_share": count / n for word, count in counts.items()} | {"outages": len(group)}
    return answer(verdict, "functionality", n, facts)


def health(seen: Seen, ask: Ask) -> Answer | None:
    """What the health page said, held against what was broken: noticed in time, no false alarm."""
    found = seen.findings.health
    if found is None:
        return None
    looked = [o for o in found.outages if o.looks]
    if not looked and found.false_alarms is None:  # nothing to notice, and no alarm that would be known to be false
        return None
    noticed = [o for o in looked if o.noticed_while_on and o.noticed_s and o.noticed_s.high <= (ask.under or 0)]
    facts: dict[str, Fact] = {
        "looks": found.looks, "n": len(looked), "good": len(noticed), "limit": ask.under,
        "false_ok": found.false_ok_s, "alarms": found.false_alarms,
    }  # fmt: skip
    key = "health" if looked else "health_alarms" if found.false_alarms else "health_calm"
    if found.false_alarms or len(noticed) < len(looked):
        return answer(FAIL, key, len(looked), facts)
    return answer(PASS if looked else OPEN, key, len(looked), facts, whole=found.false_alarms is not None)


def health_there(seen: Seen, _: Ask) -> Answer | None:
    """Whether there is a health page to read."""
    found = seen.findings.health
    return None if found is None else answer(PASS, "health_there", found.looks, {"n": found.looks, "gap": found.gap_s})


def restart(seen: Seen, ask: Ask) -> Answer | None:
    """What users noticed while services were restarted gracefully, one copy after the other."""
    group = [f for f in seen.outages if f.kind == "restart"]
    each = [sum(f.answers.values()) for f in group]
    failed, n = sum(f.answers["failed"] for f in group), sum(each)
    if not n:
        return None
    share = pooled([f.answers["failed"] for f in group], each)
    facts: dict[str, Fact] = {
        "outages": len(group), "failed": failed, "share": share.value, "low": share.low, "high": share.high, "n": n,
        "limit": ask.below, "unavailable": sum(f.unavailable_s for f in group), "replicas": seen.plan.replicas,
    }  # fmt: skip
    return answer(below(share, ask.below or 0), "restart", n, facts)


def disaster(seen: Seen, ask: Ask) -> Answer | None:
    """How long service took to come back after a part was killed or everything behind it was gone (RTO).

    What data was lost (RPO) and whether a backup can be restored is not seen, so nothing passes.
    """
    killed = [f for f in seen.outages if f.kind in ("kill", "stop") and f.upstream not in seen.providers]
    group = killed + [f for f in seen.without_llm() if f not in killed]
    if not group:
        return None
    never, times = sum(f.censored for f in group), _median(group)
    facts: dict[str, Fact] = {"n": len(group), "never": never, "limit": ask.under, **times}
    late = (times["worst"] or 0) > (ask.under or 0)
    return answer(FAIL if late else OPEN, "disaster", len(group), facts, whole=False)


def availability(seen: Seen, ask: Ask) -> Answer | None:
    """The error budget of 30 days: what one outage of the worst kind spends. No recording lasts a month."""
    group = seen.healthy
    if group is None or not group.answered:
        return None
    allowed = 1 - (ask.above or 0)
    # What was under way when the first fault came is due in healthy times, and the fault's doing.
    broken = seen.outages[0].in_flight_failed if seen.outages else 0
    n = max(1, group.answered - broken)
    failed = share_estimate(Share(max(0, group.failed + group.timeout - broken), n, group.lost))
    verdict = FAIL if failed.low is not None and failed.low > allowed else OPEN
    facts: dict[str, Any] = {
        "limit": ask.above, "failed": failed.value, "failed_low": failed.low, "failed_high": failed.high,
        "budget": allowed * MONTH_S,
    }  # fmt: skip
    kinds = {key: outages for key, outages in alike(seen.outages).items() if outages}
    if not kinds:
        return answer(verdict, "availability", n, facts, whole=False)
    each = {key: sum(f.unavailable_s for f in outages) / len(outages) for key, outages in kinds.items()}
    upstream, kind = max(each, key=lambda key: each[key])
    spent = each[upstream, kind]
    facts |= {"upstream": upstream, "kind": kind, "unavailable": spent, "outages": len(kinds[upstream, kind]),
              "share": spent / (allowed * MONTH_S) if allowed else None}  # fmt: skip
    return answer(verdict, "availability_outage", n, facts, whole=False)


def chaos(seen: Seen, _: Ask) -> Answer | None:
    """Whether things were broken on purpose under load, seen to break, and healed."""
    found = seen.findings.failovers
    if not found or not seen.findings.load.answered:
        return None
    bit, cleared = seen.outages, [f for f in seen.outages if f.cleared_ns is not None]
    facts: dict[str, Fact] = {
        "n": len(found), "bit": len(bit), "kinds": len(alike(bit)), "cleared": len(cleared),
    }  # fmt: skip
    verdict = worst([PASS if bit else OPEN, PASS if len(cleared) == len(bit) else FAIL])
    return answer(verdict, "chaos", len(bit), facts)
