"""What the simulated model says: prose of a wanted length, or JSON that fits a schema."""

from __future__ import annotations

import json
from typing import Any

CHARACTERS_PER_TOKEN = 4

_SENTENCES = (
    "The request was read and the main points were put in order before any work began .",
    "First the owner of each task is named with a date so that nothing waits on a meeting .",
    "The figures agree with the ledger except for two rows which need a second look .",
    "We suggest a small change now and a larger one when the numbers have settled .",
    "Risk is moderate because the data arrive late and one source has no backup .",
    "The next step is to test the plan on last month and to compare cost with gain .",
    "Quality was checked against the stated rules and three findings remain open .",
    "A short summary goes to the team today and the full report follows on Friday .",
)
_TOKENS = tuple(" ".join(_SENTENCES).split(" "))


def count_tokens(text: str) -> int:
    """Tokens in `text` by the usual rule of thumb, about four characters each; at least 1."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def prose(start: int, tokens: int) -> list[str]:
    """`tokens` pieces of text, the same for the same `start`; joined they read as sentences."""
    size = len(_TOKENS)
    pieces = [_TOKENS[(start + offset) % size] for offset in range(tokens)]
    return [piece if piece == "." or index == 0 else " " + piece for index, piece in enumerate(pieces)]


def json_text(schema: dict[str, Any] | None, filler: str) -> str:
    """A JSON document: an instance of `schema`, or a plain object when there is none."""
    value = {"summary": filler, "confidence": 0.5} if schema is None else _instance(schema, filler, schema)
    return json.dumps(value, ensure_ascii=False)


def _instance(schema: dict[str, Any], filler: str, root: dict[str, Any]) -> Any:
    for branches in ("anyOf", "oneOf", "allOf"):
        if schema.get(branches):
            schema = schema[branches][0]
    if "$ref" in schema:
        schema = _resolve(str(schema["$ref"]), root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()  # Google writes the names in capitals
    if kind == "object":
        return {name: _instance(part, filler, root) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        length = max(1, int(schema.get("minItems", 1)))
        return [_instance(schema.get("items", {"type": "string"}), filler, root) for _ in range(length)]
    return {"string": filler, "integer": 1, "number": 0.5, "boolean": True, "null": None}[kind]


def _resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)
