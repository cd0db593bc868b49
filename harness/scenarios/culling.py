"""Servers that run and end under a culler whose times are scaled down, on a hub of their own, beside the tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from harness.base.errors import HarnessError
from harness.base.timeline import Timeline
from harness.base.wait import NeverError, TooLateError, seldom, wait_until
from harness.deployment.model import Deployment
from harness.deployment.rollout import restart_hub
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
T = TypeVar("T")
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


@dataclass(frozen=True)
class CulledAfterRestart:
    """The end of a server that was idle while its hub was restarted."""

    student: Student
    trouble: str
    """The reason why it did not go in time; empty for one that did."""


_Scenario = Callable[[Deployment, Hub, Timeline, threading.Event], AbstractContextManager[T]]


class Background:
    """A hub whose culler's times are divided, and what happens on it while the tests run.

    Args:
        servers: None where no test asks for them; the same with `restart`.
    """

    def __init__(self, servers: Future[CulledServers] | None, restart: Future[CulledAfterRestart] | None) -> None:
        self._servers = servers
        self._restart = restart

    def servers(self) -> CulledServers:
        """Return the servers, once they have ended and nothing else happens on their hub."""
        if not self._servers:
            raise LookupError("no servers were started under the culler")
        if self._restart:
            wait([self._restart])
        return self._servers.result()

    def restart(self) -> CulledAfterRestart:
        """Return the server of the restart, once it has ended."""
        if not self._restart:
            raise LookupError("no hub was restarted under the culler")
        return self._restart.result()


@contextmanager
def background_culling(
    running: Deployment, timeline: Timeline, *, servers: bool, restart: bool
) -> Iterator[Background]:
    """Start a hub in the background, and on it, one after the other, what is wanted; remove all at the end."""
    ending = threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(1) as side:
        hub = side.submit(lambda: stack.enter_context(scaled_hub(running)))

        def begin(scenario: _Scenario[T]) -> Future[T]:
            return side.submit(lambda: stack.enter_context(scenario(running, hub.result(), timeline, ending)))

        try:
            yield Background(begin(_culled_servers) if servers else None, begin(_restarted) if restart else None)
        finally:
            ending.set()


@contextmanager
def _culled_servers(
    running: Deployment, hub: Hub, timeline: Timeline, ending: threading.Event
) -> Iterator[CulledServers]:
    times, watch = read_culler(running.cluster, hub).times, LifetimeWatch(hub)
    hub_is_down = _end_of_wait(running, hub, ending)
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
                    fail_if=hub_is_down,
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


@contextmanager
def _restarted(
    running: Deployment, hub: Hub, timeline: Timeline, ending: threading.Event
) -> Iterator[CulledAfterRestart]:
    student = Student(hub, running.cluster.pods(hub.namespace).server_probe, timeline)
    watch, trouble = LifetimeWatch(hub), ""
    try:
        student.open(str(EXAMPLE))
        watch.add(student.name)
        restart_hub(running.cluster, hub)
        times = read_culler(running.cluster, hub).times
        wait_until(
            "the end of an idle server from before the restart",
            watch.all_gone,
            timeout=times.timeout + 2 * times.every + 2 * SLACK,
            fail_if=_end_of_wait(running, hub, ending),
        )
    except HarnessError as error:
        trouble = str(error)
    try:
        yield CulledAfterRestart(student, trouble)
    finally:
        # A server that is still there ends with its hub.
        student.close()


def _end_of_wait(running: Deployment, hub: Hub, ending: threading.Event) -> Callable[[], str | None]:
    """Return a `fail_if` for a wait on a hub in the background, which ends with the run or when the hub is down."""
    hub_is_down = seldom(lambda: why_unrecoverable(running.cluster, hub.namespace))
    return lambda: "the run ends" if ending.is_set() else hub_is_down()


def _run_endless_cell(student: Student, seconds: float) -> None:
    """Keep a cell running for a time; its server may go before that."""
    with suppress(CellError), student.server.kernel() as kernel:
        kernel.run(ENDLESS_CELL, timeout=seconds)
