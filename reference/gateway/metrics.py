"""Prometheus metrics, by the names HappyOS's dashboards use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

if TYPE_CHECKING:
    from reference.gateway.breaker import Breaker

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STATES = {"closed": 0, "half_open": 1, "open": 2}
_CALL = ["agent_id", "model", "provider"]


class Metrics:
    """All metrics of one gateway, in a registry of their own. `model` is the one the agent asks for."""

    def __init__(self) -> None:
        one_series_per_counter: Any = disable_created_metrics  # untyped
        one_series_per_counter()
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        self.llm_requests = Counter("llm_requests", "Calls to providers", [*_CALL, "status"], registry=registry)
        self.llm_duration = Histogram(
            "llm_request_duration_seconds",
            "Duration of calls to providers",
            _CALL,
            buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
            registry=registry,
        )
        self.llm_tokens = Counter("llm_tokens_used", "Tokens paid for", [*_CALL, "token_type"], registry=registry)
        self.cache_hits = Counter("llm_cache_hits", "Cache lookups that hit", ["agent_id", "model"], registry=registry)
        self.cache_misses = Counter(
            "llm_cache_misses", "Cache lookups that missed", ["agent_id", "model"], registry=registry
        )
        self.llm_errors = Counter(
            "llm_errors", "Failed calls to providers", ["provider", "error_type"], registry=registry
        )
        self.llm_cost = Counter("llm_cost", "Cost of answers, USD", _CALL, registry=registry)
        self.llm_active = Gauge(
            "llm_active_requests", "Calls to providers in flight", ["agent_id", "provider"], registry=registry
        )
        self.http_requests = Counter(
            "http_requests", "Answers to users", ["method", "endpoint", "status_code"], registry=registry
        )
        self._circuit = Gauge("llm_circuit_state", "0 closed, 1 half-open, 2 open", ["provider"], registry=registry)
        self._cache_circuit = Gauge(
            "cache_circuit_state", "0 closed, 1 half-open, 2 open", ["cache"], registry=registry
        )

    def watch_provider(self, provider: str, breaker: Breaker) -> None:
        """Show a provider's breaker; it is read at scrape time, so it cannot be stale."""
        self._circuit.labels(provider).set_function(lambda: _STATES[breaker.state])

    def watch_cache(self, cache: str, breaker: Breaker) -> None:
        """Show the cache's breaker."""
        self._cache_circuit.labels(cache).set_function(lambda: _STATES[breaker.state])

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)
