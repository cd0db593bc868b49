"""The one way to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from harness.base.errors import HarnessError
from harness.base.intervals import Span

T = TypeVar("T")
_RECORD: ContextVar[list[Span] | None] = ContextVar("record", default=None)


@dataclass(frozen=True)
class NotYet:
    """The answer of a check while the thing waited for is not there, with what it saw."""

    seen: str


class NeverError(HarnessError):
    """The thing waited for can no longer come; the message names the cause."""


class TooLateError(HarnessError):
    """The time ran out; the message carries what was last seen."""


@contextmanager
def collect_waits() -> Iterator[list[Span]]:
    """Collect this thread's waits while the block runs: what each was for, and how long it took."""
    waits: list[Span] = []
    token = _RECORD.set(waits)
    try:
        yield waits
    finally:
        _RECORD.reset(token)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Count the time of the block as a wait, for the picture of where a run's time goes."""
    started = time.monotonic()
    try:
        yield
    finally:
        waits = _RECORD.get()
        if waits is not None:
            waits.append(Span.ending_now(what, time.monotonic() - started))


def pause(seconds: float) -> None:
    """Wait a moment, where there is nothing to watch."""
    time.sleep(min(seconds, 0.2))


def seldom(look: Callable[[], str | None], every: float = 3.0) -> Callable[[], str | None]:
    """Return a `fail_if` that calls an expensive check once in so many seconds, and returns None in between."""
    due = time.monotonic() + every

    def looked() -> str | None:
        nonlocal due
        if time.monotonic() < due:
            return None
        found = look()
        due = time.monotonic() + every
        return found

    return looked


def wait_until(
    what: str,
    check: Callable[[], T | NotYet],
    *,
    timeout: float,
    fail_if: Callable[[], str | None] = lambda: None,
    change: Callable[[float], None] = pause,
) -> T:
    """Wait until a check no longer returns NotYet, and return what it found.

    Args:
        what: the thing waited for, in the words of the person who waits: "a student's server".
        check: looks once.
        timeout: seconds before giving up.
        fail_if: returns the cause that makes further waiting pointless, if there is one.
        change: returns when something may have changed, or after the seconds it is given; a Kubernetes watch where
            there is one.

    Raises:
        NeverError: `fail_if` found a cause.
        TooLateError: `timeout` seconds went by.
    """
    started = time.monotonic()
    with waiting(what):
        while True:
            found = check()
            if not isinstance(found, NotYet):
                return found
            cause = fail_if()
            elapsed = time.monotonic() - started
            if cause:
                raise NeverError(f"{what}: will not come, seen after {elapsed:.1f} s: {cause}")
            if elapsed >= timeout:
                raise TooLateError(f"{what}: not there after {elapsed:.0f} s. Last seen: {found.seen}")
            change(timeout - elapsed)
