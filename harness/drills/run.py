"""`tox -e drills`: plant each drill in a running copy of the deployment, and judge it by the suite's tests."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import httpx

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.timeline import BOOT
from harness.drills import report as drill_report
from harness.drills.judge import Judgement, RunTests, SuiteFailure, judge, judge_failure
from harness.drills.live_stage import open_stage
from harness.drills.model import (
    DRILLS,
    DoesNotApplyError,
    Drill,
    NoCheckoutError,
    RefusedError,
    check_tests,
    select_drills,
)
from harness.drills.program_stage import ProgramStage
from harness.drills.promise_index import Promise, promises
from harness.drills.pytest_run import EVIDENCE
from harness.drills.reader import read_drills
from harness.drills.results import GOOD, Result, Results, Verdict, merge_results, read_results
from harness.plan.plan import Plan


@dataclass(frozen=True)
class DrillsRequest:
    """A request for a run of drills.

    Attributes:
        words, shard: as `model.select_drills` takes them.
        resume: leave out the drills that ended well in an earlier run, and keep its results of those not chosen.
        thorough: try the whole suite, live layer and all, on valid changes and on what its promise does not catch.
        keep: leave the deployment running.
    """

    words: str = ""
    shard: str = ""
    resume: bool = False
    thorough: bool = False
    keep: bool = False


class Stage(Protocol):
    """A deployment in which drills are planted."""

    @property
    def system(self) -> str:
        """The deployment in words."""

    @property
    def ours(self) -> bool:
        """True if chart, spawner and values are all this checkout's: each drill must apply then."""

    def fingerprint_of(self, drill: Drill) -> str:
        """Return the fingerprint of a drill and of the deployment that it is planted in."""

    def plant(self, drill: Drill) -> RunTests:
        """Make the drill's change, and return what runs tests with it in place.

        Raises:
            DoesNotApplyError: the deployment lacks what it changes.
            NoCheckoutError: it changes the owners' program, which is not at hand.
            RefusedError: the change is refused before anything runs.
            HarnessError: it changes nothing.
        """

    def restore(self) -> None:
        """Take the drill's change back."""


class Stages:
    """A running deployment, and the owners' program beside it: each drill is planted in the one that it changes."""

    def __init__(self, live: Stage, program: Stage) -> None:
        self._live, self._program = live, program
        self._planted = live
        self.system, self.ours = live.system, live.ours

    def _stage_of(self, drill: Drill) -> Stage:
        return self._program if drill.program else self._live

    def fingerprint_of(self, drill: Drill) -> str:
        """Return the fingerprint of a drill and of what it is planted in."""
        return self._stage_of(drill).fingerprint_of(drill)

    def plant(self, drill: Drill) -> RunTests:
        """Make the drill's change, and return what runs tests with it in place; errors are those of `Stage`."""
        self._planted = self._stage_of(drill)
        return self._planted.plant(drill)

    def restore(self) -> None:
        """Take the drill's change back."""
        self._planted.restore()


@contextmanager
def open_stages(chosen: Sequence[Drill], plan: Plan, steps: Steps, *, keep: bool) -> Iterator[Stage]:
    """Boot a deployment for drills, unless all of them change the owners' program alone."""
    shutil.rmtree(plan.evidence / EVIDENCE, ignore_errors=True)
    program = ProgramStage(plan)
    if all(drill.program for drill in chosen):
        yield program
        return
    with open_stage(plan, steps, keep=keep) as live:
        yield Stages(live, program)


def drills(plan: Plan, steps: Steps, request: DrillsRequest) -> None:
    """Plant the drills one by one, and write drills.json, drills.html and drills.txt into the evidence directory.

    Raises:
        HarnessError: not all drills ended as they must, or one is not written as it should be.
    """
    if plan.courses:
        raise HarnessError("--course: a drill leaves out a course of yours, or has one of its own. Run without it")
    suite = promises(plan.checkout)
    everything = read_drills(plan.checkout / DRILLS)
    for drill in everything:
        check_tests(drill, suite)
    chosen = select_drills(everything, words=request.words, shard=request.shard)
    if not chosen:
        raise HarnessError(f"No drill has {request.words!r} in its name or subject")
    file = plan.evidence / "drills.json"
    before = read_results(file) if request.resume and file.exists() else None
    with open_stages(chosen, plan, steps, keep=request.keep) as stage:
        others = [drill for drill in everything if drill not in chosen]
        found = run_all(chosen, stage, suite, steps, file, before, others, thorough=request.thorough)
    _report(found, suite, plan, steps)


def report_again(files: Sequence[Path], plan: Plan, steps: Steps) -> None:
    """Write one report of the results of earlier runs, such as one of each shard.

    Raises:
        HarnessError: a file has no results of drills, or not all drills ended as they must.
    """
    _report(merge_results(read_results(file) for file in files), promises(plan.checkout), plan, steps)


def _report(found: Results, suite: Mapping[str, Promise], plan: Plan, steps: Steps) -> None:
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
    others: Sequence[Drill] = (),
    *,
    thorough: bool = False,
) -> Results:
    """Plant drills one after the other, and write the results after each.

    Args:
        before: an earlier run's results; drills that ended well there, and are the same today, are left out.
        others: drills that are not chosen; their earlier results are kept, unless they have changed since.
    """
    earlier = {result.written: result for result in (before.results if before else ())}
    kept = [earlier[written] for written in map(stage.fingerprint_of, others if earlier else ()) if written in earlier]
    known = {written: result for written, result in earlier.items() if result.verdict in GOOD}
    ended_well = [known[written] for written in map(stage.fingerprint_of, chosen) if written in known]
    left = [drill for drill in chosen if stage.fingerprint_of(drill) not in known]
    if ended_well:
        steps.say(f"{len(ended_well)} drills are left out: they ended well before, and nothing of them has changed")
    done = [*kept, *ended_well]
    began = time.monotonic()
    for number, drill in enumerate(left, 1):
        result = dataclasses.replace(
            run_one(drill, stage, suite, thorough=thorough), written=stage.fingerprint_of(drill)
        )
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


def run_one(drill: Drill, stage: Stage, suite: Mapping[str, Promise], *, thorough: bool = False) -> Result:
    """Plant one drill, and return the result."""
    began = time.time()  # by the clock of the run's record
    try:
        found = judge(drill, stage.plant(drill), suite, thorough=thorough)
    except DoesNotApplyError as error:
        found = Judgement(Verdict.NOT_HERE, message=str(error))
    except NoCheckoutError as error:
        found = Judgement(Verdict.NO_CHECKOUT, message=str(error))
    except RefusedError as error:
        if BOOT in drill.caught_by:
            found = judge_failure(drill, SuiteFailure(BOOT, str(error)))
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
