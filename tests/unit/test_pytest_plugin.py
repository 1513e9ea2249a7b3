"""The pytest plugin on recordings of known verdict: what a team's tests end as, and what is said of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

import harness.pytest_runs  # noqa: F401 - for the same reason as `assess` below
from harness.assess import assess
from harness.recording.reader import Recording
from tests.recordings import RecordingBuilder, Script, plan, storm

pytestmark = pytest.mark.filterwarnings("default")  # pytest inside pytest


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of recordings that are what they are called."""
    folder = tmp_path_factory.mktemp("recordings")
    limits = {"good": "p(95)<3s", "bad": "p(95)<100ms"}
    for name, limit in limits.items():
        storm(folder / name, Script(outages=0), plan(hold_s=20, warmup_s=5, thresholds={"response_time": [limit]}))
    storm(folder / "unset", Script(outages=0), plan(hold_s=20, warmup_s=5))
    for name in ("few", "invalid"):
        builder = RecordingBuilder(folder / name, plan(hold_s=20, thresholds={"response_time": ["p(99)<3s"]}))
        builder.phases(steady=0, cooldown=20)
        builder.instrument(0, 20, lag_ms=500.0 if name == "invalid" else 2.0)
        for second in range(20):
            builder.request(second)
            builder.request(second + 0.5, canary=True)
        builder.close(21)
    for name in ("good", "bad", "few", "invalid"):  # also loads what a second import of would break: numpy
        assess(Recording.open(folder / name))
    return folder


@pytest.fixture
def inner(pytester: pytest.Pytester, recordings: Path) -> pytest.Pytester:
    """Return a place for test files that find the recordings under ``runs/``."""
    (pytester.path / "runs").symlink_to(recordings)
    pytester.makeini("[pytest]\naddopts = -p no:asyncio -p no:hypothesispytest")  # they take longer than our tests
    return pytester


def properties(junit: Path) -> dict[str | None, str | None]:
    """Return the properties of all test cases of a JUnit file."""
    root = Xml.fromstring(junit.read_text())  # noqa: S314 - our own file
    return {p.get("name"): p.get("value") for p in root.iter("property")}


def test_a_pass_a_fail_and_what_is_said_of_them(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        def test_good(agentstorm):
            result = agentstorm.open("runs/good")
            result.assert_pass()
            assert (result.verdict, result.exit_code) == ("pass", 0)
            assert result.check("p(95)<3s", metric="response_time", phase="steady").n > 100
            assert result.check("request_failed: rate<0.05").verdict == "pass"
            assert result.findings.load.failed == 0

        def test_bad(agentstorm):
            agentstorm.open("runs/bad").assert_pass()

        def test_own_threshold(agentstorm):
            agentstorm.open("runs/good").check("p(50)<10ms", metric="response_time")
        """
    )
    result = inner.runpytest("--junitxml=junit.xml", "-o", "junit_family=xunit1")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "E*ThresholdFailed: response_time: p(95)<100ms  FAIL",
            "E*observed   3?? ms",
            "E*interval   3?? ms to 3?? ms (95 %)",
            "E*limit      100 ms",
            "E*n          3??",
            "E*why        Fails: users wait up to 3?? ms (p95); limit 100 ms.",
            "E*run        steady on synthetic, seed 1",
            "E*recording  runs/bad",
            "E*ThresholdFailed: response_time: p(50)<10ms  FAIL",
            "pass          runs/good",
            "fail          runs/bad",
        ]
    )
    assert "pytest_result.py" not in result.stdout.str(), "the failure shows the test, not our code"
    told = properties(inner.path / "junit.xml")
    assert told == {"agentstorm_recording": "runs/good", "agentstorm_verdict": "pass"}


UNDECIDED = """
    import pytest

    def test_few(agentstorm):
        result = agentstorm.open("runs/few")
        result.assert_pass()
        assert not {broken}
"""


@pytest.mark.parametrize(
    ("options", "outcome", "code"),
    [
        ((), {"skipped": 1}, 0),
        (("--agentstorm-inconclusive=xfail",), {"xfailed": 1}, 0),
        (("--agentstorm-inconclusive=fail",), {"failed": 1}, 1),
        (("-o", "agentstorm_inconclusive=fail"), {"failed": 1}, 1),
    ],
)
def test_what_the_data_cannot_say_is_no_pass(
    inner: pytest.Pytester, options: tuple[str, ...], outcome: dict[str, int], code: int
) -> None:
    inner.makepyfile(UNDECIDED.format(broken=False))
    result = inner.runpytest("-rsxf", "--junitxml=junit.xml", "-o", "junit_family=xunit1", *options)
    result.assert_outcomes(**outcome)
    assert result.ret == code
    result.stdout.fnmatch_lines(["*response_time: p(99)<3s  INCONCLUSIVE*"])
    result.stdout.fnmatch_lines(["1 test is inconclusive*"])
    told = properties(inner.path / "junit.xml")
    assert told["agentstorm_verdict"] == "inconclusive"
    assert "p(99)<3s  INCONCLUSIVE" in (told["agentstorm_inconclusive"] or "")


def test_an_inconclusive_check_hides_no_failure_after_it(inner: pytest.Pytester) -> None:
    inner.makepyfile(UNDECIDED.format(broken=True))
    inner.runpytest().assert_outcomes(failed=1)


def test_a_plan_without_thresholds_is_inconclusive(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_it(agentstorm): agentstorm.open('runs/unset').assert_pass()")
    result = inner.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*sets no thresholds*"])


def test_a_fixture_that_is_inconclusive_leaves_out_every_test_that_rests_on_it(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def few(agentstorm):
            result = agentstorm.open("runs/few")
            result.assert_pass()
            return result

        def test_one(few): pass
        def test_two(few): pass
        """
    )
    inner.runpytest().assert_outcomes(skipped=2)


def test_an_invalid_run_never_passes(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        def test_opened(agentstorm):
            agentstorm.open("runs/invalid")

        def test_looked_at(agentstorm):
            result = agentstorm.open("runs/invalid", allow_invalid=True)
            assert not result.findings.validity.valid
            result.assert_pass()
        """
    )
    result = inner.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E*InvalidRun: the run is invalid: it can neither pass nor fail"])
    result.stdout.fnmatch_lines(["invalid       runs/invalid"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ('check("p(95)<3s")', "of which metric"),
        ('check("p(95)<3s", metric="respnse_time")', "did you mean 'response_time'"),
        ('check("p(95)<3s", metric="response_time", fase="fault")', "unknown tag 'fase'"),
    ],
)
def test_what_is_no_threshold_says_what_would_be(inner: pytest.Pytester, call: str, said: str) -> None:
    inner.makepyfile(f"def test_it(agentstorm): agentstorm.open('runs/good').{call}")
    result = inner.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*ValueError: *{said}*"])


def test_a_plan_that_is_wrong_says_so_and_judges_nothing(inner: pytest.Pytester) -> None:
    inner.makepyfile('def test_it(agentstorm): agentstorm.run("smoke", set={"load.usrs": 5})')
    result = inner.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*RunFailed: the run ended with 104 (bad plan); nothing is judged", "*usrs*"])
    (log,) = (inner.path / "reports" / "pytest").glob(
        "*/test_a_plan_that_is_wrong_says_so_and_judges_nothing-test_it.log"
    )
    assert "did you mean 'users'?" in log.read_text()


def test_workers_report_to_one_summary(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("name", ["good", "few", "bad"])
        def test_it(agentstorm, name):
            agentstorm.open(f"runs/{name}").assert_pass()
        """
    )
    result = inner.runpytest_subprocess("-n2", "--dist=loadgroup")
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    result.stdout.fnmatch_lines_random(
        ["pass *runs/good", "fail *runs/bad", "inconclusive *runs/few", "1 test is inc*"]
    )


def test_tests_that_make_runs_can_be_left_out(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        def test_run(agentstorm): pass
        def test_other(): pass
        """
    )
    result = inner.runpytest("-m", "not agentstorm", "--strict-markers")
    result.assert_outcomes(passed=1, deselected=1)
    assert "agentstorm" not in result.stdout.str().replace(str(inner.path), "").split("plugins:")[1].split("\n", 1)[1]
    assert not (inner.path / "reports").exists()


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    program = (
        "import sys, pytest; had = set(sys.modules); import harness.pytest_plugin;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - had} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["harness"]


def test_a_policy_that_is_none_is_refused(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_other(): pass")
    result = inner.runpytest("-o", "agentstorm_inconclusive=pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*agentstorm_inconclusive = pass: must be one of skip, fail, xfail"])
