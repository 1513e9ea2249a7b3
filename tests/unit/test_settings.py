"""What makes two runs those of differently set systems, and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from harness.model.plan import Plan
from harness.settings import apart, kept, settings
from tests.recordings import plan


def processes(command: tuple[str, ...] = ("serve",), *, seed: int = 1, port: int = 9000, **env: str) -> Plan:
    service = {"command": command, "env": env, "port": port}
    return plan(seed=seed, target={"system": {"kind": "processes", "services": {"agents": service}}})


def compose(*, replicas: int = 1, file: str = "compose.yaml", **env: str) -> Plan:
    system = {"kind": "compose", "file": file, "publish": {"lb": 80}, "replicated": "agents", "env": env}
    return plan(target={"system": system}).model_copy(update={"replicas": replicas})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (processes(), processes(AGENTS_PROFILE="happyos")),
        (processes(AGENTS_PROFILE="default"), processes(AGENTS_PROFILE="happyos")),
        (processes(), processes().model_copy(update={"environment": {"AGENTS_PROFILE": "happyos"}})),
        (processes(("serve", "--workers", "2")), processes(("serve", "--workers", "4"))),
        (processes(("serve", "--workers=2")), processes(("serve", "--workers=4"))),
        (processes(), processes(("serve", "--no-cache"))),
        (processes(MAX_TOKENS="100"), processes(MAX_TOKENS="200")),
        (compose(), compose(AGENTS_PROFILE="happyos")),
        (compose(), compose(replicas=3)),
        (compose(), compose(file="compose.large.yaml")),
    ],
)
def test_another_setting_is_another_series(one: Plan, other: Plan) -> None:
    assert settings(one) != settings(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (processes(), processes(seed=2, port=9001)),
        (processes(("/opt/v1/serve", "app-1.jar")), processes(("/opt/v2/serve", "app-2.jar"))),
        (processes(("serve", "--port", "1", "--log=/a/x")), processes(("serve", "--port", "2", "--log=/b/x"))),
        (processes(APP_VERSION="1", GIT_COMMIT="a"), processes(APP_VERSION="2", GIT_COMMIT="b")),
        (processes(DATA_DIR="data1", CACHE="/home/a"), processes(DATA_DIR="data2", CACHE="/home/b")),
        (processes(DB="http://127.0.0.1:41000/x"), processes(DB="http://127.0.0.1:42000/x")),
        (processes(API_KEY="a", DB="pg://me:old@db/x"), processes(API_KEY="b", DB="pg://me:new@db/x")),
        (compose(AGENTS_TAG="1.0", AGENTS_IMAGE="a"), compose(AGENTS_TAG="1.1", AGENTS_IMAGE="b")),
        (compose(file="/home/a/compose.yaml"), compose(file="/home/b/compose.yaml")),
        (plan(seed=1), plan(seed=2, thresholds={"response_time": ["p(95)<1s"]})),
    ],
)
def test_versions_places_secrets_and_seeds_are_no_settings(one: Plan, other: Plan) -> None:
    assert settings(one) == settings(other)


def test_settings_are_called_as_whoever_changed_them_knows_them() -> None:
    told = settings(processes(("serve", "--name", "a", "--quiet", "--workers=2", "-v"), AGENTS_PROFILE="happyos"))
    assert told == {
        "agents.--name": "a", "agents.--quiet": "", "agents.--workers": "2", "agents.AGENTS_PROFILE": "happyos"
    }  # fmt: skip
    assert settings(compose(X="1")) == {"file": "compose.yaml", "X": "1", "replicas": "1"}
    assert settings(plan()) == {}


def test_the_environment_of_a_compose_file_comes_before_its_target() -> None:
    given = compose(AGENTS_PROFILE="default").model_copy(update={"environment": {"AGENTS_PROFILE": "happyos"}})
    assert settings(given) == settings(compose(AGENTS_PROFILE="happyos"))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AGENTS_PROFILE", "happyos", "happyos"),
        ("MAX_TOKENS", "100", "100"),
        ("CACHE_KEY_PREFIX", "a", "a"),
        ("MODEL_ID", "anthropic.claude-v1:0", "anthropic.claude-v1:0"),
        ("REDIS_URL", "redis://:word@redis:6379/0", "redis://redis:6379/0"),
        ("URL", "http://localhost:8000/v1", "http://localhost/v1"),
        *[
            (name, "x", None)
            for name in ("OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "DB_PASSWORD", "SESSION_TOKEN", "SECRETS")
        ],
        *[
            (name, "x", None)
            for name in ("IMAGE_TAG", "VERSION", "GIT_SHA", "METRICS_PORT", "DATA_PATH", "GITHUB_RUN_ID")
        ],
        *[("DATA", path, None) for path in ("/srv/data", "./data", "~/data", "C:\\data", "file:///srv/data")],
    ],
)
def test_what_is_kept_of_a_variable(name: str, value: str, told: str | None) -> None:
    assert kept(name, value) == told


Told = dict[str, str] | None


@pytest.mark.parametrize(
    ("one", "others", "said"),
    [
        ({"A": "1"}, [{"A": "1"}], ()),
        ({"A": "1", "B": "x"}, [{"A": "2", "B": "x"}], ("A=1",)),
        ({"B": "x"}, [{"A": "2", "B": "x"}, {"B": "x"}], ("A unset",)),
        ({"A": "1"}, [None], ()),
        (None, [{"A": "1"}], ("settings not known",)),
        ({"A": "y" * 60}, [{}], (f"A={'y' * 37}...",)),
        (dict.fromkeys("ABCDEF", "1"), [{}], ("A=1", "B=1", "C=1", "D=1", "2 more")),
    ],
)
def test_series_are_told_apart_by_what_differs(one: Told, others: list[Any], said: tuple[str, ...]) -> None:
    assert apart(one, [one, *others]) == said
