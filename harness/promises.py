"""The promises that a run checked, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


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
        evidence: directory of the case's evidence, where there is any.
    """

    promise: str
    parameters: str
    state: State
    why: str = ""
    seconds: float = 0.0
    test: str = ""
    evidence: str = ""


def told(cases: Iterable[Case]) -> list[str]:
    """Lines for a terminal: a promise with many cases takes one line for all that ended alike, broken ones one each."""
    order = list(State)
    alike: dict[tuple[State, str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: order.index(case.state)):
        alike.setdefault((case.state, case.promise, case.why), []).append(case)
    lines = []
    for (state, promise, why), group in alike.items():
        apart = [f" [{case.parameters}]" if case.parameters else "" for case in group]
        if state is not State.BROKEN and len(group) > 1:
            apart = [f" [{len(group)} cases]"]
        because = f": {why}" if why else ""
        lines += [f"{state:<12}{promise}{each}{because}" for each in apart]
    return lines
