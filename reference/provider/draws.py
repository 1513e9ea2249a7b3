"""Every random figure of a call, as a function of (seed, call number) and of nothing else."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reference.provider.settings import ProviderSettings


@dataclass(frozen=True, slots=True)
class Draw:
    """The luck of one call. Seconds and tokens; `share` is uniform in [0, 1)."""

    latency_s: float
    first_token_s: float
    tokens: int
    text_start: int
    share: float


class Draws:
    """Draws by call number, so that the order in which calls finish changes nothing."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings

    def call(self, number: int) -> Draw:
        """The draw of the `number`-th generation call since the start (the first is 1)."""
        settings = self._settings
        # Seeds above 64 bits are fine for `random`; shifting keeps (seed, number) pairs apart.
        rng = random.Random((settings.seed << 64) | number)  # noqa: S311 - simulation, not a secret
        return Draw(
            latency_s=_log_normal(rng, settings.latency_median_s, settings.latency_sigma),
            first_token_s=_log_normal(rng, settings.first_token_median_s, settings.first_token_sigma),
            tokens=max(1, round(_log_normal(rng, settings.tokens_median, settings.tokens_sigma))),
            text_start=rng.randrange(1 << 16),
            share=rng.random(),
        )


def _log_normal(rng: random.Random, median: float, sigma: float) -> float:
    return median * math.exp(sigma * rng.gauss(0.0, 1.0))
