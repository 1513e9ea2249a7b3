"""Commands about several runs: compare, gate, baseline, history. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from harness.model.comparison import Comparison, NoiseFloor
    from harness.runs import Run

DIRECTORY = click.Path(path_type=Path)


def register(cli: click.Group, console: Callable[[], Console]) -> None:
    """Add the commands to the command line; `console` makes what they print on."""
    cli.context_settings["obj"] = console
    cli.add_command(compare)


def _comparison_options(command: Any) -> Any:
    for option in reversed(
        (
            click.option(
                "--tolerance",
                "tolerance_texts",
                multiple=True,
                metavar="[METRIC=]SHARE",
                help="How much worse passes, as in 10% or response_time.p95=10%; of shares in points. Repeatable.",
            ),
            click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Only this figure; repeatable."),
            click.option("--skip-invalid", is_flag=True, help="Leave invalid runs out instead of refusing them."),
            click.option(
                "--force", is_flag=True, help="Compare runs of different plans and invalid ones; nothing passes then."
            ),
            click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table."),
            click.option("--out", type=DIRECTORY, metavar="FILE.md|FILE.json", help="Write it to a file as well."),
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


def _tell(found: Comparison | NoiseFloor, console: Console, out: Path | None, *, as_json: bool) -> None:
    from harness.report.comparison import markdown, print_comparison  # noqa: PLC0415

    text = found.model_dump_json(indent=1) + "\n"
    if out:
        out.write_text(_WRITERS[out.suffix](text, lambda: markdown(found)), encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
    else:
        print_comparison(console, found)


_WRITERS: dict[str, Callable[[str, Callable[[], str]], str]] = {
    ".json": lambda text, _: text,
    ".md": lambda _, markdown: markdown(),
}
"""What ``--out`` writes, by the ending of the file."""


def _check_out(out: Path | None) -> None:
    if out and out.suffix not in _WRITERS:
        raise click.UsageError(f"--out {out}: the name must end in one of {', '.join(_WRITERS)}")


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
                following = arg == "--with"
                spread.append(arg)
        return super().parse_args(ctx, spread)


@click.command(cls=_WithMany)
@click.argument("base", nargs=-1, required=True, type=DIRECTORY)
@click.option("--with", "candidates", multiple=True, type=DIRECTORY, metavar="CANDIDATE...", help="Runs to judge.")
@click.option("--aa", is_flag=True, help="Measure the noise between BASE runs instead.")
@click.option("--agree", is_flag=True, help="Of one run against one: do they agree? Passes or fails by that.")
@_comparison_options
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
    _tell(found, ctx.obj(), out, as_json=as_json)
    ctx.exit(found.exit_code)


def _open(paths: tuple[Path, ...]) -> list[Run]:
    from harness.runs import Run  # noqa: PLC0415

    return [Run.open(path) for path in paths]
