"""Which Toxiproxy server is taken, and what is said when there is none. Programs here are small scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MissingComponent
from harness.faults import toxiproxy_server
from harness.faults.toxiproxy_server import ensure, locate


def program(path: Path, text: str = "echo toxiproxy-server version 2.9.0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server anywhere: an empty PATH (but for the shell), an empty cache."""
    monkeypatch.delenv("AGENTSTORM_TOXIPROXY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(toxiproxy_server, "tools_dir", lambda: tmp_path / "cache" / "tools")


def test_the_environment_comes_before_path_and_path_before_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert locate() is None

    cached = program(tmp_path / "cache" / "tools" / "toxiproxy-server-2.12.0", "echo toxiproxy-server version 2.12.0")
    found = locate()
    assert found is not None
    assert (found.path, found.how, found.version) == (cached, "cache", "2.12.0")

    on_path = program(tmp_path / "bin" / "toxiproxy-server")
    found = locate()
    assert found is not None
    assert (found.path, found.how, found.version) == (on_path, "PATH", "2.9.0")

    named = program(tmp_path / "mine", "echo toxiproxy-server version git")
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", str(named))
    found = locate()
    assert found is not None
    assert (found.path, found.how) == (named, "$AGENTSTORM_TOXIPROXY")
    assert "without a version" in found.version


def test_a_named_program_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", "/nowhere/toxiproxy")
    with pytest.raises(MissingComponent, match="/nowhere/toxiproxy: no such program"):
        locate()


@pytest.mark.parametrize("text", ["echo something else", "echo toxiproxy-server version 1.2.1", "exit 3"])
def test_a_program_that_is_no_toxiproxy_2_is_an_error(tmp_path: Path, text: str) -> None:
    program(tmp_path / "bin" / "toxiproxy-server", text)
    with pytest.raises(MissingComponent, match="Shopify/toxiproxy/releases"):
        locate()


def test_without_go_and_without_an_index_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(MissingComponent) as caught:
        ensure()
    for words in ("no Go", "https://go.dev/dl", "agentstorm tools install toxiproxy", "AGENTSTORM_TOXIPROXY"):
        assert words in str(caught.value)


GO = """
[ "$1 $2" = "install -ldflags" ] && [ "$4" = github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 ] || exit 9
[ "$GOFLAGS" = -mod=mod ] || exit 8
{ echo '#!/bin/sh'; echo 'echo toxiproxy-server version 2.12.0'; } > "$GOBIN/server"
echo built >> "$BUILDS"
/bin/chmod +x "$GOBIN/server"
"""


def test_it_is_built_once_and_nothing_else_stays_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    program(tmp_path / "bin" / "go", GO)

    first, second = ensure(), ensure()

    assert first.how == "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
    assert (second.path, second.how, second.version) == (first.path, "cache", "2.12.0")
    assert (tmp_path / "builds").read_text() == "built\n"
    assert {p.name for p in first.path.parent.iterdir()} == {".lock", "toxiproxy-server-2.12.0"}


def test_a_failed_build_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", "echo no network >&2; exit 1")
    with pytest.raises(MissingComponent, match="no network"):
        ensure()
    assert {p.name for p in (tmp_path / "cache" / "tools").iterdir()} == {".lock"}
