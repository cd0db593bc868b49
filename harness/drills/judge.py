"""The verdict on a drill, from the tests that ran with its change in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.timeline import BOOT
from harness.drills.model import Drill
from harness.drills.promise_index import FIRST_COURSE_TEST, FIRST_PROGRAM_TEST, FIRST_TEST, Layer, Promise, function_of
from harness.drills.results import Verdict

CHEAP = (
    FIRST_TEST,
    "test_image_selection.py::test_request_decides",
    "test_image_selection.py::test_lists_of_courses_are_the_same",
    "test_culler.py::test_culler_runs_with_the_numbers_that_are_set",
)
"""Tests that run after every valid change of a deployment; none of them starts a server."""
NAMED_TIMEOUT = 1200.0
SUITE_TIMEOUT = 3600.0
"""Seconds for the tests that a drill names, and for the suite."""


@dataclass(frozen=True)
class SuiteFailure:
    """A test that failed.

    Attributes:
        test: as `promise_index` names it, without parameters.
        message: its message, without the name of the exception.
        at: when it failed, as time.time(); None where that is not known.
    """

    test: str
    message: str
    at: float | None = None


@dataclass(frozen=True)
class SuiteRun:
    """The outcome of a run of tests on a changed deployment.

    Attributes:
        skipped: the first reason why a test was left out.
        remarks: those of the tests.
        boot: the failure of a deployment that did not come up.
        trouble: why the run gave no result at all.
    """

    failures: tuple[SuiteFailure, ...] = ()
    passed: int = 0
    skipped: str = ""
    boot: SuiteFailure | None = None
    trouble: str = ""
    remarks: tuple[str, ...] = ()


RunTests = Callable[[Sequence[str], float], SuiteRun]
"""Runs tests on the deployment as it is, within some seconds, up to the first failure."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, with the test that failed, if one did, its message, and when that was."""

    verdict: Verdict
    test: str = ""
    message: str = ""
    at: float | None = None


def judge(drill: Drill, run: RunTests, suite: Mapping[str, Promise], *, thorough: bool = False) -> Judgement:
    """Run the tests that a planted drill names first, and only then the others, and return the verdict."""
    suite = {test: promise for test, promise in suite.items() if _can_judge(promise, drill)}
    if drill.valid:
        return _judge_valid(drill, run, suite, thorough=thorough)
    first = FIRST_PROGRAM_TEST if drill.program else FIRST_COURSE_TEST if drill.course else FIRST_TEST
    named = [test for test in drill.caught_by if test != BOOT]
    if drill.caught_by:
        found = run(named or [first], NAMED_TIMEOUT)
        if found.trouble:
            return Judgement(Verdict.ERROR, message=found.trouble)
        if found.boot:
            expected = BOOT in drill.caught_by
            return judge_failure(drill, found.boot) if expected else _judgement(Verdict.ELSEWHERE, found.boot)
        for failure in found.failures:
            expected = bool(named) and not drill.remarked
            if not expected:
                return _judgement(Verdict.ELSEWHERE, failure)
            return _not_sooner(drill, run) or judge_failure(drill, failure)
        for remark in found.remarks if drill.remarked else ():
            if drill.remarked in remark:
                return Judgement(Verdict.CAUGHT, function_of(named[0]), remark)
        # A program that no longer evaluates leaves its promises out, and breaks the one that it evaluates.
        if not found.passed and not drill.program:
            return Judgement(Verdict.NOT_HERE, message=f"not checked here: {found.skipped}")
    asked = {function_of(test) for test in named or [first]} if drill.caught_by else set()
    others = [each for each in sorted(suite.values(), key=lambda promise: promise.cost) if each.test not in asked]
    left = [each.test for each in others if thorough or each.layer is not Layer.LIVE]
    found = run(left, SUITE_TIMEOUT) if left else SuiteRun()
    return _failed(found, Verdict.ELSEWHERE) or Judgement(
        Verdict.SURVIVED, message=f"wanted: {drill.wanted}" if drill.wanted else ""
    )


def _not_sooner(drill: Drill, run: RunTests) -> Judgement | None:
    """Return an error unless a test that is to see a drill sooner sees it; None also where there is no such test."""
    if not drill.sooner:
        return None
    found = run(drill.sooner, NAMED_TIMEOUT)
    if found.trouble:
        return Judgement(Verdict.ERROR, message=found.trouble)
    if found.failures:
        return None
    tests = ", ".join(drill.sooner)
    return Judgement(Verdict.ERROR, message=f"'sooner': {tests} did not fail, and a change like it would miss it")


def _can_judge(promise: Promise, drill: Drill) -> bool:
    if drill.program and promise.layer is not Layer.EVALUATED:
        return False
    return promise.of_course is bool(drill.course)


def _judge_valid(drill: Drill, run: RunTests, suite: Mapping[str, Promise], *, thorough: bool) -> Judgement:
    tried = list(dict.fromkeys((*(() if drill.program or drill.course else CHEAP), *drill.tries, *drill.sooner)))
    # All promises about the program take seconds.
    if thorough or drill.program:
        whole = sorted(suite.values(), key=lambda promise: promise.cost)
        tried = list(dict.fromkeys((*tried, *(each.test for each in whole if not each.slow))))
    found = run(tried, SUITE_TIMEOUT if thorough else NAMED_TIMEOUT)
    return _failed(found, Verdict.ALARM) or Judgement(Verdict.QUIET)


def _failed(found: SuiteRun, verdict: Verdict) -> Judgement | None:
    """Return an error for a run that gave no result, the verdict for one that failed, and None otherwise."""
    if found.trouble:
        return Judgement(Verdict.ERROR, message=found.trouble)
    failures = [found.boot] if found.boot else found.failures
    return next((_judgement(verdict, failure) for failure in failures), None)


def judge_failure(drill: Drill, failure: SuiteFailure) -> Judgement:
    """Judge a failure of a test that a drill names."""
    return _judgement(Verdict.CAUGHT if drill.says in failure.message else Verdict.UNCLEAR, failure)


def _judgement(verdict: Verdict, failure: SuiteFailure) -> Judgement:
    return Judgement(verdict, failure.test, failure.message, failure.at)
