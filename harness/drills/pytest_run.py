"""The tests of a drill, run in a pytest of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from harness.base.shell import tail
from harness.base.timeline import BOOT
from harness.drills.judge import Failure, Outcome
from harness.drills.promise_index import SUITE, arguments, function_of
from harness.plan.plan import Plan
from harness.report.outcomes import Status
from harness.report.run_record import RecordError, read_record

ENDING_TIMEOUT = 120.0
"""Seconds for a pytest to clean up after it was told to end."""


def run_tests(
    plan: Plan, tests: Sequence[str], evidence: Path, timeout: float, python: str | Path = sys.executable
) -> Outcome:
    """Run tests as a person would, up to the first failure, on a kept deployment that this brings up to date first.

    Args:
        tests: as harness.suite names them.
        evidence: a directory for what the run leaves behind.
        timeout: seconds; a run that takes longer is told to end.
    """
    evidence.mkdir(parents=True, exist_ok=True)
    report = evidence / "junit.xml"
    for left in (report, evidence / "run.json"):
        left.unlink(missing_ok=True)
    command = [python, "-m", "pytest", *(f"{SUITE}/{test}" for test in tests), "-x", *arguments(plan)]
    command += [f"--evidence={evidence}", f"--junitxml={report}"]
    # A session of its own, so that Ctrl-C reaches us alone, and we tell it to end in order.
    process = subprocess.Popen(
        command,
        cwd=plan.checkout,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        return Outcome(trouble=f"the tests were still running after {timeout:.0f} s")
    except BaseException:
        _end(process)
        raise
    (evidence / "pytest.txt").write_text(said)
    return read_outcome(report, said, _failed_at(evidence / "run.json"))


def read_outcome(report: Path, said: str, at: float | None = None) -> Outcome:
    """What a run of pytest said, by its JUnit report and what it printed.

    Args:
        at: when it failed, if it did and that is known.
    """
    if found := re.search(r"Exit: error: (.*?) !+\s*$", said, re.MULTILINE | re.DOTALL):
        return Outcome(boot=Failure(BOOT, found[1], at))
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        return Outcome(trouble=f"pytest left no report: {error}{tail(said)}")
    if not cases:
        return Outcome(trouble=f"no test ran{tail(said)}")
    failures, skipped, passed = [], "", 0
    for case in cases:
        broken = [each for kind in ("failure", "error") for each in case.findall(kind)]
        reason = case.find("skipped")
        if broken:
            failures.append(Failure(_name_of(case), _message_of(broken[0]), at))
        elif reason is not None:
            skipped = skipped or reason.get("message", "")
        else:
            passed += 1
    return Outcome(tuple(failures), passed, skipped)


def _failed_at(file: Path) -> float | None:
    """When the test failed that ended a run, or its deployment, as time.time(): what is written of it comes after."""
    try:
        run = read_record(file)
    except RecordError:
        return None
    ends = [part.end for case in run.of(Status.BROKEN) for part in case.parts if part.name != "teardown"]
    ends += [] if run.booted else [boot.end for boot in run.boots[-1:]]
    return max(ends, default=None)


def _name_of(case: ElementTree.Element) -> str:
    """The test as harness.suite names it, from JUnit's `tests.e2e.test_file.Class`, `test_function[parameters]`."""
    *_, file, classes = re.split(r"(?:^|\.)(test_\w+)", case.get("classname", ""))
    return "::".join([f"{file}.py", *filter(None, classes.split(".")), function_of(case.get("name", ""))])


def _message_of(broken: ElementTree.Element) -> str:
    """What a test said, without the name of its exception and without what pytest adds to an assertion's own words."""
    message = broken.get("message", "")
    if found := re.match(r'failed on (?:setup|teardown) with "(.*)"$', message, re.DOTALL):
        message = found[1]
    message = re.sub(r"^(?:[\w.]*\.)?(?:\w*(?:Error|Exception)|Failed): ", "", message)
    return message.partition("\nassert ")[0].replace("\n  ", "\n")


def _end(process: subprocess.Popen[str]) -> None:
    """Have a pytest clean up and end, then end what is left of it."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=ENDING_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
