"""What a drill's tests say of it: a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.timeline import BOOT
from harness.drills.model import Drill
from harness.drills.promise_index import FIRST_TEST, Layer, Promise, function_of
from harness.drills.results import Verdict

CHEAP = (
    FIRST_TEST,
    "test_image_selection.py::test_request_decides",
    "test_image_selection.py::test_lists_of_courses_are_the_same",
    "test_culler.py::test_culler_runs_with_the_numbers_that_are_set",
)
"""What is asked after every valid change; none of it starts a server."""
NAMED_TIMEOUT = 1200.0
SUITE_TIMEOUT = 3600.0
"""Seconds for the tests that a drill names, and for the suite."""


@dataclass(frozen=True)
class Failure:
    """A test that failed.

    Attributes:
        test: as harness.suite names it, without parameters.
        message: what it said, without the name of the exception.
        at: when it failed, as time.time(); None where nobody wrote that down.
    """

    test: str
    message: str
    at: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run of tests on a changed deployment said.

    Attributes:
        skipped: the first reason why a test was left out.
        boot: that of a deployment which did not come up.
        trouble: why the run told nothing at all.
    """

    failures: tuple[Failure, ...] = ()
    passed: int = 0
    skipped: str = ""
    boot: Failure | None = None
    trouble: str = ""


Run = Callable[[Sequence[str], float], Outcome]
"""Runs tests on the deployment as it is, within some seconds, up to the first failure."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, with the test that failed, if one did, its message, and when that was."""

    verdict: Verdict
    test: str = ""
    message: str = ""
    at: float | None = None


def judge(drill: Drill, run: Run, suite: Mapping[str, Promise], *, thorough: bool = False) -> Judgement:
    """What the suite says of a change that is there: the tests that the drill names first, and only then the others."""
    if drill.valid:
        return _judge_valid(drill, run, suite, thorough=thorough)
    named = [test for test in drill.caught_by if test != BOOT]
    if drill.caught_by:
        found = run(named or [FIRST_TEST], NAMED_TIMEOUT)
        if found.trouble:
            return Judgement(Verdict.ERROR, message=found.trouble)
        if found.boot:
            return _caught(drill, found.boot) if BOOT in drill.caught_by else _elsewhere(found.boot)
        for failure in found.failures:
            return _caught(drill, failure) if named else _elsewhere(failure)
        if not found.passed:
            return Judgement(Verdict.NOT_HERE, message=f"not checked here: {found.skipped}")
    others = sorted((promise for promise in suite.values()), key=lambda promise: promise.cost)
    asked = {function_of(test) for test in named or [FIRST_TEST]} if drill.caught_by else set()
    left = [each.test for each in others if each.test not in asked and (thorough or each.layer is not Layer.LIVE)]
    found = run(left, SUITE_TIMEOUT)
    if found.trouble:
        return Judgement(Verdict.ERROR, message=found.trouble)
    if found.boot:
        return _elsewhere(found.boot)
    for failure in found.failures:
        return _elsewhere(failure)
    return Judgement(Verdict.SURVIVED, message=f"wanted: {drill.wanted}" if drill.wanted else "")


def _judge_valid(drill: Drill, run: Run, suite: Mapping[str, Promise], *, thorough: bool) -> Judgement:
    tried = list(dict.fromkeys((*CHEAP, *drill.tries)))
    if thorough:
        whole = sorted(suite.values(), key=lambda promise: promise.cost)
        tried = list(dict.fromkeys((*tried, *(each.test for each in whole if not each.slow))))
    found = run(tried, SUITE_TIMEOUT if thorough else NAMED_TIMEOUT)
    if found.trouble:
        return Judgement(Verdict.ERROR, message=found.trouble)
    if found.boot:
        return _judgement(Verdict.ALARM, found.boot)
    for failure in found.failures:
        return _judgement(Verdict.ALARM, failure)
    return Judgement(Verdict.QUIET)


def _caught(drill: Drill, failure: Failure) -> Judgement:
    return _judgement(Verdict.CAUGHT if drill.says in failure.message else Verdict.UNCLEAR, failure)


def _elsewhere(failure: Failure) -> Judgement:
    return _judgement(Verdict.ELSEWHERE, failure)


def _judgement(verdict: Verdict, failure: Failure) -> Judgement:
    return Judgement(verdict, failure.test, failure.message, failure.at)
