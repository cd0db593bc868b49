"""Servers that run and end under a culler whose times are scaled down, on a hub of their own, beside the tests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from urllib.parse import urlsplit

from harness.base.errors import HarnessError
from harness.base.timeline import Timeline
from harness.base.wait import NeverError, NotYet, TooLateError, seldom, wait_until
from harness.cluster.pods import server_of
from harness.deployment.model import Deployment
from harness.deployment.monitoring import wait_for_monitoring
from harness.deployment.rollout import restart_hub
from harness.evidence.diagnosis import page_probe, why_unrecoverable
from harness.faults.broken_hub import stopped_culler
from harness.hub.api import Hub
from harness.hub.culler import Times, read_culler
from harness.monitoring.client import Alert, Monitoring
from harness.people.browser import Browser, browser
from harness.people.journey import Page, user_in
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.scaled_hub import FACTOR, LifetimeWatch, ServerLifetime, scaled_hub

SLACK = 30.0
"""Seconds that a server may need to end after the culler's decision, on a machine that is busy with a class."""
PATIENCE = 240.0
"""Seconds for the page of a student in the background: no test waits for it, and whole classes come first."""
TIMER_SPEEDUP = 5.0
"""Divisor of the timers of the background's page. It asks its server for news every 10 s, and after an answer that did
not come not for up to 30 s: with timers of its own it would look idle to a culler whose times are divided."""
OLD = 0.75
"""Part of its greatest age at which an open page is asked for what it had at its start."""
SET, STILL = ("kept = 6 * 7; print('set', kept)", "set 42"), ("print('still', kept)", "still 42")
"""Cells for the start of a page and for later, each with its output."""
CULLER_SILENT, SILENCE = "JupyterHubCullerSilent", 1200 / FACTOR
"""The alert about a culler that does not look, and the seconds over which it looks back."""
ALERT_TIMEOUT = 120.0
"""Seconds from a fault to its alert at the receiver: windows and waits of a rule, and a busy machine."""
COPY = "copy.ipynb"
ASK_TIMEOUT = 30.0
"""Seconds for a page that has been open for long to run one cell."""
ENDS_OF_KERNELS = re.compile(r"(?:Culling '|Kernel died|.*restarting kernel|No kernels for).*")
"""Lines of a server's log about the end of a kernel (jupyter_server)."""
REFUSAL = re.compile(r"(\S+) .*(?:status of|response code:) 403")
"""A message of Chromium's console about an answer that the server refused: its URL first."""
T = TypeVar("T")
ENDLESS_CELL = """
import time
while True:
    print("still at it")
    time.sleep(1)
"""


@dataclass(frozen=True)
class OldPage:
    """A page that was left open, and what it can still do.

    Attributes:
        age: seconds for which its server had been there.
        forgotten: why its kernel no longer has a variable of the start; empty where it has.
        unsaved: why a notebook is no longer saved; empty where it is.
    """

    age: float
    forgotten: str
    unsaved: str


@dataclass(frozen=True)
class Return:
    """The return of a student whose server was culled, with the cookies of it, to a new server."""

    name: str
    page: Page
    notebook: int
    """Status of the notebook's contents on the new server."""


@dataclass(frozen=True)
class CulledServers:
    """The ends of three servers: one that is not used, one in which a cell runs, and one whose page is open."""

    hub: Hub
    times: Times
    idle: ServerLifetime
    busy: ServerLifetime
    page: ServerLifetime
    old_page: OldPage
    returning: Student
    """The student of the idle server, who came back once it was gone."""
    returned: Future[Return]


@dataclass(frozen=True)
class CulledAfterRestart:
    """The end of a server that was idle while its hub was restarted."""

    student: Student
    trouble: str
    """The reason why it did not go in time; empty for one that did."""


@dataclass(frozen=True)
class SilentCuller:
    """A culler that looked for a while, and then hung.

    Attributes:
        early: alerts about it while it looked.
    """

    alert: Alert
    early: list[Alert]


_Scenario = Callable[[Deployment, Hub, Timeline, threading.Event, threading.Event], AbstractContextManager[T]]


class Background:
    """A hub whose culler's times are divided, and what happens on it while the tests run.

    Args:
        servers: None where no test asks for them; the same with `restart` and `silence`.
        opened: is set when the servers are up.
    """

    def __init__(
        self,
        hub: Future[Hub],
        servers: Future[CulledServers] | None,
        restart: Future[CulledAfterRestart] | None,
        opened: threading.Event,
        silence: Future[SilentCuller] | None = None,
    ) -> None:
        self._hub = hub
        self._servers = servers
        self._restart = restart
        self._silence = silence
        self._opened = opened

    def wait_until_opened(self) -> None:
        """Wait until the hub and its servers are up, or have failed: in their start nothing may go away under them."""
        wait([self._hub])
        while self._servers and not self._servers.done() and not self._opened.wait(1):
            pass
        if self._restart:
            wait([self._restart])

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

    def silence(self) -> SilentCuller:
        """Return the culler that hung, once its alert is there."""
        if not self._silence:
            raise LookupError("no culler was stopped")
        return self._silence.result()


@contextmanager
def background_culling(
    running: Deployment, timeline: Timeline, *, servers: bool, restart: bool, silence: bool
) -> Iterator[Background]:
    """Start a hub in the background, and on it, one after the other, what is wanted; remove all at the end."""
    opened, ending = threading.Event(), threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(1) as side:
        hub = side.submit(lambda: stack.enter_context(scaled_hub(running)))

        def begin(scenario: _Scenario[T]) -> Future[T]:
            return side.submit(lambda: stack.enter_context(scenario(running, hub.result(), timeline, opened, ending)))

        started = begin(_culled_servers) if servers else None
        restarted = begin(_restarted) if restart else None
        try:
            yield Background(hub, started, restarted, opened, begin(_silenced) if silence else None)
        finally:
            ending.set()


@contextmanager
def _culled_servers(
    running: Deployment, hub: Hub, timeline: Timeline, opened: threading.Event, ending: threading.Event
) -> Iterator[CulledServers]:
    times, watch = read_culler(running.cluster, hub).times, LifetimeWatch(hub)
    over = _end_of_wait(running, hub, ending)
    server_probe = running.cluster.pods(hub.namespace).server_probe
    busy, idle = (Student(hub, server_probe, timeline) for _ in range(2))
    work = threading.Thread(target=_run_endless_cell, args=(busy, times.max_age + SLACK))
    try:
        busy.open(str(EXAMPLE))
        watch.add(busy.name)
        work.start()
        with (
            browser(page_probe(running.cluster, hub), timeline, PATIENCE, TIMER_SPEEDUP) as window,
            # Beside the watch, for a page and a student who comes back may take their time.
            ThreadPoolExecutor(2) as side,
        ):
            window.open(hub.url + str(EXAMPLE))
            window.wait_for_notebook()
            page = user_in(urlsplit(window.driver.current_url).path)
            watch.add(page)
            log = partial(_server_log, running, hub, page)
            began = _ask_page(window, SET, log, PATIENCE)
            # Last: from here on all servers are looked at.
            idle.open(str(EXAMPLE))
            left = idle.name
            watch.add(left)
            opened.set()
            asked = side.submit(_ask_when_old, window, began, watch.lifetimes[page], OLD * times.max_age, over, log)
            returned = side.submit(_return, idle, hub, watch.lifetimes[left], times, over)
            longest = times.max_age + 2 * times.every + 2 * SLACK
            with suppress(TooLateError):
                wait_until("the end of all servers", watch.all_gone, timeout=longest, fail_if=over)
            old_page = asked.result()
        there = watch.lifetimes
        yield CulledServers(hub, times, there[left], there[busy.name], there[page], old_page, idle, returned)
    finally:
        for name in watch.lifetimes:
            # One that does not go ends with its hub.
            with suppress(NeverError, TooLateError):
                hub.delete_user(name, fail_if=over)
        if work.ident:
            work.join()
        busy.close()
        idle.close()


@contextmanager
def _restarted(
    running: Deployment, hub: Hub, timeline: Timeline, opened: threading.Event, ending: threading.Event
) -> Iterator[CulledAfterRestart]:
    student = Student(hub, running.cluster.pods(hub.namespace).server_probe, timeline)
    watch, trouble = LifetimeWatch(hub), ""
    opened.set()
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


@contextmanager
def _silenced(
    running: Deployment, hub: Hub, timeline: Timeline, opened: threading.Event, ending: threading.Event
) -> Iterator[SilentCuller]:
    opened.set()
    monitoring, over = Monitoring(running.cluster), _end_of_wait(running, hub, ending)
    wait_for_monitoring(running.cluster, monitoring)
    began = time.time()
    where = f'handler=~".*UserListAPIHandler", namespace="{hub.namespace}"'
    looked = f"jupyterhub_request_duration_seconds_count{{{where}}} offset {SILENCE:.0f}s"
    monitoring.wait_for("a culler that has looked for a while", looked, timeout=ALERT_TIMEOUT, fail_if=over)
    early = [each for each in monitoring.received(began) if each.name == CULLER_SILENT]
    with stopped_culler(running.cluster, hub):
        alert = monitoring.wait_for_alert(CULLER_SILENT, hub.namespace, began, ALERT_TIMEOUT, over)
    yield SilentCuller(alert, early)


def _end_of_wait(running: Deployment, hub: Hub, ending: threading.Event) -> Callable[[], str | None]:
    """Return a `fail_if` for a wait on a hub in the background, which ends with the run or when the hub is down."""
    hub_is_down = seldom(lambda: why_unrecoverable(running.cluster, hub.namespace))
    return lambda: "the run ends" if ending.is_set() else hub_is_down()


def _ask_when_old(
    window: Browser,
    began: tuple[str, str],
    life: ServerLifetime,
    age: float,
    over: Callable[[], str | None],
    log: Callable[[], str],
) -> OldPage:
    """Wait until a page's server has an age, and ask the page for what it had at the start.

    A page that never worked is not asked, nor is one whose server is gone before that.

    Args:
        began: what was wrong with the page at the start.
        life: of its server, which another thread looks at.
        age: seconds.
        over: returns why the wait is over.
        log: returns what the server has written.
    """

    def old() -> bool | NotYet:
        now = life.starting + life.last_seen
        return life.gone_at is not None or now >= age or NotYet(f"a server of {now:.0f} s")

    wait_until("a page that has been open for long", old, timeout=2 * age + SLACK, fail_if=over)
    if life.gone_at is not None:
        began = (f"its server {life.end}", f"{_first_refusal(window)}its server {life.end}")
    return OldPage(life.last_seen, *(began if any(began) else _ask_page(window, STILL, log, ASK_TIMEOUT)))


def _return(student: Student, hub: Hub, life: ServerLifetime, times: Times, over: Callable[[], str | None]) -> Return:
    """Wait until a student's idle server is gone, and have the student come back, and go for good.

    Raises:
        HarnessError: the server does not go, or the return does not end at a page.
    """

    def gone() -> bool | NotYet:
        return life.gone_at is not None or NotYet(f"it is there after {life.last_seen:.0f} s")

    longest = times.timeout + 2 * times.every + 2 * SLACK
    wait_until("the end of an idle server, whose student comes back", gone, timeout=longest, fail_if=over)
    page = student.open(str(EXAMPLE))
    try:
        return Return(student.name, page, student.server.contents(EXAMPLE.notebook).status_code)
    finally:
        hub.delete_user(student.name, fail_if=over)


def _first_refusal(window: Browser) -> str:
    """Return the first 403 on a page's console, as the beginning of a sentence; empty if it has none.

    A page whose login is over no longer counts as one in use, so that the culler ends its server.
    """
    window.update_timeline()
    refused = next(filter(None, map(REFUSAL.match, window.console_errors)), None)
    return f"403 for {refused[1]}, and then " if refused else ""


def _ask_page(window: Browser, cell: tuple[str, str], log: Callable[[], str], timeout: float) -> tuple[str, str]:
    """Save a notebook from a page and run a cell in it; return why its kernel has no answer, and why nothing is saved.

    Args:
        cell: its code, and the output that it should have.
    """
    code, output = cell
    # The server may be gone, log and all, when the page gives up.
    written = log()
    try:
        unsaved = window.why_not_saved(EXAMPLE.notebook, COPY)
    except HarnessError as error:
        unsaved = str(error)
    try:
        window.run_first_cell(code, timeout)
        window.wait_for_output(output, timeout)
    except HarnessError as error:
        ends = ENDS_OF_KERNELS.findall(written + log())
        return (f"the server's log has: {ends[-1]}" if ends else str(error)), unsaved
    return "", unsaved


def _server_log(running: Deployment, hub: Hub, user: str) -> str:
    """Return what a user's server has written in all its life; empty if it is gone."""
    pods = running.cluster.pods(hub.namespace)
    found = [(pod.metadata.name, pod.spec.containers[0].name) for pod in pods.look(server_of(user))]
    return "".join(pods.logs(pod, container, seconds=2 * PATIENCE) for pod, container in found)


def _run_endless_cell(student: Student, seconds: float) -> None:
    """Keep a cell running for a time; its server may go before that."""
    with suppress(CellError), student.server.kernel() as kernel:
        kernel.run(ENDLESS_CELL, timeout=seconds)
