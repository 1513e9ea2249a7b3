"""YAML documents that know in which line each key stands, and errors that say so."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harness import content
from harness.errors import PlanError
from harness.model.base import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]

_UNREADABLE = (YAMLError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading YAML raises: the parser meets odd tags (``!!bool x``, ``!a [1]``) with whatever its code runs into."""

_KINDLESS = ("union_tag_not_found", "model_attributes_type")
"""What pydantic says where one of several kinds was expected and there is none: a mapping without, or no mapping."""


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

    def replaced(self, loc: Loc, by: str) -> None:
        """Take note that `loc` with all that is in it comes from elsewhere: the file's lines say nothing about it."""
        told: tuple[dict[Loc, Any], ...] = (self._lines, self.overridden)
        for known in told:
            for inside in [one for one in known if one[: len(loc)] == loc]:
                del known[inside]
        self.overridden[loc] = by

    def error(self, loc: Loc, what: str, hint: str = "") -> PlanError:
        """Return a PlanError that points at `loc`."""
        return PlanError(what, where=self.where(loc), hint=hint)

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Say of a PlanError about a key of the load in which line it stands."""
        try:
            yield
        except PlanError as error:
            where = self.where(tuple(error.where.split("."))) if error.where.startswith("load.") else error.where
            raise PlanError(error.what, where=where, hint=error.hint) from None


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
        text = path.read_text(encoding="utf-8")
        node = YAML(typ="rt", pure=True).load(text)
        data = _plain(node, (), lines)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        tab = re.match(r" *\t", (text.splitlines()[line - 1 :] or [""])[0])
        hint = "indent with spaces: YAML knows no tabs there" if tab else ""
        raise PlanError(f"not YAML: {error.problem}", where=f"{path}:{line}", hint=hint) from error
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
        if str(part).startswith("<"):  # the tag of a union whose members no key tells apart
            continue
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
    if error["type"] == "missing":
        return f"key {str(error['loc'][-1])!r} is missing"
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] == "dict_type":
        text = "keys and values were expected"
    shown = error["input"]
    echo = "" if repr(shown) in text or isinstance(shown, (dict, list)) else f" (found {shown!r})"
    return text[0].lower() + text[1:] + echo


def plan_error(document: Document, errors: Sequence[tuple[Loc, str]]) -> PlanError:
    """Return one PlanError for all that is wrong with a document."""
    first, *more = dict.fromkeys((document.where(loc), _key_of(loc), text) for loc, text in errors)
    lines = [f"{where}: {key}{text}" for where, key, text in more]
    return PlanError(f"{first[1]}{first[2]}", where=first[0], hint="\n  ".join(lines))


def _key_of(loc: Loc) -> str:
    return ".".join(str(part) for part in loc) + ": " if loc else ""


def found(error: ValidationError, data: Any, check: Callable[[Any], object]) -> list[tuple[Loc, str]]:
    """Return what pydantic found wrong in `data` when it was to `check` it: where it stands there, and in words."""
    return [
        (_loc_in_file(e, data), _without_kind(e, data, check) if e["type"] in _KINDLESS else _message(e))
        for e in error.errors()
    ]


def _without_kind(error: ErrorDetails, data: Any, check: Callable[[Any], object]) -> str:
    """Return what is wrong where no kind is given, and which there are: pydantic lists them for one that is unknown."""
    asked = deepcopy([data])
    node: Any = asked
    *path, last = (0, *_loc_in_file(error, data))
    for part in path:
        node = node[part]
    node[last] = {"kind": ""}
    known = ""
    try:
        check(asked[0])
    except ValidationError as unknown:
        for e in unknown.errors():
            if e["type"] == "union_tag_invalid" and e["loc"] == error["loc"]:
                known = "; known: " + str(e["ctx"]["expected_tags"]).replace("'", "")
    shown = error["input"]
    return f"needs a 'kind'{known}" + ("" if isinstance(shown, (dict, list)) else f" (found {shown!r})")


def validate(document: Document, model: type[M], data: Any) -> M:
    """Return `data` as a model; PlanError says where in the document it cannot be one."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise plan_error(document, found(error, document.data, model.model_validate)) from None


_NOT_SET = ("experiment", "chaos", "faults")
"""What somebody may take for the beginning of a key of an experiment."""


def override(documents: dict[str, Document], text: str) -> None:
    """Set a key of one of the documents: ``a.b=c``. PlanError says what of it cannot be."""
    path, equals, value = text.partition("=")
    where = f"--set {text}"
    parts = path.split(".")
    if not equals or not all(parts):
        raise PlanError("not of the form a.b=c", where=where, hint="as in --set load.users=50")
    if parts[0] in _NOT_SET:
        hint = "--set reaches scenario and target only; edit a copy of the experiment"
        raise PlanError(f"{parts[0]!r} cannot be set", where=where, hint=hint)
    document = documents[parts.pop(0)] if len(parts) > 1 and parts[0] in documents else documents["scenario"]
    node: Any = document.data
    for depth, part in enumerate(parts[:-1]):
        if node.get(part) is None:
            node[part] = {}  # a section that the file leaves out; a name that is none is found when all is validated
            document.replaced(tuple(parts[: depth + 1]), where)
        node = node[part]
        if not isinstance(node, dict):
            whole = path.removesuffix("." + ".".join(parts[depth + 1 :]))
            what = "a list, and set as a whole" if isinstance(node, list) else "a single value"
            raise PlanError(
                f"{part!r} is no mapping in {document.path}", where=where, hint=f"it is {what}: --set {whole}=..."
            )
    try:
        node[parts[-1]] = _plain(YAML(typ="rt", pure=True).load(io.StringIO(value)), (), {})
    except _UNREADABLE as error:
        raise PlanError(f"the value is not YAML: {error}", where=where) from None
    document.replaced(tuple(parts), where)
    if parts[-1] == "kind" and len(parts) > 1:  # decides what the section around it must have
        document.overridden[tuple(parts[:-1])] = where
