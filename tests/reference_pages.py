"""The pages of docs/reference, made from what they are about: models, commands, codes, schemas.

    python -m tests.reference_pages        (make reference)

`tests/test_docs.py` holds the committed pages against this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from harness import errors
from harness.cli import cli
from harness.model.event import PHASES
from harness.model.threshold import _AGGREGATORS, METRICS, OPERATORS, OUTAGE_TAGS, TAGS
from harness.recording import layout
from harness.schemas import schema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by `make reference`; change what it is made from. -->"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    head = list(head)
    return [line(head), f"|{'---|' * len(head)}", *map(line, rows), ""]


# --- from schemas ----------------------------------------------------------------------------------------------------


def _arms(arms: list[dict[str, Any]]) -> str:
    return " or ".join(dict.fromkeys(said for arm in arms if (said := _type(arm)) != "null"))


def _listed(key: dict[str, Any]) -> str:
    return f"list of {_type(key.get('items', {}))}"


def _mapping(key: dict[str, Any]) -> str:
    inner = next(iter(key.get("patternProperties", {}).values()), key.get("additionalProperties"))
    return f"name: {_type(inner)}" if isinstance(inner, dict) else "keys and values"


_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_SAYS: dict[str, Callable[[dict[str, Any]], str]] = {
    "$ref": lambda key: _link(key["$ref"]),
    "const": lambda key: f"`{key['const']}`",
    "enum": lambda key: ", ".join(f"`{value}`" for value in key["enum"]),
    "anyOf": lambda key: _arms(key["anyOf"]),
    "oneOf": lambda key: _arms(key["oneOf"]),
    "examples": lambda key: f"{key['title']}, as in `{key['examples'][0]}`",
    "items": _listed,
    "additionalProperties": _mapping,
    "properties": _mapping,
}
"""What to say of a value by the first of these words that its schema has."""


def _type(key: dict[str, Any]) -> str:
    """Say what may stand there, with a link where it has keys of its own."""
    if say := next((say for word, say in _SAYS.items() if word in key), None):
        return say(key)
    kind: str = key.get("type", "anything")
    return _WORDS.get(kind, kind)


def _link(ref: str) -> str:
    name = ref.rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _default(name: str, key: dict[str, Any], required: list[str]) -> str:
    if name in required:
        return "required"
    value = key.get("default")
    if value in (None, "", [], {}) or (isinstance(value, dict) and not any(value.values())):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _keys(model: dict[str, Any], *, defaults: bool = True) -> list[str]:
    rows = []
    for name, key in model.get("properties", {}).items():
        default = [_default(name, key, model.get("required", []))] if defaults else []
        rows.append((f"`{name}`", _type(key), *default, _single(key.get("description", ""))))
    return _table(("key", "value", *(["default"] if defaults else []), ""), rows) if rows else []


def _single(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _paragraph(model: dict[str, Any]) -> list[str]:
    """Return the first paragraph of what a model says of itself, on one line."""
    text = _single(model.get("description", "").partition("\n\n")[0])
    return [text, ""] if text else []


def _models(made: dict[str, Any], level: str = "###", *, defaults: bool = True) -> Iterator[str]:
    yield from (*_paragraph(made), *_keys(made, defaults=defaults))
    for name, model in sorted(made.get("$defs", {}).items()):
        yield from (f"{level} {name}", "", *_paragraph(model), *_keys(model, defaults=defaults))


def plan_files() -> str:
    """Return every key of target, scenario, experiment and prices."""
    lines = [
        "# Plan files", "", MADE, "",
        "YAML 1.2. A key that is not listed is an error, as is a duration, rate or size without its unit. An editor",
        "with a YAML language server completes and checks them: `agentstorm schema scenario > scenario.json`, and in",
        "the file",
        "", "    # yaml-language-server: $schema=scenario.json", "",
        "`agentstorm init` sets that up. [Loads](../loads.md) and [faults](../faults.md) tell what the kinds do.", "",
    ]  # fmt: skip
    for name, folder in (("target", "targets"), ("scenario", "scenarios"), ("prices", "prices")):
        lines += [f"## {name.capitalize()} (`{folder}/`)", "", *_models(schema(name))]
    made = schema("experiment")
    kinds = made["properties"]["faults"]["items"]["discriminator"]["mapping"]
    faults = {ref.rpartition("/")[2]: kind for kind, ref in kinds.items()}
    made["properties"]["faults"] = {"description": "As below.", "type": "array", "items": {"type": "object"}}
    others = {name: model for name, model in made["$defs"].items() if name not in faults}
    lines += ["## Experiment (`chaos/`)", "", *_models({**made, "$defs": others})]
    common = ("name", "at", "after", "when", "for", "repeat", "every")
    shared = made["$defs"]["Blackhole"]["properties"]
    lines += ["### Faults", "", "All have a `kind`, an `upstream` (or a `service`), and:", ""]
    lines += _keys({"properties": {key: shared[key] for key in common}, "required": ["for"]})
    lines += ["Of its own each has:", ""]
    rows = []
    for name, kind in faults.items():
        model = made["$defs"][name]
        own = [key for key in model["properties"] if key not in (*common, "kind", "upstream", "service")]
        said = [
            f"`{key}`: {_type(model['properties'][key])}"
            + (f" ({told})" if (told := _default(key, model["properties"][key], model.get("required", []))) else "")
            for key in own
        ]
        rows.append((f"`{kind}`", "service" if "service" in model["properties"] else "upstream", "; ".join(said)))
    return "\n".join([*lines, *_table(("kind", "on", "settings"), sorted(rows))])


def findings() -> str:
    """Return every key of findings.json."""
    lines = [
        "# findings.json", "", MADE, "",
        "Times are in milliseconds unless the key ends in `_s`. `null` means not measured; `unsupported`, that the",
        "system does not show it. `agentstorm schema findings` prints its JSON Schema.", "",
        *_models(schema("findings"), "##", defaults=False),
    ]  # fmt: skip
    return "\n".join(lines)


# --- from code -------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Return what thresholds can name."""
    rows = [
        (f"`{name}`", metric.about, metric.unit, ", ".join(f"`{a}`" for a in _AGGREGATORS[metric.kind]) or "-",
         "yes" if metric.live else "no")
        for name, metric in METRICS.items()
    ]  # fmt: skip
    lines = [
        "# Metrics and thresholds", "", MADE, "",
        "    METRIC{TAG:VALUE,...}: [AGGREGATOR OPERATOR LIMIT, ...]", "",
        '    response_time: ["p(95)<3s", "p(99)<6s"]',
        '    response_time{phase:fault}: ["p(95)<1.5x vs baseline"]',
        '    failover_claim: ["0.90 at 0.95 under 5s"]', "",
        "A threshold passes when the whole 95 % interval of what was observed lies on its good side, fails when it",
        "lies wholly on the bad side, and is inconclusive otherwise, and without data.", "",
        *_table(("metric", "what", "unit", "aggregators", "while running"), rows),
        "*While running*: may stand in `abort`, `steady_state` and `when`, with a window (`rate>0.5 over 30s`).", "",
        f"Operators: {', '.join(f'`{o}`' for o in OPERATORS)}. A share is written 0.05 or 5%.", "",
        f"Tags: {', '.join(f'`{t}`' for t in TAGS)}; of outages {', '.join(f'`{t}`' for t in OUTAGE_TAGS)}.", "",
        f"Phases: {', '.join(f'`{phase}`' for phase in PHASES)}.", "",
    ]  # fmt: skip
    return "\n".join(lines)


_CODES = {
    errors.ExitCode.PASS: "every threshold holds, for certain",
    errors.ExitCode.ERROR: "anything else; the message says what",
    errors.ExitCode.USAGE: "the command was called wrongly",
    errors.ExitCode.HEALING_FAILED: "something of ours is still broken: outranks every other code; `agentstorm heal`",
    errors.ExitCode.INCONCLUSIVE: "the data cannot say",
    errors.ExitCode.INVALID: "the run cannot be believed: the instrument was at its limit, or a fault did not bite",
    errors.ExitCode.FAIL: "a threshold does not hold, for certain; of a gate: the build is worse, or died",
    errors.ExitCode.BAD_PLAN: "a plan file or an option is wrong; nothing was started",
    errors.ExitCode.INTERRUPTED: "Ctrl-C or SIGTERM; everything was healed",
    errors.ExitCode.ABORTED: "an abort condition stopped the load; everything was healed",
}


def exit_codes() -> str:
    """Return the exit codes and the errors that end in them."""
    raised: dict[int, list[str]] = {}
    for name, cls in inspect.getmembers(errors, inspect.isclass):
        if issubclass(cls, errors.AgentstormError) and cls is not errors.AgentstormError:
            raised.setdefault(int(cls.exit_code), []).append(f"`{name}`")
    rows = [
        (str(int(c)), c.name.lower().replace("_", " "), _CODES[c], ", ".join(raised.get(c, [])))
        for c in errors.ExitCode
    ]
    lines = [
        "# Exit codes", "", MADE, "",
        *_table(("code", "name", "when", "errors"), rows),
        "98, 99, 104, 105 and 108 mean what they mean in k6, where it has them. A gate ends with the code of a run",
        "that did not go to its end. `make` itself exits 2 whenever its command did not exit 0.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def recording() -> str:
    """Return what lies where in a recording, and the columns of its tables."""
    lines = ["# A recording", "", MADE, "", *inspect.cleandoc(layout.__doc__ or "").replace("``", "`").splitlines(), ""]
    source = inspect.getsource(layout)
    for name, columns in layout.TABLES.items():
        lines += [
            f"## {name}",
            "",
            *_table(("column", "type"), ((f"`{c.name}`", _arrow(str(c.type))) for c in columns)),
        ]
        constant = next(k for k, v in vars(layout).items() if k.endswith("_SCHEMA") and v is columns)
        after = source.split(f"{constant} = pa.schema(", 1)[1].split('"""')
        lines += [_single(after[1]), ""]
    return "\n".join(lines)


def _arrow(kind: str) -> str:
    return "text" if "string" in kind else kind


def _commands(group: click.Group, path: str = "agentstorm") -> Iterator[tuple[str, click.Command]]:
    for name, command in sorted(group.commands.items()):
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


def _option(parameter: click.Parameter) -> tuple[str, str, str]:
    """Return a row; not click's own rendering, which is another with every version of it."""
    if isinstance(parameter, click.Option):
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        value = parameter.metavar or ("" if parameter.is_flag else _value(parameter))
        default = str(parameter.default) if parameter.show_default else ""
        return names + (f" {value}" if value else ""), f"`{default}`" if default else "", parameter.help or ""
    named = parameter.metavar or (parameter.name or "").upper()
    many = "..." if parameter.nargs == -1 and not named.endswith("...") else ""
    needed = "" if parameter.required else "may be left out"
    return f"{named}{many}", "", needed


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return {"integer range": "NUMBER", "float": "NUMBER"}.get(option.type.name, option.type.name.upper())


def _help(command: click.Command) -> Iterator[str]:
    """Yield what a command says of itself; a paragraph that click is not to wrap is a block."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield from ("```text", *paragraph.splitlines()[1:], "```", "")
        else:
            yield from (_single(paragraph), "")


def command_line() -> str:
    """Return every command, what it does, and its options."""
    lines = ["# The command line", "", MADE, "", "`agentstorm COMMAND --help` says the same.", ""]
    for path, command in _commands(cli):
        lines += [f"## {path}", "", *_help(command)]
        if command.params:
            lines += _table(("", "default", ""), map(_option, command.params))
    return "\n".join(lines)


PAGES = {
    "plan-files.md": plan_files,
    "command-line.md": command_line,
    "metrics.md": metrics,
    "exit-codes.md": exit_codes,
    "recording.md": recording,
    "findings.md": findings,
}


def main() -> None:
    """Write all pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make().rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
