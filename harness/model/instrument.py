"""How well the instrument must do for what it measured to count: asked while it runs, and again of the recording."""

from __future__ import annotations

LAG_LIMIT_MS = 5.0
"""Loop lag adds to every response time it meets: more than a hundredth of them must not be met by more than this."""
LATENESS_LIMIT_MS = 50.0
"""Requests sent later than this are not the load the plan asked for: at 1000/min it is most of the gap between two."""
CPU_LIMIT = 0.6
"""Share of one core: of a single server that is busy for 60 % of the time, every second request waits (USE method,
Gregg; M/M/1)."""
SUSTAINED = 10
"""Seconds in a row of which the mean counts: a generator may be busy for a moment."""
