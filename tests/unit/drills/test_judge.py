"""The verdict on a drill, from what its tests did."""

from __future__ import annotations

import dataclasses

import pytest

from harness.base.timeline import BOOT
from harness.drills.judge import CHEAP, SuiteFailure, SuiteRun, judge
from harness.drills.promise_index import FIRST_PROGRAM_TEST, FIRST_TEST, Layer, Promise
from harness.drills.results import Verdict
from tests.unit.drills.examples import (
    CULLED,
    EVALUATED,
    NAMED,
    OF_A_COURSE,
    OF_COURSE,
    OF_THE_PROGRAM,
    OTHER,
    PASSED,
    REGRESSION,
    RENDERED,
    SUITE,
    VALID,
    Suite,
    failed,
)


class TestJudging:
    def test_caught_by_the_promise_that_it_names(self) -> None:
        suite = Suite(failed(NAMED.test))
        found = judge(REGRESSION, suite, SUITE)
        assert (found.verdict, found.test, found.message) == (Verdict.CAUGHT, NAMED.test, "course a opened b")
        assert suite.runs == [[NAMED.test]]

    @pytest.mark.parametrize(("says", "verdict"), [("opened b", Verdict.CAUGHT), ("opened c", Verdict.UNCLEAR)])
    def test_a_message_names_the_cause_or_not(self, says: str, verdict: Verdict) -> None:
        drill = dataclasses.replace(REGRESSION, says=says)
        assert judge(drill, Suite(failed(NAMED.test)), SUITE).verdict is verdict

    def test_caught_elsewhere_is_looked_for_from_the_cheapest(self) -> None:
        suite = Suite(PASSED, failed(RENDERED.test))
        assert judge(REGRESSION, suite, SUITE).verdict is Verdict.ELSEWHERE
        assert suite.runs[1] == [RENDERED.test]

    def test_survived(self) -> None:
        suite = Suite(PASSED, PASSED)
        assert judge(REGRESSION, suite, SUITE, thorough=True).verdict is Verdict.SURVIVED
        assert suite.runs[1] == [RENDERED.test, OTHER.test, CULLED.test]

    def test_a_promise_that_is_only_wanted(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(), wanted="Links open something")
        suite = Suite(PASSED)
        assert judge(drill, suite, SUITE).message == "wanted: Links open something"
        assert suite.runs == [[RENDERED.test, NAMED.test]]

    def test_a_promise_that_is_not_checked_here(self) -> None:
        found = judge(REGRESSION, Suite(SuiteRun(skipped="no checkout")), SUITE)
        assert (found.verdict, found.message) == (Verdict.NOT_HERE, "not checked here: no checkout")

    def test_tests_with_parameters_are_one_promise(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(f"{NAMED.test}[a]",))
        suite = Suite(PASSED, PASSED)
        judge(drill, suite, SUITE)
        assert suite.runs == [[f"{NAMED.test}[a]"], [RENDERED.test]]

    def test_a_run_that_tells_nothing_is_no_survivor(self) -> None:
        found = judge(REGRESSION, Suite(SuiteRun(trouble="no test ran")), SUITE)
        assert (found.verdict, found.message) == (Verdict.ERROR, "no test ran")
        assert judge(REGRESSION, Suite(PASSED, SuiteRun(trouble="late")), SUITE).verdict is Verdict.ERROR

    @pytest.mark.parametrize(
        ("caught_by", "verdict"), [((BOOT,), Verdict.CAUGHT), ((NAMED.test,), Verdict.ELSEWHERE)], ids=str
    )
    def test_a_boot_that_fails(self, caught_by: tuple[str, ...], verdict: Verdict) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=caught_by)
        found = judge(drill, Suite(SuiteRun(boot=SuiteFailure(BOOT, "the hub crashed"))), SUITE)
        assert (found.verdict, found.test, found.message) == (verdict, BOOT, "the hub crashed")

    def test_a_boot_that_should_have_failed(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(BOOT,))
        suite = Suite(PASSED, PASSED)
        assert judge(drill, suite, SUITE).verdict is Verdict.SURVIVED
        assert suite.runs[0] == [FIRST_TEST]

    def test_a_valid_change(self) -> None:
        suite = Suite(PASSED)
        assert judge(VALID, suite, SUITE).verdict is Verdict.QUIET
        assert suite.runs == [[*CHEAP, OTHER.test]]

    def test_the_whole_suite_on_a_valid_change(self) -> None:
        suite = Suite(PASSED)
        judge(VALID, suite, SUITE, thorough=True)
        assert suite.runs == [[*CHEAP, OTHER.test, RENDERED.test, NAMED.test]]

    @pytest.mark.parametrize(
        "result", [failed(OTHER.test), SuiteRun(boot=SuiteFailure(BOOT, "the hub crashed"))], ids=["test", "boot"]
    )
    def test_an_alarm(self, result: SuiteRun) -> None:
        assert judge(VALID, Suite(result), SUITE).verdict is Verdict.ALARM

    def test_a_drill_of_the_program_asks_for_no_deployment(self) -> None:
        suite = Suite(PASSED, PASSED)
        everything = {**SUITE, EVALUATED.test: EVALUATED, FIRST_PROGRAM_TEST: OF_THE_PROGRAM_TOO}
        assert judge(OF_THE_PROGRAM, suite, everything, thorough=True).verdict is Verdict.SURVIVED
        assert suite.runs == [[EVALUATED.test], [FIRST_PROGRAM_TEST]]

    def test_a_program_that_should_not_have_been_evaluated(self) -> None:
        suite = Suite(PASSED, PASSED)
        drill = dataclasses.replace(OF_THE_PROGRAM, caught_by=(BOOT,))
        assert judge(drill, suite, {**SUITE, EVALUATED.test: EVALUATED}).verdict is Verdict.SURVIVED
        assert suite.runs == [[FIRST_PROGRAM_TEST], [EVALUATED.test]]

    def test_a_program_of_which_its_promise_cannot_be_asked_is_judged_by_the_others(self) -> None:
        everything = {EVALUATED.test: EVALUATED, FIRST_PROGRAM_TEST: OF_THE_PROGRAM_TOO}
        broken = failed(FIRST_PROGRAM_TEST, "deployment.py, line 7: NameError: nothing")
        suite = Suite(SuiteRun(skipped="jupyterhub_data for CI cannot be evaluated"), broken)
        found = judge(OF_THE_PROGRAM, suite, everything)
        assert (found.verdict, found.test) == (Verdict.ELSEWHERE, FIRST_PROGRAM_TEST)
        assert suite.runs == [[EVALUATED.test], [FIRST_PROGRAM_TEST]]

    def test_a_valid_change_of_the_program(self) -> None:
        suite = Suite(PASSED)
        drill = dataclasses.replace(OF_THE_PROGRAM, hurts="", caught_by=(), valid="it is", tries=(EVALUATED.test,))
        assert judge(drill, suite, {**SUITE, EVALUATED.test: EVALUATED}).verdict is Verdict.QUIET
        assert suite.runs == [[EVALUATED.test]]

    def test_a_drill_of_a_course_is_judged_by_promises_about_courses(self) -> None:
        """No other test runs with --course, and these without."""
        everything = {**SUITE, OF_COURSE.test: OF_COURSE}
        suite = Suite(PASSED)
        assert judge(OF_A_COURSE, suite, everything, thorough=True).verdict is Verdict.SURVIVED
        assert suite.runs == [[OF_COURSE.test]]
        suite = Suite(PASSED)
        drill = dataclasses.replace(OF_A_COURSE, hurts="", caught_by=(), valid="it is", tries=(OF_COURSE.test,))
        assert judge(drill, suite, everything).verdict is Verdict.QUIET
        assert suite.runs == [[OF_COURSE.test]]
        suite = Suite(PASSED, PASSED)
        judge(REGRESSION, suite, everything, thorough=True)
        assert OF_COURSE.test not in suite.runs[1]

    def test_a_remark_in_place_of_a_failure(self) -> None:
        """A remark catches a drill that asks for one, and a failure does not."""
        drill = dataclasses.replace(OF_A_COURSE, remarked="only part")
        everything = {OF_COURSE.test: OF_COURSE}
        remarks = ("its name is long", "the page shows only part of it")
        found = judge(drill, Suite(dataclasses.replace(PASSED, remarks=remarks)), everything)
        assert (found.verdict, found.test, found.message) == (Verdict.CAUGHT, OF_COURSE.test, remarks[1])
        assert judge(drill, Suite(failed(OF_COURSE.test)), everything).verdict is Verdict.ELSEWHERE
        other = Suite(dataclasses.replace(PASSED, remarks=remarks[:1]))
        assert judge(drill, other, everything).verdict is Verdict.SURVIVED

    def test_what_is_to_see_it_sooner_sees_it(self) -> None:
        drill = dataclasses.replace(REGRESSION, sooner=("test_a.py::test_quick",))
        suite = Suite(failed(NAMED.test), failed("test_a.py::test_quick"))
        found = judge(drill, suite, SUITE)
        assert (found.verdict, found.test) == (Verdict.CAUGHT, NAMED.test)
        assert suite.runs == [[NAMED.test], ["test_a.py::test_quick"]]
        found = judge(drill, Suite(failed(NAMED.test), PASSED), SUITE)
        assert found.verdict is Verdict.ERROR
        assert "test_a.py::test_quick did not fail" in found.message
        found = judge(drill, Suite(failed(NAMED.test), SuiteRun(trouble="no result within 1200 s")), SUITE)
        assert (found.verdict, found.message) == (Verdict.ERROR, "no result within 1200 s")

    def test_what_is_asked_of_valid_changes_is_there(self, suite: dict[str, Promise]) -> None:
        assert set(CHEAP) <= set(suite)
        assert suite[FIRST_PROGRAM_TEST].layer is Layer.EVALUATED


OF_THE_PROGRAM_TOO = dataclasses.replace(EVALUATED, test=FIRST_PROGRAM_TEST)
