"""What the tests of drills share: a suite of four promises, two drills, and fakes that run and plant them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.charts.chart import Chart
from harness.drills.judge import SuiteFailure, SuiteRun
from harness.drills.model import DRILLS, Drill, Replacement, RepositoryChange
from harness.drills.promise_index import Layer, Promise
from harness.drills.reader import read_drills, read_file
from harness.drills.results import Result, Results, Verdict

CHECKOUT = Path(__file__).resolve().parents[3]
OURS = read_drills(CHECKOUT / DRILLS)
BUILTIN = Chart(CHECKOUT / "helm/jupyterhub", "0", "built-in")
EVALUATED = Promise("test_p.py::test_route", "The route leads to the hub.", Layer.EVALUATED, slow=False)
RENDERED = Promise("test_a.py::test_values", "The values are right.", Layer.RENDERED, slow=False)
NAMED = Promise("test_a.py::test_link", "The link opens.", Layer.ASKED, slow=False)
OTHER = Promise("test_b.py::test_class", "A class works.", Layer.LIVE, slow=False)
CULLED = Promise("test_c.py::test_culled", "Nothing is left.", Layer.LIVE, slow=True)
SUITE = {promise.test: promise for promise in (CULLED, OTHER, NAMED, RENDERED)}
REGRESSION = Drill("links open nothing", Path("links.yaml"), 3, "student", (NAMED.test,), written="1")
OF_THE_PROGRAM = Drill(
    "no route leads to the hub",
    Path("program.yaml"),
    2,
    "student",
    (EVALUATED.test,),
    program={"src/routes.py": (Replacement(("hub",), ("nowhere",)),)},
    written="7",
)
OF_COURSE = Promise("test_course.py::test_notebook", "The notebook runs.", Layer.LIVE, slow=False, of_course=True)
OF_A_COURSE = Drill(
    "output is lost",
    Path("courses.yaml"),
    4,
    "student",
    (OF_COURSE.test,),
    course=RepositoryChange("template", files={"a.ipynb": "{}"}),
    written="9",
)
VALID = Drill("more memory", Path("valid.yaml"), 1, valid="it is more", tries=(OTHER.test,), written="2")
PASSED = SuiteRun(passed=1)
WRITTEN = {"name": "all is lost", "hurts": "student", "caught by": "test_a.py::test_b", "values": {"a": 1}}


def failed(test: str, message: str = "course a opened b") -> SuiteRun:
    return SuiteRun((SuiteFailure(test, message),))


class Suite:
    """Runs of tests that end as given, one after the other."""

    def __init__(self, *outcomes: SuiteRun) -> None:
        self.outcomes = list(outcomes)
        self.runs: list[list[str]] = []

    def __call__(self, tests: Sequence[str], timeout: float) -> SuiteRun:
        self.runs.append(list(tests))
        return self.outcomes[len(self.runs) - 1]


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


def write_drills(directory: Path, *drills: object) -> Path:
    file = directory / "cookies.yaml"
    file.write_text(yaml.safe_dump(list(drills), sort_keys=False))
    return file


def read_drill(directory: Path, **keys: object) -> Drill:
    """A regression with some keys as given, written to a file and read from it."""
    [found] = read_file(write_drills(directory, {**WRITTEN, **keys}))
    return found


def result_of(verdict: Verdict, **about: Any) -> Result:
    made = Result("links open nothing", "links", "student", (NAMED.test,), verdict, seconds=12.0)
    return dataclasses.replace(made, **about)


FOUND = Results(
    "a chart",
    (
        result_of(Verdict.CAUGHT, test=NAMED.test, layer="asked", message="course a opened <b>"),
        result_of(Verdict.ELSEWHERE, drill="cells do not run", test=OTHER.test, layer="live", message="no kernel"),
        result_of(Verdict.SURVIVED, drill="nobody saves", hurts="author", message="wanted: Authors save"),
        result_of(Verdict.QUIET, drill="more memory", hurts="", expected=(OTHER.test,)),
        result_of(Verdict.ALARM, drill="less noise", hurts="", test=OTHER.test, message="a log"),
        result_of(Verdict.NOT_HERE, drill="hooks", message="no hook puller"),
        result_of(Verdict.NO_CHECKOUT, drill="no route", message="give --ol-infrastructure"),
    ),
)
