"""The command line: parses, prints, exits. Everything it does is a call into the package."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.formatting import wrap_text

from harness import (
    blas,
    cli_capacity,
    cli_compare,
    cli_export,
    cli_overview,
    cli_project,
    cli_readiness,
    cli_report,
    cli_soak,
)
from harness.cli_console import complain, console
from harness.errors import AgentstormError, ExitCode, MissingComponent
from harness.generator_process import GeneratorProcess

# Commands import what they need when they run: `agentstorm --help` answers at once, and `run` has the load generator
# started before it imports anything that takes long.
if TYPE_CHECKING:
    from harness.model.plan import Plan

DEFAULT_TARGET = "targets/local.yaml"


class _Cli(click.Group):
    """Reports our own errors as one message and their exit code; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AgentstormError as error:
            complain(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            complain("interrupted")
            ctx.exit(ExitCode.INTERRUPTED)
        except BrokenPipeError:  # as in `agentstorm plan ... | head`: click ends quietly
            raise
        except OSError as error:  # a full disk, a folder that may not be written
            complain(str(error))
            ctx.exit(ExitCode.ERROR)


def main() -> NoReturn:
    """Run the command line and exit with one of `errors.ExitCode`."""
    blas.one_thread()
    cli(prog_name="agentstorm")
    raise AssertionError("click exits")


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("agentstorm"), prog_name="agentstorm")
def cli() -> None:
    """Load and chaos testing for LLM agent backends.

    \b
    agentstorm run scenarios/steady.yaml --chaos chaos/bedrock_blackhole.yaml
    """


def _plan_options(command: Any) -> Any:
    for option in reversed(
        (
            click.argument("scenario"),
            click.option(
                "--chaos", multiple=True, metavar="FILE", help="Experiment to run beside the load; repeatable."
            ),
            click.option(
                "--target", default=DEFAULT_TARGET, show_default=True, metavar="FILE", help="System under test."
            ),
            click.option(
                "--engine",
                type=click.Choice(["locust", "k6"]),
                default="locust",
                show_default=True,
                help="What makes the load.",
            ),
            click.option(
                "--workers", type=click.IntRange(0), default=1, show_default=True, help="Load processes on this host."
            ),
            click.option(
                "--remote-workers",
                type=click.IntRange(0),
                default=0,
                show_default=True,
                help="Load processes that join from other hosts (agentstorm worker).",
            ),
            click.option(
                "--bind",
                default="127.0.0.1:5557",
                show_default=True,
                metavar="HOST:PORT",
                help="Where they join. Whoever reaches it can.",
            ),
            click.option(
                "--replicas",
                type=click.IntRange(1),
                default=1,
                show_default=True,
                help="Copies of the target's replicated service.",
            ),
            click.option("--scale", type=float, default=1.0, show_default=True, help="Shorten every duration."),
            click.option(
                "--seed", type=click.IntRange(0), help="Of every random draw; drawn and recorded if not given."
            ),
            click.option(
                "--set",
                "overrides",
                multiple=True,
                metavar="A.B=C",
                help="Override a key of the scenario, or target.KEY of the target; repeatable.",
            ),
        )
    ):
        command = option(command)
    return command


def _resolve(scenario: str, chaos: tuple[str, ...], target: str, **options: Any) -> Plan:
    from harness.planfile import resolve  # noqa: PLC0415

    return resolve(scenario, chaos, target, **options)


def _early(engine: str) -> AbstractContextManager[GeneratorProcess | None]:
    """Start the process that will make the load, whose imports take as long as ours and those of the plan together."""
    return GeneratorProcess() if engine == "locust" else nullcontext()


@cli.command()
@_plan_options
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where to record; must not exist yet.")
@cli_report.lang_option
@cli_export.metrics_options
def run(out: Path | None, lang: str, metrics_port: int | None, metrics_bind: str, **options: Any) -> NoReturn:
    """Bring the target up, load it, break it, heal it, and report.

    \b
    Exit codes: 0 pass, 99 a threshold failed, 75 inconclusive, 98 the run is invalid, 104 bad plan,
    105 interrupted and healed, 108 stopped by an abort condition, 70 healing failed, 1 anything else.
    """
    with ExitStack() as stack:
        early = stack.enter_context(_early(options["engine"]))
        from harness.conduct import conduct  # noqa: PLC0415
        from harness.planfile import faults_of  # noqa: PLC0415

        terminal = console(lasting=True)
        resolved = _resolve(**options)
        faults = [fault.fault_id for fault in faults_of(resolved)]
        metrics = stack.enter_context(cli_export.live_metrics(resolved, faults, metrics_port, metrics_bind))
        ended = conduct(resolved, out, terminal, metrics, early)
        try:
            code = cli_report.judge_and_report(ended.recording, terminal, lang=lang)
        except (AgentstormError, OSError) as error:
            complain(str(error))
            code = ExitCode.ERROR
    if ended.message:
        complain(ended.message)
    # A run that was cut short says so before it says what it saw.
    sys.exit(ended.exit_code if ended.exit_code != ExitCode.PASS else code)


@cli.command()
@_plan_options
def plan(**options: Any) -> None:
    """Print the resolved plan and its timeline; touches nothing."""
    with _early(options["engine"]) as early:
        from harness.planfile import dump  # noqa: PLC0415

        resolved = _resolve(**options)
        _check_workload(resolved, early)
    click.echo(dump(resolved), nl=False)
    click.echo("\n# timeline, seconds after the load starts")
    for at, what in timeline(resolved):
        click.echo(f"# {'' if at is None else f'{at:.1f}':>9}  {what}")


def _check_workload(resolved: Plan, early: GeneratorProcess | None) -> None:
    from tempfile import TemporaryDirectory  # noqa: PLC0415

    from harness.traffic import KINDS  # noqa: PLC0415

    with TemporaryDirectory() as folder:
        alone = resolved.model_copy(update={"workers": 1, "remote_workers": 0})
        engine = KINDS[alone.engine](alone, Path(folder), 0)
        try:
            engine.prepare(early)
        finally:
            engine.kill()


def timeline(resolved: Plan) -> list[tuple[float | None, str]]:
    """Return (seconds after load start, what happens) in order; last, without a time, what waits for a trigger."""
    from harness.planfile import faults_of  # noqa: PLC0415

    load = resolved.scenario.load
    at_most = " at the latest" if load.kind == "capacity" else ""
    rows: list[tuple[float, str]] = [(0.0, f"load starts ({load.kind})"), (load.total_s, f"load ends{at_most}")]
    waiting: list[tuple[float | None, str]] = []
    if load.warmup:
        rows.append((load.warmup, "warm-up ends, measuring starts"))
    rows += [(at, what) for at, what, _ in load.boundaries]
    for fault in faults_of(resolved):
        if fault.trigger is not None:
            if fault.spec.during is not None:
                waiting.append((None, f"{fault.fault_id} injected {fault.trigger}, until it ends"))
                continue
            later = f", {fault.begin_s:g} s later" if fault.begin_s else ""
            for_s = fault.end_s - fault.begin_s
            waiting.append((None, f"{fault.fault_id} injected {fault.trigger}{later}, for {for_s:g} s"))
            continue
        rows.append((load.warmup + fault.begin_s, f"{fault.fault_id} injected"))
        rows.append((load.warmup + fault.end_s, f"{fault.fault_id} cleared"))
    return [*sorted(rows), *waiting]


@cli.command()
@click.option("--master", required=True, metavar="HOST:PORT", help="What the run that waits for workers says.")
@click.option(
    "--log",
    type=click.Path(path_type=Path, dir_okay=False),
    default="agentstorm-worker.log",
    show_default=True,
    metavar="FILE",
    help="Where the workload's output and errors go.",
)
def worker(master: str, log: Path) -> None:
    """Make load for a run on another host: joins it, takes its share, ends with it.

    It runs the workload that the run sends: join only a run you trust. `agentstorm run --remote-workers` starts one.
    """
    from harness.traffic.worker import serve  # noqa: PLC0415

    serve(master, log, click.echo)


@cli.command()
@click.option("--run", metavar="ID", help="Only what this run left (the name of its journal).")
@click.option("--expired", is_flag=True, help="Also take back faults of living runs that outlived their time.")
def heal(run: str | None, *, expired: bool) -> NoReturn:
    """Undo what a dead run left: faults, proxies, processes, containers. Safe at any time."""
    from harness.heal import heal as undo  # noqa: PLC0415

    report = undo(run=run, expired=expired)
    for line in report.lines():
        click.echo(line)
    sys.exit(ExitCode.PASS if report.healed else ExitCode.HEALING_FAILED)


@cli.command()
def doctor() -> NoReturn:
    """Say what this machine has, what is missing, and how to get it."""
    from harness.doctor import examine  # noqa: PLC0415

    checks = examine()
    for check in checks:
        click.echo(
            f"{'ok     ' if check.ok else 'MISSING' if check.needed else 'absent '}  {check.what:<12} {check.found}"
        )
        if not check.ok:
            click.echo(f"{'':22}{check.advice}")
    sys.exit(ExitCode.PASS if all(c.ok or not c.needed for c in checks) else ExitCode.ERROR)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def faults(as_json: bool) -> None:
    """List the fault catalogue: what each kind does, what a client sees, its settings, and where it can be used."""
    from harness.faults.catalogue import entries  # noqa: PLC0415
    from harness.system import KINDS  # noqa: PLC0415

    rows = [(entry, [name for name, system in KINDS.items() if entry.needs <= system.offers]) for entry in entries()]
    if as_json:
        found = [{**asdict(entry), "needs": sorted(entry.needs), "targets": on} for entry, on in rows]
        click.echo(json.dumps(found, indent=1))
        return
    for entry, systems in rows:
        click.echo(f"{entry.kind}  ({entry.family}; on {entry.on}; targets of kind {', '.join(systems)})")
        click.echo(wrap_text(entry.does, 110, "  ", "  "))
        click.echo(wrap_text(f"a client sees: {entry.client_sees}", 110, "  ", "  "))
        for setting in entry.settings:
            click.echo(f"    {setting}")


@cli.group(invoke_without_command=True)
@click.pass_context
def tools(ctx: click.Context) -> None:
    """The external programs: which are there, and installing them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(tools_list)


@tools.command("list")
def tools_list() -> None:
    """Show which version of each external program was found, and where."""
    from harness.programs import TOOLS  # noqa: PLC0415

    for tool in TOOLS.values():
        try:
            found = tool.locate()
        except MissingComponent as error:
            click.echo(f"{tool.name:<10} cannot be used: {error}")
            continue
        said = (
            f"{found.version}  {found.path}  ({found.how})"
            if found
            else f"not found; agentstorm tools install {tool.name}"
        )
        click.echo(f"{tool.name:<10} {said}")


@tools.command("install")
@click.argument("name", metavar="k6|toxiproxy")
def tools_install(name: str) -> None:
    """Build an external program into the cache folder, unless one that will do is there or on PATH."""
    from harness.programs import TOOLS  # noqa: PLC0415

    if name not in TOOLS:
        raise click.UsageError(f"{name!r} is no tool; one of {', '.join(TOOLS)}")
    found = TOOLS[name].ensure()
    click.echo(f"{name}  {found.version}  {found.path}  ({found.how})")


cli_compare.register(cli, _plan_options)
cli.add_command(cli_export.export)
cli_readiness.register(cli)
cli_overview.register(cli)
cli_report.register(cli)
cli_capacity.register(cli)
cli_soak.register(cli)
cli_project.register(cli)
