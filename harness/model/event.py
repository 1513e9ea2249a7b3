"""Events: what happened during a run, one JSON line each."""

from __future__ import annotations

from typing import Any, Literal

from harness.model.base import Frozen

EventKind = Literal[
    "run", "system", "phase", "load", "fault", "breaker", "health", "instrument", "probe", "abort", "guardian",
    "steady", "capacity",
]  # fmt: skip

PHASES = ("warmup", "baseline", "steady", "fault", "recovery", "cooldown")
"""`baseline` precedes the first fault; a run without faults is `steady` instead; `recovery` follows every fault."""


class Event(Frozen):
    """One event. `t_ns` is monotonic; `subject` is what it is about: a phase, a fault id, a provider, a service.

    Shapes of `data` by kind:
      phase       {}                                       subject: one of PHASES; it lasts until the next phase event
      fault       {state, kind, upstream, low_ns, high_ns, evidence, experiment, ...}   subject: fault id
                  ``effective`` and ``cleared`` carry the interval the moment lies in
      breaker     {state, was, low_ns, high_ns}            subject: provider
      health      {status, http_status, providers}         subject: url path
      load        {...}                                    subject: started, stopped or step
                  ``step``, at each boundary of a `steps` load: {step, of, users|rate, ramp_s}; its ramp begins here
      system      {state: up|down|died, ...}               subject: service
      instrument  {error}                                  subject: ``died`` (the generator), ``workload`` (raises and
                  makes no load), ``raised`` (an exception of the workload's own, each text once)
      run         {state: started|ended|interrupted|..., ...}
      abort       {threshold, observed}
      guardian    {state: replaced|lost|took_back, message}    subject: ``died``, or the fault it took back
      steady      {experiment, state: steady|sick|unknown, checks: [{threshold, observed, n, state}]}
                  subject: ``before`` the first fault, ``after`` the last
      capacity    {state, level, rate, ...}                subject: ``state``, ``level``, ``settled``, ``level_ended``,
                  ``state_ended``: a search for the capacity, as it goes
    """

    t_ns: int
    kind: EventKind
    source: str
    subject: str
    data: dict[str, Any] = {}
