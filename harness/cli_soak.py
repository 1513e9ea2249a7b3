"""The command about a long load: soak. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli_console import console


def register(cli: click.Group) -> None:
    """Add the command to the command line."""
    cli.add_command(soak)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--against",
    default="last-good",
    show_default=True,
    metavar="DIR|last-good|none",
    help="An earlier run of the same scenario: a directory, or the newest in the store that passed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.pass_context
def soak(ctx: click.Context, directory: Path, against: str, *, as_json: bool) -> None:
    """Say whether anything leaked or drifted in the long load that DIRECTORY is the recording of.

    Every resource of every process and container, and what users got: its slope per hour, whether that is certain,
    what this length could not have seen, when a limit is reached; and what is different from an earlier run.

    \b
    Exit codes: 0 nothing moves, 99 a leak or a drift to the bad side, 75 inconclusive, 98 the run is invalid,
    1 there is no recording, or the runs cannot be compared.
    """
    from harness.report.soak import print_soak  # noqa: PLC0415
    from harness.soaking import tell  # noqa: PLC0415

    told = tell(directory, against)
    if as_json:
        click.echo(told.model_dump_json(indent=1))
    else:
        print_soak(console(), told)
    ctx.exit(told.exit_code)
