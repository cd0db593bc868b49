"""Students who follow their links at the same moment: a few, or a class with a student for every course."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.signals import threads
from harness.base.wait import waiting
from harness.cluster.kind import Cluster
from harness.courses.images import MARKER
from harness.hub.api import Hub
from harness.hub.spawner_probe import GPU
from harness.people.student import Page, Student
from harness.scenarios.user_cleanup import UserCleanup

AT_ONCE = 4
"""Servers, or kernels of a class, that start at a time: more only wait for each other."""


@dataclass(frozen=True)
class Arrival:
    """A student who followed a link together with others."""

    student: Student
    began: float
    """When the student set out, as time.time()."""
    _end: Future[Page]

    @property
    def page(self) -> Page:
        """Where the link led.

        Raises:
            SpawnError, JourneyError: the student never arrived.
        """
        return self._end.result()


def follow_together(links: Mapping[str, str], new: Callable[[], Student]) -> dict[str, Arrival]:
    """Have a new student follow each link; returns, by the links' names, when nobody is under way any more."""

    def set_out(link: str) -> Arrival:
        student = new()
        return Arrival(student, time.time(), pool.submit(student.open, link))

    with waiting("students who come together"), threads(AT_ONCE) as pool:
        return {name: set_out(link) for name, link in links.items()}


@dataclass
class StudentResult:
    """What one student of a class got."""

    course: str
    name: str = ""
    pod: str = ""
    node: str = ""
    image_id: str = ""
    marker: str = ""
    """The course that the image says it is of, read through the student's kernel."""
    gpus: int = 0
    trouble: str = ""
    """Why the student has no running notebook; empty for one who has."""


@dataclass
class ClassArrival:
    """What a class got."""

    seats: dict[str, StudentResult] = field(default_factory=dict)
    """By course."""
    slowest_answer: float = 0.0
    """Seconds of the hub's slowest answer to somebody else meanwhile."""


def arrive(
    hub: Hub,
    cluster: Cluster,
    courses: Iterable[str],
    new: Callable[[], Student],
    departures: UserCleanup,
) -> ClassArrival:
    """Have a new student of each course follow the course's link, all at once; each leaves when seen."""
    wanted = sorted(courses)
    door, kernels = threading.Barrier(len(wanted)), threading.Semaphore(AT_ONCE)
    arrived = ClassArrival()

    def attend(course: str) -> StudentResult:
        seat, student = StudentResult(course), new()
        try:
            door.wait(60)
            _take(seat, student, hub, cluster, kernels)
        except (HarnessError, httpx.HTTPError) as error:
            seat.trouble = f"{error or type(error).__name__}"
        finally:
            student.close()
            seat.name = student.name
            if student.name:
                departures.add(hub, student.name)
        return seat

    done = threading.Event()
    with waiting("a class"), threads(len(wanted) + 1) as people:
        latency_probe = people.submit(_slowest_answer, hub, done)
        try:
            arrived.seats = {seat.course: seat for seat in people.map(attend, wanted)}
        finally:
            done.set()
        arrived.slowest_answer = latency_probe.result()
    return arrived


def _take(seat: StudentResult, student: Student, hub: Hub, cluster: Cluster, kernels: threading.Semaphore) -> None:
    student.open(f"/tmplogin?course={seat.course}")
    pod = cluster.server_pod(hub.namespace, student.name)
    seat.pod, seat.node = pod.metadata.name, pod.spec.node_name
    seat.image_id = pod.status.container_statuses[0].image_id
    seat.gpus = int((pod.spec.containers[0].resources.limits or {}).get(GPU, 0))
    with kernels, student.kernel() as kernel:
        seat.marker = kernel.run(f"print(open({MARKER!r}).read().strip())").stdout.strip()


def _slowest_answer(hub: Hub, done: threading.Event) -> float:
    slowest = 0.0
    with http.Client(base_url=hub.url, timeout=60) as latency_probe:
        while not done.wait(0.5):
            started = time.monotonic()
            with contextlib.suppress(httpx.TimeoutException):
                latency_probe.get("/hub/health").raise_for_status()
            slowest = max(slowest, time.monotonic() - started)
    return slowest
