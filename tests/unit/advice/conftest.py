"""A run in which nothing is wrong that rules could find, and how to change one thing about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.advice.case import Case
from harness.analysis import analyse
from harness.judge import judge
from tests.recordings import Script, experiment, plan, storm

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.model.base import Frozen

THRESHOLDS = {"response_time": ["p(95)<4s"], "request_failed": ["rate<0.01"], "cache_hit": ["rate>0.20"]}


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Three short outages of bedrock, each recovered from in 2.4 s, at full length."""
    script = Script(outages=3, hang=1.0, detection=1.2)
    spec: dict[str, Any] = {"at": "20s", "for": "20s", "every": "40s", "repeat": 3}
    the_plan = plan(hold_s=script.length, warmup_s=5, thresholds=THRESHOLDS, experiments=[experiment(**spec)])
    recording = storm(tmp_path_factory.mktemp("advice") / "run", script, the_plan)
    findings, measure = analyse(recording)
    # The script's metrics count hits and misses of its own; witnesses that differ are a rule's matter, not this run's.
    findings = change(findings, cache={"metrics": findings.cache.answers})
    return Case(recording.plan, findings, judge(recording.plan, findings, measure))


def change(model: Any, **updates: Any) -> Any:
    """Return a frozen model with some fields changed; a dict changes fields of the field, a function makes it anew."""
    made: dict[str, Any] = {}
    for key, update in updates.items():
        old = getattr(model, key)
        made[key] = change(old, **update) if isinstance(update, dict) and not isinstance(old, dict) else update
    return model.model_copy(update=made)


@pytest.fixture
def altered(healthy: Case) -> Callable[..., Case]:
    """Make the healthy case with changes to ``findings``, ``plan`` or ``verdicts``."""

    def make(**parts: dict[str, Any] | Frozen) -> Case:
        changes: dict[str, Any] = {
            part: change(getattr(healthy, part), **update) if isinstance(update, dict) else update
            for part, update in parts.items()
        }
        return replace(healthy, **changes)

    return make
