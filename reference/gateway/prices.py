"""Models, the name each provider has for them, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass

# USD per 1000 tokens: (input, output).
PRICES: dict[str, tuple[float, float]] = {
    "gpt-4": (0.03, 0.06),
    "gpt-4-turbo": (0.01, 0.03),
    "gpt-3.5-turbo": (0.0005, 0.0015),
    "claude-3-sonnet": (0.003, 0.015),
    "claude-3-5-sonnet": (0.003, 0.015),
    "claude-3-haiku": (0.00025, 0.00125),
    "claude-3-opus": (0.015, 0.075),
    "gemini-1.5-flash": (0.00035, 0.00105),
    "gemini-1.5-pro": (0.0035, 0.0105),
}


@dataclass(frozen=True, slots=True)
class ProviderModel:
    """A model as one provider sells it: the id on the wire, and the name it is priced by."""

    wire_id: str
    name: str


_SONNET_35 = ProviderModel("anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-5-sonnet")
_SONNET = ProviderModel("anthropic.claude-3-sonnet-20240229-v1:0", "claude-3-sonnet")
_HAIKU = ProviderModel("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku")
_OPUS = ProviderModel("anthropic.claude-3-opus-20240229-v1:0", "claude-3-opus")
_GPT_4 = ProviderModel("gpt-4", "gpt-4")
_GPT_4_TURBO = ProviderModel("gpt-4-turbo", "gpt-4-turbo")
_GPT_35 = ProviderModel("gpt-3.5-turbo", "gpt-3.5-turbo")
_GEMINI_PRO = ProviderModel("gemini-1.5-pro", "gemini-1.5-pro")
_GEMINI_FLASH = ProviderModel("gemini-1.5-flash", "gemini-1.5-flash")

# The model an agent asks for -> what each provider answers it with.
MODELS: dict[str, dict[str, ProviderModel]] = {
    "claude-3-5-sonnet": {"bedrock": _SONNET_35, "openai": _GPT_4_TURBO, "google": _GEMINI_PRO},
    "claude-3-sonnet": {"bedrock": _SONNET, "openai": _GPT_4_TURBO, "google": _GEMINI_PRO},
    "claude-3-haiku": {"bedrock": _HAIKU, "openai": _GPT_35, "google": _GEMINI_FLASH},
    "claude-3-opus": {"bedrock": _OPUS, "openai": _GPT_4, "google": _GEMINI_PRO},
    "gpt-4": {"bedrock": _OPUS, "openai": _GPT_4, "google": _GEMINI_PRO},
    "gemini-1.5-flash": {"bedrock": _HAIKU, "openai": _GPT_35, "google": _GEMINI_FLASH},
}


def cost_usd(model: str, tokens_in: int, tokens_out: int) -> float:
    """What a call to `model` (a name in `PRICES`) costs. Raises KeyError for a model without a price."""
    price_in, price_out = PRICES[model]
    return (tokens_in * price_in + tokens_out * price_out) / 1000
