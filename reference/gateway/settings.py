"""What the agent system can be told, all of it by environment: `AGENTS_<FIELD>`, and a profile to start from."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "AGENTS_"
MODES = ("hybrid", "aws_only", "local_only")


@dataclass(frozen=True)
class Settings:
    """Times in seconds. The defaults are the profile `default`, made to answer within 5 s in any outage.

    `sdk_retries` below 0 leaves retrying to the SDKs' own defaults (`AWS_MAX_ATTEMPTS`, OpenAI's 2,
    Google's 1 after a broken connection).
    `request_budget_s` bounds the time one user request may spend on providers, over all attempts and
    all steps of a workflow; 0 is no bound. Google is asked, after OpenAI, only when it has a URL.
    """

    mode: str = "hybrid"
    call_timeout_s: float = 2.0
    first_token_timeout_s: float = 2.0
    token_gap_timeout_s: float = 2.0
    request_budget_s: float = 4.5
    retries: int = 0
    retry_delay_s: float = 1.0
    sdk_retries: int = 0
    breaker_failures: int = 3
    breaker_open_s: float = 2.0
    breaker_open_cap_s: float = 5.0
    breaker_jitter: float = 0.10
    breaker_half_open_calls: int = 1
    cache_ttl_s: float = 3600.0
    cache_entries: int = 50_000
    cache_timeout_s: float = 0.1
    cache_breaker_failures: int = 2
    cache_breaker_open_s: float = 2.0
    connections: int = 1000
    seed: int = 1
    log_level: str = "info"
    redis_url: str = ""
    bedrock_url: str = ""
    openai_url: str = ""
    google_url: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"{_PREFIX}MODE={self.mode!r} must be one of {', '.join(MODES)}")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"{_PREFIX}LOG_LEVEL={self.log_level!r} must be debug, info, warning or error")
        may_be_zero = {"request_budget_s", "retries", "retry_delay_s", "breaker_jitter", "seed"}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) or field.name == "sdk_retries":
                continue
            if not math.isfinite(value) or value < 0 or (value == 0 and field.name not in may_be_zero):
                raise ValueError(f"{_PREFIX}{field.name.upper()}={value} is out of range")
        if self.breaker_jitter >= 1:
            raise ValueError(f"{_PREFIX}BREAKER_JITTER={self.breaker_jitter} must be below 1")
        if self.breaker_open_cap_s < self.breaker_open_s:
            raise ValueError(f"{_PREFIX}BREAKER_OPEN_CAP_S must not be below {_PREFIX}BREAKER_OPEN_S")


# The figures HappyOS runs with. They do not keep a 5 s SLA: a hang costs 30 s, and again for each retry.
_HAPPYOS: dict[str, Any] = {
    "call_timeout_s": 30.0,
    "first_token_timeout_s": 30.0,
    "token_gap_timeout_s": 30.0,
    "request_budget_s": 0.0,
    "retries": 3,
    "retry_delay_s": 1.0,
    "sdk_retries": -1,
    "breaker_failures": 3,
    "breaker_open_s": 60.0,
    "breaker_open_cap_s": 300.0,
    "breaker_half_open_calls": 2,
}
PROFILES: dict[str, dict[str, Any]] = {"default": {}, "happyos": _HAPPYOS}

# Variables that have a name of their own in the world, by the field they set.
_FOREIGN = {
    "redis_url": "REDIS_URL",
    "bedrock_url": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "openai_url": "OPENAI_BASE_URL",
    "google_url": "GOOGLE_GEMINI_BASE_URL",
}


def from_env(env: Mapping[str, str]) -> Settings:
    """Settings from the environment. Raises ValueError naming the variable at fault.

    Outside `local_only` the URLs of Bedrock and OpenAI must be given: this system is for tests and must
    never reach a paid provider by accident. Google is optional.
    """
    profile = env.get(f"{_PREFIX}PROFILE", "default")
    if profile not in PROFILES:
        raise ValueError(f"{_PREFIX}PROFILE={profile!r} must be one of {', '.join(PROFILES)}")
    given = dict(PROFILES[profile])
    types = {"str": str, "int": int, "float": float}
    variables = {_FOREIGN.get(field.name, _PREFIX + field.name.upper()): field for field in fields(Settings)}
    _refuse_unknown(env, set(variables) | {f"{_PREFIX}PROFILE"})
    for variable, field in variables.items():
        if (text := env.get(variable, "")) != "":
            try:
                given[field.name] = types[str(field.type)](text)
            except ValueError:
                raise ValueError(f"{variable}={text!r} is not a valid {field.type}") from None
    settings = Settings(**given)
    if settings.mode != "local_only":
        for name in ("bedrock_url", "openai_url"):
            if not getattr(settings, name):
                raise ValueError(f"{_FOREIGN[name]} is not set: say where this provider's simulator is")
    return settings


def _refuse_unknown(env: Mapping[str, str], known: set[str]) -> None:
    for variable in env:
        if variable.startswith(_PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{variable} is not a setting{hint}")
