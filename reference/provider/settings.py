"""What a simulator can be told, by environment (`PROVIDER_*`) and by command line."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# No two providers are equally fast, so that a failover is visible in the latency too.
_MEDIAN_BY_NAME = {"bedrock": 0.30, "google": 0.34, "openai": 0.38}
_PREFIX = "PROVIDER_"


@dataclass(frozen=True)
class ProviderSettings:
    """Times in seconds, lengths in tokens; `sigma` is the log-normal's shape (0 = constant)."""

    name: str = "bedrock"
    host: str = "127.0.0.1"
    port: int = 9101
    seed: int = 1
    latency_median_s: float = 0.0  # 0 = the default of this provider name
    latency_sigma: float = 0.30
    first_token_median_s: float = 0.12
    first_token_sigma: float = 0.30
    tokens_per_second: float = 240.0
    tokens_median: float = 120.0
    tokens_sigma: float = 0.40
    tokens_per_chunk: int = 12
    ledger_rows: int = 20_000

    def __post_init__(self) -> None:
        if self.latency_median_s == 0.0:
            object.__setattr__(self, "latency_median_s", _MEDIAN_BY_NAME.get(self.name, 0.30))
        for field in ("latency_median_s", "first_token_median_s", "tokens_per_second", "tokens_median"):
            value = getattr(self, field)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{_PREFIX}{field.upper()} must be a positive number, not {value}")
        for field in ("latency_sigma", "first_token_sigma", "tokens_sigma"):
            value = getattr(self, field)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{_PREFIX}{field.upper()} must be zero or more, not {value}")
        for field in ("tokens_per_chunk", "ledger_rows"):
            if getattr(self, field) < 1:
                raise ValueError(f"{_PREFIX}{field.upper()} must be at least 1, not {getattr(self, field)}")


def from_env(env: Mapping[str, str]) -> ProviderSettings:
    """Settings from `PROVIDER_<FIELD>` variables. Raises ValueError naming the variable at fault."""
    types = {"str": str, "int": int, "float": float}
    given: dict[str, str | int | float] = {}
    for field in fields(ProviderSettings):
        variable = _PREFIX + field.name.upper()
        if (text := env.get(variable, "")) != "":
            try:
                given[field.name] = types[str(field.type)](text)
            except ValueError:
                raise ValueError(f"{variable}={text!r} is not a valid {field.type}") from None
    return ProviderSettings(**given)  # type: ignore[arg-type]


def from_command_line(arguments: Sequence[str] | None = None) -> ProviderSettings:
    """Environment first, then the command line, which wins."""
    parser = argparse.ArgumentParser(prog="python -m reference.provider", description=__doc__)
    parser.add_argument("--name", help="the upstream's name in its ledger: bedrock, openai or google")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--seed", type=int)
    given = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        settings = from_env(os.environ)
        if "name" in given and f"{_PREFIX}LATENCY_MEDIAN_S" not in os.environ:
            given["latency_median_s"] = 0.0
        return replace(settings, **given)
    except ValueError as error:
        parser.error(str(error))
