"""A timeline: what people did and what programs logged during a run, on one clock."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
"""The pattern of a student's name in the hub."""
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Escape sequences for a terminal, such as colours (ECMA-48: CSI, OSC, and those of two bytes)."""
SOURCES = ("test", "http", "spawn", "event", "pod", "hub", "proxy", "notebook", "browser")
"""Sources of moments: a step of a test, an answer that a person got, a message on the spawn page, an event of
Kubernetes, a pod's change, a line in the log of a hub, a proxy or a server, a browser."""
MOST = 100_000
"""Moments that are kept; a whole run has a tenth of them."""
LONGEST_MOMENT = 2000
"""Characters of a moment that are kept: a Java trace or an image in a log line is no reason to run out of memory."""
BOOT = "boot"
"""The name of the promise that every run checks before any test: the deployment comes up."""


@dataclass(frozen=True, order=True)
class Moment:
    """Something that happened.

    Attributes:
        at: its time, as time.time(). A line of a log has its container's own time, which is this machine's clock, and
            an event of Kubernetes the time at which it arrived.
        source: one of SOURCES.
        who: the person that it belongs to, a user's name or another alias; empty if it belongs to no single person.
        place: the namespace of the hub that it is about; empty if it is about no single hub.
    """

    at: float
    source: str
    who: str
    text: str
    place: str = ""


class Timeline:
    """The moments of a run; any thread may add to it, and the oldest go when it is full."""

    def __init__(self, most: int = MOST) -> None:
        self._moments: deque[Moment] = deque(maxlen=most)
        self._lock = threading.Lock()

    def add(self, source: str, text: str, *, who: str = "", at: float | None = None, place: str = "") -> None:
        """Add a moment, its text without colours; it happened now unless `at` is given."""
        moment = Moment(time.time() if at is None else at, source, who, plain(text)[:LONGEST_MOMENT], place)
        with self._lock:
            self._moments.append(moment)

    def slice(
        self, since: float, until: float, people: Collection[str], places: Collection[str] | None = None
    ) -> list[Moment]:
        """Return what happened in a span, in order, without what belongs to other people or happened at other hubs.

        Args:
            since, until: the span, as time.time().
            people: aliases of those whose moments are wanted. A moment of no single person is left out if its text
                names other people only.
            places: namespaces of the hubs whose moments are wanted; all of them by default.
        """
        with self._lock:
            moments = [moment for moment in self._moments if since <= moment.at <= until]
        return sorted(moment for moment in moments if _concerns(moment, people, places))


def _concerns(moment: Moment, people: Collection[str], places: Collection[str] | None) -> bool:
    if places is not None and moment.place and moment.place not in places:
        return False
    if moment.who:
        return moment.who in people
    named = re.findall(UUID, moment.text)
    return not named or any(name in people for name in named)


def plain(text: str) -> str:
    """Return a text without escape sequences for a terminal."""
    return ANSI.sub("", text) if "\x1b" in text else text


def render(moments: Sequence[Moment], since: float, most: int | None = None) -> str:
    """Write moments as people read them, a line each, with the seconds since `since`.

    Args:
        most: lines to show; a line in the middle counts those that are left out.
    """
    lines = [_line(moment, since) for moment in moments]
    if most and len(lines) > most:
        first = most // 4
        lines[first : first - most] = [f"… {len(lines) - most} moments are left out here …"]
    return "\n".join(lines)


def _line(moment: Moment, since: float) -> str:
    head = f"{moment.at - since:+9.2f} s  {moment.source:<8}  "
    return head + f"\n{' ' * len(head)}".join(moment.text.splitlines())
