"""Colours: named once, the same in every figure, in light and in dark.

Figures are drawn in sentinel colours, which the finished SVG replaces by CSS variables; the page (or, in a file of
its own, the SVG) says what they are. Two accents, `good` and `bad`; providers have a set of their own that people
with any colour vision can tell apart (after Okabe & Ito 2008).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

COLOURS: dict[str, tuple[str, str]] = {
    # variable: light, dark
    "paper": ("#ffffff", "#14171a"),
    "ink": ("#1b1f23", "#e8eaed"),
    "soft": ("#5c6670", "#9aa5b1"),
    "line": ("#dfe3e8", "#2f353c"),
    "on": ("#ffffff", "#0f1214"),
    "good": ("#0b7a75", "#3fb8ae"),
    "bad": ("#c2410c", "#ff8a5c"),
    "band": ("#fbe9e0", "#3a241a"),
    "p0": ("#2f6fb3", "#5b9be0"),
    "p1": ("#d0860f", "#e8b84a"),
    "p2": ("#b8609a", "#d48abb"),
    "p3": ("#62a8d8", "#8cc8f0"),
    "cache": ("#8a9d80", "#8fa384"),
    "local": ("#8a929b", "#6d7681"),
}
SENTINELS = {name: f"#0{number:x}0b0c" for number, name in enumerate(COLOURS)}
"""What a figure is drawn in: one impossible colour a variable."""

INK, SOFT, LINE, BAD, GOOD = (SENTINELS[n] for n in ("ink", "soft", "line", "bad", "good"))
BAND, PAPER, ON = (SENTINELS[n] for n in ("band", "paper", "on"))


def css_variables() -> str:
    """Return the rules that define every variable, for both colour schemes."""
    light, dark = (";".join(f"--{name}:{pair[i]}" for name, pair in COLOURS.items()) for i in (0, 1))
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"


def provider_variables(upstreams: Iterable[str], seen: Iterable[str]) -> dict[str, str]:
    """Give each provider its colour variable: upstreams in the plan's order, then others by name.

    `cache` and `local` have colours of their own; a fifth provider and those after it share the grey of `local`.
    """
    names = dict.fromkeys([*upstreams, *sorted(seen)])
    numbered = [n for n in names if n not in ("cache", "local")]
    return {n: f"p{numbered.index(n)}" if n in numbered[:4] else n if n == "cache" else "local" for n in names}
