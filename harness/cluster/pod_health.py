"""The one place that decides whether a pod is stuck, and why, in the words of Kubernetes.

`stuck_reason` is about pods that are to become ready, `Disappearance` about one that was there and went,
`no_pod_reason` about a Deployment whose pods never come, `bad_end` about containers that ended. The caller has the pods
already; all else is looked up by `PodFacts`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kubernetes import client

from harness.base.shell import tail

UNRECOVERABLE = {
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
"""Reasons of a waiting container that do not go away by themselves (kubelet, pkg/kubelet/images, kuberuntime)."""
MOUNT_ATTEMPTS = 5
"""Failed attempts of the kubelet to mount a volume, within a quarter of a minute, after which its source is missing."""
RECREATED_WITHIN = 5.0
"""Seconds within which kubespawner replaces a pod that it takes for an old one (_make_create_pod_request, at a 409)."""
STARTS_WITHIN = timedelta(seconds=5)
"""Usual time until a pod's first container starts. Events are read only later: the API server reads all of them."""
CREATED_WITHIN = timedelta(seconds=15)
"""Time in which a Deployment may be refused its pods: the service account of a new namespace comes a moment later."""
HOOK_FAILED = "FailedPostStartHook"
"""The kubelet's reason for the end of a container whose hook failed (kubernetes, pkg/kubelet/events)."""
TERMINATED = 143
"""Exit code of a program that SIGTERM ended."""


@dataclass(frozen=True)
class PodFacts:
    """Look-ups for what a pod's own status lacks; each is made only where it can matter.

    Attributes:
        log: of a container, by its pod's name and its own; the last argument asks for the run before.
        nodes: all nodes of the cluster.
        warnings: events of type Warning about the pods of the namespace, oldest first.
    """

    log: Callable[[str, str, bool], str] = lambda *_: ""
    nodes: Callable[[], Iterable[client.V1Node]] = tuple
    warnings: Callable[[], Iterable[client.CoreV1Event]] = tuple


def stuck_reason(pods: Collection[client.V1Pod], facts: PodFacts | None = None) -> str | None:
    """Return why pods will never be ready: the first cause found, or None while they may still become so."""
    facts = facts or PodFacts()
    staying = [pod for pod in pods if not pod.metadata.deletion_timestamp]
    reasons = (reason for pod in staying for reason in _status_reasons(pod, facts))
    return next(reasons, None) or _not_started(pods, facts)


def is_ready(pod: client.V1Pod) -> bool:
    """Return True if all containers of a pod are ready, as the kubelet found last."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def main_status(pod: client.V1Pod) -> client.V1ContainerStatus:
    """Return the status of the container that a running pod is for; the kubelet sorts them by name."""
    name = pod.spec.containers[0].name
    [status] = [each for each in pod.status.container_statuses if each.name == name]
    return status


def started_after(pod: client.V1Pod, when: float) -> bool:
    """Return True if all containers of a pod run, and none has run since before a time, as time.time()."""
    running = [status.state.running for status in pod.status.container_statuses or []]
    return bool(running) and all(each and each.started_at.timestamp() >= when for each in running)


def lost_nodes(nodes: Iterable[client.V1Node]) -> dict[str, str]:
    """Return the nodes whose kubelet has gone silent, with Kubernetes' message about each.

    Their condition Ready is Unknown (pkg/controller/nodelifecycle).
    """
    return {
        node.metadata.name: condition.message
        for node in nodes
        for condition in node.status.conditions or []
        if condition.type == "Ready" and condition.status == "Unknown"
    }


def is_running(pod: client.V1Pod) -> bool:
    """Return True if a pod is said to run, and is not to go."""
    return bool(pod.status.phase == "Running" and not pod.metadata.deletion_timestamp)


def ended_pods(pods: Iterable[client.V1Pod]) -> dict[str, str]:
    """Return the pods that have ended, each with how."""
    ended = {pod.metadata.name: pod for pod in pods if pod.status.phase in ("Failed", "Succeeded")}
    return {name: _failure(pod).lstrip(":, ") or "it has ended" for name, pod in ended.items()}


def no_pod_reason(deployment: client.V1Deployment) -> str | None:
    """Return why a Deployment has no pod and gets none; None while it may get one yet."""
    about = deployment.metadata
    if not deployment.spec.replicas:
        return f"there is no pod of the {about.name} in {about.namespace}: its Deployment wants none"
    for condition in deployment.status.conditions or []:
        refused = condition.type == "ReplicaFailure" and condition.status == "True"
        if refused and datetime.now(UTC) - condition.last_transition_time > CREATED_WITHIN:
            return f"{about.name} gets no pod, {condition.reason}: {condition.message}"
    return None


def bad_end(pods: Iterable[client.V1Pod], since: float) -> str | None:
    """Return how a container ended badly since a time.time(), though it may have started again; None if none did."""
    for pod, status, ended in _ended_containers(pods):
        if not ended.exit_code or not ended.finished_at or ended.finished_at.timestamp() < since:
            continue
        if ended.reason == "OOMKilled":
            return _over_memory(pod, status.name)
        # A program that is asked to end ends with this code; every server does so at the end of its life.
        if ended.exit_code != TERMINATED:
            code = f"ended with exit code {ended.exit_code} ({ended.reason})"
            return f"pod {pod.metadata.name}: container {status.name} {code}"
    return None


def oom_killed(pods: Iterable[client.V1Pod]) -> bool:
    """Return True if a container of these pods was killed for its memory, though it may have started again."""
    return any(ended.reason == "OOMKilled" for _, _, ended in _ended_containers(pods))


def memory_limit(pod: client.V1Pod, container: str) -> str:
    """Return the limit of a container's memory, as its pod has it; "none" where there is none."""
    for spec in [*(pod.spec.init_containers or []), *pod.spec.containers]:
        if spec.name == container and spec.resources and spec.resources.limits:
            return str(spec.resources.limits.get("memory", "none"))
    return "none"


class Disappearance:
    """Detection, from one look to the next, of a pod that was there, is gone and is not replaced."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = ""
        self._missed = float("inf")

    def reason(self, pods: Collection[client.V1Pod]) -> str | None:
        """Return what is known of the loss, given the pods that are there now; None while there is no loss."""
        now = self._clock()
        self._missed = min(self._missed, now) if self._last and not pods else float("inf")
        if now - self._missed > RECREATED_WITHIN:
            return f"pod {self._last} is gone, and not by the hub: deleted, evicted, or its node is gone"
        self._last = next((pod.metadata.name for pod in pods if not pod.metadata.deletion_timestamp), self._last)
        return None


def _status_reasons(pod: client.V1Pod, facts: PodFacts) -> Iterator[str]:
    """Yield each reason in a pod's own status for which it will not become ready."""
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.reason == "Unschedulable" and not _may_preempt(condition):
            yield f"pod {pod.metadata.name} is Unschedulable: {condition.message}"
    for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
        if not status.ready and (reason := _container_reason(pod, status, facts)):
            yield reason
    # A pod of a Deployment is replaced by another one; one without an owner is not.
    if pod.status.phase == "Failed" and not pod.metadata.owner_references:
        yield f"pod {pod.metadata.name} has failed{_failure(pod)}"


def _container_reason(pod: client.V1Pod, status: client.V1ContainerStatus, facts: PodFacts) -> str | None:
    name = pod.metadata.name
    ended = status.state.terminated or (status.last_state.terminated if status.last_state else None)
    if ended and ended.reason == "OOMKilled":
        return _over_memory(pod, status.name)
    details = _end_details(ended, memory_limit(pod, status.name)) if ended else ""
    if status.state.terminated and status.restart_count and status.state.terminated.exit_code:
        # It waits in a CrashLoopBackOff already; the kubelet reports that a quarter of a minute later.
        crash = f"crashed twice, exit code {status.state.terminated.exit_code}{details}, image {status.image}"
        output = _last_words(facts.log(name, status.name, False))
        return f"pod {name}: container {status.name} {crash}{_hook_failure(name, facts)}{output}"
    waiting = status.state.waiting
    if not waiting or waiting.reason not in UNRECOVERABLE or _kubelet_retries(waiting):
        return None
    message = f": {waiting.message}" if waiting.message else ""
    output = ""
    if waiting.reason == "CrashLoopBackOff":
        output = _hook_failure(name, facts) + _last_words(facts.log(name, status.name, True))
    return f"pod {name}: container {status.name}: {waiting.reason}{details}, image {status.image}{message}{output}"


def _hook_failure(pod: str, facts: PodFacts) -> str:
    """Return the failure of a pod's postStart hook, which ends its container; the pod's status has it for a moment."""
    failures = [event for event in facts.warnings() if (event.involved_object.name, event.reason) == (pod, HOOK_FAILED)]
    return f". {HOOK_FAILED}: {failures[-1].message}" if failures else ""


def _failure(pod: client.V1Pod) -> str:
    """Return what is known of a pod that has failed: its own reason, or the end of its first container."""
    if pod.status.reason:
        return f", {pod.status.reason}: {pod.status.message or 'no message'}"
    for _, status, ended in _ended_containers([pod]):
        details = _end_details(ended, memory_limit(pod, status.name))
        return f": container {status.name} ended with exit code {ended.exit_code}{details}, image {status.image}"
    return ""


def _not_started(pods: Iterable[client.V1Pod], facts: PodFacts) -> str | None:
    """Return why no container of a pod starts: a lost node, a volume that is not there, or too little memory."""
    late = [
        pod
        for pod in pods
        if pod.status.phase == "Pending" and datetime.now(UTC) - pod.metadata.creation_timestamp > STARTS_WITHIN
    ]
    if not late:
        return None
    lost = lost_nodes(facts.nodes())
    for pod in late:
        if message := lost.get(pod.spec.node_name):
            return f"pod {pod.metadata.name} waits for node {pod.spec.node_name}, which is lost: {message}"
    names = {pod.metadata.uid: pod.metadata.name for pod in late}
    for event in facts.warnings():
        name, message = names.get(event.involved_object.uid), event.message or ""
        in_vain = event.reason == "FailedMount" and (event.count or 1) >= MOUNT_ATTEMPTS
        if name and in_vain and "not found" in message:
            return f"pod {name} waits for what is not there, FailedMount: {message}"
        if name and event.reason == "FailedCreatePodSandBox" and "OOM-killed" in message:
            return f"pod {name} has too little memory to begin, FailedCreatePodSandBox: {message}"
    return None


def _ended_containers(
    pods: Iterable[client.V1Pod],
) -> Iterator[tuple[client.V1Pod, client.V1ContainerStatus, client.V1ContainerStateTerminated]]:
    """Yield each end of a container that its pod still knows of: the present state, and the one before."""
    for pod in pods:
        for status in pod.status.container_statuses or []:
            for state in (status.state, status.last_state):
                if state and state.terminated:
                    yield pod, status, state.terminated


def _over_memory(pod: client.V1Pod, container: str) -> str:
    limit = memory_limit(pod, container)
    return f"pod {pod.metadata.name}: container {container} was OOMKilled: over its limit of {limit}"


def _end_details(ended: client.V1ContainerStateTerminated, limit: str) -> str:
    """Return the runtime's message about the end of a container with a memory limit; nothing where there is none."""
    # A limit too low for the sandbox ends a container that never ran, with any message; a missing program does not.
    never_ran = ended.reason == "StartError" and limit != "none" and 'exec: "' not in (ended.message or "")
    memory = f" with a memory limit of {limit}" if never_ran else ""
    return f", {ended.reason}{memory}: {ended.message}" if ended.message else ""


def _last_words(output: str) -> str:
    """Return the last line of a crashed program's output, and the lines before it; nothing for no output."""
    lines = output.strip().splitlines()
    return f". Last output: {lines[-1].strip()}{tail(output, 15)}" if lines else ""


def _kubelet_retries(waiting: client.V1ContainerStateWaiting) -> bool:
    """Return True if a busy node only had too little time to fetch a Secret or ConfigMap that is there."""
    # pkg/kubelet/util/manager: the kubelet tries again at the next sync, a second or so later.
    return bool(re.search("failed to sync (secret|configmap) cache", waiting.message or ""))


def _may_preempt(condition: client.V1PodCondition) -> bool:
    """Return True if an Unschedulable pod may still find room: by preemption, or on a node that is only coming up."""
    message = condition.message or ""
    return "not-ready" in message or ("Insufficient" in message and "No preemption victims found" not in message)
