"""Intervals of time in a run, and what goes on in them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Span:
    """An interval; start and end as time.time()."""

    start: float
    end: float
    name: str = ""

    @classmethod
    def ending_now(cls, name: str, seconds: float) -> Span:
        """Return the last `seconds`, which come from a monotonic clock, on the clock that all logs share."""
        now = time.time()
        return cls(now - seconds, now, name)

    @property
    def seconds(self) -> float:
        return self.end - self.start


def merged(spans: Iterable[Span], gap: float = 0.0) -> list[Span]:
    """Return the same time without overlaps, in order, and without names.

    Args:
        gap: two spans with at most so many seconds between them become one.
    """
    found: list[Span] = []
    for span in sorted(spans):
        if found and span.start <= found[-1].end + gap:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(Span(span.start, span.end))
    return found


def common(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return the time that both have in common."""
    these, those, found = merged(spans), merged(others), list[Span]()
    while these and those:
        start, end = max(these[0].start, those[0].start), min(these[0].end, those[0].end)
        if start < end:
            found.append(Span(start, end))
        (these if these[0].end <= those[0].end else those).pop(0)
    return found


def without(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """Return the time of `spans` that is not in `others`."""
    found, those = list[Span](), merged(others)
    for span in merged(spans):
        start = span.start
        for other in those:
            if other.end <= start:
                continue
            if other.start >= span.end:
                break
            if other.start > start:
                found.append(Span(start, other.start))
            start = other.end
        if start < span.end:
            found.append(Span(start, span.end))
    return found


def total(spans: Iterable[Span]) -> float:
    """Return the seconds that pass in the spans; what overlaps counts once."""
    return sum(span.seconds for span in merged(spans))
