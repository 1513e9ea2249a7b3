"""Which external program is taken, and what is said when there is none. Programs here are small scripts."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from harness import programs
from harness.errors import MissingComponent
from harness.journal import started_at
from harness.programs import K6, TOXIPROXY


def program(path: Path, text: str = "echo toxiproxy-server version 2.9.0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server anywhere: an empty PATH (but for the shell), an empty cache."""
    monkeypatch.delenv("AGENTSTORM_TOXIPROXY", raising=False)
    monkeypatch.delenv("AGENTSTORM_K6", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(programs, "tools_dir", lambda: tmp_path / "cache" / "tools")


def test_the_environment_comes_before_path_and_path_before_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert TOXIPROXY.locate() is None

    cached = program(tmp_path / "cache" / "tools" / "toxiproxy-server-2.12.0", "echo toxiproxy-server version 2.12.0")
    found = TOXIPROXY.locate()
    assert found is not None
    assert (found.path, found.how, found.version) == (cached, "cache", "2.12.0")

    on_path = program(tmp_path / "bin" / "toxiproxy-server")
    found = TOXIPROXY.locate()
    assert found is not None
    assert (found.path, found.how, found.version) == (on_path, "PATH", "2.9.0")

    named = program(tmp_path / "mine", "echo toxiproxy-server version git")
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", str(named))
    found = TOXIPROXY.locate()
    assert found is not None
    assert (found.path, found.how) == (named, "$AGENTSTORM_TOXIPROXY")
    assert "without a version" in found.version


def test_a_named_program_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", "/nowhere/toxiproxy")
    with pytest.raises(MissingComponent, match="/nowhere/toxiproxy: no such program"):
        TOXIPROXY.locate()


@pytest.mark.parametrize("text", ["echo something else", "echo toxiproxy-server version 1.2.1", "exit 3"])
def test_a_program_that_is_no_toxiproxy_2_is_an_error(tmp_path: Path, text: str) -> None:
    program(tmp_path / "bin" / "toxiproxy-server", text)
    with pytest.raises(MissingComponent, match="Shopify/toxiproxy/releases"):
        TOXIPROXY.locate()


def test_without_go_and_without_an_index_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(MissingComponent) as caught:
        TOXIPROXY.ensure()
    for words in ("no Go", "https://go.dev/dl", "agentstorm tools install toxiproxy", "AGENTSTORM_TOXIPROXY"):
        assert words in str(caught.value)


GO = """
[ "$1 $2 $3" = "list -m github.com/Shopify/toxiproxy/v2@v2.12.0" ] && exit 0
[ "$1 $2" = "install -ldflags" ] && [ "$4" = github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 ] || exit 9
[ "$GOFLAGS" = -mod=mod ] || exit 8
{ echo '#!/bin/sh'; echo 'echo toxiproxy-server version 2.12.0'; } > "$GOBIN/server"
echo built >> "$BUILDS"
/bin/chmod +x "$GOBIN/server"
"""


def test_it_is_built_once_and_nothing_else_stays_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    program(tmp_path / "bin" / "go", GO)

    first, second = TOXIPROXY.ensure(), TOXIPROXY.ensure()

    assert first.how == "go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
    assert (second.path, second.how, second.version) == (first.path, "cache", "2.12.0")
    assert (tmp_path / "builds").read_text() == "built\n"
    assert {p.name for p in first.path.parent.iterdir()} == {".lock", "toxiproxy-server-2.12.0"}


def test_a_failed_build_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", "echo no network >&2; exit 1")
    with pytest.raises(MissingComponent, match="no network"):
        TOXIPROXY.ensure()
    assert {p.name for p in (tmp_path / "cache" / "tools").iterdir()} == {".lock"}


def test_the_built_in_one_is_the_last_choice_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", "echo one line >&2; echo no network >&2; exit 1")
    found = TOXIPROXY.obtain()
    assert (found.path, found.version) == (TOXIPROXY.builtin, "2.12.0+builtin")
    assert found.how == "built in, because asking for its source failed: no network"
    for words in ("no network", "built into agentstorm", "agentstorm doctor", "AGENTSTORM_TOXIPROXY=builtin"):
        assert words in found.instead
    assert found.instead.count("\n") == 0

    program(tmp_path / "bin" / "toxiproxy-server")
    assert (TOXIPROXY.obtain().how, TOXIPROXY.obtain().instead) == ("PATH", "")


def test_a_cache_that_cannot_be_written_is_no_reason_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(programs, "tools_dir", lambda: tmp_path / "file" / "tools")
    with pytest.raises(MissingComponent, match="cannot be built in"):
        TOXIPROXY.ensure()
    assert "cannot be built in" in TOXIPROXY.obtain().how


def test_a_build_that_gets_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "_ASK_TIMEOUT_S", 0.2)
    program(tmp_path / "bin" / "go", "exec /bin/sleep 20")
    assert "timed out" in TOXIPROXY.obtain().how


@pytest.mark.parametrize("locked", [True, False], ids=["another builds", "building"])
def test_giving_up_while_it_is_built_is_heard_at_once(tmp_path: Path, locked: bool) -> None:
    def asked_to_end() -> None:
        if locked or (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    program(
        tmp_path / "bin" / "go", f"echo $$ > {tmp_path}/new; /bin/mv {tmp_path}/new {tmp_path}/pid; exec /bin/sleep 60"
    )
    folder = tmp_path / "cache" / "tools"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        if locked:
            fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KeyboardInterrupt):
            TOXIPROXY.obtain(asked_to_end)
    assert {path.name for path in folder.iterdir()} == {".lock"}
    if not locked:
        assert started_at(int((tmp_path / "pid").read_text())) is None, "nothing goes on building"


def test_the_built_in_one_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "toxiproxy-server")
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", "builtin")
    found = TOXIPROXY.obtain()
    assert (found.how, found.version, found.instead) == ("$AGENTSTORM_TOXIPROXY=builtin", "2.12.0+builtin", "")
    assert found.command[-1] == str(TOXIPROXY.builtin)

    monkeypatch.setenv("AGENTSTORM_K6", "builtin")
    with pytest.raises(MissingComponent, match="AGENTSTORM_K6=builtin: no such program"):
        K6.locate()


@pytest.mark.parametrize("named", ["/nowhere/toxiproxy", "{path}"])
def test_a_named_program_that_is_of_no_use_is_never_replaced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str
) -> None:
    broken = program(tmp_path / "broken", "echo something else")
    monkeypatch.setenv("AGENTSTORM_TOXIPROXY", named.format(path=broken))
    with pytest.raises(MissingComponent):
        TOXIPROXY.obtain()


K6_SAYS = "echo 'k6 v{} (go1.26.8, linux/amd64)'"


def test_k6_is_asked_for_and_never_built_by_a_run(tmp_path: Path) -> None:
    with pytest.raises(MissingComponent) as caught:
        K6.require()
    for words in ("k6", "agentstorm tools install k6", "AGENTSTORM_K6", "grafana/k6/releases", "PATH"):
        assert words in str(caught.value)

    program(tmp_path / "bin" / "k6", K6_SAYS.format("1.3.0"))
    assert (K6.require().how, K6.require().version) == ("PATH", "1.3.0")


@pytest.mark.parametrize("version", ["0.49.0", "2.0.0"])
def test_a_k6_that_is_too_old_or_too_new_is_said_and_the_cached_one_taken_instead(tmp_path: Path, version: str) -> None:
    program(tmp_path / "bin" / "k6", K6_SAYS.format(version))
    with pytest.raises(MissingComponent, match=rf"1\.0 or newer, below 2.*k6 v{version}"):
        K6.require()

    program(tmp_path / "cache" / "tools" / "k6-1.8.1", K6_SAYS.format("1.8.1"))
    assert K6.require().how == "cache"


K6_BUILD = """
[ "$1 $2 $3" = "list -m go.k6.io/k6@v1.8.1" ] && exit 0
[ "$1 $2" = "install go.k6.io/k6@v1.8.1" ] || exit 9
{ echo '#!/bin/sh'; echo "echo 'k6-1.8.1 v1.8.1 (go1.26.8, linux/amd64)'"; } > "$GOBIN/k6"
/bin/chmod +x "$GOBIN/k6"
"""


def test_a_module_whose_main_package_is_itself_is_built(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "go", K6_BUILD)
    assert K6.ensure().how == "go install go.k6.io/k6@v1.8.1"
    assert K6.require().how == "cache"


def test_a_k6_on_path_that_is_too_old_is_no_reason_not_to_build_one(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "k6", K6_SAYS.format("0.49.0"))
    program(tmp_path / "bin" / "go", K6_BUILD)
    assert K6.ensure().version == "1.8.1"
