"""Runs as a comparison sees them: their findings, and what must be the same of their plans.

This is the only place where comparing reads recordings.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis.quantities import Figure, figures
from harness.analysis.scan import scans
from harness.analysis.timeline import timeline
from harness.analysis.within_run import Series
from harness.assess import assess
from harness.model.comparison import RunRef
from harness.model.findings import Findings
from harness.model.request import BAD, Outcome
from harness.recording import layout
from harness.recording.reader import Recording
from harness.report import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.model.plan import Plan


@dataclass(frozen=True)
class Run:
    """A recording and what it says."""

    recording: Recording
    findings: Findings

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a recording and read its findings, or make them anew; RecordingError says why it is none."""
        recording = Recording.open(path)
        return cls(recording, _written(recording) or assess(recording)[0])

    @property
    def plan(self) -> Plan:
        """The plan as it was run."""
        return self.recording.plan

    @cached_property
    def figures(self) -> Mapping[str, Figure]:
        """What is compared, one value each."""
        return figures(self.findings)

    @property
    def started(self) -> datetime:
        """When it began, UTC without saying so, as the store has it."""
        return datetime.fromisoformat(self.recording.manifest["clock"]["utc"]).astimezone(UTC).replace(tzinfo=None)

    @property
    def ref(self) -> RunRef:
        """Return what a comparison says about the run."""
        return RunRef(
            recording=str(self.recording.path),
            run_id=self.recording.run_id,
            target=self.plan.target.target,
            engine=self.plan.engine,
            seed=self.plan.seed,
            valid=self.findings.validity.valid,
        )


def _written(recording: Recording) -> Findings | None:
    try:
        return Findings.model_validate_json((recording.path / layout.FINDINGS).read_bytes())
    except (OSError, ValueError):  # none yet, or those of another version: the recording has it all
        return None


def series(recording: Recording) -> Series:
    """Return the measured requests of a recording, in due order."""
    load, _ = scans(recording)
    when = timeline(recording, load.last_ns)
    frame = load.whole(when.zero_ns, when.end_ns)
    rows = np.flatnonzero(~frame.dropped)
    return Series(
        response=frame.response[rows],
        answered=frame.answered[rows],
        failed=frame.ended_as(BAD)[rows],
        degraded=frame.ended_as([Outcome.DEGRADED])[rows],
    )


# --- the same plan ---------------------------------------------------------------------------------------------------


def question(plan: Plan) -> dict[str, Any]:
    """Return what two runs must have in common to be compared: what was asked of the system, and for how long.

    Not in it: seed, engine and its workers, replicas, the target itself and its kind's settings, thresholds.
    """
    faults = [[e.experiment, *(f.model_dump(mode="json") for f in e.faults)] for e in plan.experiments]
    return {
        "scenario": plan.scenario.scenario,
        "load": plan.scenario.load.model_dump(mode="json"),
        "arrivals": plan.replayed.sha256 if plan.replayed else None,
        "workload": plan.workload_path.stem,
        "scale": plan.scale,
        "experiments": faults,
        "slo": plan.scenario.slo.model_dump(mode="json"),
        "kind of target": plan.target.system.kind,
    }


def asked(plan: Plan) -> dict[str, str]:
    """Return `question` as flat names and texts: ``load.rate``, ``slo.window`` ..."""
    return dict(_flat("", question(plan)))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, own in value.items():
            yield from _flat(f"{name}.{key}" if name else key, own)
    else:
        yield name, f"{value:g}" if isinstance(value, float) else str(value)


def differing(one: Plan, other: Plan) -> list[str]:
    """Return in what the questions of two plans differ, in words; nothing when their runs may be compared."""
    asked, other_asked = question(one), question(other)
    return [
        f"{key}: {_short(asked[key])} and {_short(other_asked[key])}" for key in asked if asked[key] != other_asked[key]
    ]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def question_hash(plan: Plan) -> str:
    """Return a short hash of `question`."""
    return hashlib.sha256(json.dumps(question(plan), sort_keys=True).encode()).hexdigest()[:12]


REST = "thresholds, the target's settings or the workload file (hash of all)"
"""What only the plan's hash knows of."""


def circumstances(run: Run) -> dict[str, str]:
    """Return what may differ between compared runs and is said when it does."""
    plan, manifest = run.plan, run.recording.manifest
    host = manifest.get("host", {})
    return {
        "target": plan.target.target,
        "version": versions.told_apart(run.recording) or "not said",
        "engine": plan.engine,
        "load processes": str(plan.workers + plan.remote_workers),
        "replicas": str(plan.replicas),
        "host": f"{host.get('name')} ({host.get('cores')} cores)",
        "canary": f"{plan.target.probe.rate:g}/s" if plan.target.probe else "none",
        "agentstorm": str(manifest.get("versions", {}).get("agentstorm")),
        REST: str(manifest.get("plan_hash")),
    }
