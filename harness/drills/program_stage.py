"""The owners' program, in a copy of which drills are planted: judged by promises that need no deployment."""

from __future__ import annotations

import dataclasses
import functools
import shutil

from harness.base.digest import fingerprint
from harness.drills.judge import RunTests
from harness.drills.model import Drill, NoCheckoutError
from harness.drills.planting import copy_checkout
from harness.drills.pytest_run import evidence_directory, run_tests
from harness.plan.plan import Plan
from harness.program.closure import closure


class ProgramStage:
    """A copy of the checkout that --ol-infrastructure names; nothing runs but its evaluation."""

    ours = False
    """No checkout must have all that a drill changes: it is the owners'."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.copy = plan.state / "drill-program"

    @property
    def system(self) -> str:
        """The checkout in words."""
        theirs = self.plan.ol_infrastructure
        return f"the program of {theirs.checkout.name}, {theirs.revision or 'no commit'}" if theirs else "no program"

    @functools.cached_property
    def _program(self) -> str:
        theirs = self.plan.ol_infrastructure
        if not theirs:
            return ""
        files = sorted(closure(theirs.checkout))
        return fingerprint([*map(str, files), *(theirs.checkout / file for file in files)])

    def fingerprint_of(self, drill: Drill) -> str:
        """Return the fingerprint of a drill and of the program that it is planted in."""
        return fingerprint([drill.written, self._program])

    def plant(self, drill: Drill) -> RunTests:
        """Edit a copy of the checkout, and return what runs tests on it.

        Raises:
            NoCheckoutError: no checkout was given.
            DoesNotApplyError: the checkout lacks what the drill changes.
            HarnessError: the edits change nothing.
        """
        theirs = self.plan.ol_infrastructure
        if not theirs:
            raise NoCheckoutError("it changes the owners' program: give --ol-infrastructure")
        copy_checkout(drill, theirs.checkout, self.copy)
        changed = dataclasses.replace(self.plan, ol_infrastructure=dataclasses.replace(theirs, checkout=self.copy))
        evidence = evidence_directory(self.plan, drill)
        return lambda tests, timeout: run_tests(changed, tests, evidence, timeout)

    def restore(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self.copy, ignore_errors=True)
