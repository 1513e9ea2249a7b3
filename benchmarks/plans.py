"""Our own load generator as a run would use it, without the run: a plan, the engine, and the rows it recorded."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.cli import run as command
from harness.clock import NS_PER_S, now_ns, sleep
from harness.document import locate, read
from harness.model.plan import Plan, Scenario
from harness.model.target import ExternalSystem, Target
from harness.planfile import load_target
from harness.recording.reader import Recording
from harness.traffic import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

    from harness.traffic import Engine

RUN_ID = 1
_TICK_S = 0.25
"""How often a run asks the generator for what is new."""
HEAD_START_NS = NS_PER_S // 2
"""Between ordering a load and its start: every worker must have its schedule by then."""


def plan(workload: Path, load: dict[str, Any], *, workers: int = 1) -> Plan:
    """A plan with `load` that reads answers as ``targets/local.yaml`` does."""
    observe = load_target(read(locate("local", "targets"))).observe
    return Plan(
        target=Target(target="bench", system=ExternalSystem(kind="external"), url="http://x", observe=observe),
        scenario=Scenario.model_validate({"scenario": "bench", "workload": workload.name, "load": load}),
        seed=1,
        workers=workers,
        workload_path=workload,
        target_dir=workload.parent,
    )


@contextmanager
def engine_of(plan: Plan, folder: Path) -> Iterator[Engine]:
    """The load generator for `plan`, prepared; whatever happens, it is gone after the block."""
    engine = KINDS[plan.engine](plan, folder, RUN_ID)
    try:
        engine.prepare()
        yield engine
    finally:
        engine.kill()


def run(plan: Plan, url: str, folder: Path, before: Callable[[int], None] = lambda _: None) -> int:
    """Run the whole load and return its start, monotonic ns; `before` is told it before anything is sent."""
    with engine_of(plan, folder) as engine:
        start_ns = now_ns() + HEAD_START_NS
        before(start_ns)
        engine.begin(start_ns, url)
        while not engine.finished:
            sleep(_TICK_S)
            engine.batches()
    return start_ns


def workers() -> tuple[int, ...]:
    """How many workers can be asked for: 1, and 2 where the command line takes them."""
    option = next(option for option in command.params if option.name == "workers")
    return (1,) if getattr(option.type, "max", None) == 1 else (1, 2)


def pids(engine: Engine) -> list[int]:
    """The processes that make the requests."""
    return [worker["pid"] for worker in engine.describe()["workers"]]


def rows(folder: Path) -> pd.DataFrame:
    """Every request in the recording, words as text."""
    frame: pd.DataFrame = Recording(folder).requests.to_pandas()
    return frame.astype(dict.fromkeys(frame.select_dtypes("category").columns, str))
