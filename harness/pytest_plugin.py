"""The pytest plugin: gates as tests. Fixture `agentstorm`; options, ini keys, and what the summary and JUnit say.

pytest imports this in every session of everybody who has agentstorm installed: so nothing but the standard library
and pytest here, and nothing happens before a test asks for the fixture. `docs/how-to/pytest.md` tells how to use it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from harness.pytest_runs import Agentstorm

POLICIES: Mapping[str, type[BaseException]] = {
    "skip": pytest.skip.Exception,
    "fail": pytest.fail.Exception,
    "xfail": pytest.xfail.Exception,
}
"""What an inconclusive test can be reported as."""
RECORDING, VERDICT, INCONCLUSIVE = "agentstorm_recording", "agentstorm_verdict", "agentstorm_inconclusive"
"""Properties of a test: they go to JUnit, and from xdist's workers to the summary."""
_SESSION = pytest.StashKey[Path]()
_NOTES = pytest.StashKey["Notes"]()


class Notes:
    """What the tests of this process look at, noted for the test that is on."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self.item: pytest.Item | None = None
        self.calling = False
        """Whether the test itself is on, not a fixture of it."""

    @property
    def nodeid(self) -> str:
        """Name of the test that is on."""
        return self.item.nodeid if self.item else "session"

    def seen(self, recording: str, verdict: str) -> None:
        """Note that the test looks at a recording."""
        if self.item and (RECORDING, recording) not in self.item.user_properties:
            self.item.user_properties += [(RECORDING, recording), (VERDICT, verdict)]

    def undecided(self, why: str) -> None:
        """Note that the data cannot say. The test goes on, so that this hides no failure after it, and ends as the
        policy says; a fixture ends at once, because other tests may rest on it."""
        if self.item:
            self.item.user_properties.append((INCONCLUSIVE, why))
        if not self.calling:
            raise POLICIES[self._policy](why)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options and ini keys."""
    group = parser.getgroup("agentstorm", "load and chaos testing (agentstorm)")
    group.addoption(
        "--agentstorm-dir",
        metavar="DIR",
        help="where recordings are kept, in a folder of each session's own (default: reports/pytest)",
    )
    group.addoption(
        "--agentstorm-inconclusive",
        choices=list(POLICIES),
        help="what a test is when the data cannot say (default: skip)",
    )
    parser.addini("agentstorm_dir", "where recordings are kept", default="reports/pytest")
    parser.addini("agentstorm_inconclusive", "what a test is when the data cannot say: skip, fail, xfail", "args", [])


def _policy(config: pytest.Config) -> str:
    told = [config.getoption("agentstorm_inconclusive"), *config.getini("agentstorm_inconclusive"), "skip"]
    policy: str = next(filter(None, told))
    if policy not in POLICIES:
        raise pytest.UsageError(f"agentstorm_inconclusive = {policy}: must be one of {', '.join(POLICIES)}")
    return policy


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and choose where this session's recordings go: one place for all of xdist's workers."""
    config.addinivalue_line("markers", "agentstorm: makes load runs (given to every test that uses the fixture)")
    config.stash[_NOTES] = Notes(_policy(config))
    told = getattr(config, "workerinput", {}).get("agentstorm_session")
    config.stash[_SESSION] = Path(told) if told else _session_folder(config)


def _session_folder(config: pytest.Config) -> Path:
    from harness.clock import utc_stamp  # noqa: PLC0415

    folder: str = config.getoption("agentstorm_dir") or config.getini("agentstorm_dir")
    return config.rootpath / folder / f"{utc_stamp()}-{os.getpid()}"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist's where the recordings go."""
    node.workerinput["agentstorm_session"] = str(node.config.stash[_SESSION])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that make runs: ``-m "not agentstorm"`` leaves them out, ``--dist loadgroup`` keeps them together."""
    for item in items:
        if "agentstorm" in getattr(item, "fixturenames", ()):
            item.add_marker("agentstorm")
            if config.pluginmanager.hasplugin("xdist"):
                item.add_marker(pytest.mark.xdist_group("agentstorm"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember which test is on."""
    notes = item.config.stash[_NOTES]
    notes.item = item
    try:
        return (yield)
    finally:
        notes.item = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Remember that the test itself is on."""
    notes = item.config.stash[_NOTES]
    notes.calling = True
    try:
        return (yield)
    finally:
        notes.calling = False


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a test that went through as what the policy says, if the data could not say."""
    report = yield
    reasons = [str(value) for name, value in item.user_properties if name == INCONCLUSIVE]
    if not reasons or call.when != "call" or call.excinfo is not None:
        return report
    said, policy = "\n".join(reasons), _policy(item.config)
    path, line, _ = item.location
    if policy == "fail":
        report.outcome, report.longrepr = "failed", f"{said}\n(agentstorm_inconclusive = fail)"
    elif policy == "xfail":
        report.outcome, report.wasxfail = "skipped", said
    else:
        report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, said)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which recordings there are, and how many tests the data could not decide."""
    verdicts: dict[str, str] = {}
    undecided: set[str] = set()
    for report in (r for kind in list(terminalreporter.stats.values()) for r in kind):
        told: list[tuple[str, object]] = getattr(report, "user_properties", [])
        places = [str(value) for name, value in told if name == RECORDING]
        verdicts.update(zip(places, (str(value) for name, value in told if name == VERDICT), strict=False))
        if any(name == INCONCLUSIVE for name, _ in told):
            undecided.add(report.nodeid)
    if not verdicts:
        return
    terminalreporter.section("agentstorm")
    for place, verdict in verdicts.items():
        terminalreporter.line(f"{verdict:<13} {place}")
    if undecided:
        tests = "1 test is" if len(undecided) == 1 else f"{len(undecided)} tests are"
        terminalreporter.line(f"{tests} inconclusive: the data cannot say, neither pass nor fail", yellow=True)


@pytest.fixture(scope="session")
def agentstorm(pytestconfig: pytest.Config) -> Agentstorm:
    """Make runs and look at recordings: ``agentstorm.run("demo", chaos="demo")``, ``agentstorm.open(DIR)``."""
    from harness.pytest_runs import Agentstorm  # noqa: PLC0415

    return Agentstorm(pytestconfig.rootpath, pytestconfig.stash[_SESSION], pytestconfig.stash[_NOTES])
