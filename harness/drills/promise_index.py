"""The promises in tests/e2e and what each asks of a deployment, as pytest itself collects them in another process."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from harness.base.errors import HarnessError
from harness.base.shell import CommandError, run, tail

SUITE = "tests/e2e"
FIRST_TEST = "test_hub_health.py::test_both_hubs_are_healthy"
"""The lightest test of a running deployment: both hubs answer."""
FIRST_PROGRAM_TEST = "test_infrastructure.py::test_program_evaluates"
"""The lightest test of the owners' program: it evaluates."""
FIRST_COURSE_TEST = "test_course.py::test_learners_can_run_the_notebook"
"""The test that looks at each notebook of a given course."""
PLUGIN = "fixtures.promise_index"
PEOPLE = {
    *("visit", "arrivals", "student_class", "authors_user", "browser", "culler_in_the_background"),
    *("learner_at_work", "gated_browser", "mistakes"),
}
"""Fixtures by which servers start."""
RUNNING = {"target"}
"""Fixture by which something is asked that runs: cluster, hubs and services all ask for it."""
PREPARED = {"prepared"}
"""Fixture of the chart and the images, for which Docker must be there."""
OF_COURSE = "given_course"
"""The fixture that is a course which a run is given; without one its tests are left out."""
SLOW = "culler_in_the_background"
"""The fixture in which servers live under the culler to their end."""


class Layer(StrEnum):
    """The part of a deployment that a promise needs; the cheapest first."""

    EVALUATED = "evaluated"
    """The owners' program, evaluated; neither Docker nor a chart is needed."""
    RENDERED = "rendered"
    """The objects that Helm renders; nothing runs."""
    ASKED = "asked"
    """A hub, a spawner or a registry is asked, and no user's server starts."""
    LIVE = "live"
    """A user's server."""


@dataclass(frozen=True)
class Promise:
    """One test function, with all that it is parametrized with.

    Attributes:
        test: as people name it, `test_file.py::test_function`.
        sentence: the first line of its docstring.
        slow: servers live under the culler for it.
        of_course: it is about the courses that a run is given.
    """

    test: str
    sentence: str
    layer: Layer
    slow: bool
    of_course: bool = False

    @property
    def cost(self) -> tuple[bool, int, str]:
        """Sort key of promises, the cheapest first; those of one file stay together."""
        return self.slow, list(Layer).index(self.layer), self.test


@dataclass(frozen=True)
class CollectedTest:
    """A test as pytest collects it.

    Attributes:
        test: its node ID.
        promise: the first line of its docstring.
        fixtures: all that it asks for, and all that these ask for.
    """

    test: str
    promise: str
    fixtures: frozenset[str]
    markers: frozenset[str]

    @property
    def layer(self) -> Layer:
        if self.fixtures & PEOPLE:
            return Layer.LIVE
        if self.fixtures & RUNNING:
            return Layer.ASKED
        return Layer.RENDERED if self.fixtures & PREPARED else Layer.EVALUATED


def promises(checkout: Path) -> dict[str, Promise]:
    """Return the promises about the deployment, by test. Known defects are none: they are never red.

    Raises:
        HarnessError: pytest cannot collect them.
    """
    found = {}
    for each in collect(checkout):
        if "known_defect" not in each.markers:
            test = function_of(each.test.removeprefix(f"{SUITE}/"))
            found[test] = Promise(test, each.promise, each.layer, SLOW in each.fixtures, OF_COURSE in each.fixtures)
    return found


def collect(checkout: Path) -> list[CollectedTest]:
    """Return the tests of the suite; nothing of them runs, and no Docker is needed.

    Raises:
        HarnessError: pytest cannot collect them.
    """
    # All tests, and not only those that a person's options leave.
    env = dict.fromkeys((name for name in os.environ if name.startswith(("HARNESS_", "PYTEST_"))), "")
    with TemporaryDirectory() as scratch:
        file = Path(scratch, "tests.json")
        command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", PLUGIN, f"--promise-index={file}"]
        try:
            run([*command, "-p", "no:cacheprovider", SUITE], cwd=checkout, env=env, timeout=120, what="pytest")
        except CommandError as error:
            raise HarnessError(f"The tests in {SUITE} cannot be collected{tail(error.output)}") from error
        return TypeAdapter(list[CollectedTest]).validate_json(file.read_bytes())


def function_of(test: str) -> str:
    """Return a test without its parameters: `test_file.py::test_function`."""
    return test.partition("[")[0]
