"""The time that builds and pulls take: what each took the last time, what is under way, and how much is left."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.plan.versions import IMAGES

EXPECTED = IMAGES / "seconds.toml"
"""File of the seconds that each build takes on two idle cores, for a machine that has not made it yet."""


class Durations:
    """Seconds that each piece of work took the last time on this machine, kept in the cache."""

    def __init__(self, cache: Path) -> None:
        self._file = cache / "seconds.json"
        self._lock = threading.Lock()
        self._expected = {name: float(seconds) for name, seconds in tomllib.loads(EXPECTED.read_text()).items()}
        self._last = self._read()

    def last(self, name: str) -> float | None:
        """Return the seconds of the last time; None for the first."""
        return self._last.get(name)

    def expected(self, name: str) -> float | None:
        """Return the seconds of the last time, or those to expect; None where neither is known."""
        return self._last.get(name, self._expected.get(name))

    def keep(self, name: str, seconds: float) -> None:
        """Write down what a piece of work took."""
        with self._lock:
            self._last = {**self._read(), name: round(seconds, 1)}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self._last, indent=1, sort_keys=True))
            draft.replace(self._file)

    def _read(self) -> dict[str, float]:
        with contextlib.suppress(OSError, ValueError):
            return {name: float(seconds) for name, seconds in json.loads(self._file.read_text()).items()}
        return {}


class Forecast:
    """Pieces of work, some at a time, and what is left of them."""

    def __init__(
        self,
        work: Sequence[str],
        durations: Durations,
        *,
        at_a_time: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting = list(work)
        self._running: dict[str, float] = {}
        self._durations = durations
        self._at_a_time = at_a_time
        self._clock = clock

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a piece of the work; one that fails is not kept as what it takes."""
        self._waiting.remove(name)
        self._running[name] = started = self._clock()
        try:
            yield
            self._durations.keep(name, self._clock() - started)
        finally:
            del self._running[name]

    def line(self) -> str:
        """Return what is under way, how long it took the last time or should take, and how much is left of all."""
        running = ", ".join(self._about(name, started) for name, started in list(self._running.items()))
        then = f"; then {len(self._waiting)} more" if self._waiting else ""
        return f"{running}{then}; {self._rest()}"

    def _about(self, name: str, started: float) -> str:
        expected, gone = self._durations.expected(name), self._clock() - started
        if expected is None:
            known = " for the first time here"
        elif gone > expected:
            known = f", more than the {expected:.0f} s {self._source(name)}"
        else:
            known = f" of {expected:.0f} s {self._source(name)}"
        return f"{name} {gone:.0f} s{known}"

    def _source(self, name: str) -> str:
        return "expected" if self._durations.last(name) is None else "last time"

    def _rest(self) -> str:
        """Return how much is left: as if each piece began as soon as one that is under way ends."""
        names, now = [*self._running, *self._waiting], self._clock()
        unknown = [name for name in names if self._durations.expected(name) is None]
        ends = [0.0] * self._at_a_time
        for name in names:
            gone = now - self._running.get(name, now)
            heapq.heapreplace(ends, ends[0] + max((self._durations.expected(name) or 0.0) - gone, 0.0))
        seconds = max(ends)
        if not seconds:
            return "how much is left is not known"
        rest = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"about {rest} left" + (f" and {len(unknown)} of unknown length" if unknown else "")
