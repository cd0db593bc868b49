"""A class: a student for every course, who follow their links at the same moment."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import httpx

from harness.base import http
from harness.base.errors import HarnessError
from harness.base.signals import threads
from harness.base.wait import waiting
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import main_status
from harness.courses.images import MARKER
from harness.hub.api import Hub
from harness.hub.spawner_probe import GPU
from harness.people.student import Student
from harness.scenarios.user_cleanup import UserCleanup

AT_ONCE = 4
"""Servers, or kernels of a class, that start at a time: more only wait for each other."""
COOKIES = "jupyterhub-"
"""Prefixes of the names of the cookies by which hub and servers identify a person."""
SESSION_COOKIE, LOGIN_COOKIE = "jupyterhub-session-id", "jupyterhub-hub-login"


@dataclass
class StudentResult:
    """The outcome for one student of a class."""

    course: str
    hub: str = ""
    """URL at which the student came to the hub: its own, or the gate's."""
    name: str = ""
    pod: str = ""
    node: str = ""
    image_id: str = ""
    marker: str = ""
    """The course in the image's marker file, read through the student's kernel."""
    gpus: int = 0
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Values of the cookies by which hub and server identify the student, by the cookie's name."""
    trouble: str = ""
    """The reason why the student has no running notebook; empty for a student who has one."""


@dataclass
class ClassArrival:
    """The outcome for a class."""

    results: dict[str, StudentResult] = field(default_factory=dict)
    """By course."""
    slowest_answer: float = 0.0
    """Seconds of the hub's slowest answer to another visitor meanwhile."""


def arrive(
    hub: Hub,
    cluster: Cluster,
    courses: Iterable[str],
    new: Callable[[], Student],
    cleanup: UserCleanup,
) -> ClassArrival:
    """Have a new student of each course follow the course's link, all at once; each is deleted once observed."""
    wanted = sorted(courses)
    start_barrier, kernels = threading.Barrier(len(wanted)), threading.Semaphore(AT_ONCE)
    arrived = ClassArrival()

    def take_course(course: str) -> StudentResult:
        student = new()
        result = StudentResult(course, student.hub.url)
        try:
            start_barrier.wait(60)
            _work(result, student, hub, cluster, kernels)
        except (HarnessError, httpx.HTTPError) as error:
            result.trouble = f"{error or type(error).__name__}"
        finally:
            student.close()
            result.name = student.name
            if student.name:
                cleanup.add(hub, student.name)
        return result

    done = threading.Event()
    with waiting("a class"), threads(len(wanted) + 1) as people:
        latency_probe = people.submit(_slowest_answer, hub, done)
        try:
            arrived.results = {result.course: result for result in people.map(take_course, wanted)}
        finally:
            done.set()
        arrived.slowest_answer = latency_probe.result()
    return arrived


def shared(results: Collection[StudentResult]) -> list[str]:
    """Return what students of a class share or lack, where each must have their own: name, pod, every login cookie.

    No message has a cookie's value, for that is all it takes to be its student.
    """
    found = []
    for what in ("name", "pod"):
        values = [getattr(result, what) for result in results]
        if len(set(values)) < len(values):
            found.append(f"two students have the same {what}")
    for cookie in (SESSION_COOKIE, LOGIN_COOKIE):
        if without := [result.course for result in results if cookie not in result.cookies]:
            found.append(f"there is no cookie {cookie} for the students of {', '.join(without)}")
    owners: dict[str, list[str]] = {}
    for result in results:
        for cookie, value in result.cookies.items():
            owners.setdefault(value, []).append(f"{cookie} of {result.course}")
    return [*found, *(f"one value for the cookies {', '.join(each)}" for each in owners.values() if len(each) > 1)]


def _work(result: StudentResult, student: Student, hub: Hub, cluster: Cluster, kernels: threading.Semaphore) -> None:
    student.open(f"/tmplogin?course={result.course}")
    result.cookies = {each.name: str(each.value) for each in student.cookies.jar if each.name.startswith(COOKIES)}
    pod = cluster.server_pod(hub.namespace, student.name)
    result.pod, result.node = pod.metadata.name, pod.spec.node_name
    result.image_id = main_status(pod).image_id
    result.gpus = int((pod.spec.containers[0].resources.limits or {}).get(GPU, 0))
    with kernels, student.server.kernel() as kernel:
        result.marker = kernel.run(f"print(open({MARKER!r}).read().strip())").stdout.strip()


def _slowest_answer(hub: Hub, done: threading.Event) -> float:
    slowest = 0.0
    with http.Client(base_url=hub.url, timeout=60, transport=hub.transport) as latency_probe:
        while not done.wait(0.5):
            started = time.monotonic()
            with contextlib.suppress(httpx.TimeoutException):
                latency_probe.get("/hub/health").raise_for_status()
            slowest = max(slowest, time.monotonic() - started)
    return slowest
