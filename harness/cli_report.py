"""The commands that rebuild and judge a recording, and the report that every run ends with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness import cli_compare, step_summary
from harness.cli_console import complain, console
from harness.errors import AgentstormError
from harness.paths import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.model.audit import Readiness
    from harness.model.findings import Findings
    from harness.model.verdict import Verdicts
    from harness.recording.reader import Recording

lang_option = click.option(
    "--lang",
    type=click.Choice(["en", "sv"]),
    default="en",
    show_default=True,
    help="Language of the report's executive page; the rest is English.",
)


def assessed(directory: Path) -> tuple[Recording, Findings, Verdicts]:
    """Open a recording, analyse and judge it."""
    from harness.assess import assess  # noqa: PLC0415
    from harness.recording.reader import Recording  # noqa: PLC0415

    recording = Recording.open(directory)
    return recording, *assess(recording)


def judge_and_report(directory: Path, terminal: Console, *, audit: str | None = None, lang: str = "en") -> int:
    """Rebuild what is derived of a recording and print its summary; return the verdict's exit code."""
    from harness.report import write_all  # noqa: PLC0415
    from harness.report.terminal import print_summary  # noqa: PLC0415

    recording, findings, verdicts = assessed(directory)
    write_all(recording, findings, verdicts, answered([(recording, findings)], audit), lang)
    print_summary(terminal, recording, findings, verdicts)
    cli_compare.remember(directory)
    step_summary.append((directory / "report.md").read_text(encoding="utf-8"), complain)
    return verdicts.exit_code


def answered(found: Sequence[tuple[Recording, Findings]], named: str | None = None) -> Readiness | None:
    """Hold recordings against their audit; one that their target names and that is not there fails no report."""
    from harness.auditing import agreed, answers  # noqa: PLC0415

    try:
        audit = agreed([recording for recording, _ in found], named)
    except AgentstormError as error:
        if named is not None:
            raise
        complain(f"the audit is not answered: {error}")
        return None
    return None if audit is None else answers(audit, found)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--audit", metavar="FILE", help="Answer this readiness audit; default: the one the target names.")
@click.option("--csv", "csv_name", metavar="NAME", help="Write DIR/locust/NAME_stats.csv ..., as Locust does.")
@lang_option
def report(directory: Path, audit: str | None, csv_name: str | None, lang: str) -> None:
    """Rebuild everything derived of a recording: findings, verdicts, pages."""
    judge_and_report(directory, console(), audit=audit, lang=lang)
    if csv_name is not None:
        from harness.recording.reader import Recording  # noqa: PLC0415
        from harness.report.locust_csv import write_csv  # noqa: PLC0415

        for path in write_csv(Recording.open(directory), csv_name):
            click.echo(shown(path))


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
def judge(directory: Path) -> None:
    """Judge a recording again; exits with the verdict's code."""
    from harness.report.terminal import print_summary  # noqa: PLC0415

    recording, findings, verdicts = assessed(directory)
    print_summary(console(), recording, findings, verdicts)
    click.get_current_context().exit(verdicts.exit_code)


def register(cli: click.Group) -> None:
    """Add these commands to the command line."""
    cli.add_command(report)
    cli.add_command(judge)
