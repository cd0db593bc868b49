"""The promises that a run checked, and the status of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from harness.base.intervals import Span

SELF_CHECKS = "tests/selfcheck/"
"""Directory of the tests of the harness's own parts, which no change of the deployment can break."""


class Status(StrEnum):
    """The status of a promise; in the order in which a run lists them, the worst last, where it is seen."""

    KEPT = "kept"
    STILL_THERE = "still there"
    """A known defect that is there today."""
    FIXED = "fixed"
    """A known defect that is no longer there."""
    UNCHECKED = "not checked"
    BROKEN = "BROKEN"


SELF_CHECK_WORDS = {Status.KEPT: "passed", Status.BROKEN: "FAILED"}
"""Words for a self-check, which promises nothing, in place of kept and broken."""


@dataclass(frozen=True)
class Case:
    """One test of a promise, or one self-check.

    Attributes:
        promise: in words; a promise that is checked for many requests has a case for each.
        parameters: what sets this case apart from the promise's others, such as the request.
        why: of a broken promise what was found, of a known defect its sentence, of an unchecked promise the reason.
        seconds: how long the test took, without what it shares with others.
        test: pytest's node ID.
        evidence: directory of the case's evidence, where there is any; in a run's record as seen from the record.
        cause: of a broken promise the likely cause, where Kubernetes or the hub name one and `why` does not.
        detail: of a broken promise the whole output of the test.
        parts: when it was set up, called and torn down.
    """

    promise: str
    parameters: str
    status: Status
    why: str = ""
    seconds: float = 0.0
    test: str = ""
    evidence: str = ""
    cause: str = ""
    detail: str = ""
    parts: tuple[Span, ...] = ()

    @property
    def because(self) -> str:
        """The finding, and the likely cause."""
        return f"{self.why.rstrip('.')}. Likely cause: {self.cause}" if self.cause else self.why

    @property
    def is_self_check(self) -> bool:
        """True for a test of the harness's own parts, which is no promise of the deployment."""
        return self.test.startswith(SELF_CHECKS)

    @property
    def word(self) -> str:
        """The status as a report names it."""
        return SELF_CHECK_WORDS.get(self.status, self.status) if self.is_self_check else self.status


@dataclass(frozen=True)
class Group:
    """Cases of one promise that ended alike."""

    status: Status
    promise: str
    why: str
    cases: tuple[Case, ...]


def groups(cases: Iterable[Case]) -> list[Group]:
    """Group the cases of each promise that ended alike, in the order of statuses."""
    order = list(Status)
    alike: dict[tuple[Status, str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: order.index(case.status)):
        alike.setdefault((case.status, case.promise, case.why), []).append(case)
    return [Group(*key, tuple(its)) for key, its in alike.items()]


def format_outcomes(cases: Iterable[Case]) -> list[str]:
    """Return lines for a terminal: one for all cases of a promise that ended alike, of broken ones one for each."""
    lines = []
    for group in groups(cases):
        if group.status is Status.BROKEN or len(group.cases) == 1:
            apart = [(f" [{case.parameters}]" if case.parameters else "", case.because) for case in group.cases]
        else:
            apart = [(f" [{len(group.cases)} cases]", group.why)]
        word = group.cases[0].word
        lines += [f"{word:<12}{group.promise}{which}{because and f': {because}'}" for which, because in apart]
    return lines
