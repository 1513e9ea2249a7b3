"""JSON Schema of the plan files, for editors: what stands in a file, with units, as people write it.

Made from the models that the files are read with. What only reading can tell (does the upstream exist, does the fault
end before the load?) is not in it: `agentstorm plan` says that.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from harness.model import target as targets
from harness.model import threshold as thresholds
from harness.model import units
from harness.model.experiment import Experiment
from harness.model.findings import Findings
from harness.model.plan import Scenario
from harness.model.prices import Prices
from harness.planfile import FAULT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SEVERAL = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


def _text(example: str, pattern: str, what: str) -> JsonSchemaValue:
    return {"type": "string", "pattern": pattern, "examples": [example], "title": what}


_NUMBER = r"\d+(\.\d+)?\s*"
_SIZES = "(B|kB|KiB|MB|MiB|GB|GiB)"
_WRITTEN: Mapping[Callable[..., Any], tuple[JsonSchemaValue, Callable[[Any], str]]] = {
    units.parse_duration: (_text("90s", rf"^\s*({_NUMBER}(ns|us|ms|s|min|m|h|d))+\s*$", "duration"), "{:g}s".format),
    units.parse_rate: (_text("1000/min", rf"^\s*{_NUMBER}/\s*(s|sec|m|min|h)\s*$", "rate"), "{:g}/s".format),
    units.parse_size: (_text("512MiB", rf"^\s*{_NUMBER}{_SIZES}\s*$", "size"), "{:g}MiB".format),
    units.parse_bytes: (_text("4kB", rf"^\s*{_NUMBER}{_SIZES}\s*$", "size"), "{}B".format),
    units.parse_byte_rate: (_text("8kB/s", rf"^\s*{_NUMBER}{_SIZES}/s\s*$", "size per second"), "{}B/s".format),
}
"""By what reads a value: how it is written in a file, and how its default is."""
_SHARE: JsonSchemaValue = {"anyOf": [{"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"}, {"type": "number"}]}
_THRESHOLDS: JsonSchemaValue = {"type": "object", "additionalProperties": _SEVERAL}


class _AsWritten(GenerateJsonSchema):
    """What a file holds, not what a model has in memory."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Know the readers of units, and of what may be written shorter."""
        reads = schema["function"]["function"]
        if reads in _WRITTEN:
            return dict(_WRITTEN[reads][0])
        if getattr(reads, "func", None) is thresholds._checked:  # noqa: SLF001 - what reads thresholds
            return dict(_THRESHOLDS)
        inner = super().function_before_schema(schema)
        if reads is targets._several:  # noqa: SLF001 - reads one text or several
            return dict(_SEVERAL)
        if reads is targets._observer:  # noqa: SLF001 - reads an observer, or only its sources
            return {"anyOf": [*_SEVERAL["anyOf"], inner]}
        return dict(_SHARE) if reads is units.parse_share else inner

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Write a default with its unit."""
        made = super().default_schema(schema)
        inner: Any = schema["schema"]
        while inner.get("type") in ("nullable", "function-after", "definitions"):
            inner = inner["schema"]
        reads: Any = inner.get("function", {}).get("function") if inner.get("type") == "function-before" else None
        if reads in _WRITTEN and isinstance(made.get("default"), (int, float)):
            made["default"] = _WRITTEN[reads][1](made["default"])
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Allow no other names where they have a pattern."""
        made = super().dict_schema(schema)
        return {**made, "additionalProperties": False} if "patternProperties" in made else made

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Say of each key what its docstring says."""
        made = super().model_schema(schema)
        cls: Any = schema["cls"]
        told = _about(cls)
        for name, field in cls.model_fields.items():
            key = made.get("properties", {}).get(field.alias or name)
            if key is not None and name in told:
                key["description"] = told[name]
        if cls is targets.Observer:
            made["properties"]["from"] = dict(_SEVERAL)
        return made


@cache
def _about(model: type) -> dict[str, str]:
    """Return the docstrings of a model's fields, those of its bases included."""
    told: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not cls.__module__.startswith("harness."):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class
        for field, text in zip(body.body, body.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                told[field.target.id] = " ".join(str(text.value.value).split())
    return told


def _schema(of: Any) -> JsonSchemaValue:
    return TypeAdapter(of).json_schema(by_alias=True, schema_generator=_AsWritten)


def _experiment() -> JsonSchemaValue:
    """Return an experiment's, with every kind of fault; `upstream` may be a list in a file."""
    made, faults = _schema(Experiment), FAULT.json_schema(by_alias=True, schema_generator=_AsWritten)
    made["$defs"] = {**made["$defs"], **faults.pop("$defs")}
    made["$defs"].pop("FaultSpec")
    made["properties"]["faults"]["items"] = faults
    for kind in made["$defs"].values():
        if "upstream" in kind.get("properties", {}):
            kind["properties"]["upstream"] = {**_SEVERAL, "description": "Upstream, group of them, or several."}
    within = made["$defs"]["Flapping"]["properties"]
    kinds = sorted(within["fault"]["discriminator"]["mapping"])
    within["fault"] = {  # takes place and time of the whole
        "type": "object", "properties": {"kind": {"enum": kinds}}, "required": ["kind"],
        "description": "A fault without place and time: kind and settings.",
    }  # fmt: skip
    return made


def _target() -> JsonSchemaValue:
    """Return a target's; `prices` is the name of a file in it."""
    made = _schema(targets.Target)
    made["properties"]["prices"] = {"type": "string", "description": "A file of prices/, or its name, as in audit."}
    for name in ("Prices", "Price"):
        made["$defs"].pop(name, None)
    return made


SCHEMAS: Mapping[str, Callable[[], JsonSchemaValue]] = {
    "target": _target,
    "scenario": lambda: _schema(Scenario),
    "experiment": _experiment,
    "prices": lambda: _schema(Prices),
    "findings": lambda: _schema(Findings),
}
"""What there are schemas of."""


def schema(name: str) -> JsonSchemaValue:
    """Return the JSON Schema (draft 2020-12) of a kind of file."""
    return {"$schema": DIALECT, **SCHEMAS[name]()}
