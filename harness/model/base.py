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


def _example(model: type[BaseModel]) -> str:
    """Return how a mapping that is such a model looks: with the keys it must have, or else with those it may have."""
    keys = {field.alias or name: field.is_required() for name, field in model.model_fields.items()}
    needed = [f"{key}: ..." for key, required in keys.items() if required]
    return f"as in {{{', '.join(needed)}}}" if needed else f"with any of {', '.join(keys)}"


class Frozen(BaseModel):
    """Immutable; an unknown key is an error, never ignored, and what has no keys says which it should have had."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, (dict, cls)):
            text = "keys and values were expected, {example}"
            raise PydanticCustomError("no_mapping", text, {"example": _example(cls)})
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            known = tuple(field.alias or name for name, field in cls.model_fields.items())
            for key in data:
                if key not in known and key not in cls.model_fields:
                    raise located(str(key), f"unknown key {key!r}; {nearest(str(key), known)}known: {', '.join(known)}")
        return data


Name = Annotated[str, Field(pattern=r"^\w[\w.+-]*$", max_length=80)]
"""What a plan calls itself: part of a folder's name, so letters, digits and ``. + - _`` only."""
