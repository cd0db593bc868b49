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
    """What a check saw when the thing waited for was not there."""

    seen: str


class NeverError(HarnessError):
    """What was waited for can no longer come true; the message names the cause."""


class TooLateError(HarnessError):
    """The time ran out; the message carries what was last seen."""


@contextmanager
def recorded() -> Iterator[list[Span]]:
    """Within it, this thread's waits are written down: what each was for, and how long it took."""
    waits: list[Span] = []
    token = _RECORD.set(waits)
    try:
        yield waits
    finally:
        _RECORD.reset(token)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Within it, the run waits: for those who want to know where its time goes."""
    started = time.monotonic()
    try:
        yield
    finally:
        waits = _RECORD.get()
        if waits is not None:
            waits.append(Span.ending_now(what, time.monotonic() - started))


def pause(seconds: float) -> None:
    """Let a moment pass; for what offers nothing to watch."""
    time.sleep(min(seconds, 0.2))


def seldom(look: Callable[[], str | None], every: float = 3.0) -> Callable[[], str | None]:
    """A `fail_if` for a look that costs something: it looks once in so many seconds, and sees nothing in between."""
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
    """Wait until a check no longer says NotYet, and return what it found.

    Args:
        what: what is waited for, in the words of the person who waits: "a student's server".
        check: looks once.
        timeout: seconds before giving up.
        fail_if: looks for what makes further waiting pointless, and says what it is.
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
