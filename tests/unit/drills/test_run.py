"""A run of drills: one after the other, each taken back, and written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.timeline import BOOT
from harness.drills import run
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.model import DoesNotApplyError, NoCheckoutError, RefusedError
from harness.drills.results import Result, Results, Verdict, read_results
from harness.drills.run import DrillsRequest, drills, open_stages, report_again, run_all, run_one
from harness.plan.plan import Plan
from tests.unit.drills.examples import (
    FOUND,
    NAMED,
    OF_THE_PROGRAM,
    REGRESSION,
    SUITE,
    VALID,
    FakeStage,
    Suite,
)


class TestOne:
    def test_result(self) -> None:
        found = run_one(REGRESSION, FakeStage(), SUITE)
        assert (found.verdict, found.layer, found.hurts, found.subject) == (Verdict.CAUGHT, "asked", "student", "links")
        assert found.expected == (NAMED.test,)

    @pytest.mark.parametrize(
        ("error", "verdict"),
        [
            (DoesNotApplyError("there is no such list"), Verdict.NOT_HERE),
            (RefusedError("the chart has no hook puller"), Verdict.NOT_HERE),
            (HarnessError("it leaves the system as it was"), Verdict.ERROR),
        ],
        ids=["does not apply", "refused", "changes nothing"],
    )
    def test_a_change_that_is_not_there(self, error: HarnessError, verdict: Verdict) -> None:
        found = run_one(REGRESSION, FakeStage(error), SUITE)
        assert found.verdict is verdict
        assert str(error) in found.message

    def test_what_does_not_apply_to_our_own_deployment(self) -> None:
        stage = FakeStage(DoesNotApplyError("there is no such list"))
        stage.ours = True
        found = run_one(REGRESSION, stage, SUITE)
        assert found.verdict is Verdict.ERROR
        assert found.message == "it does not apply to our own deployment: there is no such list"

    def test_a_drill_of_the_program_without_a_checkout_is_no_fault_of_ours(self) -> None:
        stage = FakeStage(NoCheckoutError("give --ol-infrastructure"))
        stage.ours = True
        found = run_one(OF_THE_PROGRAM, stage, SUITE)
        assert (found.verdict, found.message) == (Verdict.NO_CHECKOUT, "give --ol-infrastructure")

    def test_a_change_that_is_to_be_refused(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(BOOT,))
        assert run_one(drill, FakeStage(RefusedError("no")), SUITE).verdict is Verdict.CAUGHT


class TestAll:
    def test_each_is_taken_back_and_written_down(self, tmp_path: Path, steps: Steps) -> None:
        stage, file = FakeStage(), tmp_path / "drills.json"
        found = run_all([REGRESSION, VALID], stage, SUITE, steps, file)
        assert stage.done == [REGRESSION.name, "restored", VALID.name, "restored"]
        assert read_results(file) == found
        assert [result.verdict for result in found.results] == [Verdict.CAUGHT, Verdict.QUIET]

    def test_what_was_done_before_a_run_ended_early_is_kept(self, tmp_path: Path, steps: Steps) -> None:
        stage, file = FakeStage(), tmp_path / "drills.json"

        def interrupted() -> None:
            raise KeyboardInterrupt

        stage.restore = interrupted  # type: ignore[method-assign]  # a fake
        with pytest.raises(KeyboardInterrupt):
            run_all([REGRESSION, VALID], stage, SUITE, steps, file)
        assert [result.drill for result in read_results(file).results] == [REGRESSION.name]

    def test_only_what_ended_badly_or_has_changed_is_done_again(self, tmp_path: Path, steps: Steps) -> None:
        survived = dataclasses.replace(REGRESSION, name="worse", written="3")
        changed = dataclasses.replace(REGRESSION, name="other", written="5")
        well = Result(REGRESSION.name, "links", "student", (), Verdict.CAUGHT, written="print 1")
        badly = Result("worse", "links", "student", (), Verdict.SURVIVED, written="print 3")
        before = Results("a chart", (well, badly, dataclasses.replace(well, drill="other", written="print 4")))
        stage = FakeStage()
        found = run_all([REGRESSION, survived, changed], stage, SUITE, steps, tmp_path / "drills.json", before)
        assert stage.done == ["worse", "restored", "other", "restored"]
        assert [result.drill for result in found.results] == [REGRESSION.name, "worse", "other"]

    def test_results_of_drills_that_are_not_chosen_are_kept_unless_these_have_changed(
        self, tmp_path: Path, steps: Steps
    ) -> None:
        same, changed = (dataclasses.replace(REGRESSION, name=name, written=name) for name in ("same", "changed"))
        result = Result("same", "links", "student", (), Verdict.SURVIVED, written="print same")
        before = Results("a chart", (result, dataclasses.replace(result, drill="changed", written="print before")))
        stage, file = FakeStage(), tmp_path / "drills.json"
        run_all([REGRESSION], stage, SUITE, steps, file, before, [same, changed])
        assert stage.done == [REGRESSION.name, "restored"]
        assert [each.drill for each in read_results(file).results] == ["same", REGRESSION.name]


class TestStages:
    """Drills of the program are planted in its copy, and all others in the running deployment."""

    @pytest.fixture
    def live(self, monkeypatch: pytest.MonkeyPatch) -> FakeStage:
        """The deployment that a run boots, if it needs one."""
        stage = FakeStage()

        @contextmanager
        def open_stage(*_: object, **__: object) -> Iterator[FakeStage]:
            stage.done.append("booted")
            yield stage

        monkeypatch.setattr(run, "open_stage", open_stage)
        return stage

    def test_drills_of_the_program_alone_boot_nothing(self, live: FakeStage, plan: Plan, steps: Steps) -> None:
        with open_stages([OF_THE_PROGRAM], plan, steps, keep=False) as stage:
            assert stage.system == "no program"
        assert live.done == []

    def test_each_has_its_own(self, live: FakeStage, plan: Plan, steps: Steps, tmp_path: Path) -> None:
        both = [REGRESSION, OF_THE_PROGRAM]
        with open_stages(both, plan, steps, keep=False) as stage:
            found = run_all(both, stage, SUITE, steps, tmp_path / "drills.json")
        assert [result.verdict for result in found.results] == [Verdict.CAUGHT, Verdict.NO_CHECKOUT]
        assert live.done == ["booted", REGRESSION.name, "restored"]


def test_seconds_end_with_the_failure() -> None:
    failure = SuiteFailure(NAMED.test, "course a", time.time() - 1000)
    found = run_one(REGRESSION, FakeStage(run=Suite(SuiteRun((failure,)))), SUITE)
    assert -1001 < found.seconds < -990


def test_a_report_of_earlier_runs(plan: Plan, tmp_path: Path, steps: Steps) -> None:
    FOUND.write(tmp_path / "one.json")
    with pytest.raises(HarnessError, match="3 of 7 drills did not end as they must"):
        report_again([tmp_path / "one.json"], plan, steps)
    assert (plan.evidence / "drills.html").exists()


def test_a_course_leaves_no_test_for_a_drill(plan: Plan, steps: Steps) -> None:
    course: Any = SimpleNamespace(tag="trees.1")
    with pytest.raises(HarnessError, match=r"--course: a drill .* has one of its own\. Run without it"):
        drills(dataclasses.replace(plan, courses=(course,)), steps, DrillsRequest())
