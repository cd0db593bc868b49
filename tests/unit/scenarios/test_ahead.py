"""People who set out ahead of their tests: who, when, and that no person is on the way beside a test that touches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.people.journey import SpawnError
from harness.scenarios.ahead import MOST, Needs, PeopleAhead
from harness.scenarios.classroom import AT_ONCE


class FakeStudent:
    """A student who is there when the gate is open, or never."""

    def __init__(self, gate: threading.Event, opened: list[str], set_out: threading.Semaphore) -> None:
        self._gate, self._opened, self._set_out = gate, opened, set_out
        self.there = False

    def open(self, link: str) -> str:
        self._opened.append(link)
        self._set_out.release()
        assert self._gate.wait(10), "the gate stayed shut"
        if link == "broken":
            raise SpawnError("ImagePullBackOff")
        self.there = True
        return f"page of {link}"


class Town:
    """Students who set out for tests, and the links that they opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.opened: list[str] = []
        self.set_out = threading.Semaphore(0)
        self.students: list[FakeStudent] = []
        self.closing: list[Callable[[], object]] = []

    def ahead(self, *tests: Needs) -> PeopleAhead[Any, Any]:
        new: Any = self._new
        ahead = PeopleAhead[Any, Any](tests, new)
        self.closing.append(ahead.close)
        return ahead

    def _new(self) -> FakeStudent:
        self.students.append(FakeStudent(self.gate, self.opened, self.set_out))
        return self.students[-1]


@pytest.fixture
def town() -> Iterator[Town]:
    town = Town()
    yield town
    town.gate.set()
    for close in town.closing:
        close()


def own(test: str, touches: str = "") -> Needs:
    """A test with a student of its own, whose link has the test's name."""
    return Needs(test, {"own": test}, touches)


def test_beside_the_tests_that_come_first_no_others_students_set_out(town: Town) -> None:
    first = [Needs(each, {"own": each}, first=True) for each in ("a", "b")]
    ahead = town.ahead(*first, own("c"))
    ahead.begin("a")
    assert all(town.set_out.acquire(timeout=10) for _ in first)
    ahead.begin("b")
    assert sorted(town.opened) == ["a", "b"]
    ahead.begin("c")
    assert ahead.arrivals("c")["own"].page == "page of c"


def test_students_set_out_up_to_a_test_that_touches(town: Town) -> None:
    """Its own student sets out before it begins; those of the tests after it do when it is over."""
    ahead = town.ahead(own("a"), own("b"), own("c", touches="the nodes"), own("d", touches="the hub"), own("e"))
    seen = []
    for test in "acde":
        ahead.begin(test)
        ahead.arrivals(test)
        seen.append("".join(sorted(town.opened)))
    assert seen == ["abc", "abc", "abcd", "abcde"]


def test_no_student_is_on_the_way_when_a_test_touches(town: Town) -> None:
    """A test that touches begins when all who have set out are there, whichever test they belong to."""
    town.gate.clear()
    ahead = town.ahead(own("a"), Needs("b", touches="the hub"))
    ahead.begin("a")
    threading.Timer(0.05, town.gate.set).start()
    ahead.begin("b")
    assert [student.there for student in town.students] == [True]


def test_an_errand_is_done_at_the_end_of_the_link_and_ahead_of_the_test(town: Town) -> None:
    """A test that touches begins when those of all who have set out are done."""
    done: list[bool] = []
    go = threading.Event()

    def errand(student: FakeStudent) -> str:
        assert go.wait(10), "nobody let the student go on"
        done.append(student.there)
        return "bought a book"

    ahead = town.ahead(own("a"), Needs("b", {"own": "b"}, errands={"own": errand}), own("c", touches="the hub"))
    ahead.begin("a")
    assert ahead.arrivals("a")["own"].did is None
    threading.Timer(0.05, go.set).start()
    ahead.begin("c")
    assert done == [True]
    assert ahead.arrivals("b")["own"].did == "bought a book"


def test_an_errand_of_one_who_never_arrives_is_not_begun(town: Town) -> None:
    ahead = town.ahead(Needs("a", {"own": "broken"}, errands={"own": lambda student: pytest.fail("it was begun")}))
    ahead.begin("a")
    with pytest.raises(SpawnError):
        _ = ahead.arrivals("a")["own"].did


def test_tests_share_a_student_by_name_and_link(town: Town) -> None:
    """A student called `own` is not shared; a shared one goes with the last test that looks at them."""
    ahead = town.ahead(
        Needs("a", {"anybody": "x", "own": "x"}), Needs("b", {"anybody": "y", "own": "x"}), Needs("c", {"anybody": "x"})
    )
    ahead.begin("a")
    a, b, c = (ahead.arrivals(test) for test in "abc")
    assert len(town.students) == 4
    assert a["anybody"].arrived is c["anybody"].arrived
    assert str(a["anybody"].page) == "page of x"
    assert [ahead.is_last(test) for test in "abc"] == [False, True, True]
    assert ahead.end("a") == [a["own"].person]
    assert ahead.end("b") == [b["anybody"].person, b["own"].person]
    assert ahead.end("c") == [c["anybody"].person]


def test_only_so_many_wait_for_their_test(town: Town) -> None:
    """Each takes a server's memory; where one test has more students, all of them set out for it."""
    many = Needs("many", {f"student {number}": "x" for number in range(MOST + 2)})
    ahead = town.ahead(own("first"), *(own(f"test {number}") for number in range(2 * MOST)), many)
    ahead.begin("first")
    assert len(town.students) == MOST
    ahead.arrivals("first")
    ahead.begin("test 0")
    assert len(town.students) == MOST + 1
    ahead.begin("many")
    assert len(ahead.arrivals("many")) == MOST + 2


def test_a_skipped_test_takes_no_place(town: Town) -> None:
    """Its students have set out; that it never looks at them keeps none of the others at home."""
    ahead = town.ahead(*(own(f"skipped {number}") for number in range(MOST)), own("next"), own("last"))
    ahead.begin("skipped 0")
    ahead.begin("next")
    assert len(town.students) == MOST + 2


def test_one_who_never_arrives_fails_the_test_that_looks(town: Town) -> None:
    """The failure is that of the student's own test, and of no test before it."""
    ahead = town.ahead(own("a"), own("broken"))
    ahead.begin("a")
    assert ahead.arrivals("a")["own"].arrived
    arrival = ahead.arrivals("broken")["own"]
    with pytest.raises(SpawnError, match="ImagePullBackOff"):
        _ = arrival.arrived


def test_a_run_that_ends_early_lets_no_further_student_set_out(town: Town) -> None:
    """Those who are there or on the way are returned, to be deleted."""
    town.gate.clear()
    ahead = town.ahead(*(own(f"test {number}") for number in range(6)))
    ahead.begin("test 0")
    assert all(town.set_out.acquire(timeout=10) for _ in range(AT_ONCE))
    left: list[Any] = [*ahead.close()]
    town.gate.set()
    assert left == town.students[:AT_ONCE]
    assert len(town.students) == 6
    assert len(town.opened) == AT_ONCE
