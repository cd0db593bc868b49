"""The one way to wait, with a clock that only moves when somebody waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.base.errors import HarnessError
from harness.base.wait import NeverError, NotYet, TooLateError, collect_waits, pause, seldom, wait_until, waiting


class Clock:
    def __init__(self, step: float) -> None:
        self.now = 100.0
        self.step = step
        self.asked: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def change(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.now += self.step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(step=4)
    monkeypatch.setattr("harness.base.wait.time.monotonic", clock.monotonic)
    return clock


def looks(*found: str | NotYet) -> Iterator[str | NotYet]:
    return iter(found)


def test_there_at_once(clock: Clock) -> None:
    def never() -> str:
        raise AssertionError("asked for a cause, though nothing is wrong")

    assert wait_until("a server", lambda: "here", timeout=10, fail_if=never, change=clock.change) == "here"
    assert clock.asked == []


@pytest.mark.parametrize("value", [None, False, 0, ""])
def test_only_not_yet_is_not_yet(value: object) -> None:
    assert wait_until("a server", lambda: value, timeout=0) is value


def test_there_after_a_change(clock: Clock) -> None:
    found = looks(NotYet("pulling"), NotYet("starting"), "here")
    assert wait_until("a server", lambda: next(found), timeout=10, change=clock.change) == "here"
    assert clock.asked == [10, 6]


def test_too_late_says_what_was_last_seen(clock: Clock) -> None:
    found = looks(NotYet("pulling"), NotYet("starting"), NotYet("nearly"), NotYet("so nearly"))
    with pytest.raises(TooLateError, match=r"\Aa server: not there after 12 s\. Last seen: so nearly\Z"):
        wait_until("a server", lambda: next(found), timeout=10, change=clock.change)


def test_it_looks_once_more_when_the_time_is_up(clock: Clock) -> None:
    found = looks(NotYet("pulling"), "here")
    assert wait_until("a server", lambda: next(found), timeout=4, change=clock.change) == "here"


def test_a_cause_ends_it_at_once(clock: Clock) -> None:
    causes = iter([None, "ImagePullBackOff"])
    with pytest.raises(NeverError, match=r"\Aa server: will not come, seen after 4\.0 s: ImagePullBackOff\Z"):
        wait_until("a server", lambda: NotYet("pulling"), timeout=10, fail_if=lambda: next(causes), change=clock.change)
    assert clock.asked == [10]


def test_a_cause_is_worth_more_than_the_time(clock: Clock) -> None:
    with pytest.raises(NeverError, match="OOMKilled"):
        wait_until("a server", lambda: NotYet("up"), timeout=0, fail_if=lambda: "OOMKilled", change=clock.change)


@pytest.mark.parametrize("error", [NeverError, TooLateError])
def test_both_are_for_people(error: type[Exception]) -> None:
    assert issubclass(error, HarnessError)


@pytest.mark.parametrize(("asked", "slept"), [(0.05, 0.05), (30.0, 0.2)])
def test_a_pause_is_short(monkeypatch: pytest.MonkeyPatch, asked: float, slept: float) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("harness.base.wait.time.sleep", pauses.append)
    pause(asked)
    assert pauses == [slept]


def test_a_look_that_costs_something_is_seldom_taken(clock: Clock) -> None:
    looks: list[float] = []

    def look() -> str:
        looks.append(clock.now)
        return "gone"

    cause = seldom(look, every=6)
    seen = []
    for _ in range(3):
        clock.change(0)
        seen.append(cause())
    assert seen == [None, "gone", None]
    assert looks == [108.0]


class TestRecorded:
    def test_waits_are_written_down_with_what_they_were_for(self) -> None:
        with collect_waits() as waits:
            wait_until("a pod", lambda: True, timeout=1)
            with pytest.raises(TooLateError):
                wait_until("a server", lambda: NotYet("nothing"), timeout=0)
            with waiting("a page"):
                pass
        wait_until("nobody's business", lambda: True, timeout=1)
        assert [wait.name for wait in waits] == ["a pod", "a server", "a page"]
        assert all(wait.start <= wait.end for wait in waits)
