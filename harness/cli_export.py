"""What operations get: alerts and dashboards from recordings, and a run's own metrics while it lasts."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from harness.export.source import Source
    from harness.live_metrics import LiveMetrics
    from harness.model.plan import Plan

F = TypeVar("F", bound="Callable[..., Any]")
DIRECTORY = click.Path(path_type=Path)
METRICS_BIND = "127.0.0.1"


@click.group()
def export() -> None:
    """Write alerts and a dashboard whose limits are what recordings DIR... measured.

    Each limit says what was measured, in which recording, how surely, and the margin put on it. What was not measured
    makes no alert; which run would give it is said. Several recordings of one target: the limit that is quiet in all,
    and the lowest load at which to scale out.
    """


def _options(*own: Any) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(
            (
                click.argument("directories", nargs=-1, required=True, type=DIRECTORY, metavar="DIR..."),
                *own,
                click.option(
                    "--margin",
                    type=click.FloatRange(1, min_open=True),
                    default=1.5,
                    show_default=True,
                    help="How far beyond what was measured a limit lies.",
                ),
                click.option("--out", type=DIRECTORY, metavar="FILE", help="Write to a file instead of the terminal."),
            )
        ):
            command = option(command)
        return command

    return decorate


_SELECTOR = click.option(
    "--selector", default="", metavar="MATCHERS", help="Label matchers for every query, as in 'job=\"agents\"'."
)


@export.command("prometheus-rules")
@_options(_SELECTOR)
def prometheus_rules(**options: Any) -> None:
    """Write alerting rules for Prometheus (promtool check rules FILE)."""
    _write("prometheus-rules", **options)


@export.command()
@_options(_SELECTOR)
def grafana(**options: Any) -> None:
    """Write a dashboard to import into Grafana 10 or newer, on a Prometheus data source."""
    _write("grafana", **options)


@export.command("cloudwatch-alarms")
@_options(
    click.option(
        "--namespace", default="CWAgent/Prometheus", show_default=True, help="Where CloudWatch has the metrics."
    ),
    click.option("--dimension", "dimensions", multiple=True, metavar="NAME=VALUE", help="That all have; repeatable."),
)
def cloudwatch_alarms(dimensions: tuple[str, ...], **options: Any) -> None:
    """Write a CloudFormation template of alarms (aws cloudformation deploy --template-file FILE)."""
    pairs = []
    for text in dimensions:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise click.UsageError(f"--dimension {text!r} is not of the form NAME=VALUE")
        pairs.append((name, value))
    _write("cloudwatch-alarms", dimensions=tuple(pairs), **options)


def _write(form: str, directories: tuple[Path, ...], margin: float, out: Path | None, **options: Any) -> None:
    from harness.export import FORMS  # noqa: PLC0415
    from harness.export.derive import hand_over  # noqa: PLC0415

    found = hand_over([_source(path, margin) for path in directories], **options)
    text = FORMS[form](found)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
        click.echo(f"{out}: {len(found.signals)} alerts")
    for one in found.missing:
        click.echo(f"agentstorm: no {one.name}: {one.why}", err=True)


def _source(path: Path, margin: float) -> Source:
    from harness.analysis.scan import scans  # noqa: PLC0415
    from harness.analysis.shown import shown  # noqa: PLC0415
    from harness.analysis.timeline import timeline  # noqa: PLC0415
    from harness.export.source import Source  # noqa: PLC0415
    from harness.runs import Run  # noqa: PLC0415

    run = Run.open(path)
    load, _ = scans(run.recording)
    said = shown(run.recording.samples, run.plan.target.metrics, timeline(run.recording, load.last_ns))
    return Source(run.recording.path.resolve().name, run.plan, run.findings, said, margin)


def metrics_options(command: Any) -> Any:
    """Add the options of a run that shows its own metrics."""
    port = click.option(
        "--metrics-port",
        type=click.IntRange(0, 65535),
        envvar="AGENTSTORM_METRICS_PORT",
        help="Show the run's own metrics to Prometheus there; 0 takes a free one. [env: AGENTSTORM_METRICS_PORT]",
    )
    bind = click.option(
        "--metrics-bind",
        default=METRICS_BIND,
        show_default=True,
        metavar="HOST",
        help="Who may read them: whoever reaches it.",
    )
    return port(bind(command))


@contextmanager
def live_metrics(plan: Plan, faults: Iterable[str], port: int | None, address: str) -> Iterator[LiveMetrics | None]:
    """Serve a run's metrics while the block lasts, if a port is given; PlanError when it cannot be had, or when an
    address is given without one.

    `faults` are the names of those planned.
    """
    if port is None:
        if address != METRICS_BIND:
            raise PlanError(
                "nobody is shown the run's metrics", where=f"--metrics-bind {address}", hint="give --metrics-port, too"
            )
        yield None
        return
    from harness.live_metrics import LiveMetrics, serving  # noqa: PLC0415

    metrics = LiveMetrics(plan, faults)
    with serving(metrics, address, port) as taken:
        click.echo(f"metrics at http://{address}:{taken}/metrics")
        yield metrics
