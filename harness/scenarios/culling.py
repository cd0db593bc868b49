"""Servers that live and end under the culler, at a scale, on a hub of their own, while a run does other things."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from harness.base.timeline import Timeline
from harness.base.wait import NeverError, TooLateError, seldom, wait_until
from harness.deployment.model import Deployment
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub
from harness.hub.culler import Times, read_culler
from harness.people.browser import browser
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.people.student import UUID, Student
from harness.scenarios.scaled_hub import ServerLifetime, Watch, scaled_hub

SLACK = 30.0
"""Seconds that a server may need to go once the culler has said so, on a machine that a whole class keeps busy."""
PATIENCE = 240.0
"""Seconds for the page of a student in the background: nobody waits for it, and whole classes have their turn first."""
HASTE = 5.0
"""What the times of the background's page are divided by. It asks its server for news every 10 s, and after an answer
that did not come not for up to 30 s: with times of its own it would look idle to a culler whose times are divided."""
ANSWER_FOR_EVER = """
import time
while True:
    print("still at it")
    time.sleep(1)
"""


@dataclass(frozen=True)
class Lives:
    """What became of three servers: nobody uses one, a cell runs in the second, the third's page is open."""

    hub: Hub
    times: Times
    idle: ServerLifetime
    busy: ServerLifetime
    page: ServerLifetime
    returning: Student
    """The student of the idle server, who still has the cookies of it."""


class Background:
    """A hub whose culler's times are divided, and what goes on there while the run does other things."""

    def __init__(self, hub: Future[Hub], lives: Future[Lives] | None) -> None:
        self._hub = hub
        self._lives = lives

    def hub(self) -> Hub:
        """The hub, when nobody watches a life on it any more: a test may take it away."""
        if self._lives:
            wait([self._lives])
        return self._hub.result()

    def lives(self) -> Lives:
        """The lives, when they have ended."""
        if not self._lives:
            raise LookupError("no lives were begun")
        return self._lives.result()


@contextmanager
def background_culling(running: Deployment, timeline: Timeline, *, lives: bool) -> Iterator[Background]:
    """Begin in the background with a hub, and with lives under its culler where they are wanted; gone at the end."""
    ending = threading.Event()
    with ExitStack() as left, ThreadPoolExecutor(1) as side:
        hub = side.submit(lambda: left.enter_context(scaled_hub(running)))
        begun = (
            side.submit(lambda: left.enter_context(_lived(running, hub.result(), timeline, ending))) if lives else None
        )
        try:
            yield Background(hub, begun)
        finally:
            ending.set()


@contextmanager
def _lived(running: Deployment, hub: Hub, timeline: Timeline, ending: threading.Event) -> Iterator[Lives]:
    times, watch = read_culler(running.cluster, hub).times, Watch(hub)
    hub_is_down = seldom(lambda: why_unrecoverable(running.cluster, hub.namespace))
    busy, idle = (Student(hub, timeline=timeline) for _ in range(2))
    work = threading.Thread(target=_answer_for_ever, args=(busy, times.max_age + SLACK))
    try:
        busy.open(str(EXAMPLE))
        watch.add(busy.name)
        work.start()
        with browser(timeline=timeline, patience=PATIENCE, timer_speedup=HASTE) as window:
            window.open(hub.url + str(EXAMPLE))
            window.wait_for_notebook()
            [page] = re.findall(UUID, window.driver.current_url)[:1]
            watch.add(page)
            idle.open(str(EXAMPLE))
            watch.add(idle.name)
            longest = times.max_age + 2 * times.every + 2 * SLACK
            with suppress(TooLateError):
                wait_until(
                    "the end of all servers",
                    watch.all_gone,
                    timeout=longest,
                    fail_if=lambda: "the run ends" if ending.is_set() else hub_is_down(),
                )
        there = watch.lives
        yield Lives(hub, times, there[idle.name], there[busy.name], there[page], idle)
    finally:
        for name in watch.lives:
            # One that does not go ends with its hub.
            with suppress(NeverError, TooLateError):
                hub.delete_user(name, fail_if=hub_is_down)
        if work.ident:
            work.join()
        busy.close()
        idle.close()


def _answer_for_ever(student: Student, seconds: float) -> None:
    """Have a cell run for a time; its server may be gone before that."""
    with suppress(CellError), student.kernel() as kernel:
        kernel.run(ANSWER_FOR_EVER, timeout=seconds)
