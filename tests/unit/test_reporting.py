"""What a run of pytest leaves behind: a run of the real plugins, over tests that need no deployment."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.promises import State
from harness.record import INTERRUPTED, Record, read_record

pytest_plugins = "pytester"
ROOT = Path(__file__).parents[2]
PLUGINS = ("fixtures.run", "fixtures.report", "fixtures.known_defects")
CONFTEST = """
    import pytest

    @pytest.fixture
    def alone(plan):
        pass
"""
TESTS = """
    import pytest

    @pytest.fixture(autouse=True)
    def of_the_deployment(alone, record):
        record.booted = True

    @pytest.mark.parametrize("link", ["a", "b"])
    def test_link(link):
        "A link opens."

    def test_pod(request, plan):
        "A pod comes."
        request.node.user_properties += [("cause", "OOMKilled"), ("evidence", "there")]
        raise AssertionError("it was gone; token=abcdefghijkl")

    @pytest.mark.known_defect("the form loses it")
    def test_form():
        "A form keeps it."
        raise AssertionError

    def test_gpu():
        "A GPU works."
        pytest.skip("no GPU")

    @pytest.fixture
    def stuck():
        yield
        raise RuntimeError("it stays")

    def test_end(stuck):
        "Everybody leaves."
"""


class Outcome:
    """What one run printed, and what it left behind."""

    def __init__(self, pytester: pytest.Pytester, tests: str, *args: str) -> None:
        pytester.makeconftest(CONFTEST)
        self.evidence = pytester.path / "evidence"
        tests_file = pytester.makepyfile(test_of_the_inner_run=tests)
        plugins = [part for plugin in PLUGINS for part in ("-p", plugin)]
        where = (f"--rootdir={ROOT}", f"--config-file={ROOT}/pyproject.toml", f"--evidence={self.evidence}")
        done = pytester.runpytest_inprocess(*where, *plugins, *args, tests_file, no_reraise_ctrlc=True)
        self.code, self.out = done.ret, str(done.stdout)

    @property
    def run(self) -> Record:
        return read_record(self.evidence / "run.json")

    @property
    def page(self) -> str:
        return (self.evidence / "report.html").read_text()


@pytest.fixture(autouse=True)
def machine(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing ran yet."""
    for name in [name for name in os.environ if name.startswith(("HARNESS_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HARNESS_CACHE", str(pytester.path / "cache"))
    monkeypatch.setenv("COLUMNS", "400")


class TestRun:
    """A run in which each kind of thing happens."""

    @pytest.fixture
    def outcome(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Outcome:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
        return Outcome(pytester, TESTS)

    def test_each_test_has_one_state(self, outcome: Outcome) -> None:
        assert outcome.code == pytest.ExitCode.TESTS_FAILED, outcome.out
        found = [(case.promise, case.parameters, case.state, case.why) for case in outcome.run.cases]
        assert found == [
            ("A link opens.", "a", State.KEPT, ""),
            ("A link opens.", "b", State.KEPT, ""),
            ("A pod comes.", "", State.BROKEN, "it was gone; token=[redacted]"),
            ("A form keeps it.", "", State.STILL_THERE, "known defect, the form loses it"),
            ("A GPU works.", "", State.UNCHECKED, "no GPU"),
            ("Everybody leaves.", "", State.BROKEN, "RuntimeError: it stays"),
        ]
        assert outcome.run.planned == 6
        [*_, last] = outcome.run.cases
        assert [part.name for part in last.parts] == ["setup", "call", "teardown"]
        assert last.parts == tuple(sorted(last.parts, key=lambda part: (part.start, part.end)))

    def test_what_is_left_behind(self, outcome: Outcome, pytester: pytest.Pytester) -> None:
        verdict = "2 of 3 promises are broken"
        assert f"Report: {outcome.evidence}/report.html" in outcome.out
        assert verdict in outcome.page
        assert (pytester.path / "summary.md").read_text().startswith(f"## ❌ {verdict}")

    def test_cause_and_evidence_are_told(self, outcome: Outcome) -> None:
        pod = outcome.run.cases[2]
        assert (pod.cause, pod.evidence) == ("OOMKilled", "there")
        assert "it was gone" in pod.detail
        junit = (outcome.evidence / "junit.xml").read_text()
        assert "abcdefghijkl" not in junit
        by_name = {each.get("name"): each for each in ElementTree.fromstring(junit).iter("testcase")}
        about = {each.get("name"): each.get("value") for each in by_name["test_pod"].iter("property")}
        assert about == {"promise": "A pod comes.", "parameters": "", "cause": "OOMKilled", "evidence": "there"}

    def test_the_next_run_tells_the_difference(self, outcome: Outcome, pytester: pytest.Pytester) -> None:
        assert outcome.code
        again = Outcome(pytester, TESTS.replace("raise AssertionError(", "print("), "-k", "pod or link")
        assert again.code == 0, again.out
        assert "in the 3 tests that ran in both" in again.page
        assert "Mended" in again.page


class TestEnds:
    @pytest.mark.parametrize("how", ["raise KeyboardInterrupt", f"os.kill(os.getpid(), {signal.SIGTERM:d})"])
    def test_interrupt(self, pytester: pytest.Pytester, how: str) -> None:
        tests = f"""
            import os
            def test_a(plan, record):
                record.booted = True
            def test_b(plan):
                {how}
        """
        outcome = Outcome(pytester, tests)
        assert outcome.code == pytest.ExitCode.INTERRUPTED, outcome.out
        assert (outcome.run.ended, len(outcome.run.cases), outcome.run.planned) == (INTERRUPTED, 1, 2)
        assert "The run was interrupted" in outcome.page

    def test_boot_failed(self, pytester: pytest.Pytester) -> None:
        tests = """
            import pytest
            @pytest.fixture
            def boot(plan, record):
                with record.booting():
                    pytest.exit("error: no docker", returncode=1)
            def test_a(boot): pass
        """
        outcome = Outcome(pytester, tests)
        assert outcome.code == 1, outcome.out
        assert "The deployment did not come up: no docker" in outcome.page

    def test_its_own_limit(self, pytester: pytest.Pytester) -> None:
        tests = """
            def test_a(plan, record):
                record.booted = True
            def test_b(request):
                request.session.shouldstop = "The run is not over after 9 s"
                raise KeyboardInterrupt
        """
        assert Outcome(pytester, tests).run.ended == "The run is not over after 9 s"

    def test_a_run_that_is_refused_its_turn_reports_nothing(self, pytester: pytest.Pytester) -> None:
        tests = "import pytest\ndef test_a(plan): pytest.exit('error: another run', returncode=1)"
        outcome = Outcome(pytester, tests)
        assert outcome.code == 1, outcome.out
        assert not (outcome.evidence / "report.html").exists()

    def test_a_report_that_cannot_be_written_fails_nothing(self, pytester: pytest.Pytester) -> None:
        (pytester.path / "evidence/report.html").mkdir(parents=True)
        outcome = Outcome(pytester, "def test_a(plan): pass")
        assert outcome.code == 0, outcome.out
        assert outcome.out.count("The report could not be written: ") == 1
        assert outcome.run.cases

    @pytest.mark.parametrize(
        "tests",
        ["def test_a(): pass", "import pytest\n@pytest.fixture\ndef plan(): return 1\ndef test_a(plan): pass"],
        ids=["none", "a plan of its own"],
    )
    def test_tests_of_no_deployment_leave_nothing(self, pytester: pytest.Pytester, tests: str) -> None:
        outcome = Outcome(pytester, tests)
        assert outcome.code == 0, outcome.out
        assert not outcome.evidence.exists()

    def test_a_person_may_want_junits_report_elsewhere(self, pytester: pytest.Pytester) -> None:
        outcome = Outcome(pytester, "def test_a(alone): pass", f"--junitxml={pytester.path}/mine.xml")
        assert (pytester.path / "mine.xml").exists(), outcome.out
        assert not (outcome.evidence / "junit.xml").exists()
