"""What a recording measured, handed over to operations: alerts and dashboards, as text: pure, from findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.export import cloudwatch, grafana, prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.export.signals import HandOver

FORMS: Mapping[str, Callable[[HandOver], str]] = {
    "prometheus-rules": prometheus.rules,
    "cloudwatch-alarms": cloudwatch.template,
    "grafana": grafana.dashboard,
}
"""What can be exported, by the name of its command."""
