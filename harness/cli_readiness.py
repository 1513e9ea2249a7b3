"""The command that holds several recordings against an audit. Registered by `cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from harness.errors import RecordingError
from harness.paths import shown

DIRECTORY = click.Path(path_type=Path)


def register(cli: click.Group) -> None:
    """Add the command to the command line."""
    cli.add_command(readiness)


@click.command()
@click.argument("directories", nargs=-1, required=True, type=DIRECTORY, metavar="DIR...")
@click.option("--audit", "named", metavar="FILE", help="The audit; default: the one their target names.")
@click.option("--out", type=DIRECTORY, default="readiness.md", show_default=True, metavar="FILE", help="Where to.")
@click.option("--lang", type=click.Choice(["en", "sv"]), default="en", show_default=True, help="Its language.")
def readiness(directories: tuple[Path, ...], named: str | None, out: Path, lang: Literal["en", "sv"]) -> None:
    """Answer a readiness audit from several recordings together (steady, rate, spike, soak, outages, capacity).

    \b
    agentstorm readiness reports/*_steady reports/*_rate_failover-sla --lang sv
    """
    from harness.assess import assess  # noqa: PLC0415
    from harness.auditing import agreed, answers  # noqa: PLC0415
    from harness.recording.reader import Recording  # noqa: PLC0415
    from harness.report.block_audit import tally  # noqa: PLC0415
    from harness.report.readiness import document  # noqa: PLC0415

    recordings = [Recording.open(path) for path in directories]
    audit = agreed(recordings, named)
    if audit is None:
        raise RecordingError(f"{recordings[0].path}: its target names no audit; give one, as in --audit happyos")
    found = answers(audit, [(recording, assess(recording)[0]) for recording in recordings])
    out.write_text(document(found, lang), encoding="utf-8")
    click.echo(tally(found, lang))
    click.echo(shown(out))
