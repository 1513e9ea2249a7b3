"""The plan: what shall happen, resolved and complete. It is written to the recording as ``plan.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from harness.model.base import Frozen, Name, located
from harness.model.experiment import Experiment, FaultSpec
from harness.model.load import Load
from harness.model.target import Target
from harness.model.threshold import Thresholds
from harness.model.units import PlanSeconds, Seconds


class Slo(Frozen):
    """What counts as good service, for failover analysis (`methods.md`, Failover)."""

    response_time: Seconds = Field(default=3.0, gt=0)
    """A request slower than this is bad, whatever its outcome (the audit: LLM latency < 3 s)."""
    good_share: float = Field(default=0.99, gt=0, le=1)
    """Share of good requests a window needs."""
    p95_within: float = Field(default=0.5, gt=0)
    """A window's p95 may lie this share above the baseline's."""
    window: PlanSeconds = Field(default=10.0, gt=0)
    """W, seconds: how long service must be good to count as recovered."""
    availability: float = Field(default=0.999, gt=0, lt=1)
    """Promised over 30 days (the audit: 99.9 %): what the error budget that outages spend is counted from."""


class Scenario(Frozen):
    """One file of ``scenarios/``."""

    scenario: Name
    about: str = ""
    workload: str
    """A plain Locust file, beside the scenario. k6 runs the ``.js`` of the same name."""
    load: Load
    slo: Slo = Slo()
    thresholds: Thresholds = {}

    @model_validator(mode="after")
    def _can_be_searched(self) -> Scenario:
        """Of a `capacity` load: its SLO can be told from a share of requests, within its time."""
        load, share = self.load, self.slo.good_share
        if load.kind != "capacity":
            return self
        if share == 1:
            raise located("slo", "good_share 1 can be shown by no number of requests; a search needs one below 1")
        least_s = load.settle.shortest + load.held(load.min, share)
        have_s = load.budget / max(1, len(load.states))
        if least_s > have_s:
            needed = f"{3 / (1 - share):.0f} requests, which good_share {share:g} needs, and settling"
            raise located(
                "load", f"at {load.min:g}/s {needed} take {least_s:.0f} s; the budget of a state is {have_s:g} s"
            )
        return self


class Replayed(Frozen):
    """The file whose arrivals a `replay` load makes; the recording has a copy, ``arrivals.csv``."""

    path: Path
    """Absolute, as it was read."""
    sha256: str
    arrivals: int
    """How many are made: those before the end of the load."""
    in_file: int


class Files(Frozen):
    """What a plan was read from, as the command line named it."""

    scenario: str
    experiments: tuple[str, ...] = ()
    target: str
    overrides: tuple[str, ...] = ()
    """As ``load.users=5``."""


class Plan(Frozen):
    """Scenario x experiments x target, with every setting resolved. Durations are seconds, already scaled."""

    schema_version: Literal[1] = 1
    target: Target
    scenario: Scenario
    experiments: tuple[Experiment, ...] = ()
    engine: Literal["locust", "k6"] = "locust"
    workers: int = Field(default=1, ge=0)
    """Load-generating processes on this host."""
    remote_workers: int = Field(default=0, ge=0)
    """Those on other hosts, which join at `bind`."""
    bind: str = "127.0.0.1:5557"
    """Where workers from other hosts join: an address of this host, and a port."""
    replicas: int = Field(default=1, ge=1)
    """Copies of the target's `replicated` service."""
    scale: float = Field(default=1.0, gt=0)
    seed: int = Field(ge=0)
    workload_path: Path
    """Absolute path of the workload as it was run."""
    target_dir: Path
    """Folder the target's commands run in."""
    replayed: Replayed | None = None
    """For a load of kind `replay`."""
    environment: dict[str, str] = {}
    """Variables of the environment that set the system: of processes those that `settings` names, of a Compose file
    those that it uses. No secrets, versions, ports or paths (`harness.settings`)."""
    files: Files | None = None
    """null in recordings that are older than this."""

    @property
    def faults(self) -> list[tuple[str, FaultSpec]]:
        """Every fault with the name of its experiment, in the order they are written."""
        return [(e.experiment, fault) for e in self.experiments for fault in e.faults]

    @property
    def http_upstreams(self) -> list[str]:
        """Upstreams that the HTTP fault proxy must stand before, in the target's order."""
        needed = {fault.on for _, fault in self.faults if fault.needs_http}
        return [name for name in self.target.upstreams if name in needed]

    @property
    def title(self) -> str:
        """Scenario, experiments, and the scale when it is not full length."""
        words = [self.scenario.scenario, *(f"+ {e.experiment}" for e in self.experiments)]
        if self.scale != 1:
            words.append(f"(scale {self.scale:g}: not full length)")
        return " ".join(words)
