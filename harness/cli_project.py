"""Commands about plan files: init and schema. Registered by `cli`."""

from __future__ import annotations

import json
from pathlib import Path

import click


def register(cli: click.Group) -> None:
    """Add the commands to the command line."""
    cli.add_command(init)
    cli.add_command(schema)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def init(folder: Path) -> None:
    """Make a repository of your own in FOLDER: targets/, scenarios/, chaos/, with an example of each."""
    from harness.starter import make  # noqa: PLC0415

    for path in make(folder):
        click.echo(path)
    inside = "" if folder == Path() else f"cd {folder}; "
    click.echo(f"\nsay in targets/mine.yaml where your system is, then: {inside}agentstorm plan first --target mine")


@click.command()
@click.argument("kind", metavar="target|scenario|experiment|prices|findings")
def schema(kind: str) -> None:
    """Print the JSON Schema of a kind of file, for editors and other programs."""
    from harness.schemas import SCHEMAS  # noqa: PLC0415
    from harness.schemas import schema as of  # noqa: PLC0415

    if kind not in SCHEMAS:
        raise click.UsageError(f"{kind!r} has no schema; one of {', '.join(SCHEMAS)}")
    click.echo(json.dumps(of(kind), indent=1))
