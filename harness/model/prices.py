"""What models cost: a file of prices, named by a target."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pydantic import Field

from harness.model.base import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


class Price(Frozen):
    """What one model costs, in `Prices.currency` for `Prices.tokens` tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    ids: tuple[str, ...] = ()
    """Other names it is called by on the wire; ``*`` and ``?`` stand for any characters."""


class Prices(Frozen):
    """A table of prices."""

    currency: str = "USD"
    tokens: int = Field(default=1000, gt=0)
    """How many tokens the prices are for."""
    models: dict[str, Price] = Field(min_length=1)

    def of(self, model: str) -> tuple[float, float] | None:
        """Return what one token in and one token out of a model cost; None for a model without a price.

        Its own name counts before a pattern, and an earlier pattern before a later one.
        """
        found = self.models.get(model) or next(
            (price for price in self.models.values() if any(fnmatchcase(model, name) for name in price.ids)), None
        )
        return None if found is None else (found.input / self.tokens, found.output / self.tokens)

    def per_token(self, models: Sequence[str]) -> list[tuple[float, float]]:
        """Return `of` for several models; nothing for those without a price."""
        return [self.of(model) or (0.0, 0.0) for model in models]
