"""`tox -e drills`: plant each drill in a running copy of the deployment, and see what the suite says of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree

import httpx
from rich.console import Console

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.shell import tail
from harness.base.signals import uninterrupted
from harness.charts.chart import Chart, Helm, Manifest, Release
from harness.deployment import deployment
from harness.deployment.deployment import Deployment
from harness.drills import report as drill_report
from harness.drills.drill import (
    DRILLS,
    DoesNotApplyError,
    Drill,
    changed_image,
    check_tests,
    planted,
    read_drills,
    selected,
)
from harness.drills.promise_index import FIRST_TEST, SUITE, Layer, Promise, arguments, function_of, promises
from harness.drills.results import GOOD, Result, Results, Verdict, read_results, together
from harness.plan.hubs import ROLES, Role
from harness.plan.plan import Plan, fingerprint
from harness.report.outcomes import BOOT, State
from harness.report.run_record import RecordError, read_record
from harness.scenarios.user_cleanup import Departures
from harness.services.aws import REPOSITORY

CHEAP = (
    FIRST_TEST,
    "test_image_selection.py::test_request_decides",
    "test_image_selection.py::test_lists_of_courses_are_the_same",
    "test_culler.py::test_culler_runs_with_the_numbers_that_are_set",
)
"""What is asked after every valid change; none of it starts a server."""
NAMED_TIMEOUT, SUITE_TIMEOUT = 1200.0, 3600.0
"""Seconds for the tests that a drill names, and for the suite."""
ENDING_TIMEOUT = 120.0
"""Seconds for a pytest to clean up after it was told to end."""


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
class Asked:
    """What a person wants of a run.

    Attributes:
        words, shard: as harness.drill.selected takes them.
        resume: leave out what an earlier run ended well with.
        thorough: try the whole suite, live layer and all, on valid changes and on what its promise does not catch.
        keep: leave the deployment running.
    """

    words: str = ""
    shard: str = ""
    resume: bool = False
    thorough: bool = False
    keep: bool = False


class Stage(Protocol):
    """What drills are planted in."""

    @property
    def system(self) -> str:
        """What it is, in words."""

    @property
    def ours(self) -> bool:
        """Whether nothing of it is somebody else's: each drill must apply then."""

    def print_of(self, drill: Drill) -> str:
        """Fingerprint of the drill and of what it is planted in."""

    def plant(self, drill: Drill) -> Run:
        """Make the drill's change.

        Raises:
            DoesNotApplyError: there is not what it changes.
            RefusedError: the change is refused before anything runs.
            HarnessError: it changes nothing.
        """

    def restore(self) -> None:
        """Take the change back."""


class RefusedError(HarnessError):
    """Helm or the chart refuses the change."""


def drills(plan: Plan, steps: Steps, asked: Asked) -> None:
    """Plant the drills one by one, and write drills.json, drills.html and drills.txt into the evidence directory.

    Raises:
        HarnessError: not all ended as they must, or one is not written as it should be.
    """
    suite = promises(plan.checkout)
    everything = read_drills(plan.checkout / DRILLS)
    for drill in everything:
        check_tests(drill, suite)
    chosen = selected(everything, words=asked.words, shard=asked.shard)
    if not chosen:
        raise HarnessError(f"No drill has {asked.words!r} in its name or subject")
    file = plan.evidence / "drills.json"
    before = read_results(file) if asked.resume and file.exists() else None
    with _stage(plan, steps, keep=asked.keep) as stage:
        found = run_all(chosen, stage, suite, steps, file, before, thorough=asked.thorough)
    _report(found, plan, steps)


def report_again(files: Sequence[Path], plan: Plan, steps: Steps) -> None:
    """One report of what earlier runs wrote down, such as one of each shard.

    Raises:
        HarnessError: a file is no such thing, or not all drills ended as they must.
    """
    _report(together(read_results(file) for file in files), plan, steps)


def _report(found: Results, plan: Plan, steps: Steps) -> None:
    suite = promises(plan.checkout)
    for line in drill_report.lines(found, suite):
        steps.say(line)
    drill_report.write(found, suite, plan.evidence)
    steps.say(f"Written to {plan.evidence / 'drills.html'}")
    if bad := [result for result in found.results if result.verdict not in GOOD]:
        raise HarnessError(f"{len(bad)} of {len(found.results)} drills did not end as they must")


def run_all(
    chosen: Sequence[Drill],
    stage: Stage,
    suite: Mapping[str, Promise],
    steps: Steps,
    file: Path,
    before: Results | None = None,
    *,
    thorough: bool = False,
) -> Results:
    """Plant drills one after the other; their results are written down after each.

    Args:
        before: an earlier run's results; what ended well there, and is the same today, is not done again.
    """
    known = {result.written: result for result in (before.results if before else ()) if result.verdict in GOOD}
    done = [known[stage.print_of(drill)] for drill in chosen if stage.print_of(drill) in known]
    left = [drill for drill in chosen if stage.print_of(drill) not in known]
    if done:
        steps.say(f"{len(done)} drills are left out: they ended well before, and nothing of them has changed")
    began = time.monotonic()
    for number, drill in enumerate(left, 1):
        result = dataclasses.replace(one(drill, stage, suite, thorough=thorough), written=stage.print_of(drill))
        done.append(result)
        Results(stage.system, tuple(done)).write(file)
        stage.restore()
        spent = time.monotonic() - began
        rest = timedelta(seconds=round(spent / number * (len(left) - number)))
        steps.say(
            f"{number:>3}/{len(left)}  {timedelta(seconds=round(spent))}, about {rest} left  "
            f"{result.verdict:<16} {result.seconds:5.0f} s  {drill.subject}: {drill.name}"
        )
        if result.verdict not in GOOD and result.message:
            steps.say(f"         {f'{result.test}: ' if result.test else ''}{result.headline}")
    return Results(stage.system, tuple(done))


def one(drill: Drill, stage: Stage, suite: Mapping[str, Promise], *, thorough: bool = False) -> Result:
    """Plant one drill, and see what the suite says."""
    began = time.time()  # by the clock of the run's record
    try:
        found = judge(drill, stage.plant(drill), suite, thorough=thorough)
    except DoesNotApplyError as error:
        found = Judgement(Verdict.NOT_HERE, message=str(error))
    except RefusedError as error:
        if BOOT in drill.caught_by:
            found = _caught(drill, Failure(BOOT, str(error)))
        else:
            found = Judgement(Verdict.NOT_HERE, message=f"this chart does not take it: {error}")
    except (HarnessError, httpx.HTTPError) as error:
        found = Judgement(Verdict.ERROR, message=str(error))
    if found.verdict is Verdict.NOT_HERE and stage.ours:
        found = Judgement(Verdict.ERROR, message=f"it does not apply to our own deployment: {found.message}")
    layer = suite[found.test].layer.value if found.test in suite else found.test
    return Result(
        drill=drill.name,
        subject=drill.subject,
        hurts=drill.hurts,
        expected=drill.tries if drill.valid else drill.caught_by,
        verdict=found.verdict,
        wanted=drill.wanted,
        test=found.test,
        layer=layer,
        message=found.message,
        seconds=round((found.at or time.time()) - began, 1),
    )


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


@contextmanager
def _stage(plan: Plan, steps: Steps, *, keep: bool) -> Iterator[LiveStage]:
    """A running deployment for drills; removed at the end, however it comes, or left for the next run."""
    stage = LiveStage(dataclasses.replace(plan, keep=True), steps)
    try:
        stage.boot()
        try:
            yield stage
        finally:
            if keep:
                stage.forget_images()
                steps.say(f"Kept: {plan.name}. 'tox -e down' removes it.")
    finally:
        if not keep:
            with deployment.only_run(plan):
                deployment.remove(plan, steps)


class LiveStage:
    """The private copy of the deployment, as the plan has it between two drills."""

    def __init__(self, plan: Plan, steps: Steps) -> None:
        self.plan = plan
        self.steps = steps
        self.scratch = plan.state / "drill"
        self.evidence = plan.evidence / "drills"
        shutil.rmtree(self.evidence, ignore_errors=True)

    def boot(self) -> None:
        """Boot, and remember how the deployment is when it is whole."""
        with deployment.only_run(self.plan):
            self.prepared = deployment.prepare(self.plan, self.steps)
            self.running = deployment.boot(self.plan, self.steps, self.prepared)
        self.rendered = rendered(self.running.chart, self.running.helm, deployment.productions(self.plan))
        self.installed = installed(self.running)
        self.digests = digests(self.running)

    @property
    def system(self) -> str:
        chart, theirs = self.running.chart, self.plan.ol_infrastructure
        parts = [f"chart {chart.version}, {chart.origin}", f"spawner {self.plan.spawner.name} from {self._whose()}"]
        return "; ".join([*parts, *([f"lists and files of {theirs.checkout.name}"] if theirs else [])])

    @property
    def ours(self) -> bool:
        plan = self.plan
        files = (self.running.chart.path, plan.spawner, *plan.values, *plan.authoring_values)
        return not plan.ol_infrastructure and all(file.is_relative_to(plan.checkout) for file in files)

    def _whose(self) -> str:
        return "this checkout" if self.plan.spawner.is_relative_to(self.plan.checkout) else "elsewhere"

    def print_of(self, drill: Drill) -> str:
        plan = self.plan
        files = [self.running.chart.path, plan.spawner, *plan.values, *plan.authoring_values]
        replaced = [json.dumps(deployment.replaced_values(plan, role)) for role in ROLES]
        return fingerprint([drill.written, *files, *replaced])

    def plant(self, drill: Drill) -> Run:
        changed = planted(drill, self.plan, self.running.chart, self.scratch)
        images = self._plant_images(drill)
        differs = self._differs(changed, drill)
        if not differs and not images:
            raise HarnessError(f"{drill.where}: it leaves the system as it was")
        place = self.evidence / re.sub(r"\W+", "-", f"{drill.subject} {drill.name}").strip("-")
        return lambda tests, timeout: run_tests(changed, tests, place, timeout)

    def _differs(self, changed: Plan, drill: Drill) -> bool:
        """Whether the changed plan makes other releases than the stage's own.

        Raises:
            RefusedError: the chart does not take the changed values.
        """
        if dataclasses.replace(changed, spawner=self.plan.spawner) == self.plan:
            # Each release has its text as it is; to see that in what Helm renders takes seconds.
            return changed.spawner.read_bytes() != self.plan.spawner.read_bytes()
        chart = deployment.find_chart(changed, self.running.helm) if drill.chart else self.running.chart
        before, after = deployment.productions(self.plan), deployment.productions(changed)
        touched = {role: each for role, each in after.items() if drill.chart or each != before[role]}
        try:
            now = rendered(chart, self.running.helm, touched)
        except HarnessError as error:
            raise RefusedError(str(error)) from error
        return any(objects != self.rendered[role] for role, objects in now.items())

    def _plant_images(self, drill: Drill) -> bool:
        """Change what the registry holds; returns whether that is any different then."""
        running, registry = self.running, self.running.registry
        repositories = deployment.course_repositories(self.plan)
        for tag, layout in changed_image(drill, running.builder, repositories, self.scratch).items():
            registry.push(layout, REPOSITORY, tag)
        for tag in (*drill.deleted_tags, *drill.moved_tags.values()):
            if tag not in self.digests:
                raise DoesNotApplyError(f"the registry has no image {tag}")
        for tag in drill.deleted_tags:
            registry.remove(tag)
        for tag, other in drill.moved_tags.items():
            registry.push(running.course_image(other), REPOSITORY, tag)
        touched = drill.image or drill.deleted_tags or drill.moved_tags
        return bool(touched) and digests(running) != self.digests

    def restore(self) -> None:
        """Bring everything back, and see that it is; a deployment that cannot be brought back is made anew.

        Raises:
            HarnessError: neither is possible.
        """
        try:
            self._bring_back()
        except (HarnessError, httpx.HTTPError) as error:
            self.steps.say(f"It is not as it was, and made anew: {error}")
            with deployment.only_run(self.plan), uninterrupted(self.plan.name, self.steps.say) as told_to_end:
                deployment.remove(self.plan, self.steps)
            if told_to_end():
                raise KeyboardInterrupt from error
            self.boot()

    def forget_images(self) -> None:
        """Have the next boot take no image in the registry for what it should be."""
        deployment.State(self.plan.state / deployment.STATE).forget("images")

    def _bring_back(self) -> None:
        if digests(self.running) != self.digests:
            self.forget_images()
        with deployment.only_run(self.plan), self._sent_away():
            # What a boot says was said at the first one.
            running = deployment.boot(self.plan, Steps(Console(file=io.StringIO())), self.prepared)
        for tag in digests(running).keys() - self.digests.keys():
            # Of a course that a drill's values named.
            running.registry.remove(tag)
        if digests(running) != self.digests:
            raise HarnessError("the registry does not hold what it did")
        for name, objects in installed(running).items():
            if objects != self.installed[name]:
                raise HarnessError(f"release {name} is not what it was")
        self.running = running

    @contextmanager
    def _sent_away(self) -> Iterator[None]:
        """Delete whom a test that failed, or was killed, left behind; gone at the end of the block."""
        hubs = (self.running.student, self.running.authoring)
        leaving = Departures(self.running.cluster)
        try:
            # A hub that the drill has broken answers only when it is brought back.
            with contextlib.suppress(httpx.HTTPError):
                for hub in hubs:
                    for name in hub.users():
                        leaving.add(hub, name)
            yield
            leaving.wait()
            for hub in hubs:
                for name in hub.users():
                    hub.delete_user(name)
        finally:
            leaving.close()


def rendered(chart: Chart, helm: Helm, releases: Mapping[Role, Release]) -> dict[Role, list[Manifest]]:
    """The objects of releases, as production would have them: without what kind needs otherwise.

    Raises:
        HarnessError: the chart does not take the values.
    """
    return {role: comparable(each) for role, each in deployment.templates(helm, chart, releases).items()}


def comparable(objects: Iterable[Manifest]) -> list[Manifest]:
    """Rendered objects without what is random in each rendering: secrets that nobody chose, and digests of them."""
    random = {"Secret": ("checksum/", "hub.config.")}
    return [_without(random.get(each["kind"], ("checksum/",)), each) for each in objects]


def installed(running: Deployment) -> dict[str, list[Manifest]]:
    """The objects of each release as they are in the cluster's store of releases, by the release's name.

    Without digests of other objects, all of which are here themselves: at a first install, where there is no secret to
    look up yet, upstream's chart draws one for the Secret and another for the digest.
    """
    return {
        release.name: [_without(("checksum/",), each) for each in running.helm.installed(release)]
        for release in running.releases.values()
    }


def _without(beginnings: tuple[str, ...], found: Any) -> Any:
    """A copy of an object without the keys that begin so, however deep they are."""
    if isinstance(found, list):
        return [_without(beginnings, each) for each in found]
    if not isinstance(found, dict):
        return found
    return {key: _without(beginnings, value) for key, value in found.items() if not key.startswith(beginnings)}


def digests(running: Deployment) -> dict[str, str]:
    """Digest of each course image in the registry, by tag."""
    return {tag: running.registry.digest(tag) for tag in sorted(running.registry.tags())}


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
    ends = [part.end for case in run.of(State.BROKEN) for part in case.parts if part.name != "teardown"]
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
