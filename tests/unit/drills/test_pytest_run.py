"""A pytest of its own for the tests of a drill: its options, its end and its outcome."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.intervals import Span
from harness.base.timeline import BOOT
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.pytest_run import NOT_PASSED_ON, pytest_options, read_suite_run, run_tests
from harness.plan.options import OPTIONS
from harness.plan.plan import Plan, make_plan
from harness.report.outcomes import Case, Status
from harness.report.run_record import Record
from tests.unit import fakes
from tests.unit.drills.examples import (
    CHECKOUT,
)

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.e2e.test_culler" name="test_a[x y]"><properties><property name="promise" value="a works"/>
<property name="remark" value="it is slow"/></properties></testcase>
<testcase classname="tests.e2e.test_culler" name="test_b"><skipped message="no checkout">s</skipped></testcase>
<testcase classname="tests.e2e.test_authoring_workflow.TestMistakes" name="test_c[q[1]]">
<failure message="AssertionError: course x opened y&#10;  and more&#10;assert 3 == 4">long</failure></testcase>
<testcase classname="tests.e2e.test_culler" name="test_d">
<error message="failed on setup with &quot;harness.errors.HarnessError: the culler does not run&quot;">long</error>
</testcase>
<testcase classname="tests.e2e.test_culler" name="test_e"><failure message="Failed: course z">long</failure></testcase>
</testsuite></testsuites>"""
LONG_MESSAGES = """
import pytest
TEXT = "\\n".join(["the server did not come up", "a long line of a log " * 30, "", "PostStartHook failed"])

def error(): raise ValueError(TEXT)
def failed(): pytest.fail(TEXT)
def shown_without_its_place(): pytest.fail(TEXT, pytrace=False)
def asserted(): assert not TEXT, TEXT

WAYS = (error, failed, shown_without_its_place, asserted)

@pytest.fixture
def ready(request): request.param()

@pytest.mark.parametrize("ready", WAYS, indirect=True)
def test_a_fixture(ready): pass

@pytest.mark.parametrize("fail", WAYS)
def test_after_another_error(fail):
    try:
        1 / 0
    except ZeroDivisionError:
        fail()
"""


class TestRead:
    def test_of_a_report(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        file.write_text(JUNIT)
        found = read_suite_run(file, "")
        assert (found.passed, found.skipped, found.remarks) == (1, "no checkout", ("it is slow",))
        assert found.failures == (
            SuiteFailure("test_authoring_workflow.py::TestMistakes::test_c", "course x opened y\nand more"),
            SuiteFailure("test_culler.py::test_d", "the culler does not run"),
            SuiteFailure("test_culler.py::test_e", "course z"),
        )

    def test_long_messages_are_whole(self, tmp_path: Path) -> None:
        """pytest shortens messages in its JUnit report, and the cause is often the last line."""
        (tmp_path / "test_a.py").write_text(LONG_MESSAGES)
        report = tmp_path / "junit.xml"
        command = [sys.executable, "-m", "pytest", "--tb=short", "-c", os.devnull, f"--rootdir={tmp_path}", "test_a.py"]
        subprocess.run([*command, f"--junitxml={report}"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
        found = read_suite_run(report, "").failures
        assert len(found) == 8
        for failure in found:
            first, *_, last = failure.message.splitlines()
            assert (first, last) == ("the server did not come up", "PostStartHook failed"), failure

    def test_of_a_boot_that_failed(self, tmp_path: Path) -> None:
        output = "no tests ran in 8s\n!!! _pytest.outcomes.Exit: error: pods of jupyter\n  | KeyError: 'A' !!!\n"
        assert read_suite_run(tmp_path / "none.xml", output).boot == SuiteFailure(
            BOOT, "pods of jupyter\n  | KeyError: 'A'"
        )

    def test_of_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        assert "left no report" in read_suite_run(file, "ERROR: not found").trouble
        file.write_text("<testsuites/>")
        assert read_suite_run(file, "ERROR: not found").trouble == "no test ran\n  | ERROR: not found"


BROKEN = Case("it works", "", Status.BROKEN, parts=(Span(1, 5, "setup"), Span(5, 7, "call"), Span(9, 10, "teardown")))
REPORT = r'for it; do case "$it" in --junitxml=*) echo "<t><testcase/></t>" >"${it#*=}";; esac; done'


class TestOptions:
    """A pytest of a drill decides as the run of drills itself does."""

    @pytest.fixture
    def given(self, tmp_path: Path) -> dict[str, list[str]]:
        """A value for each option that is not its default."""
        values = [tmp_path / name for name in ("one.yaml", "two.yaml", "three.yaml")]
        for file in values:
            file.write_text("a: 1")
        spawner = tmp_path / "spawner.py"
        spawner.write_text("a = 1")
        return {
            "chart": ["4.0.0"],
            "spawner": [str(spawner)],
            "values": [str(file) for file in values[:2]],
            "authoring-values": [str(values[2])],
            "gate": [str(values[2])],
            "ol-infrastructure": [],
            "artifacts": ["pull"],
            "kubernetes": ["1.31.0"],
            "mirror": ["docker.io=here", "charts=there"],
            "course": [f"trees.1={tmp_path}"],
            "cell-timeout": ["7"],
            "run-timeout": ["8"],
            "monitoring": ["required"],
            "install": ["never"],
            "hub-port": ["9000"],
            "authoring-port": ["9001"],
            "evidence": [str(tmp_path / "evidence")],
        }

    def plan_of(self, given: dict[str, list[str]], cwd: Path) -> Plan:
        return make_plan(given, checkout=CHECKOUT, cwd=cwd, environ={}, keep=True, cluster_name="jh-1")

    def test_every_option_is_passed_on(self, given: dict[str, list[str]], tmp_path: Path) -> None:
        plan = self.plan_of(given, tmp_path)
        theirs: Any = SimpleNamespace(checkout=tmp_path, stack="QA")
        passed = {
            each.partition("=")[0] for each in pytest_options(dataclasses.replace(plan, ol_infrastructure=theirs))
        }
        missing = [option.name for option in OPTIONS if option.flag not in passed and option.name not in NOT_PASSED_ON]
        assert not missing, f"neither passed on nor listed with a reason: {missing}"
        assert set(NOT_PASSED_ON) <= {option.name for option in OPTIONS}

    def test_they_make_the_same_plan(self, given: dict[str, list[str]], tmp_path: Path) -> None:
        plan = self.plan_of(given, tmp_path)
        default = {option.name: [option.default] for option in OPTIONS if option.default}
        assert all(given[name] != default.get(name) for name in given if name != "ol-infrastructure")
        pairs = [each.removeprefix("--").partition("=") for each in pytest_options(plan)]
        again = {option.name: [value for name, _, value in pairs if name == option.name] for option in OPTIONS}
        assert self.plan_of(again, Path("/")) == plan


class TestRunning:
    def test_as_a_person_would(self, plan: Plan, tmp_path: Path) -> None:
        python = fakes.Program(tmp_path, "python", f'case "$3" in *test_a*) {REPORT};; esac')
        found = run_tests(plan, ["test_a.py::test_b"], tmp_path / "it", 60, python.path)
        assert found == SuiteRun(passed=1)
        [call] = python.calls
        assert call.startswith("-m pytest tests/e2e/test_a.py::test_b -x --keep-cluster --cluster-name=jh-1 --chart=")
        assert f"--spawner={plan.spawner}" in call
        assert f"--values={plan.values[0]}" in call
        assert f"--evidence={tmp_path / 'it'}" in call

    @pytest.mark.parametrize(
        ("record", "at"),
        [
            (Record(cases=[BROKEN, dataclasses.replace(BROKEN, status=Status.KEPT)], booted=True), 7.0),
            (Record(boots=[Span(1, 4), Span(5, 9)]), 9.0),
            (Record(booted=True), None),
        ],
        ids=["test", "boot", "nothing failed"],
    )
    def test_when_it_failed_is_known(self, plan: Plan, tmp_path: Path, record: Record, at: float | None) -> None:
        (tmp_path / "record").write_text(record.to_json())
        junit = '<t><testcase classname="test_a" name="test_b"><failure message="x"/></testcase></t>'
        script = f"cp {tmp_path / 'record'} {tmp_path / 'it/run.json'}; echo '{junit}' >{tmp_path / 'it/junit.xml'}"
        python = fakes.Program(tmp_path, "python", script)
        [failure] = run_tests(plan, ["a"], tmp_path / "it", 60, python.path).failures
        assert failure.at == at

    def test_what_takes_too_long_is_told_to_end_and_does_so_in_order(self, plan: Plan, tmp_path: Path) -> None:
        script = "trap 'echo cleaned >>$calls; exit 1' TERM; while :; do sleep 0.05; done"
        python = fakes.Program(tmp_path, "python", script)
        found = run_tests(plan, ["a"], tmp_path / "it", 0.5, python.path)
        assert found.trouble == "the tests were still running after 0 s"
        assert python.calls[-1] == "cleaned"

    def test_the_report_of_a_run_before_is_not_taken_for_this_ones(self, plan: Plan, tmp_path: Path) -> None:
        (tmp_path / "junit.xml").write_text("<t><testcase/></t>")
        python = fakes.Program(tmp_path, "python")
        assert "left no report" in run_tests(plan, ["a"], tmp_path, 60, python.path).trouble
