"""The one user of the authors' hub: who uses it, and when it is deleted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.people.author import NAME
from harness.people.journey import JourneyError
from harness.scenarios.authors_user import AuthorsUser

LEAVES, GONE = ("an author leaves", f"{NAME} goes"), f"{NAME} is gone"


class FakeAuthor:
    """An author who writes down what happens."""

    hub = "the authors' hub"
    journey = "302 /hub/login"

    def __init__(self, happened: list[str], password: str) -> None:
        self._happened, self._password = happened, password

    def log_in(self, password: str) -> int:
        return 302 if password == self._password else 403

    def ask_for(self, course: str) -> None:
        self._happened.append(f"{course} starts")

    def close(self) -> None:
        self._happened.append("an author leaves")


def user_of(happened: list[str], password: str = "right") -> AuthorsUser:
    def new() -> Any:
        return FakeAuthor(happened, "right")

    cleanup: Any = SimpleNamespace(
        add=lambda hub, name: happened.append(f"{name} goes"),
        delete=lambda hub, name: happened.append(f"{name} is gone"),
    )
    return AuthorsUser(new, cleanup, password)


def test_tests_that_look_share_a_server() -> None:
    happened: list[str] = []
    user = user_of(happened)
    assert user.open("a") is user.open("a")
    assert happened == ["a starts"]
    user.open("b")
    assert happened == ["a starts", *LEAVES, GONE, "b starts"]


def test_a_test_that_begins_anew_finds_nothing() -> None:
    """The author at work is gone before, and the one who comes to work after it starts a server again."""
    happened: list[str] = []
    user = user_of(happened)
    at_work = user.open("a")
    assert user.anew() is not at_work
    assert happened == ["a starts", *LEAVES, GONE]
    user.open("b")
    assert happened[4:] == [*LEAVES, GONE, "b starts"]


def test_who_leaves_is_waited_for_by_the_next_alone() -> None:
    happened: list[str] = []
    user = user_of(happened)
    user.open("a")
    user.free()
    assert happened == ["a starts", *LEAVES]
    user.anew()
    assert happened == ["a starts", *LEAVES, GONE]


def test_an_author_who_is_refused_stays_until_the_next_test() -> None:
    """The evidence of the failure is still there; the next test tries anew."""
    happened: list[str] = []
    user = user_of(happened, password="wrong")
    with pytest.raises(JourneyError, match="the shared password is refused: 403, expected 302"):
        user.open("a")
    assert user.author
    assert happened == []
    with pytest.raises(JourneyError, match="refused"):
        user.open("a")
    assert happened == [*LEAVES, GONE]


def test_a_user_that_is_free_is_not_deleted_again() -> None:
    happened: list[str] = []
    user = user_of(happened)
    user.free()
    assert happened == []
