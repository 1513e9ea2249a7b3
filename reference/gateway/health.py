"""What `/health` says: derived from the breakers, so that it is true, instant and costs the providers nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reference.gateway.breaker import State


def report(mode: str, providers: Mapping[str, State], cache_kind: str, cache: State) -> tuple[int, dict[str, Any]]:
    """HTTP status and body; `providers` in the order they are asked.

    A provider is available while its breaker is closed. unhealthy (503): nothing could answer;
    degraded: the first provider is not known to work, or another is known not to; healthy: the rest.
    A half-open provider further down the line is no reason for alarm: nobody asks it while the first
    one answers, so it would look broken for ever after.
    """
    states = list(providers.values())
    rule_based = mode != "aws_only"
    could_answer = rule_based or any(state != "open" for state in states)
    all_well = states[:1] == ["closed"] and "open" not in states and cache == "closed"
    status = "unhealthy" if not could_answer else "healthy" if all_well else "degraded"
    body = {
        "status": status,
        "mode": mode,
        "providers": {name: {"available": state == "closed", "breaker": state} for name, state in providers.items()},
        "local": {"available": rule_based},
        "cache": {"kind": cache_kind, "available": cache == "closed", "breaker": cache},
    }
    return (200 if could_answer else 503), body
