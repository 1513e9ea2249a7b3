"""Commands about several runs: compare, gate, baseline, history. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli_console import console
from harness.paths import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from harness.model.comparison import Comparison, NoiseFloor
    from harness.runs import Run

DIRECTORY = click.Path(path_type=Path)


def register(cli: click.Group, plan_options: Callable[[Any], Any]) -> None:
    """Add the commands to the command line; `plan_options` says what to run."""
    for command in (compare, click.command(plan_options(gate)), baseline, history):
        cli.add_command(command)


def remember(recording: Path) -> None:
    """Write a judged run into the store, if it lies under reports/. Whatever goes wrong is said, and fails no run."""
    from harness.history import remember as write_down  # noqa: PLC0415

    write_down(recording, lambda text: click.echo(f"agentstorm: {text}", err=True))


def _figure_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--tolerance",
                "tolerance_texts",
                multiple=True,
                metavar="[METRIC=]SHARE",
                help="How much worse passes, as in 10% or response_time.p95=15%; of shares in points, and only if "
                "named: failed=1%. Repeatable.",
            ),
            click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this figure; repeatable."),
            click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
        )
    ):
        command = option(command)
    return command


def _settings(tolerance_texts: tuple[str, ...], metrics: tuple[str, ...]) -> dict[str, float]:
    from harness.analysis.quantities import known, tolerances  # noqa: PLC0415

    try:
        for name in metrics:
            known(name)
        return tolerances(tolerance_texts)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _tell(terminal: Console, found: Sequence[Comparison | NoiseFloor], *, as_json: bool) -> None:
    from harness import step_summary  # noqa: PLC0415
    from harness.report.comparison import markdown, print_comparison  # noqa: PLC0415

    for one in found:
        step_summary.append(markdown(one), lambda text: click.echo(f"agentstorm: {text}", err=True))
    if as_json:
        texts = [one.model_dump_json(indent=1) for one in found]
        click.echo(texts[0] if len(texts) == 1 else f"[{','.join(texts)}]")
        return
    for one in found:
        print_comparison(terminal, one)


def _as_markdown(found: Comparison | NoiseFloor) -> str:
    from harness.report.comparison import markdown  # noqa: PLC0415

    return markdown(found)


_FORMS: dict[str, Callable[[Comparison | NoiseFloor], str]] = {
    ".md": _as_markdown,
    ".json": lambda found: found.model_dump_json(indent=1) + "\n",
}
"""What a comparison can be written as, by the ending of the file."""


def _check_out(out: Path | None) -> None:
    if out and out.suffix not in _FORMS:
        raise click.UsageError(f"--out {out}: the name must end in one of {', '.join(_FORMS)}")


class _WithMany(click.Command):
    """Takes several values after ``--with``, up to the next option, as a shell's wildcard makes them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        spread: list[str] = []
        following = False
        for arg in args:
            if following and not arg.startswith("-"):
                spread += ["--with", arg] if spread[-1] != "--with" else [arg]
            else:
                following = arg == "--with" or arg.startswith("--with=")
                spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=_WithMany)
@click.argument("base", nargs=-1, required=True, type=DIRECTORY)
@click.option("--with", "candidates", multiple=True, type=DIRECTORY, metavar="CANDIDATE...", help="Runs to judge.")
@click.option("--aa", is_flag=True, help="Measure the noise between BASE runs instead.")
@click.option("--agree", is_flag=True, help="Of one run against one: do they agree? Passes or fails by that.")
@click.option("--skip-invalid", is_flag=True, help="Leave invalid runs out instead of refusing them.")
@click.option("--force", is_flag=True, help="Compare runs of different plans and invalid ones; nothing passes then.")
@click.option("--out", type=DIRECTORY, metavar="FILE.md|FILE.json", help="Write it to a file as well.")
@_figure_options
@click.pass_context
def compare(  # noqa: PLR0913 - the options of the command line
    ctx: click.Context,
    base: tuple[Path, ...],
    candidates: tuple[Path, ...],
    tolerance_texts: tuple[str, ...],
    metrics: tuple[str, ...],
    out: Path | None,
    *,
    aa: bool,
    agree: bool,
    skip_invalid: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Say whether CANDIDATE runs are worse than BASE runs of the same plan.

    BASE and CANDIDATE are directories that runs wrote. The unit is the run: five of each side at least, made in turns
    (as agentstorm gate does), or nothing passes. One run against one says only what their requests do.

    \b
    Exit codes: 0 pass, 99 worse, 75 inconclusive, 98 a run is invalid, 1 they cannot be compared.
    """
    if aa == bool(candidates) or (aa and agree):
        raise click.UsageError("give the runs to judge: --with CANDIDATE..., or --aa without any")
    _check_out(out)
    tolerances = _settings(tolerance_texts, metrics)
    from harness import comparing  # noqa: PLC0415

    found: Comparison | NoiseFloor
    if aa:
        found = comparing.noise(_open(base), tolerances, metrics, force=force, skip_invalid=skip_invalid)
    else:
        sides = _open(base), _open(candidates)
        found = comparing.compare(*sides, tolerances, metrics, force=force, skip_invalid=skip_invalid, agree=agree)
    if out:
        out.write_text(_FORMS[out.suffix](found), encoding="utf-8")
    _tell(console(), [found], as_json=as_json)
    ctx.exit(found.exit_code)


def _open(paths: tuple[Path, ...]) -> list[Run]:
    from harness.runs import Run  # noqa: PLC0415

    return [Run.open(path) for path in paths]


@click.option("--baseline", metavar="NAME", help="Stored runs to judge by; runs made now get this name.")
@click.option("--baseline-target", metavar="FILE", help="Make the runs to judge by now, on this target.")
@click.option("--aa", is_flag=True, help="Make both sides on --target: measures the noise.")
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True, help="Valid runs of each side.")
@click.option("--interleave/--no-interleave", default=None, help="In turns (A B B A), or one side after the other.")
@click.option("--spare", type=click.IntRange(0), default=2, show_default=True, help="Invalid runs to make again.")
@click.option("--out", type=DIRECTORY, metavar="DIR", help="Where the runs go; must not exist yet.")
@_figure_options
@click.pass_context
def gate(ctx: click.Context, /, **options: Any) -> None:
    """Make runs of SCENARIO on --target and judge them against a baseline.

    \b
    agentstorm gate demo --baseline-target targets/v1.yaml --target targets/v2.yaml
    agentstorm gate demo --aa --baseline main      (measure the noise, and keep the runs as a baseline)
    agentstorm gate demo --baseline main           (weaker: what changed on the host since then counts too)

    \b
    Exit codes: 0 pass, 99 worse or died, 75 inconclusive, 98 too many invalid runs, or that of a run that ended badly.
    """
    aa, stored = options["aa"], options["baseline"] and not options["baseline_target"] and not options["aa"]
    if aa and options["baseline_target"]:
        raise click.UsageError("--aa makes both sides on --target; leave --baseline-target out")
    if not (aa or options["baseline"] or options["baseline_target"]):
        raise click.UsageError("say what to judge by: --baseline-target FILE, --baseline NAME or --aa")
    if stored and options["interleave"]:
        raise click.UsageError("stored runs cannot be made in turns: give --baseline-target, or leave --interleave out")
    tolerances = _settings(options.pop("tolerance_texts"), options["metrics"])
    as_json, out = options.pop("as_json"), options.pop("out")
    own = {name: options.pop(name) for name in _GATES_OWN} | {"interleave": options.pop("interleave") is not False}
    from harness import gating  # noqa: PLC0415

    request = gating.Request(options, tolerances=tolerances, **own)
    ended = gating.perform(request, out, console(stderr=as_json, lasting=True))  # no lines of runs in the JSON
    _tell(console(), ended.found, as_json=as_json)
    click.echo(f"runs and comparison in {shown(ended.folder)}", err=as_json)
    ctx.exit(ended.exit_code)


_GATES_OWN = ("target", "baseline_target", "baseline", "runs", "spare", "seed", "aa", "metrics")
"""Options of a gate that are not handed on to its runs' plans."""


@click.group()
def baseline() -> None:
    """Names for the runs that later ones are held against (reports/baselines.json)."""


@baseline.command("set")
@click.argument("name")
@click.argument("recordings", nargs=-1, required=True, type=DIRECTORY)
def baseline_set(name: str, recordings: tuple[Path, ...]) -> None:
    """Give runs a name, replacing the runs that had it."""
    from harness.baselines import Baselines  # noqa: PLC0415

    Baselines().set(name, recordings)
    click.echo(f"{name}  {len(recordings)} run{'' if len(recordings) == 1 else 's'}")


@baseline.command("list")
def baseline_list() -> None:
    """Show every baseline and its runs."""
    from harness.baselines import Baselines  # noqa: PLC0415

    known = Baselines().all()
    for name, paths in known.items():
        click.echo(name)
        for path in paths:
            click.echo(f"  {shown(path)}{'' if path.is_dir() else '  (gone)'}")
    if not known:
        click.echo("no baseline yet; agentstorm baseline set NAME DIR...")


@click.command()
@click.option("--scenario", metavar="NAME", help="Only runs of this scenario.")
@click.option("--on", "target", metavar="TARGET", help="Only runs on this target.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Figures to show and to look at; repeatable.")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Runs shown of each series.")
@click.option("--rebuild", is_flag=True, help="Make the store anew from the recordings under reports/ first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def history(
    scenario: str | None,
    target: str | None,
    metrics: tuple[str, ...],
    last: int,
    *,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Show the runs under reports/ over time, and since when which figure is different.

    Every run and report under reports/ is written down in reports/history.duckdb.
    """
    _settings((), metrics)
    from harness import history as looking_back  # noqa: PLC0415
    from harness.report.history import print_history  # noqa: PLC0415
    from harness.store import Store  # noqa: PLC0415

    store = Store()
    if rebuild:
        number = looking_back.rebuild(store, lambda text: click.echo(text, err=True))
        click.echo(f"{store.path}: {number} run{'' if number == 1 else 's'}", err=True)
    nights = [n for n in store.nights() if scenario in (None, n.scenario) and target in (None, n.target)]
    found = looking_back.history(nights, metrics)
    if as_json:
        click.echo(found.model_dump_json(indent=1))
    elif found.series:
        print_history(console(), found, metrics, last)
    else:
        click.echo("no runs here yet; recordings that are not in the store: agentstorm history --rebuild")
