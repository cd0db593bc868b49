"""The time that one server takes to start, part by part, beside that of a plain server on the same cluster.

Both start at the same moment, so that a slow or a busy machine slows both. The plain one is a Jupyter server in a pod
without hooks, further containers or an entry point of its image: what a start is made of where nothing holds it up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubernetes import client

from harness.base.wait import NotYet
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import is_ready, main_status
from harness.cluster.pods import wait_for_pods
from harness.hub.spawner_probe import own_pod
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY, DEFAULT_COURSE

FACTOR, EXTRA = 2.5, 10.0
"""A part of a start may take so many times what it takes of a plain one, and so many seconds more: a student's server
loads more than a plain one, on a machine whose other work comes and goes."""
PORT = 8888
PLAIN_TIMEOUT = 180.0
"""Seconds for the plain server to answer."""


@dataclass(frozen=True)
class Part:
    """One part of a start, and what a person can do about one that is too long.

    Attributes:
        seconds: of the start itself, and of the plain one.
        cause: what runs in this part.
    """

    name: str
    seconds: float
    plain: float
    cause: str

    @property
    def fault(self) -> str:
        """Return in words that it took too long; empty if it did not."""
        limit = FACTOR * self.plain + EXTRA
        if self.seconds <= limit:
            return ""
        return (
            f"{self.name} took {self.seconds:.0f} s, expected at most {limit:.0f} s ({self.plain:.0f} s of a plain "
            f"server). What runs then: {self.cause}"
        )


@dataclass(frozen=True)
class PodTimes:
    """Moments of a pod's start, as time.time(), which Kubernetes gives in whole seconds."""

    created: float
    scheduled: float
    initialized: float
    started: float
    ready: float

    @classmethod
    def read(cls, pod: client.V1Pod) -> PodTimes:
        """Read them of a pod that is ready."""
        since = {each.type: each.last_transition_time for each in pod.status.conditions}
        moments = (
            pod.metadata.creation_timestamp,
            since["PodScheduled"],
            since["Initialized"],
            main_status(pod).state.running.started_at,
            since["Ready"],
        )
        return cls(*map(datetime.timestamp, moments))


@contextmanager
def plain_server(cluster: Cluster, namespace: str) -> Iterator[Callable[[], PodTimes]]:
    """Start a plain server; yield a function that waits for it and returns its times. It is removed at the end.

    It is ready once it answers.
    """

    def ready(pods: list[client.V1Pod]) -> client.V1Pod | NotYet:
        return pods[0] if pods and is_ready(pods[0]) else NotYet("it does not answer")

    def times() -> PodTimes:
        pods = cluster.pods(namespace)
        return PodTimes.read(wait_for_pods(pods, selector, "a plain server", ready, PLAIN_TIMEOUT))

    with own_pod(cluster, namespace, _plain_spec()) as selector:
        yield times


def _plain_spec() -> dict[str, Any]:
    container = {
        "name": "plain",
        "image": f"{COURSE_REPOSITORY}:{DEFAULT_COURSE}",
        # As a student's start does.
        "imagePullPolicy": "Always",
        # In place of the image's entry point.
        "command": ["jupyter", "server", "--ip=0.0.0.0", f"--port={PORT}", "--ServerApp.root_dir=/tmp"],
        "readinessProbe": {"httpGet": {"path": "/api", "port": PORT}, "periodSeconds": 1, "failureThreshold": 999},
        "resources": {"requests": {"cpu": "10m", "memory": "128Mi"}},
    }
    return {"containers": [container], "automountServiceAccountToken": False, "restartPolicy": "Never"}


def measure_start(cluster: Cluster, student: Student, link: str) -> list[Part]:
    """Have a student follow a link while a plain server starts too; return the parts of the start.

    Raises:
        HarnessError: one of the two does not come up.
    """
    with plain_server(cluster, student.hub.namespace) as plain, ThreadPoolExecutor(1) as side:
        came = side.submit(student.open, link)
        plain_times = plain()
        came.result()
    pod = cluster.server_pod(student.hub.namespace, student.name)
    answered = max(phase.start for phase in student.journey.phases if phase.name == "page")
    answered = max((phase.end for phase in student.journey.phases if phase.name == "spawn"), default=answered)
    return parts_of(pod, plain_times, came=student.journey.hops[0].at, answered=answered)


def parts_of(pod: client.V1Pod, plain: PodTimes, *, came: float, answered: float) -> list[Part]:
    """Return the parts of a start.

    Args:
        came: when the student followed the link, as time.time().
        answered: when the hub found that the server answers.
    """
    own = PodTimes.read(pod)
    # A plain start has nothing like these two parts: they may take what a container takes to run on this machine.
    container = plain.started - plain.created
    return [
        Part(
            "the hub, before it asked for a pod,",
            own.created - came,
            container,
            "the login, pre_spawn_hook, modify_pod_hook, and the spawner's own start",
        ),
        Part(
            "the scheduler", own.scheduled - own.created, plain.scheduled - plain.created, f"{pod.spec.scheduler_name}"
        ),
        Part(
            "what runs before the server's container",
            own.initialized - own.scheduled,
            plain.initialized - plain.scheduled,
            _names(pod.spec.init_containers, "init container") or "mounts of volumes",
        ),
        Part(
            "the server's container, before it ran,",
            own.started - own.initialized,
            plain.started - plain.initialized,
            "mounts of volumes, and the pull of the image",
        ),
        Part(
            "the pod, from its server's container to its being ready,",
            own.ready - own.started,
            container,
            _hook(pod) or _names(pod.spec.containers[1:], "container") or "probes of its containers",
        ),
        Part(
            "the server, from its container to its first answer,",
            answered - max(own.started, own.ready),
            plain.ready - plain.started,
            "the image's entry point, and what the server loads",
        ),
    ]


def _names(containers: list[client.V1Container] | None, kind: str) -> str:
    return ", ".join(f"the {kind} {each.name}" for each in containers or ())


def _hook(pod: client.V1Pod) -> str:
    lifecycle = pod.spec.containers[0].lifecycle
    hook = lifecycle.post_start if lifecycle else None
    command = hook._exec.command if hook and hook._exec else None
    return f"the hook postStart {' '.join(command)!r}" if command else "the hook postStart" if hook else ""
