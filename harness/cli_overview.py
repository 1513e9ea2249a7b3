"""The command that puts several recordings on one page. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path

import click

from harness import step_summary
from harness.cli_console import complain
from harness.cli_report import answered, assessed, lang_option
from harness.paths import shown

DIRECTORY = click.Path(path_type=Path)


def register(cli: click.Group) -> None:
    """Add the command to the command line."""
    cli.add_command(overview)


@click.command()
@click.argument("directories", nargs=-1, required=True, type=DIRECTORY, metavar="DIR...")
@click.option(
    "--out", type=DIRECTORY, default="reports", show_default=True, metavar="DIR", help="Folder to write into."
)
@lang_option
def overview(directories: tuple[Path, ...], out: Path, lang: str) -> None:
    """Put several runs of one system on one page: verdict, capacity, cost, SLA, endurance, risks, what to do.

    Writes overview.html and overview.md, which lead to the pages of the recordings; those without one get it.

    \b
    agentstorm overview reports/*_steady reports/*_rate_failover-sla reports/*_capacity
    """
    from harness.report import write_all  # noqa: PLC0415
    from harness.report.overview import Run, write  # noqa: PLC0415

    runs = [Run(*assessed(path)) for path in directories]
    for run in runs:
        if not (run.recording.path / "report.html").exists():
            audit = answered([(run.recording, run.findings)])
            write_all(run.recording, run.findings, run.verdicts, audit, lang)
    paths = write(runs, out, answered([(run.recording, run.findings) for run in runs]), lang)
    step_summary.append(paths[1].read_text(encoding="utf-8"), complain)
    for path in paths:
        click.echo(shown(path))
