"""Servers that run and end under a culler whose times are scaled down, on a hub of their own, beside the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.base.timeline import Timeline
from harness.base.wait import NeverError, TooLateError, seldom, wait_until
from harness.deployment.model import Deployment
from harness.evidence.diagnosis import page_probe, why_unrecoverable
from harness.hub.api import Hub
from harness.hub.culler import Times, read_culler
from harness.people.browser import browser
from harness.people.journey import user_in
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.scaled_hub import LifetimeWatch, ServerLifetime, scaled_hub

SLACK = 30.0
"""Seconds that a server may need to end after the culler's decision, on a machine that is busy with a class."""
PATIENCE = 240.0
"""Seconds for the page of a student in the background: no test waits for it, and whole classes come first."""
TIMER_SPEEDUP = 5.0
"""Divisor of the timers of the background's page. It asks its server for news every 10 s, and after an answer that did
not come not for up to 30 s: with timers of its own it would look idle to a culler whose times are divided."""
ENDLESS_CELL = """
import time
while True:
    print("still at it")
    time.sleep(1)
"""


@dataclass(frozen=True)
class CulledServers:
    """The ends of three servers: one that is not used, one in which a cell runs, and one whose page is open."""

    hub: Hub
    times: Times
    idle: ServerLifetime
    busy: ServerLifetime
    page: ServerLifetime
    returning: Student
    """The student of the idle server, who still has the cookies of it."""


class Background:
    """A hub whose culler's times are divided, and the servers that it culls while the tests run."""

    def __init__(self, hub: Future[Hub], servers: Future[CulledServers] | None) -> None:
        self._hub = hub
        self._servers = servers

    def hub(self) -> Hub:
        """Return the hub, once no server on it is watched any more: a test may take it away."""
        if self._servers:
            wait([self._servers])
        return self._hub.result()

    def servers(self) -> CulledServers:
        """Return the servers, once they have ended."""
        if not self._servers:
            raise LookupError("no servers were started under the culler")
        return self._servers.result()


@contextmanager
def background_culling(running: Deployment, timeline: Timeline, *, servers: bool) -> Iterator[Background]:
    """Start a hub in the background, and servers under its culler where they are wanted; remove all at the end."""
    ending = threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(1) as side:
        hub = side.submit(lambda: stack.enter_context(scaled_hub(running)))
        started = (
            side.submit(lambda: stack.enter_context(_culled_servers(running, hub.result(), timeline, ending)))
            if servers
            else None
        )
        try:
            yield Background(hub, started)
        finally:
            ending.set()


@contextmanager
def _culled_servers(
    running: Deployment, hub: Hub, timeline: Timeline, ending: threading.Event
) -> Iterator[CulledServers]:
    times, watch = read_culler(running.cluster, hub).times, LifetimeWatch(hub)
    hub_is_down = seldom(lambda: why_unrecoverable(running.cluster, hub.namespace))
    server_probe = running.cluster.pods(hub.namespace).server_probe
    busy, idle = (Student(hub, server_probe, timeline) for _ in range(2))
    work = threading.Thread(target=_run_endless_cell, args=(busy, times.max_age + SLACK))
    try:
        busy.open(str(EXAMPLE))
        watch.add(busy.name)
        work.start()
        with browser(page_probe(running.cluster, hub), timeline, PATIENCE, TIMER_SPEEDUP) as window:
            window.open(hub.url + str(EXAMPLE))
            window.wait_for_notebook()
            page = user_in(urlsplit(window.driver.current_url).path)
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
        there = watch.lifetimes
        yield CulledServers(hub, times, there[idle.name], there[busy.name], there[page], idle)
    finally:
        for name in watch.lifetimes:
            # One that does not go ends with its hub.
            with suppress(NeverError, TooLateError):
                hub.delete_user(name, fail_if=hub_is_down)
        if work.ident:
            work.join()
        busy.close()
        idle.close()


def _run_endless_cell(student: Student, seconds: float) -> None:
    """Keep a cell running for a time; its server may go before that."""
    with suppress(CellError), student.server.kernel() as kernel:
        kernel.run(ENDLESS_CELL, timeout=seconds)
