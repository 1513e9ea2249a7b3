"""Reading plan files: YAML in, a resolved `Plan` out, or one message with file, line, key and what was expected."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harness import content
from harness.errors import PlanError
from harness.faults import KINDS as FAULT_KINDS
from harness.faults.timeline import Breakables
from harness.faults.timeline import check as check_timeline
from harness.model.base import nearest
from harness.model.experiment import Experiment, FaultSpec
from harness.model.plan import Plan, Replayed, Scenario
from harness.model.target import Target
from harness.model.units import Scaled
from harness.observe import Reader
from harness.seeds import fresh_seed
from harness.system import KINDS as SYSTEM_KINDS
from harness.system import wiring
from harness.traffic import arrivals, crew

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]

# Built from the catalogue: a new fault kind is known here at once.
_FAULT: TypeAdapter[FaultSpec] = TypeAdapter(
    Annotated[Union[tuple(FAULT_KINDS.values())], Field(discriminator="kind")]  # type: ignore[arg-type]  # noqa: UP007
)

_ELSEWHERE: Any = {"workload_path": True, "target_dir": True, "seed": True, "bind": True, "replayed": {"path"}}
"""What may differ between two plans that are the same."""

SHORTEST_WINDOW_S = 1.0
"""`--scale` does not shorten the recovery window below this: fewer samples cannot tell good service from bad."""


_UNREADABLE = (YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading YAML raises: the parser meets odd tags (``!!bool x``, ``!a [1]``) with whatever its code runs into."""


@dataclass
class Document:
    """One YAML file: its plain data, and the line every key stands on."""

    path: Path
    data: dict[str, Any]
    _lines: dict[Loc, int] = field(default_factory=dict)
    overridden: dict[Loc, str] = field(default_factory=dict)
    """Where else a part of the data comes from: ``--set ...``."""

    def where(self, loc: Loc) -> str:
        """Return ``file:line`` (or the option) of the deepest part of `loc` that stands there."""
        while loc and loc not in self._lines and loc not in self.overridden:
            loc = loc[:-1]
        if loc in self.overridden:
            return self.overridden[loc]
        return f"{self.path}:{self._lines.get(loc, 1)}"

    def error(self, loc: Loc, what: str, hint: str = "") -> PlanError:
        """Return a PlanError that points at `loc`."""
        return PlanError(what, where=self.where(loc), hint=hint)


def _plain(node: Any, loc: Loc, lines: dict[Loc, int]) -> Any:
    if isinstance(node, CommentedMap):
        for key in node:
            _plain(key, loc, lines)  # a key has to be text as much as a value
            lines[(*loc, key)] = node.lc.key(key)[0] + 1 if key in (node.lc.data or {}) else 1
        return {key: _plain(value, (*loc, key), lines) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            lines[(*loc, index)] = node.lc.item(index)[0] + 1
        return [_plain(value, (*loc, index), lines) for index, value in enumerate(node)]
    if isinstance(node, str):
        node.encode()  # half an emoji ("\\ud83d") is no text: UnicodeEncodeError, a ValueError
        return str(node)
    return int(node) if type(node) is not bool and isinstance(node, int) else node


def read(path: Path) -> Document:
    """Parse a YAML file (YAML 1.2, duplicate keys refused); PlanError when it is none or holds no mapping."""
    lines: dict[Loc, int] = {}
    try:
        node = YAML(typ="rt", pure=True).load(path.read_text(encoding="utf-8"))
        data = _plain(node, (), lines)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise PlanError(f"not YAML: {error.problem}", where=f"{path}:{line}") from error
    except _UNREADABLE as error:
        raise PlanError(f"cannot be read: {type(error).__name__}: {error}", where=str(path)) from error
    if not isinstance(node, CommentedMap):
        raise PlanError("holds no mapping; a plan file is keys and values", where=f"{path}:1")
    return Document(path, data, lines)


def locate(name: str, folder: str) -> Path:
    """Find a plan file given on the command line, here or among the starter content; PlanError lists the known."""
    path = content.find(name, folder)
    if path is None:
        known = content.names(folder)
        raise PlanError(f"{name}: no such file", hint=f"{nearest(name, tuple(known))}known: {', '.join(known)}")
    return path


def _loc_in_file(error: ErrorDetails, data: Any) -> Loc:
    """Return the error's path in the file: pydantic puts the tag of a discriminated union between its keys."""
    loc: list[int | str] = []
    here = data
    tag_passed = False
    for part in error["loc"]:
        if isinstance(here, dict) and here.get("kind") == part and not tag_passed:
            tag_passed = True  # a key of the same name may follow
            continue
        loc.append(part)
        here = here[part] if _has(here, part) else None
        tag_passed = False
    key = (error.get("ctx") or {}).get("key")
    return (*loc, key) if key is not None else tuple(loc)


def _has(node: Any, part: int | str) -> bool:
    return part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))


def _message(error: ErrorDetails) -> str:
    context = error.get("ctx") or {}
    if error["type"] == "located":
        return str(context["message"])
    if error["type"] == "union_tag_invalid":
        known = tuple(tag.strip(" '") for tag in str(context["expected_tags"]).split(","))
        return f"kind {context['tag']!r} is unknown; {nearest(str(context['tag']), known)}known: {', '.join(known)}"
    if error["type"] == "union_tag_not_found":
        return "needs a 'kind'"
    if error["type"] == "missing":
        return f"key {str(error['loc'][-1])!r} is missing"
    text = error["msg"].removeprefix("Value error, ")
    shown = error["input"]
    echo = "" if repr(shown) in text or isinstance(shown, (dict, list)) else f" (found {shown!r})"
    return text[0].lower() + text[1:] + echo


def _plan_error(document: Document, errors: Sequence[tuple[Loc, str]]) -> PlanError:
    first, *more = dict.fromkeys((document.where(loc), _key_of(loc), text) for loc, text in errors)
    lines = [f"{where}: {key}{text}" for where, key, text in more]
    return PlanError(f"{first[1]}{first[2]}", where=first[0], hint="\n  ".join(lines))


def _key_of(loc: Loc) -> str:
    return ".".join(str(part) for part in loc) + ": " if loc else ""


def _validate(document: Document, model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [(_loc_in_file(e, document.data), _message(e)) for e in error.errors()]
        raise _plan_error(document, found) from None


def load_scenario(document: Document) -> Scenario:
    """Validate a scenario file."""
    return _validate(document, Scenario, document.data)


def load_target(document: Document) -> Target:
    """Validate a target file, its observers' sources included."""
    target = _validate(document, Target, document.data)
    for name in type(target.observe).model_fields:
        observer = getattr(target.observe, name)
        if observer is not None and name != "stream_end":
            try:
                Reader(observer)
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


def directory_of(path: Path) -> Path:
    """Return the folder a target file's commands run in and its paths count from: the one that holds ``targets/``."""
    return path.resolve().parent.parent


def load_experiment(document: Document) -> Experiment:
    """Validate an experiment file; each fault with the settings of its own kind."""
    faults = document.data.get("faults")
    if not isinstance(faults, list):
        return _validate(document, Experiment, document.data)
    specs, errors = [], []
    for index, fault in enumerate(faults):
        try:
            specs.append(_FAULT.validate_python(fault))
        except ValidationError as error:
            errors += [(("faults", index, *_loc_in_file(e, fault)), _message(e)) for e in error.errors()]
    if errors:
        raise _plan_error(document, errors)
    return _validate(document, Experiment, {**document.data, "faults": specs})


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


def _override(documents: dict[str, Document], text: str) -> None:
    path, equals, value = text.partition("=")
    where = f"--set {text}"
    parts = path.split(".")
    if not equals or not all(parts):
        raise PlanError("not of the form a.b=c", where=where, hint="as in --set load.users=50")
    document = documents[parts.pop(0)] if len(parts) > 1 and parts[0] in documents else documents["scenario"]
    node: Any = document.data
    for depth, part in enumerate(parts[:-1]):
        if node.get(part) is None:
            node[part] = {}  # a section that the file leaves out; a name that is none is found when all is validated
        node = node[part]
        document.overridden[tuple(parts[: depth + 1])] = where
        if not isinstance(node, dict):
            raise PlanError(f"{part!r} is no mapping in {document.path}", where=where)
    try:
        node[parts[-1]] = _plain(YAML(typ="rt", pure=True).load(io.StringIO(value)), (), {})
    except _UNREADABLE as error:
        raise PlanError(f"the value is not YAML: {error}", where=where) from None
    document.overridden[tuple(parts)] = where


def _workload(document: Document, scenario: Scenario) -> Path:
    path = document.path.parent / scenario.workload
    if not content.is_file(path):
        found = tuple(p.name for p in sorted(document.path.parent.glob("*.py")))
        hint = f"{nearest(scenario.workload, found)}Locust files beside it: {', '.join(found) or 'none'}"
        raise document.error(("workload",), f"workload: no file {scenario.workload!r} beside the scenario", hint)
    return path.resolve()


def _replay(document: Document, scenario: Scenario, scale: float) -> tuple[Scenario, Replayed | None]:
    """Read the arrivals that the load replays, and fix how long it lasts; `scenario` is scaled already."""
    if scenario.load.kind != "replay":
        return scenario, None
    try:
        load, replayed = arrivals.fixed(scenario.load, document.path.parent, scale)
    except PlanError as error:
        if not error.where.startswith("load."):
            raise
        raise document.error(tuple(error.where.split(".")), f"{error.where}: {error.what}", error.hint) from None
    return scenario.model_copy(update={"load": load}), replayed


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
        _override(documents, text)
    chaos_documents = [read(locate(name, "chaos")) for name in chaos]
    the_scenario = load_scenario(documents["scenario"])
    workload = _workload(documents["scenario"], the_scenario)
    the_target = load_target(documents["target"])
    experiments = [load_experiment(d) for d in chaos_documents]
    if not 0 < scale <= 10:
        raise PlanError(f"--scale {scale}: must lie above 0 and not above 10", hint="as in --scale 0.1")
    the_scenario, replayed = _replay(documents["scenario"], scaled(the_scenario, scale), scale)
    window = max(the_scenario.slo.window, min(SHORTEST_WINDOW_S, the_scenario.slo.window / scale))
    the_scenario = the_scenario.model_copy(update={"slo": the_scenario.slo.model_copy(update={"window": window})})
    plan = Plan(
        target=the_target,
        scenario=the_scenario,
        experiments=tuple(scaled(e, scale) for e in experiments),
        engine=engine,
        workers=workers,
        remote_workers=remote_workers,
        bind=bind,
        scale=scale,
        seed=fresh_seed() if seed is None else seed,
        workload_path=workload,
        target_dir=directory_of(documents["target"].path),
        replicas=replicas,
        replayed=replayed,
    )
    _check_replicas(plan, documents["target"])
    crew.check(plan)
    check_timeline(plan.faults, _breakables(plan), plan.scenario.load.measured_s)
    return plan


def _breakables(plan: Plan) -> Breakables:
    system = plan.target.system
    replicated = getattr(system, "replicated", None)
    services = {
        name: plan.replicas if name == replicated else 1
        for name in wiring.names(plan.target, plan.target_dir)
        if name != getattr(system, "toxiproxy", None)  # it carries the faults
    }
    behind = {
        name: service
        for name, upstream in plan.target.upstreams.items()
        if (service := wiring.service_of(upstream.address)) in services
    }
    return Breakables(plan.target.upstreams, services, behind, limits=SYSTEM_KINDS[system.kind].can_limit)


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
