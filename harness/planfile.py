"""Reading plan files: YAML in, a resolved `Plan` out, or one message with file, line, key and what was expected."""

from __future__ import annotations

import hashlib
import io
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML

from harness import content, states
from harness.blas import users_environment
from harness.document import Document, Loc, M, found, locate, override, plan_error, read, validate
from harness.errors import PlanError
from harness.faults import KINDS as FAULT_KINDS
from harness.faults.fault import UpstreamFault
from harness.faults.timeline import Breakables, Occurrence, occurrences
from harness.faults.timeline import check as check_timeline
from harness.model.base import nearest
from harness.model.experiment import Experiment, FaultSpec
from harness.model.plan import Files, Plan, Replayed, Scenario
from harness.model.prices import Prices
from harness.model.target import ComposeSystem, Target
from harness.model.units import Scaled
from harness.observe import compile_observer
from harness.seeds import fresh_seed
from harness.system import KINDS as SYSTEM_KINDS
from harness.system import environment, wiring
from harness.tokens import TokenReader
from harness.traffic import arrivals, crew
from harness.traffic.k6_scenarios import check as check_k6

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


# Built from the catalogue: a new fault kind is known here at once.
FAULT: TypeAdapter[FaultSpec] = TypeAdapter(
    Annotated[Union[tuple(FAULT_KINDS.values())], Field(discriminator="kind")]  # type: ignore[arg-type]  # noqa: UP007
)

_ELSEWHERE: Any = {
    "workload_path": True, "target_dir": True, "seed": True, "bind": True, "files": True,
    "replayed": {"path"}, "target": {"audit", "version"},
}  # fmt: skip
"""What may differ between two plans that are the same."""

SHORTEST_WINDOW_S = 1.0
"""`--scale` does not shorten the recovery window below this: fewer samples cannot tell good service from bad."""

ENGINE_CHECKS = {"k6": check_k6}
"""Engines that cannot make every load; each raises PlanError for a plan it cannot run."""


def load_scenario(document: Document) -> Scenario:
    """Validate a scenario file."""
    return validate(document, Scenario, document.data)


def load_target(document: Document) -> Target:
    """Validate a target file, its observers' sources and the prices it names included."""
    data = document.data
    if isinstance(named := data.get("prices"), str):
        try:
            path = locate(named, "prices")
        except PlanError as error:
            raise document.error(("prices",), f"prices: {error.what}", error.hint) from None
        data = {**data, "prices": load_prices(read(path))}
    target = validate(document, Target, data)
    if target.version is not None:
        target = target.model_copy(update={"version": _version(document, target.version)})
    if target.audit is not None:
        _check_audit(document, target.audit)
    for name in type(target.observe).model_fields:
        observer = getattr(target.observe, name)
        if observer is not None and name != "stream_end":
            try:
                TokenReader(observer) if name == "token" else compile_observer(observer)
            except ValueError as error:
                raise document.error(("observe", name), f"observe.{name}: {error}") from None
    if target.metrics and target.metrics.breaker and "{" not in target.metrics.breaker:
        raise document.error(
            ("metrics", "breaker"),
            "metrics.breaker: names no label; write the gauge with the label that holds the provider, "
            "as in llm_circuit_state{provider}",
        )
    try:
        wiring.check(target, directory_of(document.path))
    except PlanError as error:
        loc = tuple(re.sub(r"\[\d+\]$", "", part) for part in error.where.split("."))
        raise document.error(loc, f"{error.where}: {error.what}", error.hint) from None
    return target


_ENV = re.compile(r"\$\{env\.(\w+)\}")


def _version(document: Document, text: str) -> str | None:
    """Return the system's version with the environment filled in; None where a variable of it is not set, or empty."""
    if "${" in _ENV.sub("", text):
        hint = "only the environment can be filled in here, as in ${env.GIT_SHA}"
        raise document.error(("version",), f"version: {text!r} names no environment variable", hint)
    if not all(os.environ.get(name) for name in _ENV.findall(text)):
        return None
    filled = " ".join(_ENV.sub(lambda match: os.environ[match[1]], text).split())
    return filled.encode(errors="replace").decode() or None  # bytes that are no text could not be written


def _check_audit(document: Document, named: str) -> None:
    """Look that there is such an audit. Only one of the user's own is read: the starter content is known to be good."""
    try:
        path = locate(named, "audits")
    except PlanError as error:
        raise document.error(("audit",), f"audit: {error.what}", error.hint) from None
    if not path.is_relative_to(content.root()):
        from harness.auditing import load_audit  # noqa: PLC0415 - reads recordings, too, with all that this imports

        load_audit(read(path))


def load_prices(document: Document) -> Prices:
    """Validate a file of prices."""
    return validate(document, Prices, document.data)


def directory_of(path: Path) -> Path:
    """Return the folder a target file's commands run in and its paths count from: the one that holds ``targets/``."""
    return path.resolve().parent.parent


def load_experiment(document: Document) -> Experiment:
    """Validate an experiment file; each fault with the settings of its own kind."""
    faults = document.data.get("faults")
    if not isinstance(faults, list):
        return validate(document, Experiment, document.data)
    specs, errors = [], []
    for index, fault in enumerate(faults):
        try:
            specs += [FAULT.validate_python(one) for one in _each(fault)]
        except ValidationError as error:
            errors += [(("faults", index, *loc), said) for loc, said in found(error, fault, FAULT.validate_python)]
    if errors:
        raise plan_error(document, errors)
    return validate(document, Experiment, {**document.data, "faults": specs})


def _each(fault: Any) -> list[Any]:
    """Return a fault for every upstream of a list of them."""
    if not isinstance(fault, dict) or not isinstance(fault.get("upstream"), list) or not fault["upstream"]:
        return [fault]
    return [{**fault, "upstream": name} for name in fault["upstream"]]


def spread(experiment: Experiment, target: Target) -> Experiment:
    """Return `experiment` with a fault for every member of a group of `target`."""
    faults: list[FaultSpec] = []
    for spec in experiment.faults:
        members = target.groups.get(spec.on, ()) if isinstance(spec, UpstreamFault) else ()
        said = spec.model_dump(mode="json", by_alias=True)
        faults += [FAULT.validate_python({**said, "upstream": name}) for name in members] or [spec]
    return experiment.model_copy(update={"faults": tuple(faults)})


def _markers(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _markers(argument)


def _scaled_value(value: Any, marker: Scaled | None, scale: float) -> Any:
    if isinstance(value, BaseModel):
        return scaled(value, scale)
    if isinstance(value, tuple):
        return tuple(_scaled_value(item, None, scale) for item in value)
    if marker is None or value is None:
        return value
    return value / scale if marker.inverse else value * scale


def scaled(model: M, scale: float) -> M:
    """Return `model` with every duration of its timeline multiplied by `scale` (`model.units.Scaled`)."""
    update = {}
    for name, info in type(model).model_fields.items():
        marks = (*info.metadata, *_markers(info.annotation))
        marker = next((m for m in marks if isinstance(m, Scaled)), None)
        update[name] = _scaled_value(getattr(model, name), marker, scale)
    return model.model_copy(update=update)


WORKLOADS = {"locust": (".py", "a Locust file"), "k6": (".js", "a k6 script")}
"""What a workload is to each engine: the ending of its file, and what to call it."""


def _workload(document: Document, scenario: Scenario, engine: str) -> Path:
    """Return the engine's workload: the file the scenario names, or the one beside it that only ends otherwise."""
    ending, what = WORKLOADS[engine]
    named = document.path.parent / scenario.workload
    path = named if engine == "locust" else named.with_suffix(ending)
    if not content.is_file(path):
        found = tuple(p.name for p in sorted(document.path.parent.glob(f"*{ending}")))
        hint = f"{nearest(path.name, found)}beside it: {', '.join(found) or f'no {ending} file'}"
        if engine != "locust":
            hint = f"write {path}, {what} that makes the requests of {named.name} (as agents.js does); {hint}"
        raise document.error(("workload",), f"workload: no file {path.name!r} ({what}) beside the scenario", hint)
    return path.resolve()


def _replay(document: Document, scenario: Scenario, scale: float) -> tuple[Scenario, Replayed | None]:
    """Read the arrivals that the load replays, and fix how long it lasts; `scenario` is scaled already."""
    if scenario.load.kind != "replay":
        return scenario, None
    with document.placing():
        load, replayed = arrivals.fixed(scenario.load, document.path.parent, scale)
    return scenario.model_copy(update={"load": load}), replayed


def _check_engine(plan: Plan, document: Document) -> None:
    if check := ENGINE_CHECKS.get(plan.engine):
        with document.placing():
            check(plan)


def resolve(  # noqa: PLR0913 - the options of the command line
    scenario: str,
    chaos: Sequence[str] = (),
    target: str = "targets/local.yaml",
    *,
    engine: str = "locust",
    workers: int = 1,
    remote_workers: int = 0,
    bind: str = "127.0.0.1:5557",
    replicas: int = 1,
    scale: float = 1.0,
    seed: int | None = None,
    overrides: Sequence[str] = (),
) -> Plan:
    """Read, override, validate, scale and cross-check; every PlanError says where."""
    documents = {"scenario": read(locate(scenario, "scenarios")), "target": read(locate(target, "targets"))}
    for text in overrides:
        override(documents, text)
    chaos_documents = [read(locate(name, "chaos")) for name in chaos]
    the_scenario = load_scenario(documents["scenario"])
    workload = _workload(documents["scenario"], the_scenario, engine)
    the_target = load_target(documents["target"])
    directory = directory_of(documents["target"].path)
    experiments = [spread(load_experiment(d), the_target) for d in chaos_documents]
    if not 0 < scale <= 10:
        raise PlanError(f"--scale {scale}: must lie above 0 and not above 10", hint="as in --scale 0.1")
    the_scenario, replayed = _replay(documents["scenario"], scaled(the_scenario, scale), scale)
    window = max(the_scenario.slo.window, min(SHORTEST_WINDOW_S, the_scenario.slo.window / scale))
    the_scenario = the_scenario.model_copy(update={"slo": the_scenario.slo.model_copy(update={"window": window})})
    plan = Plan(
        target=the_target,
        **states.settle(the_scenario, [scaled(e, scale) for e in experiments]),
        engine=engine,
        workers=workers,
        remote_workers=remote_workers,
        bind=bind,
        scale=scale,
        seed=fresh_seed() if seed is None else seed,
        workload_path=workload,
        target_dir=directory,
        replicas=replicas,
        replayed=replayed,
        environment=environment.given(the_target, directory, users_environment()),
        files=Files(scenario=scenario, experiments=tuple(chaos), target=target, overrides=tuple(overrides)),
    )
    _check_engine(plan, documents["scenario"])
    _check_replicas(plan, documents["target"])
    crew.check(plan)
    with _placing(plan, chaos_documents):
        states.check_triggers(plan)
        with documents["scenario"].placing():
            states.check(plan)
        check_timeline(plan.faults, _breakables(plan), plan.scenario.load.measured_s)
    return plan


def _places(document: Document, target: Target) -> list[Loc]:
    """Return where each fault of an experiment stands in its file; one on several upstreams has become several."""
    each = [(("faults", n), one) for n, fault in enumerate(document.data["faults"]) for one in _each(fault)]
    return [loc for loc, one in each for _ in target.groups.get(one.get("upstream"), (None,))]


@contextmanager
def _placing(plan: Plan, documents: Sequence[Document]) -> Iterator[None]:
    """Say of a PlanError about an experiment, or a fault of it, in which line it stands."""
    try:
        yield
    except PlanError as error:
        files: dict[str, str] = {}
        for experiment, document in zip(plan.experiments, documents, strict=True):
            named = f"experiment {experiment.experiment}"
            files.setdefault(named, document.where(("faults",)))
            for fault, loc in zip(experiment.faults, _places(document, plan.target), strict=True):
                if fault is error.about:
                    files[named] = document.where(loc)
        where = ": ".join(filter(None, (files.get(error.where), error.where)))
        raise PlanError(error.what, where=where, hint=error.hint) from None


def faults_of(plan: Plan) -> list[Occurrence]:
    """Return every occurrence of the plan's faults, as `timeline.occurrences` does."""
    return occurrences(plan.faults, _breakables(plan)) if plan.faults else []


def _breakables(plan: Plan) -> Breakables:
    system = plan.target.system
    replicated = getattr(system, "replicated", None)
    services = {
        name: plan.replicas if name == replicated else 1
        for name in wiring.names(plan.target, plan.target_dir)
        if name != getattr(system, "toxiproxy", None)  # it carries the faults
    }
    behind = {
        name: service for name, upstream in plan.target.upstreams.items() if (service := upstream.service) in services
    }
    offers = SYSTEM_KINDS[system.kind].offers
    if isinstance(system, ComposeSystem) and system.http_faults is None:
        offers -= {"http"}
    return Breakables(plan.target.upstreams, services, behind, tuple(plan.target.groups), offers)


def _check_replicas(plan: Plan, document: Document) -> None:
    if plan.replicas == 1 or getattr(plan.target.system, "replicated", None):
        return
    raise PlanError(
        f"--replicas {plan.replicas}: the target has no service that can be multiplied",
        where=document.where(("system",)),
        hint="a target of kind 'compose' names one as system.replicated, behind a load balancer: targets/compose.yaml",
    )


def dump(plan: Plan) -> str:
    """Return the resolved plan as YAML; reading it back gives the same plan."""
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 120
    yaml.dump(plan.model_dump(mode="json", by_alias=True), out)
    return out.getvalue()


def plan_hash(plan: Plan) -> str:
    """Return a short hash of what was planned (paths and seed left out): equal plans, equal hash."""
    told = plan.model_dump_json(exclude=_ELSEWHERE, by_alias=True)
    workload = plan.workload_path.read_bytes()
    return hashlib.sha256(told.encode() + workload).hexdigest()[:16]
