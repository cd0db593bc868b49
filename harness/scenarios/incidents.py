"""Incidents of which operators have to be told, on one hub side by side, and seen through its monitoring.

A server is killed for its memory, the pre-puller is stuck, servers do not start, the hub crashes. What would be in
another's way waits for it: no pod comes up while servers are refused, and the hub crashes when all else is over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from kubernetes.utils import parse_quantity

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until, waiting
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import memory_limit
from harness.deployment.rollout import wait_for_answer
from harness.faults.broken_hub import MISSING_TAG, crash_hub, stuck_puller
from harness.faults.full_quota import full_quota
from harness.hub.api import Hub
from harness.monitoring import panels
from harness.monitoring.client import Alert, Monitoring, Sample
from harness.monitoring.panels import panel
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.culling import ALERT_TIMEOUT

KILL, STUCK, FAILED, CRASH = "killed_server", "stuck_pre_puller", "failed_starts", "crashed_hub"
"""Incidents, by the names of their fixtures."""
HAPPENS = frozenset({KILL, STUCK, FAILED, CRASH})
FAILURES = 3
"""Failed starts that are too many; after five in a row a hub ends itself."""
KILL_TIMEOUT = 240.0
"""Seconds for a cell to take more memory than it may, on a machine that is busy."""
PROCESS = 2**25
"""Bytes that each process of a greedy cell takes."""
T = TypeVar("T")


def greedy_cell(limit: int) -> str:
    """Return a cell that takes three times the memory that its server may have, `limit` bytes."""
    return f"""
import os, time

# Under cgroup v2 a container is killed as a whole; under v1 the kernel chooses a process, and a notebook's kernel would
# be started again by its server. So that both end the same way, no process is larger than the server, its parent.
with open(f"/proc/{{os.getppid()}}/oom_score_adj", "w") as choice:
    choice.write("1000")
for _ in range({3 * limit // PROCESS}):
    if not os.fork():
        held = b"x" * {PROCESS}
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""


@dataclass(frozen=True)
class KilledServer:
    """A server that was killed for its memory.

    Attributes:
        began: when the cell began that used up its memory, as time.time().
        before: servers of its course that had been killed before it, in the panel.
    """

    student: Student
    began: float
    before: float


@dataclass(frozen=True)
class FailedStarts:
    """Servers that did not start.

    Attributes:
        panel: what their panel showed afterwards.
    """

    alert: Alert
    panel: list[Sample]


@dataclass(frozen=True)
class CrashedHub:
    """A hub that was killed, and came back.

    Attributes:
        lowest: the least that the panel of hub and proxy had meanwhile, by Deployment.
    """

    alert: Alert
    lowest: dict[str, float]


class Incidents:
    """Incidents on a hub, each in the background; the methods wait for the end of theirs.

    Args:
        student: whose server is killed.
        asked: some of KILL, STUCK, FAILED and CRASH. A hub whose starts failed crashes in any case, which ends the row
            of failures.

    Attributes:
        users: who had no server.
    """

    def __init__(
        self, cluster: Cluster, hub: Hub, monitoring: Monitoring, student: Student, asked: Collection[str]
    ) -> None:
        self.users: list[str] = []
        self._cluster, self._hub, self._monitoring, self._student = cluster, hub, monitoring, student
        self._ending, self._server_up, self._puller_stuck = (threading.Event() for _ in range(3))
        self._pool = ThreadPoolExecutor(4)
        begin = self._pool.submit
        self._killed = begin(self._kill) if KILL in asked else None
        self._failed = begin(self._fail) if {FAILED, CRASH} & set(asked) else None
        self._stuck = begin(self._stick) if STUCK in asked else None
        self._crashed = begin(self._crash) if self._failed else None
        if not self._killed:
            self._server_up.set()
        if not self._stuck:
            self._puller_stuck.set()

    def killed_server(self) -> KilledServer:
        """Return the server that was killed for its memory."""
        return _end_of(self._killed, KILL)

    def stuck_pre_puller(self) -> Alert:
        """Return the alert about the pre-puller."""
        return _end_of(self._stuck, STUCK)

    def failed_starts(self) -> FailedStarts:
        """Return the servers that did not start."""
        return _end_of(self._failed, FAILED)

    def crashed_hub(self) -> CrashedHub:
        """Return the hub that was killed and came back."""
        return _end_of(self._crashed, CRASH)

    def close(self) -> None:
        """End all waits, and return when everything is as it was."""
        self._ending.set()
        self._pool.shutdown()

    def _kill(self) -> KilledServer:
        student, course = self._student, EXAMPLE.course
        kills = panel(panels.MEMORY_KILLS).query(self._hub.namespace)
        try:
            student.open(f"/tmplogin?course={course}")
            self._see(
                f"the server of {course} in the panel {panels.IMAGES}",
                panel(panels.IMAGES).query(self._hub.namespace),
                lambda found: any(each.labels["course"] == course for each in found),
            )
        finally:
            self._server_up.set()
        before = sum(each.value for each in self._monitoring.query(kills) if each.labels["course"] == course)
        began = time.time()
        pod = self._cluster.server_pod(self._hub.namespace, student.name)
        limit = memory_limit(pod, pod.spec.containers[0].name)
        if limit == "none":
            raise HarnessError(f"{student.name}'s server has no memory limit: one server may take its whole node")
        # The session cannot be closed on a server that is gone.
        with suppress(httpx.HTTPError), student.server.kernel() as kernel:
            try:
                kernel.run(greedy_cell(int(parse_quantity(limit))), timeout=KILL_TIMEOUT)
                why = "it ran to its end"
            except CellError as error:
                why = "" if error.died else error.error
            if why:
                raise HarnessError(f"A cell that takes thrice what {student.name}'s server may is not killed: {why}")
        return KilledServer(student, began, before)

    def _stick(self) -> Alert:
        began = time.time()
        pods = self._cluster.pods(self._hub.namespace)

        def asks() -> bool | NotYet:
            pullers = pods.look("component=continuous-image-puller")
            images = [each.image for pod in pullers for each in pod.spec.init_containers or ()]
            return any(MISSING_TAG in image for image in images) or NotYet(f"{len(pullers)} pullers")

        try:
            with stuck_puller(self._cluster, self._hub):
                wait_until("a pre-puller that asks for an image that is not there", asks, timeout=ALERT_TIMEOUT)
                self._puller_stuck.set()
                alert = self._alert("JupyterHubPrePullerStuck", began)
                # Its next pod would be refused.
                if self._failed:
                    wait([self._failed])
                return alert
        finally:
            self._puller_stuck.set()

    def _fail(self) -> FailedStarts:
        for pods_there in (self._server_up, self._puller_stuck):
            pods_there.wait()
        began = time.time()
        with full_quota(self._cluster, self._hub.namespace):
            for _ in range(FAILURES):
                self._fail_once(str(uuid4()))
            alert = self._alert("JupyterHubSpawnsFail", began)
        failures = self._see(
            f"{FAILURES} failures in the panel {panels.START_FAILURES}",
            panel(panels.START_FAILURES).query(self._hub.namespace, f"{ALERT_TIMEOUT:.0f}s"),
            lambda found: sum(each.value for each in found) >= FAILURES - 0.5,
        )
        return FailedStarts(alert, failures)

    def _fail_once(self, user: str) -> None:
        try:
            self._hub.api.post(f"/users/{user}").raise_for_status()
            self.users.append(user)
            self._hub.api.post(f"/users/{user}/server", json={"course": EXAMPLE.course})
        except httpx.HTTPError as error:
            raise HarnessError(
                f"{self._hub.release} was to refuse {FAILURES} servers, and does not answer at number "
                f"{len(self.users) or 1}: {error}"
            ) from error

    def _crash(self) -> CrashedHub:
        before: list[Future[Any]] = [each for each in (self._killed, self._failed) if each]
        wait(before)
        began = time.time()
        crash_hub(self._cluster, self._hub)
        alert = self._alert("JupyterHubExited", began)
        available = panel(panels.AVAILABLE).query(self._hub.namespace)
        self._see(
            "the hub back in its panel",
            available,
            lambda found: any(each.labels["deployment"] == "hub" and each.value == 1 for each in found),
        )
        wait_for_answer(self._hub, self._over)
        over = f"min_over_time({available}[{time.time() - began + 5:.0f}s])"
        lowest = {each.labels["deployment"]: each.value for each in self._monitoring.query(over)}
        return CrashedHub(alert, lowest)

    def _see(self, what: str, query: str, expected: Callable[[list[Sample]], bool]) -> list[Sample]:
        return self._monitoring.wait_for(what, query, expected, fail_if=self._over)

    def _alert(self, name: str, since: float) -> Alert:
        return self._monitoring.wait_for_alert(name, self._hub.namespace, since, ALERT_TIMEOUT, self._over)

    def _over(self) -> str | None:
        return "the run ends" if self._ending.is_set() else None


def _end_of(part: Future[T] | None, what: str) -> T:
    """Return what was seen of a part, once it is over."""
    if not part:
        raise LookupError(f"{what} was not asked for")
    with waiting(f"the end of {what}"):
        wait([part])
    return part.result()
