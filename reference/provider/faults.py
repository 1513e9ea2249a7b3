"""The fault switch: how this provider misbehaves, and for what share of its calls."""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Mode = Literal["ok", "rate_limited", "error_500", "unavailable", "overloaded", "garbage", "cut_stream"]

# The HTTP status with which a call is turned away; the other modes answer 200 and break the answer.
REJECTIONS: dict[str, int] = {"rate_limited": 429, "error_500": 500, "unavailable": 503, "overloaded": 529}


class Control(BaseModel):
    """The position of the switch. `share` is the part of the calls that is hit, 0 to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "ok"
    share: float = Field(default=1.0, ge=0.0, le=1.0)
    retry_after_s: float = Field(default=1.0, ge=0.0, le=3600.0)

    def mode_for(self, share: float) -> Mode:
        """The mode that meets a call whose uniform draw is `share`."""
        return self.mode if share < self.share else "ok"


class ControlError(ValueError):
    """The switch was asked for something it does not have; the message says what and what it has."""


def parse(body: bytes) -> Control:
    """A `Control` from a JSON body. Raises ControlError."""
    try:
        given = json.loads(body)
    except ValueError as error:
        raise ControlError(f"the body is not JSON: {error}") from None
    try:
        return Control.model_validate(given)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']} (got {problem['input']!r})"
            for problem in error.errors()
        ]
        allowed = f"allowed keys: {', '.join(Control.model_fields)}"
        raise ControlError("; ".join([*problems, allowed])) from None
