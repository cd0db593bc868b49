"""The promises that a run checked, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from harness.base.intervals import Span


class State(StrEnum):
    """What became of a promise; in the order in which a run tells it, the worst last, where it is seen."""

    KEPT = "kept"
    STILL_THERE = "still there"
    """A known defect that is there today."""
    FIXED = "fixed"
    """A known defect that is there no more."""
    UNCHECKED = "not checked"
    BROKEN = "BROKEN"


@dataclass(frozen=True)
class Case:
    """One test of a promise.

    Attributes:
        promise: in words; a promise that is checked for many requests has a case for each.
        parameters: what sets this case apart from the promise's others, such as the request.
        why: of a broken promise what was found, of a known defect its sentence, of an unchecked promise the reason.
        seconds: what the test took, without what it shares with others.
        test: pytest's node ID.
        evidence: directory of the case's evidence, where there is any; in a run's record as seen from the record.
        cause: of a broken promise the likely cause, where Kubernetes or the hub name one and `why` does not.
        detail: of a broken promise all that the test said.
        parts: when it was set up, called and torn down.
    """

    promise: str
    parameters: str
    state: State
    why: str = ""
    seconds: float = 0.0
    test: str = ""
    evidence: str = ""
    cause: str = ""
    detail: str = ""
    parts: tuple[Span, ...] = ()

    @property
    def because(self) -> str:
        """What was found, and the likely cause."""
        return f"{self.why.rstrip('.')}. Likely cause: {self.cause}" if self.cause else self.why


@dataclass(frozen=True)
class Group:
    """Cases of one promise that ended alike."""

    state: State
    promise: str
    why: str
    cases: tuple[Case, ...]


def groups(cases: Iterable[Case]) -> list[Group]:
    """The cases of each promise together as far as they ended alike; in the order of states."""
    order = list(State)
    alike: dict[tuple[State, str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: order.index(case.state)):
        alike.setdefault((case.state, case.promise, case.why), []).append(case)
    return [Group(*key, tuple(its)) for key, its in alike.items()]


def told(cases: Iterable[Case]) -> list[str]:
    """Lines for a terminal: a promise with many cases takes one line for all that ended alike, broken ones one each."""
    lines = []
    for group in groups(cases):
        if group.state is State.BROKEN or len(group.cases) == 1:
            apart = [(f" [{case.parameters}]" if case.parameters else "", case.because) for case in group.cases]
        else:
            apart = [(f" [{len(group.cases)} cases]", group.why)]
        lines += [f"{group.state:<12}{group.promise}{which}{because and f': {because}'}" for which, because in apart]
    return lines
