"""The base of all data read from or written to files."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def nearest(word: str, known: tuple[str, ...]) -> str:
    """Return ``did you mean 'x'? `` when `word` looks like one of `known`, else nothing."""
    near = get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}? " if near else ""


def located(key: str, message: str) -> PydanticCustomError:
    """Return an error about `key` of the mapping being validated; planfile finds its line."""
    return PydanticCustomError("located", "{message}", {"key": key, "message": message})


class Frozen(BaseModel):
    """Immutable; an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            known = tuple(field.alias or name for name, field in cls.model_fields.items())
            for key in data:
                if key not in known and key not in cls.model_fields:
                    raise located(str(key), f"unknown key {key!r}; {nearest(str(key), known)}known: {', '.join(known)}")
        return data


Name = Annotated[str, Field(pattern=r"^\w[\w.+-]*$", max_length=80)]
"""What a plan calls itself: part of a folder's name, so letters, digits and ``. + - _`` only."""
