"""People who are there when their test begins: they set out while the tests before it run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from harness.base.wait import waiting
from harness.people.journey import Page
from harness.people.student import Student
from harness.scenarios.classroom import AT_ONCE

OWN = "own"
"""The name of a person whom a test shares with no other."""
MOST = 8
"""Students who may be there before the first test that looks at them: the server of each takes memory."""


Errand = Callable[[Any], object]
"""A thing to do at the end of a link; it takes the person who has arrived."""


@dataclass(frozen=True)
class Needs:
    """The part of a test that decides what may happen beside the tests before it.

    Attributes:
        test: its node ID.
        people: the link that each of its people opens, by the person's name.
        touches: what it changes under everybody's feet; empty for a test that leaves everything as it is.
        first: it is one of those whose verdict comes first, as soon as can be.
        errands: what some of its own people do at the end of their links, by the person's name.
    """

    test: str
    people: Mapping[str, str] = field(default_factory=dict)
    touches: str = ""
    first: bool = False
    errands: Mapping[str, Errand] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, _Key]:
        """The people by name; tests that have the same name for a person with the same link share the person."""
        return {name: (self.test if name == OWN else name, link) for name, link in self.people.items()}


_Key = tuple[str, str]
E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
P = TypeVar("P", bound="Traveller[Any]")


class Traveller(Protocol[E_co]):
    """A person who opens links."""

    def open(self, link: str, /) -> E_co: ...


@dataclass(frozen=True)
class Sent(Generic[P, E]):
    """A person who was sent to a link."""

    person: P
    end: Future[E]
    errand: Future[Any] | None = None

    @property
    def page(self) -> E:
        """Return what is at the end of the link, once the person is there.

        Raises:
            HarnessError: the person never arrived; of a student a SpawnError or a JourneyError.
        """
        return self.end.result()

    @property
    def arrived(self) -> P:
        """Return the person, who is at the end of the link.

        Raises:
            HarnessError: as `page`.
        """
        _ = self.page
        return self.person

    @property
    def did(self) -> Any:
        """Return what the person's errand returned, once it is over.

        Raises:
            HarnessError: the person never arrived, or the errand failed.
        """
        return self.errand.result() if self.errand else None

    @property
    def journeys(self) -> list[Future[Any]]:
        """The journey, and the errand at its end."""
        return [self.end, *([self.errand] if self.errand else [])]


Arrival = Sent[Student, Page]


class PeopleAhead(Generic[P, E]):
    """People of all tests of a run, who set out in the order of the tests, ahead of them.

    Beside a test that touches something no person is on the way. Those of the tests after it set out when it is over,
    and so find what they would find if every test were on its own. Beside the tests whose verdict comes first no other
    test's people are on the way: each takes some of the time of the verdict.

    Args:
        tests: in the order in which they run.
        new: makes a person.
        at_once: people who may be on the way at a time.
        most: people who may be there, or on the way, before the first test that looks at them.
    """

    def __init__(
        self, tests: Sequence[Needs], new: Callable[[], P], *, at_once: int = AT_ONCE, most: int = MOST
    ) -> None:
        self._tests = tests
        self._places = {each.test: place for place, each in enumerate(tests)}
        self._last = {key: each.test for each in tests for key in each.keys.values()}
        self._new = new
        self._pool = ThreadPoolExecutor(at_once)
        self._most = most
        self._sent: dict[_Key, Sent[P, E]] = {}
        self._met: set[_Key] = set()

    def begin(self, test: str) -> None:
        """Let people set out for a test that begins and for those after it; wait for them if the test touches."""
        here = self._places[test]
        # A test that was skipped has met none of its people.
        self._met.update(key for each in self._tests[:here] for key in each.keys.values())
        for each in self._tests[here:]:
            if self._tests[here].first and not each.first:
                break
            for name, key in each.keys.items():
                if each.test == test or len(self._sent.keys() - self._met) < self._most:
                    self._send(key, each.errands.get(name))
            if each.touches:
                break
        if touches := self._tests[here].touches:
            self._wait(f"people on the way, before a test touches {touches}", self._sent.values())

    def arrivals(self, test: str) -> dict[str, Sent[P, E]]:
        """Return a test's people by name, when the journey of each has ended, wherever that was, and its errand."""
        keys = self._tests[self._places[test]].keys
        self._met.update(keys.values())
        found = {name: self._sent[key] for name, key in keys.items()}
        self._wait("people of a test", found.values())
        return found

    def is_last(self, test: str) -> bool:
        """Return whether no later test looks at a test's people."""
        return all(self._last[key] == test for key in self._tests[self._places[test]].keys.values())

    def end(self, test: str) -> list[P]:
        """Return the people whom no later test looks at, now that a test is over."""
        keys = [key for key in self._tests[self._places[test]].keys.values() if self._last[key] == test]
        return [self._sent.pop(key).person for key in keys if key in self._sent]

    def close(self, *, wait_for_them: bool = False) -> list[P]:
        """Let no further person set out, and return those who are still there, or on the way.

        Args:
            wait_for_them: return when all journeys that have begun are over.
        """
        self._pool.shutdown(wait=wait_for_them, cancel_futures=True)
        return [each.person for each in self._sent.values() if not each.end.cancelled()]

    def _send(self, key: _Key, errand: Errand | None) -> None:
        if key not in self._sent:
            person = self._new()
            end = self._pool.submit(person.open, key[1])
            self._sent[key] = Sent(person, end, errand and self._pool.submit(_run_errand, errand, person, end))

    def _wait(self, what: str, people: Iterable[Sent[P, E]]) -> None:
        with waiting(what):
            wait([journey for each in people for journey in each.journeys])


def _run_errand(errand: Errand, person: Any, end: Future[Any]) -> object:
    end.result()
    return errand(person)
