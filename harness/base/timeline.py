"""A timeline: what everybody did and said during a run, on one clock."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
"""What the hub calls a student."""
SOURCES = ("test", "http", "spawn", "event", "pod", "hub", "proxy", "notebook", "browser")
"""Who a moment can come from: a step of a test, an answer that a person got, a message on the spawn's own page, an
event of Kubernetes, a pod's change, a line in the log of hub, proxy or somebody's server, a browser."""
MOST = 100_000
"""Moments that are kept; a whole run has a tenth of them."""
LONGEST = 2000
"""Characters of a moment that are kept: a Java trace or an image in a log line is no reason to run out of memory."""
BOOT = "boot"
"""Stands for the promise that every run checks before any test: the deployment comes up."""


@dataclass(frozen=True, order=True)
class Moment:
    """Something that happened.

    Attributes:
        at: when, as time.time(). Lines of a log have their container's own time; the nodes are on this machine, and
            so on its clock. What Kubernetes says has the time at which it was heard.
        source: one of SOURCES.
        who: whose it is: a user's name, or another name that somebody goes by; empty for what is nobody's own.
    """

    at: float
    source: str
    who: str
    text: str


class Timeline:
    """The moments of a run. Whoever has one may add to it, from any thread; the oldest go when it is full."""

    def __init__(self, most: int = MOST) -> None:
        self._moments: deque[Moment] = deque(maxlen=most)
        self._lock = threading.Lock()

    def add(self, source: str, text: str, *, who: str = "", at: float | None = None) -> None:
        """Put something down: now, unless it is said when."""
        moment = Moment(time.time() if at is None else at, source, who, text[:LONGEST])
        with self._lock:
            self._moments.append(moment)

    def slice(self, since: float, until: float, people: Collection[str]) -> list[Moment]:
        """What happened in a span, in order, without what is other people's.

        Args:
            since, until: the span, as time.time().
            people: names of those whose moments are wanted. What is nobody's own is left out if it speaks of other
                people only.
        """
        with self._lock:
            moments = [moment for moment in self._moments if since <= moment.at <= until]
        return sorted(moment for moment in moments if _concerns(moment, people))


def _concerns(moment: Moment, people: Collection[str]) -> bool:
    if moment.who:
        return moment.who in people
    named = re.findall(UUID, moment.text)
    return not named or any(name in people for name in named)


def render(moments: Sequence[Moment], since: float, most: int | None = None) -> str:
    """Moments as people read them, a line each, with the seconds since `since`.

    Args:
        most: lines to show; what is left out of the middle is said.
    """
    lines = [_line(moment, since) for moment in moments]
    if most and len(lines) > most:
        first = most // 4
        lines[first : first - most] = [f"… {len(lines) - most} moments are left out here …"]
    return "\n".join(lines)


def _line(moment: Moment, since: float) -> str:
    head = f"{moment.at - since:+9.2f} s  {moment.source:<8}  "
    return head + f"\n{' ' * len(head)}".join(moment.text.splitlines())
