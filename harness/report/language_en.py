"""The executive page in English."""

from __future__ import annotations

from harness.model.verdict import Verdict
from harness.report import words
from harness.report.language import Advised, Language, Phrases, english
from harness.wording import UNDER_FAULT

PHRASES = Phrases(
    headlines=words.HEADLINES,
    severities=("note", "watch", "harm", "stop"),
    capacity="How many users?",
    cost="At what cost?",
    sla="What can we promise?",
    soak="Does it hold out?",
    risks="Risks, worst first",
    recommendations="What to do",
    not_measured="Not measured.",
    no_figures="An invalid run supports no figure.",
    measured_by="To measure it:",
    no_risks="None was seen.",
    no_advice="Nothing: no reason was found to change anything.",
    more_advice=("1 more of less weight is left out.", "{n} more of less weight are left out."),
    evidence="evidence",
    evidence_in="evidence in {run}",
    measured_in="measured by {run}",
    runs="What was run?",
    overview=("1 run of {target}", "{n} runs of {target}"),
    unanimous=("The run passes.", "All {n} runs pass."),
    together={
        Verdict.FAIL: ("1 of {all} runs fails", "{n} of {all} runs fail"),
        Verdict.INVALID: ("1 cannot be judged", "{n} cannot be judged"),
        Verdict.INCONCLUSIVE: ("1 is inconclusive", "{n} are inconclusive"),
        Verdict.PASS: ("1 passes", "{n} pass"),
    },
    columns=("run", "load", "when", "requests", "p95", "failed", "why"),
    verify="verify with",
    verify_all="Verify with the same run again:",
    contents="Contents",
    target="target",
    version="version",
    images="images",
    load="load",
    faults="faults",
    ran="ran",
    ran_for="for",
    during="during {state}",
    scale="scale",
    scale_note="{scale}: shows nothing about full length",
    none="none",
    carried="This run had {load}.",
    carried_at="This run had {load}, {rate}.",
    at_least="at least",
    below="below",
    undecided="not decided",
    requests_per_s="requests/s",
    or_less="{value} or less",
    users="users",
    per_1k="per 1,000 requests",
    per_user_hour="per user and hour",
    healthy="healthy",
    in_outage="while {outage}",
    cache_saves="the cache saves",
    no_prices="The target names no prices.",
    no_ledgers="No ledger tells whose calls they were.",
    of_all="{n} of {all}",
    recovered="recovered under {limit}",
    claim="supports ≥ {share} of outages, at {confidence} confidence",
    claim_nothing="supports no promise yet",
    claim_next="{more} more in a row for {next}",
    soak_verdicts={
        "leak": "Leak", "drift": "Drift", "flat": "Steady", "saturating": "Steady", "inconclusive": "Too short to tell",
    },
    points="points",
    to_limit="at its limit in {left}",
    soak_length="over {length}",
    factor="{n} times",
)  # fmt: skip

ADVICE = {
    "generator_cpu": Advised(
        "Nothing in this run can be judged: the load generator was the bottleneck.",
        "Give the load generator {workers} workers",
        "It used {seen} of a core for ten seconds; above {limit} its own waits count as the system's.",
    ),
    "generator_lag": Advised(
        "Nothing in this run can be judged: the load generator was late.",
        "Take work out of the workload file, or use a less busy machine",
        "The generator's own loop was late by {seen} (p99); limit {limit}.",
    ),
    "generator_lateness": Advised(
        "Nothing in this run can be judged: requests left late.",
        "Lower the rate, or give the load generator {workers} workers",
        "Requests left {seen} after they were due (p99); limit {limit}.",
    ),
    "invalid": Advised(
        "Nothing in this run can be judged.",
        "Remove what made the run invalid, and run it again",
        "{reasons} in all. The first: {reason}.",
    ),
    "never_recovered": Advised(
        "When {outage}, service does not come back: {never} of {all}.",
        "Find what keeps service down when {outage}",
        "In {never} of {all} it was not good again within the {watched} it was watched; none may.",
    ),
    "recovery_hang": Advised(
        "When {outage}, users are without good service for up to {worst}; the SLA is {limit}.",
        "Give up calls to {upstream} after less than {timeout}, retries included",
        "Recovery took up to {worst} (longest stall {stall}), {late} of {all} above {limit}; "
        "once calls are given up, the rest fits within the SLA.",
    ),
    "recovery_error": Advised(
        "When {outage}, users are without good service for up to {worst}; the SLA is {limit}.",
        "Fail over from {upstream} at the first errors: open its breaker sooner, without retries",
        "Recovery took up to {worst} (longest stall {stall}), {late} of {all} above {limit}.",
    ),
    "recovery_part": Advised(
        "When {outage}, users are without good service for up to {worst}; the SLA is {limit}.",
        "Give {upstream} a second copy, or let the system do without it",
        "Recovery took up to {worst} (longest stall {stall}), {late} of {all} above {limit}.",
    ),
    "failed_times": Advised(
        "Users wait {observed} ({statistic}), longer than the {limit} that was promised.",
        "Make answers faster, or lower the load, to meet {check}",
        "Observed {observed}, limit {limit}; no agent is slower than the others by more than chance.",
    ),
    "failed_times_agent": Advised(
        "Users wait {observed} ({statistic}), longer than the {limit} that was promised.",
        "Make {agent} faster first to meet {check}",
        "Observed {observed}, limit {limit}. {agent} is slowest, with a p95 of {agent_p95}.",
    ),
    "failed_times_outage": Advised(
        "With outages, users wait {observed} ({statistic}), longer than the {limit} that was promised.",
        "Shorten what users wait while something is broken to meet {check}",
        "Observed {observed}, limit {limit}; before any fault {statistic} was {healthy}.",
    ),
    "failed_share": Advised(
        "Too many requests go wrong: {observed}, where {limit} was promised.",
        "Find the errors behind {check}",
        "Observed {observed}, limit {limit}, in {n}.",
    ),
    "failed_share_full": Advised(
        "Too few requests are answered in full: {observed}, where {limit} was promised.",
        "Find what keeps answers from being full to meet {check}",
        "Observed {observed}, limit {limit}, in {n}.",
    ),
    "not_steady_again": Advised(
        "After the last fault it is no longer true that {check}.",
        "Find what the faults leave behind, so that {check} holds again",
        "Observed {observed} in the last seconds of the run; limit {limit}.",
    ),
    "capacity_below": Advised(
        "Even {rate} are too much ({state}).",
        "Find what is slow at the lowest load",
        "{state}: the objective was missed at {rate}, and no lower level is shown to meet it.",
    ),
    "unanswered": Advised(
        "When {outage}, {failed} of requests get no answer.",
        "Answer from the cache or by rules when {outage}",
        "{failed} of {requests} due meanwhile failed; the objective allows {limit}.",
    ),
    "breaker_silent": Advised(
        "When {outage}, no breaker opens: every call waits.",
        "Lower the breaker's threshold for {upstream}",
        "It stayed closed in {all}, while {harmed} failed or were slow (longest stall {stall}).",
    ),
    "health_false_ok": Advised(
        "The health page says that all is well while {outage}.",
        "Let the health page look at what it depends on",
        "It noticed {late} of {all} later than {limit}, or not at all; with a part broken it said OK for {false_ok}.",
    ),
    "saturated_cpu": Advised(
        "{owner} is at its CPU limit.",
        "Scale {owner} out before it uses {limit} of its CPU",
        "It used {share} (p95) at {rate}; above {limit} work queues.",
    ),
    "saturated_throttled": Advised(
        "{owner} is held back by its CPU limit.",
        "Raise {owner}'s CPU limit, or scale it out",
        "It was throttled in {share} of periods (p95) at {rate}; limit {limit}.",
    ),
    "saturated_memory": Advised(
        "{owner} is about to run out of memory.",
        "Raise {owner}'s memory limit, or find what fills it",
        "It used {share} of it at most, at {rate}; limit {limit}. What comes next is that it is killed.",
    ),
    "leak_limit": Advised(
        "{owner} leaks ({what}): it reaches its limit in {left}.",
        "Find the leak in {owner} ({what}); until then, restart it in less than {left}",
        "It grows by {slope}; up to {limit} is no worry.",
    ),
    "leak": Advised(
        "{owner} leaks ({what}).",
        "Find the leak in {owner} ({what})",
        "It grows by {slope}; up to {limit} is no worry.",
    ),
    "drift": Advised(
        "It gets worse by the hour: {what}.",
        "Find what drifts: {what} of {owner}",
        "It moves by {slope}; up to {limit} is no worry.",
    ),
    "restarted": Advised(
        "{owner} restarts by itself.",
        "Look at {owner}'s last words in the recording's logs/",
        "It was started anew {restarts}, and nothing in the plan does that; none may.",
    ),
    "degraded": Advised(
        "When {outage}, {degraded} of requests get the rule-based answer only.",
        "Add a provider behind the ones that fail when {outage}",
        "{degraded} of {requests} were answered by rules only; up to {limit} was claimed.",
    ),
    "budget": Advised(
        "One outage in which {outage} spends {spent} of a month's error budget.",
        "Shorten what an outage costs when {outage}, or promise less",
        "Each took {unavailable} of good service: {spent} of what {availability} leaves a month; limit {limit}.",
    ),
    "retries": Advised(
        "When {outage}, retries add load of their own: {ratio} the calls.",
        "Cap retries (a budget for all calls, not a number for each) when {outage}",
        "An answer took {during} provider calls instead of {healthy}: {ratio}; limit {limit}.",
    ),
    "price": Advised(
        "When {outage}, requests cost {ratio} as much.",
        "Plan the money for outages, or fall back to a cheaper model when {outage}",
        "1,000 requests cost {during} instead of {healthy}: {ratio}; limit {limit}.",
    ),
    "flapping": Advised(
        "Traffic flaps to and from {upstream} after an outage.",
        "Ask for more successes in {upstream}'s half-open state before its breaker closes",
        "The provider changed {flaps} more times in {all} than failing over and back needs; none is needed.",
    ),
    "no_failback": Advised(
        "Traffic does not return to {upstream} when it is well again.",
        "Let {upstream}'s breaker try again: shorten its recovery time-out",
        "After {never} of {all} it did not serve its share again while it was watched; none may.",
    ),
    "breaker_false_alarm": Advised(
        "Breakers open without cause.",
        "Raise the breakers' threshold, or count over a longer window",
        "Breakers opened {all}, {false} of them while nothing was broken; none may.",
    ),
    "health_false_alarm": Advised(
        "The health page raises alarms without cause.",
        "Let the health page wait for a second bad look",
        "It was in alarm {alarms}, for {lasted}, while nothing was broken; none may.",
    ),
    "cache_low": Advised(
        "The cache hits too seldom: every miss is paid for.",
        "Raise the cache hit rate, first for {worst}",
        "{hits} of {n} hit; limit {limit}. Lowest: {worst}, {worst_hits}.",
    ),
    "cache_disagree": Advised(
        "Nobody knows how well the cache works.",
        "Correct the count of cache hits before deciding by it",
        "The witnesses say {low} to {high}; they may differ by {limit} points.",
    ),
    "capacity_limit": Advised(
        "{resource} gives out first ({state}).",
        "Scale out at {rate} a replica",
        "{state}: {resource} reaches {full} of what it may use at {full_rate}.",
    ),
    "capacity_limit_would": Advised(
        "{resource} would give out first ({state}).",
        "Scale out at {rate} a replica",
        "{state}: nothing watched gave out; on a straight line {resource} would reach its limit at {full_rate}.",
    ),
    "capacity_throttled": Advised(
        "{owner} is the first to be held back by its CPU limit ({state}).",
        "Raise {owner}'s CPU limit, or scale out at {rate} a replica",
        "{state}: {owner} is throttled in {full} of periods at {full_rate}.",
    ),
    "capacity_machine": Advised(
        "The machine gives out first ({state}).",
        "Give the system more cores: replicas on this machine share those it has",
        "{state}: {full} of all cores are in use at {full_rate}.",
    ),
    "capacity_machine_would": Advised(
        "The machine would give out first ({state}).",
        "Give the system more cores before the load grows: replicas on this machine share those it has",
        "{state}: nothing watched gave out; on a straight line its cores would reach their limit at {full_rate}.",
    ),
    "capacity_pool": Advised(
        "The connections to {owner} are used up first ({state}).",
        "Allow more connections to {owner}, or scale out at {rate} a replica",
        "{state}: all of them are in use at {full_rate}.",
    ),
    "capacity_rate_limit": Advised(
        "{owner}'s rate limit is reached first ({state}).",
        "Raise {owner}'s rate limit, or call it less: more replicas do not help",
        "{state}: {owner} refuses {full} of calls at {full_rate}.",
    ),
    "undecided": Advised(
        "",
        "Run {factor} as long ({length}) to decide {check}",
        "Observed {observed}, but {side} is possible too, on the other side of the limit, {limit}.",
    ),
    "at_limit": Advised(
        "{check} lies at its limit: any day may be on the wrong side.",
        "Gain distance from the limit of {check}, or change it",
        "Observed {observed}, limit {limit} ({side} is possible); no reasonable length of run would decide it.",
    ),
    "too_few": Advised(
        "",
        "Run {factor} as long ({length}) to be able to judge {check}",
        "A {percent} needs {needed}; there were {n}.",
    ),
    "no_data": Advised(
        "",
        "Make the run measure {check}, or take the threshold out",
        "Nothing was measured for {checks}; no data never passes.",
    ),
    "claim": Advised(
        "",
        "Test {more} more outages in which {outage} before promising {wanted}",
        "{all} of {all} in time support {share} at {confidence} confidence.",
    ),
    "soak_short": Advised(
        "",
        "Soak for {needed} to know whether anything drifts",
        "{length} is too short to tell.",
    ),
    "capacity_beyond": Advised(
        "",
        "Test beyond {rate} to find the capacity ({state})",
        "{state}: the objective was met at {rate}, the highest load tested.",
    ),
    "capacity_untold": Advised(
        "",
        "Repeat the levels above {rate}, longer or with a generator that keeps up, to find the capacity ({state})",
        "{state}: the objective was met at {rate}; {levels} above it did not tell.",
    ),
    "shortened": Advised(
        "",
        "Run it at full length before deciding by it",
        "It was shortened to {scale} of its length: {length} instead of {full}.",
    ),
    "unpriced": Advised(
        "",
        "Add a price for {models}",
        "{calls} are counted as free.",
    ),
}  # fmt: skip

ENGLISH = Language(
    code="en",
    phrases=PHRASES,
    advice=ADVICE,
    kinds=UNDER_FAULT,
    states={
        "healthy": "healthy", "primary_down": "primary provider gone", "cache_cold": "cold cache",
        "one_replica_lost": "one replica lost",
    },
    limits={
        "cpu": "the CPU of {owner}", "throttled": "the CPU time of {owner}", "memory": "the memory of {owner}",
        "rate_limit": "the rate limit of {owner}", "pool": "the connections to {owner}",
        "generator": "the CPU of {owner}", "stand_in": "the CPU of {owner}",
    },
    series={
        "memory": "memory", "fds": "open files", "threads": "threads", "connections": "connections",
        "response_p50": "median response time", "response_p95": "p95 of response times", "failed": "share of failures",
        "cache_hit": "cache hit rate", "provider_calls": "provider calls per answer",
    },
    nouns={
        "outages": ("outage", "outages"), "requests": ("request", "requests"), "calls": ("call", "calls"),
        "lookups": ("lookup", "lookups"), "times": ("time", "times"), "checks": ("check", "checks"),
        "reasons": ("reason", "reasons"), "users": ("user", "users"), "steps": ("step", "steps"),
        "levels": ("level", "levels"),
    },
    localise=english,
)  # fmt: skip
