"""Everything that can go wrong, as one tree, and the exit code each ends in.

    AgentstormError           1   anything else
      PlanError             104   a plan file or a threshold is wrong: nothing was started
      DirtyEnvironment        1   an earlier run left something broken: `agentstorm heal` first
      MissingComponent        1   an external program (Toxiproxy, Docker, k6) cannot be had
      SystemFailed            1   the target did not come up, or went away
      TrafficFailed           1   the load generator could not start or died
        WorkloadFailed        1   the workload raises and makes no load
      FaultFailed             1   a fault could not be injected or was never seen to bite
      HealingFailed          70   something of ours is still broken: outranks every other code
      RecordingError          1   a recording cannot be read
      NotComparable           1   recordings that say nothing about each other (98: one of them is invalid)
      GateStopped             *   a run of a gate did not end well: the code of that run
      StoreFailed             1   the store of runs cannot be read or written; no recording depends on it

Every message says where, what, what was allowed and what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The process's exit codes; 98, 99, 104, 105 and 108 carry k6's meaning where it has one."""

    PASS = 0
    ERROR = 1
    USAGE = 2
    HEALING_FAILED = 70
    INCONCLUSIVE = 75
    INVALID = 98
    FAIL = 99
    BAD_PLAN = 104
    INTERRUPTED = 105
    ABORTED = 108


class AgentstormError(Exception):
    """Base of all errors that are reported to the user as one message, without a traceback."""

    exit_code = ExitCode.ERROR


class PlanError(AgentstormError):
    """A plan file, an override or a threshold is wrong.

    `where` is ``file:line`` (or the option it came from), `what` the fault itself, `hint` what was allowed
    or what to do. `about` is the fault of the plan that is wrong, for whoever knows in which line it stands.
    """

    exit_code = ExitCode.BAD_PLAN

    def __init__(self, what: str, *, where: str = "", hint: str = "", about: object = None) -> None:
        self.what, self.where, self.hint, self.about = what, where, hint, about
        super().__init__(": ".join(p for p in (where, what) if p) + (f"\n  {hint}" if hint else ""))


class DirtyEnvironment(AgentstormError):
    """A run that died left faults, processes or containers behind."""


class MissingComponent(AgentstormError):
    """An external program is needed and neither found nor installable; the message says how to get it."""


class SystemFailed(AgentstormError):
    """The target did not become ready, or a process of it ended while it was needed."""


class TrafficFailed(AgentstormError):
    """The load generator could not start, refused its workload, or died."""


class WorkloadFailed(TrafficFailed):
    """The workload's own code fails in a way that leaves no load to measure."""


class FaultFailed(AgentstormError):
    """A fault was not acknowledged by the proxy, or no probe saw it bite."""


class HealingFailed(AgentstormError):
    """A fault could not be cleared, or its clearing could not be verified."""

    exit_code = ExitCode.HEALING_FAILED


class RecordingError(AgentstormError):
    """A directory is no recording, or one of its files cannot be read."""


class NotComparable(AgentstormError):
    """Runs of different plans, invalid ones, or too few to compare."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.ERROR) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class StoreFailed(AgentstormError):
    """The store of runs is locked, broken or not writable. The recordings have all that it holds."""


class GateStopped(AgentstormError):
    """A run of a gate was interrupted, aborted, not healed, or invalid once too often; `exit_code` is that run's. Or a
    system died: the candidate has failed then (99), and without the baseline nothing can be judged (98)."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        self.exit_code = exit_code
        super().__init__(message)
