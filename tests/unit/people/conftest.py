"""Fixtures that the tests of harness/people share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.people.journey import ServerProbe
from harness.people.student import Student
from tests.unit.people.fake_hub import FakeHub


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    fake = FakeHub()
    yield fake
    fake.close()


def never_stuck(user: str) -> Callable[[], str | None]:
    """A probe of a server that may still come."""
    return lambda: None


@pytest.fixture
def visit(fake: FakeHub) -> Iterator[Callable[..., Student]]:
    """A student who visits the hub."""
    visitors: list[Student] = []

    def visit(server_probe: ServerProbe = never_stuck) -> Student:
        visitors.append(Student(fake.hub, server_probe))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.close()
