"""The command about capacity: what load recordings show, and what a forecast needs. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli_console import console
from harness.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable


def register(cli: click.Group) -> None:
    """Add the command to the command line."""

    @cli.command()
    @click.argument("directories", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
    @click.option("--users", type=click.FloatRange(min=0, min_open=True), help="Forecast: so many users.")
    @click.option("--rate", "rate_text", metavar="RATE", help="Forecast: requests, as in 80/s or 5000/min.")
    @click.option("--think", "think_text", metavar="TIME", help="What a user waits between requests, as in 30s.")
    @click.option(
        "--headroom",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.7,
        show_default=True,
        help="Share of the capacity to plan with.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
    @click.pass_context
    def capacity(
        ctx: click.Context,
        directories: tuple[Path, ...],
        users: float | None,
        rate_text: str | None,
        think_text: str | None,
        headroom: float,
        *,
        as_json: bool,
    ) -> None:
        """Say what load the system of the recordings carries, state by state, and how many replicas a forecast needs.

        DIR are directories that runs of a capacity or steps load wrote. Several are taken together: other states, or
        other numbers of replicas.

        \b
        Exit codes: 0 told, 75 nobody knows (yet), 98 a recording is invalid, 1 there is nothing to read it from.
        """
        if users is not None and rate_text is not None:
            raise click.UsageError("give --users or --rate, not both")
        from harness.capacities import answer  # noqa: PLC0415
        from harness.report.capacity import print_capacity  # noqa: PLC0415

        rate, think_s = _rate(rate_text), _seconds(think_text)
        found = answer(directories, rate=rate, users=users, think_s=think_s, headroom=headroom)
        if as_json:
            click.echo(found.model_dump_json(indent=1))
        else:
            print_capacity(console(), found, forecast=users is not None or rate is not None)
        known = any(state.advice for run in found.runs for state in run.states)
        asked = users is not None or rate is not None
        if found.invalid:
            ctx.exit(ExitCode.INVALID)
        ctx.exit(ExitCode.PASS if known and (found.replicas or not asked) else ExitCode.INCONCLUSIVE)


def _rate(text: str | None) -> float | None:
    from harness.model.units import parse_rate  # noqa: PLC0415

    return None if text is None else _read("--rate", text, parse_rate)


def _seconds(text: str | None) -> float | None:
    from harness.model.units import parse_duration  # noqa: PLC0415

    return None if text is None else _read("--think", text, parse_duration)


def _read(option: str, text: str, parse: Callable[[str], float]) -> float:
    try:
        value = parse(text)
    except ValueError as error:
        raise click.UsageError(f"{option} {text}: {error}") from None
    if option == "--rate" and not value:
        raise click.UsageError(f"{option} {text}: a forecast of nothing needs nothing")
    return value
