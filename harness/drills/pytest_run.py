"""The tests of a drill, run in a pytest of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from harness.base.shell import environment, tail
from harness.base.timeline import BOOT
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.model import Drill
from harness.drills.promise_index import SUITE, function_of
from harness.plan.plan import Plan
from harness.plan.sources.ol_infrastructure import NO_STACK
from harness.program.model import STACKS
from harness.report.outcomes import Status
from harness.report.run_record import RecordError, read_record

SHORTENED = "full report in element text]"
"""End of a message that pytest has shortened for JUnit: the cause may stand in its last line."""
REMARK = "remark"
"""Name of the property by which a test that passes remarks on something."""
EVIDENCE = "drills"
"""Directory of the drills in the evidence of a run."""
ENDING_TIMEOUT = 120.0
"""Seconds for a pytest to clean up after SIGTERM."""
NOT_PASSED_ON = {
    "base": "a drill is a change of its own, and what a branch changes is not its subject",
}
"""Options that a pytest of a drill does not get, each with the reason."""


def pytest_options(plan: Plan) -> list[str]:
    """Return the options by which another pytest runs on the deployment that a plan keeps, and as strictly.

    What the environment and the ini file have counts there too, so each option is given, even with its default.
    """
    given = {
        "chart": [plan.chart],
        "spawner": [str(plan.spawner)],
        "values": list(map(str, plan.values)),
        "authoring-values": list(map(str, plan.authoring_values)),
        "gate": [str(plan.gate)] if plan.gate else [],
        **_theirs(plan),
        "artifacts": [plan.artifacts],
        "kubernetes": [plan.kubernetes],
        "course": [f"{tag}={source}" for tag, source in plan.course_sources.items()],
        "mirror": [f"{name}={place}" for name, place in plan.mirrors.items()],
        "cell-timeout": [f"{plan.cell_timeout:.0f}"],
        "run-timeout": [f"{plan.run_timeout:.0f}"],
        "monitoring": [plan.monitoring],
        "install": ["auto" if plan.may_install else "never"],
        "hub-port": [str(plan.hub_port)],
        "authoring-port": [str(plan.authoring_port)],
        "evidence": [str(plan.evidence)],
    }
    options = [f"--{name}={value}" for name, values in given.items() for value in values]
    return ["--keep-cluster", f"--cluster-name={plan.name}", *options]


def _theirs(plan: Plan) -> dict[str, list[str]]:
    """Return the options of a checkout of the owners, whose values are among the plan's files already."""
    theirs = [str(plan.ol_infrastructure.checkout)] if plan.ol_infrastructure else []
    return {"ol-infrastructure": theirs, "stack": [NO_STACK if theirs else STACKS[-1]]}


def evidence_directory(plan: Plan, drill: Drill) -> Path:
    """Return the directory for the evidence of a drill's tests."""
    return plan.evidence / EVIDENCE / re.sub(r"\W+", "-", f"{drill.subject} {drill.name}").strip("-")


def run_tests(
    plan: Plan, tests: Sequence[str], evidence: Path, timeout: float, python: str | Path = sys.executable
) -> SuiteRun:
    """Run tests as a person would, up to the first failure, on a kept deployment that this brings up to date first.

    Args:
        tests: as `promise_index` names them.
        evidence: directory for the evidence of the run.
        timeout: seconds, after which the run gets SIGTERM.
    """
    evidence.mkdir(parents=True, exist_ok=True)
    report = evidence / "junit.xml"
    for left in (report, evidence / "run.json"):
        left.unlink(missing_ok=True)
    options = pytest_options(dataclasses.replace(plan, evidence=evidence))
    command = [python, "-m", "pytest", *(f"{SUITE}/{test}" for test in tests), "-x", *options, f"--junitxml={report}"]
    # A program drill's copy of a checkout lies in this one, and has no history of its own to be compared with.
    apart = environment(GIT_CEILING_DIRECTORIES=str(plan.state), HARNESS_BASE="")
    # A session of its own, so that Ctrl-C reaches this process alone, which then ends the other in order.
    process = subprocess.Popen(
        command,
        cwd=plan.checkout,
        env=apart,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _end(process)
        return SuiteRun(trouble=f"the tests were still running after {timeout:.0f} s")
    except BaseException:
        _end(process)
        raise
    (evidence / "pytest.txt").write_text(output)
    return read_suite_run(report, output, _failed_at(evidence / "run.json"))


def read_suite_run(report: Path, output: str, at: float | None = None) -> SuiteRun:
    """Read the outcome of a run of pytest from its JUnit report and its output.

    Args:
        at: when it failed, if it did and that is known.
    """
    if found := re.search(r"Exit: error: (.*?) !+\s*$", output, re.MULTILINE | re.DOTALL):
        return SuiteRun(boot=SuiteFailure(BOOT, found[1], at))
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        return SuiteRun(trouble=f"pytest left no report: {error}{tail(output)}")
    if not cases:
        return SuiteRun(trouble=f"no test ran{tail(output)}")
    failures, skipped, passed = [], "", 0
    remarks = [each.get("value", "") for each in cases for each in each.iter("property") if each.get("name") == REMARK]
    for case in cases:
        broken = [each for kind in ("failure", "error") for each in case.findall(kind)]
        reason = case.find("skipped")
        if broken:
            failures.append(SuiteFailure(_name_of(case), _message_of(broken[0]), at))
        elif reason is not None:
            skipped = skipped or reason.get("message", "")
        else:
            passed += 1
    return SuiteRun(tuple(failures), passed, skipped, remarks=tuple(remarks))


def _failed_at(file: Path) -> float | None:
    """Return when the test that ended a run failed, or its deployment, as time.time(); evidence is written later."""
    try:
        run = read_record(file)
    except RecordError:
        return None
    ends = [part.end for case in run.of(Status.BROKEN) for part in case.parts if part.name != "teardown"]
    ends += [] if run.booted else [boot.end for boot in run.boots[-1:]]
    return max(ends, default=None)


def _name_of(case: ElementTree.Element) -> str:
    """Return a test as `promise_index` names it, from JUnit's `tests.e2e.test_file.Class`, `test_function[a]`."""
    *_, file, classes = re.split(r"(?:^|\.)(test_\w+)", case.get("classname", ""))
    return "::".join([f"{file}.py", *filter(None, classes.split(".")), function_of(case.get("name", ""))])


def _message_of(broken: ElementTree.Element) -> str:
    """Return a test's message without the name of its exception, and without pytest's own lines on the assertion."""
    message = broken.get("message", "")
    if SHORTENED in message[-50:]:
        message = _whole_message(broken.text or "")
    if found := re.match(r'failed on (?:setup|teardown) with "(.*)"$', message, re.DOTALL):
        message = found[1]
    message = re.sub(r"^(?:[\w.]*\.)?(?:\w*(?:Error|Exception)|Failed): ", "", message)
    return message.partition("\nassert ")[0].replace("\n  ", "\n")


def _whole_message(report: str) -> str:
    """Return a failure's whole message from pytest's report on it; without a traceback the report is the message."""
    last = re.split(r"^(?:.* another exception occurred|.* direct cause .*):\n+", report, flags=re.MULTILINE)[-1]
    blocks = re.findall(r"(?:^E(?: {3}.*)?\n?)+", last, re.MULTILINE)
    return re.sub(r"^E {0,3}", "", blocks[-1], flags=re.MULTILINE).rstrip() if blocks else last


def _end(process: subprocess.Popen[str]) -> None:
    """End a pytest so that it cleans up, and then the processes that it leaves."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=ENDING_TIMEOUT)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
