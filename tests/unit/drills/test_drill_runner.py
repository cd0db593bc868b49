"""The runner of drills: what it makes of what the suite says, and how it goes from one drill to the next."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.base.errors import HarnessError
from harness.base.intervals import Span
from harness.base.progress import Steps
from harness.base.timeline import BOOT
from harness.charts.chart import Release
from harness.deployment import boot, state, teardown
from harness.drills import live_stage, run
from harness.drills import report as drill_report
from harness.drills.judge import CHEAP, Failure, Outcome, judge
from harness.drills.live_stage import LiveStage, comparable
from harness.drills.model import DoesNotApplyError, Drill, RefusedError, Replacement, ValueChanges
from harness.drills.promise_index import FIRST_TEST, Layer, Promise, promises
from harness.drills.pytest_run import read_outcome, run_tests
from harness.drills.results import Result, Results, Verdict, merge_results, read_results
from harness.drills.run import one, run_all
from harness.plan.hubs import HUBS, STUDENT
from harness.plan.options import OPTIONS
from harness.plan.plan import Plan, make_plan
from harness.report.outcomes import Case, Status
from harness.report.run_record import Record
from tests.unit import fakes

CHECKOUT = Path(__file__).resolve().parents[3]
RENDERED = Promise("test_a.py::test_values", "The values are right.", Layer.RENDERED, slow=False)
NAMED = Promise("test_a.py::test_link", "The link opens.", Layer.ASKED, slow=False)
OTHER = Promise("test_b.py::test_class", "A class works.", Layer.LIVE, slow=False)
CULLED = Promise("test_c.py::test_culled", "Nothing is left.", Layer.LIVE, slow=True)
SUITE = {promise.test: promise for promise in (CULLED, OTHER, NAMED, RENDERED)}
REGRESSION = Drill("links open nothing", Path("links.yaml"), 3, "student", (NAMED.test,), written="1")
VALID = Drill("more memory", Path("valid.yaml"), 1, valid="it is more", tries=(OTHER.test,), written="2")
PASSED = Outcome(passed=1)


def failed(test: str, message: str = "course a opened b") -> Outcome:
    return Outcome((Failure(test, message),))


@pytest.fixture
def steps() -> Steps:
    return Steps(Console())


class Suite:
    """Runs of tests that end as they are told to, one after the other."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.runs: list[list[str]] = []

    def __call__(self, tests: Sequence[str], timeout: float) -> Outcome:
        self.runs.append(list(tests))
        return self.outcomes[len(self.runs) - 1]


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
        found = judge(REGRESSION, Suite(Outcome(skipped="no checkout")), SUITE)
        assert (found.verdict, found.message) == (Verdict.NOT_HERE, "not checked here: no checkout")

    def test_tests_with_parameters_are_one_promise(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(f"{NAMED.test}[a]",))
        suite = Suite(PASSED, PASSED)
        judge(drill, suite, SUITE)
        assert suite.runs == [[f"{NAMED.test}[a]"], [RENDERED.test]]

    def test_a_run_that_tells_nothing_is_no_survivor(self) -> None:
        found = judge(REGRESSION, Suite(Outcome(trouble="no test ran")), SUITE)
        assert (found.verdict, found.message) == (Verdict.ERROR, "no test ran")
        assert judge(REGRESSION, Suite(PASSED, Outcome(trouble="late")), SUITE).verdict is Verdict.ERROR

    @pytest.mark.parametrize(
        ("caught_by", "verdict"), [((BOOT,), Verdict.CAUGHT), ((NAMED.test,), Verdict.ELSEWHERE)], ids=str
    )
    def test_a_boot_that_fails(self, caught_by: tuple[str, ...], verdict: Verdict) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=caught_by)
        found = judge(drill, Suite(Outcome(boot=Failure(BOOT, "the hub crashed"))), SUITE)
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
        "said", [failed(OTHER.test), Outcome(boot=Failure(BOOT, "the hub crashed"))], ids=["test", "boot"]
    )
    def test_an_alarm(self, said: Outcome) -> None:
        assert judge(VALID, Suite(said), SUITE).verdict is Verdict.ALARM

    def test_what_is_asked_of_valid_changes_is_there(self) -> None:
        assert set(CHEAP) <= set(promises(CHECKOUT))


class FakeStage:
    """A deployment in which a drill can be planted, or cannot."""

    system = "a chart"
    ours = False

    def __init__(self, error: HarnessError | None = None, run: Suite | None = None) -> None:
        self.error, self.run = error, run
        self.done: list[str] = []

    def fingerprint_of(self, drill: Drill) -> str:
        return f"print {drill.written}"

    def plant(self, drill: Drill) -> Suite:
        self.done.append(drill.name)
        if self.error:
            raise self.error
        return self.run or Suite(failed(NAMED.test) if drill.hurts else PASSED)

    def restore(self) -> None:
        self.done.append("restored")


class TestOne:
    def test_result(self) -> None:
        found = one(REGRESSION, FakeStage(), SUITE)
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
        found = one(REGRESSION, FakeStage(error), SUITE)
        assert found.verdict is verdict
        assert str(error) in found.message

    def test_what_does_not_apply_to_our_own_deployment(self) -> None:
        stage = FakeStage(DoesNotApplyError("there is no such list"))
        stage.ours = True
        found = one(REGRESSION, stage, SUITE)
        assert found.verdict is Verdict.ERROR
        assert found.message == "it does not apply to our own deployment: there is no such list"

    def test_a_change_that_is_to_be_refused(self) -> None:
        drill = dataclasses.replace(REGRESSION, caught_by=(BOOT,))
        assert one(drill, FakeStage(RefusedError("no")), SUITE).verdict is Verdict.CAUGHT


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


JUNIT = """<testsuites><testsuite>
<testcase classname="tests.e2e.test_culler" name="test_a[x y]"/>
<testcase classname="tests.e2e.test_culler" name="test_b"><skipped message="no checkout">s</skipped></testcase>
<testcase classname="tests.e2e.test_authoring_workflow.TestMistakes" name="test_c[q[1]]">
<failure message="AssertionError: course x opened y&#10;  and more&#10;assert 3 == 4">long</failure></testcase>
<testcase classname="tests.e2e.test_culler" name="test_d">
<error message="failed on setup with &quot;harness.errors.HarnessError: the culler does not run&quot;">long</error>
</testcase>
<testcase classname="tests.e2e.test_culler" name="test_e"><failure message="Failed: course z">long</failure></testcase>
</testsuite></testsuites>"""


def test_seconds_end_with_the_failure() -> None:
    failure = Failure(NAMED.test, "course a", time.time() - 1000)
    found = one(REGRESSION, FakeStage(run=Suite(Outcome((failure,)))), SUITE)
    assert -1001 < found.seconds < -990


class TestOutcome:
    def test_of_a_report(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        file.write_text(JUNIT)
        found = read_outcome(file, "")
        assert (found.passed, found.skipped) == (1, "no checkout")
        assert found.failures == (
            Failure("test_authoring_workflow.py::TestMistakes::test_c", "course x opened y\nand more"),
            Failure("test_culler.py::test_d", "the culler does not run"),
            Failure("test_culler.py::test_e", "course z"),
        )

    def test_of_a_boot_that_failed(self, tmp_path: Path) -> None:
        said = "no tests ran in 8s\n!!! _pytest.outcomes.Exit: error: pods of jupyter\n  | KeyError: 'A' !!!\n"
        assert read_outcome(tmp_path / "none.xml", said).boot == Failure(BOOT, "pods of jupyter\n  | KeyError: 'A'")

    def test_of_nothing(self, tmp_path: Path) -> None:
        file = tmp_path / "junit.xml"
        assert "left no report" in read_outcome(file, "ERROR: not found").trouble
        file.write_text("<testsuites/>")
        assert read_outcome(file, "ERROR: not found").trouble == "no test ran\n  | ERROR: not found"


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    given = {option.name: [option.default] if option.default else [] for option in OPTIONS}
    made = make_plan(given, checkout=CHECKOUT, cwd=tmp_path, environ=os.environ, cluster_name="jh-1")
    return dataclasses.replace(made, checkout=tmp_path)


BROKEN = Case("it works", "", Status.BROKEN, parts=(Span(1, 5, "setup"), Span(5, 7, "call"), Span(9, 10, "teardown")))
REPORT = r'for it; do case "$it" in --junitxml=*) echo "<t><testcase/></t>" >"${it#*=}";; esac; done'


class TestRunning:
    def test_as_a_person_would(self, plan: Plan, tmp_path: Path) -> None:
        python = fakes.Program(tmp_path, "python", 'case "$3" in *test_a*) %s;; esac' % REPORT)  # noqa: UP031
        found = run_tests(plan, ["test_a.py::test_b"], tmp_path / "it", 60, python.path)
        assert found == Outcome(passed=1)
        [call] = python.calls
        assert call.startswith("-m pytest tests/e2e/test_a.py::test_b -x --keep-cluster --cluster-name jh-1 --chart")
        assert f"--spawner {plan.spawner}" in call
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


class FakeRegistry:
    """Course images by tag; an image's digest is the name of its layout."""

    def __init__(self, **images: str) -> None:
        self.images = images

    def tags(self) -> set[str]:
        return set(self.images)

    def digest(self, tag: str) -> str:
        return self.images[tag]

    def push(self, layout: str, repository: str, tag: str) -> None:
        self.images[tag] = layout

    def remove(self, tag: str) -> None:
        del self.images[tag]


class FakeHelm:
    """Renders and installs what the values say, and refuses a value that is called refused."""

    def __init__(self) -> None:
        self.objects = [manifest_of("password", digest="one")]
        self.rendered: list[str] = []

    def template(self, chart: Any, release: Release) -> list[dict[str, Any]]:
        self.rendered.append(release.name)
        values = [json.loads(file.read_text()) for file in release.values if file.suffix == ".yaml" and _json(file)]
        if any("refused" in each for each in values):
            raise HarnessError("values rejected")
        spawner = [file.read_text() for file in release.set_files.values()]
        return [{"kind": "ConfigMap", "values": values, "spawner": spawner}]

    def installed(self, release: Release) -> list[dict[str, Any]]:
        return self.objects


def manifest_of(secret: str, *, digest: str) -> dict[str, Any]:
    return {
        "kind": "Secret",
        "metadata": {"annotations": {"checksum/secret": digest}},
        "data": {"hub.config.a": secret},
    }


def _json(file: Path) -> bool:
    return file.read_text().startswith("{")


class TestStage:
    """The deployment that drills are planted in, with nothing real behind it."""

    @pytest.fixture
    def live(self, plan: Plan, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> LiveStage:
        planned = dataclasses.replace(plan, checkout=CHECKOUT, state=plan.checkout / "state")
        running: Any = SimpleNamespace(
            chart=SimpleNamespace(path=CHECKOUT / "helm/jupyterhub", version="1", origin="built-in"),
            helm=FakeHelm(),
            registry=FakeRegistry(a="image of a", b="image of b"),
            releases={role: SimpleNamespace(name=role.release) for role in HUBS},
            course_image=lambda tag: f"image of {tag}",
            builder=None,
            cluster=None,
            student=SimpleNamespace(users=dict),
            authoring=SimpleNamespace(users=dict),
        )
        self.boots: list[Plan] = []

        known = state.State(planned.state / state.STATE)

        def booted(plan: Plan, steps: Steps, prepared: object) -> Any:
            assert prepared == "prepared"
            self.boots.append(plan)
            if not state.State(planned.state / state.STATE).get("images"):
                running.registry.images |= {"a": "image of a", "b": "image of b"}
            known.set("images", "pushed")
            return running

        monkeypatch.setattr(boot, "prepare", lambda plan, steps: "prepared")
        monkeypatch.setattr(boot, "boot", booted)
        monkeypatch.setattr(teardown, "remove", lambda plan, steps: setattr(running, "helm", FakeHelm()))
        planned.state.mkdir()
        made = LiveStage(planned, steps)
        made.boot()
        return made

    def drill(self, **changes: Any) -> Drill:
        return dataclasses.replace(REGRESSION, **changes)

    def test_a_change_of_values_is_what_the_tests_run_on(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = live.plant(self.drill(values={STUDENT: ValueChanges({"cull.every": 5})}))
        plans: list[Plan] = []

        def run_tests(plan: Plan, *_: object) -> Outcome:
            plans.append(plan)
            return PASSED

        monkeypatch.setattr(live_stage, "run_tests", run_tests)
        assert run(["a"], 1) is PASSED
        assert json.loads(plans[0].values[0].read_text())["cull"]["every"] == 5

    def test_a_change_that_changes_nothing(self, live: LiveStage) -> None:
        with pytest.raises(HarnessError, match="it leaves the system as it was"):
            live.plant(self.drill(moved_tags={"a": "a"}))

    def test_only_what_the_change_may_touch_is_rendered(self, live: LiveStage) -> None:
        helm: Any = live.running.helm
        helm.rendered.clear()
        live.plant(self.drill(values={STUDENT: ValueChanges({"cull.every": 5})}))
        assert helm.rendered == [STUDENT.release]
        live.plant(self.drill(spawner=(Replacement(('"expires_days": 1',), ('"expires_days": 9',)),)))
        assert helm.rendered == [STUDENT.release], "the text of a spawner is in each release as it is"
        with pytest.raises(HarnessError, match="it leaves the system as it was"):
            live.plant(self.drill(spawner=(Replacement(('"expires_days": 1',), ('"expires_days": 1',)),)))

    def test_a_change_that_the_chart_refuses(self, live: LiveStage) -> None:
        with pytest.raises(RefusedError, match="values rejected"):
            live.plant(self.drill(values={STUDENT: ValueChanges({"refused": 1})}))

    def test_whose_it_is(self, live: LiveStage, tmp_path: Path) -> None:
        assert live.ours
        live.plan = dataclasses.replace(live.plan, spawner=tmp_path / "spawner.py")
        assert not live.ours

    def test_images_come_and_go_and_are_brought_back(self, live: LiveStage) -> None:
        registry: Any = live.running.registry
        live.plant(self.drill(deleted_tags=("a",), moved_tags={"b": "a"}))
        assert registry.images == {"b": "image of a"}
        # What a drill's values name is pushed by the boot.
        registry.images["new"] = "image of new"
        live.restore()
        assert registry.images == {"a": "image of a", "b": "image of b"}
        assert self.boots[-1] == live.plan
        with pytest.raises(DoesNotApplyError, match="no image c"):
            live.plant(self.drill(deleted_tags=("c",)))

    def test_what_cannot_be_brought_back_is_made_anew(self, live: LiveStage) -> None:
        helm: Any = live.running.helm
        helm.objects = [manifest_of("another password", digest="one")]
        live.restore()
        assert len(self.boots) == 3

    def test_a_run_that_is_told_to_end_makes_nothing_anew(
        self, live: LiveStage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        helm: Any = live.running.helm
        helm.objects = [manifest_of("another password", digest="one")]
        monkeypatch.setattr(teardown, "remove", lambda plan, steps: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(KeyboardInterrupt):
            live.restore()
        assert len(self.boots) == 2

    def test_another_digest_of_the_same_is_no_difference(self, live: LiveStage) -> None:
        helm: Any = live.running.helm
        helm.objects = [manifest_of("password", digest="another")]
        live.restore()
        assert len(self.boots) == 2


class TestComparable:
    def test_what_is_random_does_not_count(self) -> None:
        def objects(random: str, value: str) -> list[dict[str, Any]]:
            return [
                {"kind": "Secret", "data": {"hub.config.JupyterHub.cookie_secret": random, "values.yaml": value}},
                {"kind": "Deployment", "spec": [{"annotations": {"checksum/secret": random}}]},
            ]

        assert comparable(objects("a", "b")) == comparable(objects("c", "b"))
        assert comparable(objects("a", "b")) != comparable(objects("a", "c"))


def result(verdict: Verdict, **about: Any) -> Result:
    made = Result("links open nothing", "links", "student", (NAMED.test,), verdict, seconds=12.0)
    return dataclasses.replace(made, **about)


FOUND = Results(
    "a chart",
    (
        result(Verdict.CAUGHT, test=NAMED.test, layer="asked", message="course a opened <b>"),
        result(Verdict.ELSEWHERE, drill="cells do not run", test=OTHER.test, layer="live", message="no kernel"),
        result(Verdict.SURVIVED, drill="nobody saves", hurts="author", message="wanted: Authors save"),
        result(Verdict.QUIET, drill="more memory", hurts="", expected=(OTHER.test,)),
        result(Verdict.ALARM, drill="less noise", hurts="", test=OTHER.test, message="a log"),
        result(Verdict.NOT_HERE, drill="hooks", message="no hook puller"),
    ),
)


class TestReport:
    def test_lines(self) -> None:
        said = drill_report.lines(FOUND, SUITE)
        assert said[-1] == "1 of 3 regressions caught, 1 of 2 valid changes without an alarm"
        text = "\n".join(said)
        assert re.search(r"SURVIVED +An author: nobody saves\n    wanted: Authors save", text)
        assert re.search(r"CAUGHT ELSEWHERE +A student: cells do not run \[test_b.py::test_class\]", text)
        assert re.search(r"FALSE ALARM +less noise", text)
        assert "1 by what is asked, median 12 s" in text

    def test_promises_that_no_drill_needs(self) -> None:
        assert drill_report.redundant(FOUND.results, SUITE) == [CULLED, RENDERED]

    def test_page(self, tmp_path: Path) -> None:
        drill_report.write(FOUND, SUITE, tmp_path)
        page = (tmp_path / "drills.html").read_text()
        assert "1 of 3 regressions caught" in page
        assert "course a opened &lt;b&gt;" in page
        assert page.count('class="cell caught"') == 1
        assert page.count('class="cell elsewhere"') == 1
        assert page.count('class="cell missed"') == 2
        assert "Nothing is left." in page
        assert (tmp_path / "drills.txt").exists()

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        drill_report.write(Results("a chart", ()), SUITE, tmp_path)
        assert "0 of 0 regressions caught" in (tmp_path / "drills.txt").read_text()


class TestResults:
    def test_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        FOUND.write(tmp_path / "deep" / "drills.json")
        assert read_results(tmp_path / "deep" / "drills.json") == FOUND

    @pytest.mark.parametrize("text", ["", "{}", '{"system": "a", "results": [{"drill": "a"}]}'])
    def test_that_are_none(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "drills.json"
        file.write_text(text)
        with pytest.raises(HarnessError, match="expected the results of drills"):
            read_results(file)

    def test_of_several_shards(self) -> None:
        first = Results("a chart", (result(Verdict.SURVIVED), result(Verdict.QUIET, drill="x")))
        again = Results("a chart", (result(Verdict.CAUGHT),))
        found = merge_results([first, again])
        assert [each.verdict for each in found.results] == [Verdict.CAUGHT, Verdict.QUIET]
        assert found.system == "a chart"

    def test_a_report_of_earlier_runs(self, plan: Plan, tmp_path: Path, steps: Steps) -> None:
        FOUND.write(tmp_path / "one.json")
        with pytest.raises(HarnessError, match="3 of 6 drills did not end as they must"):
            run.report_again([tmp_path / "one.json"], plan, steps)
        assert (plan.evidence / "drills.html").exists()
