"""Students who are there when their test begins: they set out while the tests before it run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from harness.base.wait import waiting
from harness.people.journey import Page
from harness.people.student import Student
from harness.scenarios.classroom import AT_ONCE

OWN = "own"
"""The name of a student whom a test shares with no other."""
MOST = 8
"""Students who may be there before the first test that looks at them: the server of each takes memory."""


@dataclass(frozen=True)
class Needs:
    """The part of a test that decides what may happen beside the tests before it.

    Attributes:
        test: its node ID.
        students: the link that each of its students follows, by the student's name.
        touches: what it changes under the feet of all students; empty for a test that leaves everything as it is.
    """

    test: str
    students: Mapping[str, str] = field(default_factory=dict)
    touches: str = ""

    @property
    def keys(self) -> dict[str, _Key]:
        """The students by name; tests that have the same name for a student of the same link share the student."""
        return {name: (self.test if name == OWN else name, link) for name, link in self.students.items()}


_Key = tuple[str, str]


@dataclass(frozen=True)
class Arrival:
    """A student who was sent to a link."""

    student: Student
    end: Future[Page]

    @property
    def page(self) -> Page:
        """Return the page at the end of the link, once the student is there.

        Raises:
            SpawnError, JourneyError: the student never arrived.
        """
        return self.end.result()

    @property
    def arrived(self) -> Student:
        """Return the student, who is at the end of the link.

        Raises:
            SpawnError, JourneyError: the student never arrived.
        """
        _ = self.page
        return self.student


class StudentsAhead:
    """The students of all tests of a run, who set out in the order of the tests, ahead of them.

    Beside a test that touches something no student is on the way. Those of the tests after it set out when it is over,
    and so find what they would find if every test were on its own.

    Args:
        tests: in the order in which they run.
        new: makes a student.
    """

    def __init__(self, tests: Sequence[Needs], new: Callable[[], Student]) -> None:
        self._tests = tests
        self._places = {each.test: place for place, each in enumerate(tests)}
        self._last = {key: each.test for each in tests for key in each.keys.values()}
        self._new = new
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._arrivals: dict[_Key, Arrival] = {}
        self._waited_for: set[_Key] = set()

    def begin(self, test: str) -> None:
        """Let students set out for a test that begins and for those after it; wait for them if the test touches."""
        here = self._places[test]
        for each in self._tests[here:]:
            for key in each.keys.values():
                if each.test == test or len(self._arrivals.keys() - self._waited_for) < MOST:
                    self._send(key)
            if each.touches:
                break
        if touches := self._tests[here].touches:
            self._wait(f"students, before a test touches {touches}", self._arrivals.values())

    def arrivals(self, test: str) -> dict[str, Arrival]:
        """Return a test's students by name, when the journey of each has ended, wherever that was."""
        keys = self._tests[self._places[test]].keys
        self._waited_for.update(keys.values())
        found = {name: self._arrivals[key] for name, key in keys.items()}
        self._wait("students of a test", found.values())
        return found

    def end(self, test: str) -> list[Student]:
        """Return the students whom no test looks at any more, now that a test is over."""
        keys = [key for key in self._tests[self._places[test]].keys.values() if self._last[key] == test]
        return [self._arrivals.pop(key).student for key in keys if key in self._arrivals]

    def close(self) -> list[Student]:
        """Let no further student set out, and return those who are still there, or on the way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        return [each.student for each in self._arrivals.values() if not each.end.cancelled()]

    def _send(self, key: _Key) -> None:
        if key not in self._arrivals:
            student = self._new()
            self._arrivals[key] = Arrival(student, self._pool.submit(student.open, key[1]))

    def _wait(self, what: str, arrivals: Iterable[Arrival]) -> None:
        with waiting(what):
            wait([each.end for each in arrivals])
