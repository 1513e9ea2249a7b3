"""Filling the templates of `page/`: every page is one self-contained file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.report import palette
from harness.report.contents import contents, first_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE = Path(__file__).parent / "page"


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a page. Everything that comes from `context` is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # Our own style and script: the only text on a page that is not escaped, apart from finished figures.
    style = Markup(palette.css_variables() + (_PAGE / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    script = Markup((_PAGE / "page.js").read_text(encoding="utf-8"))  # noqa: S704
    tools = {"style": style, "script": script, "contents": contents, "first_of": first_of}
    return environment.get_template(template).render(tools | dict(context)) + "\n"
