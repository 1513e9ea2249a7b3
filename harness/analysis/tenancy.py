"""Does a request's tenant stay its tenant on the way to the provider? By the ledgers, call by call.

A system that mixes tenants up under load (a context shared between tasks, a pool of clients) sends one tenant's request
in another's name. What is stored, and what a cache gives to whom, is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.model.tenancy import Tenancy

if TYPE_CHECKING:
    from harness.analysis.ledger import Calls
    from harness.analysis.timeline import Timeline

EXAMPLES = 5


def tenancy(calls: Calls, when: Timeline) -> Tenancy | None:
    """Return how many calls carry the tenant of their request; None when no ledger or no request names one."""
    mine = calls.called.words("tenant")
    rows = np.flatnonzero(calls.load_row >= 0)
    request = calls.load_row[rows]
    # One numbering for both; "" is no tenant.
    names = sorted({*mine.words, *calls.tenants} - {""})
    number = {name: n for n, name in enumerate(names)} | {"": -1}
    wanted = np.array([number[word] for word in mine.words] or [-1])[mine.codes[request]] if len(rows) else rows
    carried = np.array([number[word] for word in calls.tenants] or [-1])[calls.tenant[rows]]
    known = (wanted >= 0) & (carried >= 0)
    if not known.any():
        return None
    differ = np.flatnonzero(known & (wanted != carried))
    faulted = calls.called.within([fault.on(when.end_ns) for fault in when.faults])[request]
    ids = calls.request_id[rows]
    return Tenancy(
        compared=int(known.sum()),
        agree=int(known.sum()) - len(differ),
        under_fault=int((known & faulted).sum()),
        examples=tuple(
            f"request {ids[i]} of tenant {names[wanted[i]]!r}: {calls.upstreams[calls.upstream[rows[i]]]} was called "
            f"for {names[carried[i]]!r}"
            for i in differ[:EXAMPLES]
        ),
    )
