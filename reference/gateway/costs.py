"""What the answers have cost, per tenant and agent, since the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Account:
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0

    def add(self, tokens_in: int, tokens_out: int, cost_usd: float) -> None:
        self.requests += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.cost_usd += cost_usd

    def public(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost_usd": round(self.cost_usd, 8),
        }


class Costs:
    """Accounts per tenant and, within it, per agent (`team.agent`)."""

    def __init__(self) -> None:
        self._total = _Account()
        self._tenants: dict[str, _Account] = {}
        self._agents: dict[str, dict[str, _Account]] = {}

    def add(self, tenant: str, agent: str, tokens_in: int, tokens_out: int, cost_usd: float) -> None:
        """Book one answered agent call; free ones (cache, rules) count as requests too."""
        accounts = (
            self._total,
            self._tenants.setdefault(tenant, _Account()),
            self._agents.setdefault(tenant, {}).setdefault(agent, _Account()),
        )
        for account in accounts:
            account.add(tokens_in, tokens_out, cost_usd)

    def public(self) -> dict[str, Any]:
        """The accounts as `GET /costs` shows them."""
        tenants = {
            tenant: {
                **account.public(),
                "agents": {agent: own.public() for agent, own in self._agents[tenant].items()},
            }
            for tenant, account in self._tenants.items()
        }
        return {"currency": "USD", **self._total.public(), "tenants": tenants}
