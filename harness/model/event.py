"""Events: what happened during a run, one JSON line each."""

from __future__ import annotations

from typing import Any, Literal

from harness.model.base import Frozen

EventKind = Literal[
    "run",
    "system",
    "phase",
    "load",
    "fault",
    "breaker",
    "health",
    "instrument",
    "probe",
    "abort",
    "guardian",
    "steady",
    "capacity",
]

PHASES = ("warmup", "baseline", "steady", "fault", "recovery", "cooldown")
"""`baseline` precedes the first fault; a run without faults is `steady` instead; `recovery` follows every fault."""


class Event(Frozen):
    """One event. `t_ns` is monotonic; `subject` is what it is about: a phase, a fault id, a provider, a service.

    Shapes of `data` by kind:
      phase       {}                                       subject: one of PHASES; it lasts until the next phase event
      fault       {state, kind, upstream, low_ns, high_ns, evidence, experiment, ...}   subject: fault id
                  ``effective`` and ``cleared`` carry the interval the moment lies in; ``failed`` with cut_short: it
                  had been effective and broke off before its end
      breaker     {state, was, low_ns, high_ns}            subject: provider
      health      {status, http_status, providers}         subject: url path
      load        {...}                                    subject: started, stopped or step
                  ``step``, at each boundary of a `steps` load: {step, of, users|rate, ramp_s}; its ramp begins here
      system      {state: up|down|died, ...}               subject: service
                  ``died`` has {code, ours, message}; `ours`: a fault proxy or the Docker engine, not the system's own
      instrument  {error}                                  subject: ``died`` (the generator), ``workload`` (raises and
                  makes no load), ``raised`` (an exception of the workload's own, each text once), ``cut`` (somebody
                  ended the load before its end);
                  ``unrecorded`` {rows} of samples and ledgers that were given up while the disk was full
                  ``unsent`` {error}: requests of the canary, for want of files or ports of ours
      probe       {error}                                  subject: ``error``, ``recovered``
                  ledger: ``gap`` {upstream, rows}, ``restarted`` {upstream}, ``unread`` {upstream, since_ns, error} at
                  the last look; health: ``unknown_word`` {word}
      run         {state: started|ended|interrupted|..., ...}
      abort       {threshold, observed}
      guardian    {state: replaced|lost|took_back, message}    subject: ``died``, or the fault it took back
      steady      {experiment, state: steady|sick|unknown, checks: [{threshold, observed, n, state}]}
                  subject: ``before`` the first fault, ``after`` the last
      capacity    {state, ...}                             of a `capacity` load; levels are numbered in their state
                  ``state`` begins; ``level`` {level, rate} begins; ``settled`` {level}; ``level_ended`` {level, rate,
                  settled_ns, outcome: meets|misses|saturated|unsettled, why, by_generator} when its last request was
                  due; ``drained`` {level, in_flight, waited_s, whole}, before the next; ``state_ended`` {meets, misses,
                  reason: bracketed|max_reached|min_misses|budget, why}
    """

    t_ns: int
    kind: EventKind
    source: str
    subject: str
    data: dict[str, Any] = {}
