"""Conducting a run: the target up, load and faults and probes at once, everything healed and down again.

This is where system, traffic, faults and probes meet. Nothing here measures or judges: it makes a recording.
"""

from __future__ import annotations

import importlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.clock import utc_stamp
from harness.errors import (
    DirtyEnvironment,
    ExitCode,
    HealingFailed,
    MissingComponent,
    PlanError,
    TrafficFailed,
    WorkloadFailed,
)
from harness.faults.conductor import Conductor
from harness.guardian import Guardian
from harness.heal import dirty
from harness.interrupt import Interrupt, Interrupted
from harness.journal import Journal
from harness.manifest import Manifest
from harness.memory import frugal
from harness.paths import shown
from harness.planfile import dump
from harness.recording import layout
from harness.recording.finish import finish
from harness.recording.tables import EventLog
from harness.report.live import LiveView
from harness.seeds import fresh_run_id
from harness.stage import Stage
from harness.traffic import KINDS
from harness.underway import Underway

if TYPE_CHECKING:
    from rich.console import Console

    from harness.generator_process import GeneratorProcess
    from harness.live_metrics import LiveMetrics
    from harness.model.plan import Plan


@dataclass(frozen=True)
class Ended:
    """How a run ended. `exit_code` is PASS when it went to its end; what it means is for the judge."""

    recording: Path
    exit_code: ExitCode
    message: str = ""


def _folder(plan: Plan, out: Path | None) -> Path:
    words = [utc_stamp(), plan.scenario.scenario, *(e.experiment for e in plan.experiments)]
    folder = out or Path("reports") / "_".join(words)
    if folder.exists():
        raise PlanError(f"{folder} exists already", where="--out", hint="give a directory that does not exist yet")
    folder.mkdir(parents=True)
    return folder.resolve()


def conduct(
    plan: Plan,
    out: Path | None,
    console: Console,
    metrics: LiveMetrics | None = None,
    early: GeneratorProcess | None = None,
) -> Ended:
    """Run `plan` and return where its recording is; `metrics` are told what happens meanwhile, `early` is a process of
    the load generator that was started before there was a plan.

    DirtyEnvironment: a dead run left something broken. PlanError: the workload is wrong; nothing was started.
    SystemFailed, FaultFailed, MissingComponent: what did not come up; everything is down again.
    HealingFailed: something did not come up, and not all of what did could be undone.
    """
    frugal()
    if left := dirty():
        listed = "\n  ".join(left)
        raise DirtyEnvironment(f"an earlier run left something behind:\n  {listed}\nrun `agentstorm heal` first")
    folder = _folder(plan, out)
    run_id = fresh_run_id()
    with ExitStack() as stack, ThreadPoolExecutor(1, "imports") as pool:
        imports = pool.submit(_import_what_takes_long)
        interrupt = stack.enter_context(Interrupt())
        engine = KINDS[plan.engine](plan, folder, run_id)
        stack.callback(engine.kill)
        _warn(plan, console)
        try:
            engine.prepare(early)
            if plan.remote_workers:
                engine.gather(lambda text: console.print(text, style="dim"), interrupt.check)
        except (PlanError, MissingComponent, Interrupted):
            shutil.rmtree(folder)
            raise
        _write_plan(folder, plan)
        manifest = Manifest(folder, plan, run_id)
        manifest.component(plan.engine, **engine.describe())
        events = EventLog(folder / layout.EVENTS)
        stack.callback(events.close)
        journal = Journal(folder, run_id)
        stack.callback(journal.close)  # also without a guardian; with one, it is closed before that is let go
        guardian = stack.enter_context(Guardian(journal.path, folder / layout.LOGS / "guardian.log"))
        stack.callback(journal.close)
        _announce(plan, folder, console)
        stage = Stage(plan, folder, run_id, events, journal, lambda text: console.print(text, style="dim"))
        run = Underway(plan, stage, engine, events, interrupt, guardian, metrics)
        events.emit("run", "conduct", "started", title=plan.title)
        try:
            stage.up(manifest, engine, interrupt.check)
            imports.result()
            _perform(run, stage, events, journal, console)
            manifest.component(plan.engine, **engine.describe())  # its clocks as they were at the end
        except Exception as error:
            stage.down()
            if stage.left:  # outranks whatever it was
                raise HealingFailed(f"{error}\n{stage.unhealed()}") from error
            interrupt.check()  # what a Ctrl-C has broken on its way is no error of its own
            raise
        finally:
            stage.down()
            _finish(folder, run, stage, events)
    if stage.left:
        return Ended(folder, ExitCode.HEALING_FAILED, stage.unhealed())
    return Ended(folder, run.ended, run.message)


def _write_plan(folder: Path, plan: Plan) -> None:
    (folder / layout.PLAN).write_text(dump(plan), encoding="utf-8")
    if plan.replayed:
        shutil.copyfile(plan.replayed.path, folder / layout.ARRIVALS)


def _import_what_takes_long() -> None:
    """Import, while others start, what must not hold this process up under load: Arrow imports pandas with its first
    array, the abort conditions import statistics."""
    for name in ("pandas", "harness.judge"):
        importlib.import_module(name)


def _finish(folder: Path, run: Underway, stage: Stage, events: EventLog) -> None:
    """Write the recording's last line; a full disk does not hide what could not be healed."""
    if run.metrics:
        run.metrics.ended(stage.left)
    try:
        run.note_guardian()
        finish(folder)
        events.emit("run", "conduct", "ended", healed=not stage.left, left=stage.left, message=run.message)
    except OSError as error:
        run.ended, run.message = ExitCode.ERROR, f"the recording could not be finished: {error}"


def _warn(plan: Plan, console: Console) -> None:
    if plan.target.allow_hosts:  # on the first line: this run may break somebody else's day
        console.print(f"ATTENTION: traffic and faults may go to {', '.join(plan.target.allow_hosts)}", style="bold red")


def _announce(plan: Plan, folder: Path, console: Console) -> None:
    if (cores := os.cpu_count()) and plan.workers > cores:
        console.print(
            f"{plan.workers} workers on {cores} cores: they will wait for each other, which shows up as late requests; "
            f"--workers {max(1, cores - 1)} leaves one for the rest",
            style="yellow",
        )
    console.print(f"{plan.title} on {plan.target.target}", style="bold")
    console.print(f"recording to {shown(folder)}", style="dim")


def _perform(run: Underway, stage: Stage, events: EventLog, journal: Journal, console: Console) -> None:
    faults = Conductor(
        run.occurrences,
        stage.proxied,
        stage.services,
        events=events,
        journal=journal,
        on_effective=run.fault_effective,
        on_cleared=run.fault_cleared,
        on_gone=run.fault_gone,
        objection=run.objection,
    )
    try:
        with LiveView(console) as view:
            run.schedule()
            run.drive(faults, view)
    except TrafficFailed as error:  # what it had recorded is kept; the judge will call the run invalid
        what = "workload" if isinstance(error, WorkloadFailed) else "died"
        events.emit("instrument", "conduct", what, error=str(error))
        run.message = str(error)
    finally:
        stage.settle(faults.stop())  # tries again what could not be cleared before
