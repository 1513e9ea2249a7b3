"""The settings of the gateway and of the simulators."""

from __future__ import annotations

import pytest

from reference.gateway.settings import Settings, from_env
from reference.provider import settings as provider

URLS = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "http://b", "OPENAI_BASE_URL": "http://o/v1"}


def test_the_default_profile_keeps_its_promise_on_paper() -> None:
    settings = from_env(URLS)
    assert (settings.mode, settings.call_timeout_s, settings.retries, settings.sdk_retries) == ("hybrid", 2.0, 0, 0)
    assert (settings.bedrock_url, settings.openai_url) == ("http://b", "http://o/v1")
    assert 2 * settings.call_timeout_s <= settings.request_budget_s < 5.0


def test_google_is_asked_only_when_it_has_a_url() -> None:
    assert from_env(URLS).google_url == ""
    assert from_env({**URLS, "GOOGLE_GEMINI_BASE_URL": "http://g"}).google_url == "http://g"


def test_the_happyos_profile_has_the_audited_figures_and_can_be_overridden() -> None:
    settings = from_env({**URLS, "AGENTS_PROFILE": "happyos", "AGENTS_RETRIES": "1"})
    assert (settings.call_timeout_s, settings.breaker_open_s, settings.breaker_half_open_calls) == (30.0, 60.0, 2)
    assert (settings.retries, settings.sdk_retries) == (1, -1)


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"AGENTS_PROFILE": "fast"}, "AGENTS_PROFILE"),
        ({"AGENTS_MODE": "remote"}, "AGENTS_MODE"),
        ({"AGENTS_CALL_TIMEOUT_S": "soon"}, "AGENTS_CALL_TIMEOUT_S"),
        ({"AGENTS_CALL_TIMEOUT_S": "0"}, "AGENTS_CALL_TIMEOUT_S"),
        ({"AGENTS_CALL_TIMEOUT_S": "nan"}, "AGENTS_CALL_TIMEOUT_S"),
        ({"AGENTS_BREAKER_JITTER": "1"}, "AGENTS_BREAKER_JITTER"),
        ({"AGENTS_BREAKER_OPEN_S": "9"}, "AGENTS_BREAKER_OPEN_CAP_S"),
        ({"AGENTS_LOG_LEVEL": "loud"}, "AGENTS_LOG_LEVEL"),
        ({"AGENTS_BREAKER_FAILURE": "3"}, "did you mean AGENTS_BREAKER_FAILURES"),
        ({"OPENAI_BASE_URL": ""}, "OPENAI_BASE_URL"),
        ({"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": ""}, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME"),
    ],
)
def test_a_bad_setting_is_refused_by_name(env: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        from_env({**URLS, **env})


def test_local_only_needs_no_provider() -> None:
    assert from_env({"AGENTS_MODE": "local_only"}) == Settings(mode="local_only")


def test_a_simulator_has_the_latency_of_the_provider_it_plays() -> None:
    assert provider.from_env({}).latency_median_s == 0.30
    assert provider.from_env({"PROVIDER_NAME": "openai"}).latency_median_s == 0.38
    assert provider.from_env({"PROVIDER_NAME": "google"}).latency_median_s == 0.34
    assert provider.from_env({"PROVIDER_LATENCY_MEDIAN_S": "0.01"}).latency_median_s == 0.01


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PROVIDER_TOKENS_PER_SECOND", "0"),
        ("PROVIDER_LATENCY_SIGMA", "-1"),
        ("PROVIDER_LEDGER_ROWS", "0"),
        ("PROVIDER_PORT", "http"),
    ],
)
def test_a_bad_simulator_setting_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(ValueError, match=variable):
        provider.from_env({variable: value})


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_SEED", "5")
    monkeypatch.setenv("PROVIDER_PORT", "1")
    settings = provider.from_command_line(["--name", "openai", "--port", "2"])
    assert (settings.name, settings.port, settings.seed, settings.latency_median_s) == ("openai", 2, 5, 0.38)
