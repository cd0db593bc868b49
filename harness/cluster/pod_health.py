"""Why a pod is stuck, in the words of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from kubernetes import client

from harness.base.shell import tail

HOPELESS = {
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
"""Reasons for which a container waits that time alone does not mend (kubelet, pkg/kubelet/images and kuberuntime)."""


def _lost(nodes: Iterable[client.V1Node]) -> dict[str, str]:
    """What is said of nodes whose kubelet is not heard of, by name (pkg/controller/nodelifecycle: Ready is Unknown)."""
    return {
        node.metadata.name: condition.message
        for node in nodes
        for condition in node.status.conditions or []
        if condition.type == "Ready" and condition.status == "Unknown"
    }


Log = Callable[[str, str, bool], str]
"""Gives the log of a container, by its pod's name and its own: of its last run, or of the one before."""


def is_ready(pod: client.V1Pod) -> bool:
    """Whether all of a pod is ready, as the kubelet found last."""
    return any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions or [])


def why_stuck(pods: Iterable[client.V1Pod], log: Log = lambda pod, container, before: "") -> str | None:
    """Why pods will never be ready, in the words of Kubernetes: the first cause found, or None.

    Args:
        log: its last lines go into the cause of a crash.
    """
    for pod in pods:
        if pod.metadata.deletion_timestamp:
            continue
        name = pod.metadata.name
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.reason == "Unschedulable" and not _may_preempt(condition):
                return f"pod {name} is Unschedulable: {condition.message}"
        for status in [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]:
            if status.ready:
                continue
            ended = status.state.terminated or (status.last_state.terminated if status.last_state else None)
            if ended and ended.reason == "OOMKilled":
                limit = memory_limit(pod, status.name)
                return f"pod {name}: container {status.name} was OOMKilled: over its limit of {limit}"
            said = _said_of(ended, memory_limit(pod, status.name)) if ended else ""
            if status.state.terminated and status.restart_count and status.state.terminated.exit_code:
                # It waits in a CrashLoopBackOff already; the kubelet says so a quarter of a minute later.
                how = f"crashed twice, exit code {status.state.terminated.exit_code}{said}, image {status.image}"
                return f"pod {name}: container {status.name} {how}{_last_words(log(name, status.name, False))}"
            waiting = status.state.waiting
            if waiting and waiting.reason in HOPELESS and not _asks_again(waiting):
                detail = f": {waiting.message}" if waiting.message else ""
                crash = _last_words(log(name, status.name, True)) if waiting.reason == "CrashLoopBackOff" else ""
                why = f"{waiting.reason}{said}, image {status.image}{detail}"
                return f"pod {name}: container {status.name}: {why}{crash}"
    return None


def _said_of(ended: client.V1ContainerStateTerminated, limit: str) -> str:
    """What the runtime says of the end of a container whose memory has a limit; nothing where it says nothing."""
    # Of one that never ran: too low for its sandbox, it ends in whatever that was doing; but not in a missing program.
    never_ran = ended.reason == "StartError" and limit != "none" and 'exec: "' not in (ended.message or "")
    memory = f" with a memory limit of {limit}" if never_ran else ""
    return f", {ended.reason}{memory}: {ended.message}" if ended.message else ""


def _last_words(output: str) -> str:
    """The last line of a crashed program's output, and the lines before it; nothing for no output."""
    said = output.strip().splitlines()
    return f". It said last: {said[-1].strip()}{tail(output, 15)}" if said else ""


def _asks_again(waiting: client.V1ContainerStateWaiting) -> bool:
    """Whether the kubelet of a busy node only had too little time to fetch a Secret or ConfigMap that is there."""
    # pkg/kubelet/util/manager: it asks again at the next sync, a second or so later.
    return bool(re.search("failed to sync (secret|configmap) cache", waiting.message or ""))


def oom_killed(pods: Iterable[client.V1Pod]) -> bool:
    """Whether a container of these pods was killed for its memory, though it may have started again since."""
    statuses = [status for pod in pods for status in pod.status.container_statuses or []]
    states = [state for status in statuses for state in (status.state, status.last_state) if state]
    return any(state.terminated and state.terminated.reason == "OOMKilled" for state in states)


def _may_preempt(condition: client.V1PodCondition) -> bool:
    """Whether an Unschedulable pod may still find room: by preemption, or on a node that is only now coming up."""
    message = condition.message or ""
    return "not-ready" in message or ("Insufficient" in message and "No preemption victims found" not in message)


def memory_limit(pod: client.V1Pod, container: str) -> str:
    """The limit of a container's memory, as its pod has it; "none" where there is none."""
    for spec in [*(pod.spec.init_containers or []), *pod.spec.containers]:
        if spec.name == container and spec.resources and spec.resources.limits:
            return str(spec.resources.limits.get("memory", "none"))
    return "none"
