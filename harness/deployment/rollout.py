"""Waits: until a release has rolled out, and until its hub answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from kubernetes import client

from harness.base.wait import NotYet, TooLateError, pause, seldom, wait_until
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import is_ready
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub

READY_TIMEOUT = 300.0
"""Seconds for a release's pods to be ready, images pulled and all."""
ANSWER_TIMEOUT = 60.0
"""Seconds for a proxy to learn of a hub that is ready."""
TEMPLATE = "pod-template-hash"
"""Label of a Deployment's pods, which tells those of one version of it from those of another."""
POD_GRACE = timedelta(seconds=15)
"""Time for which a Deployment may be refused its pods before there will be none."""


def wait_until_ready(cluster: Cluster, namespace: str, timeout: float = READY_TIMEOUT) -> None:
    """Wait until every Deployment of a release has rolled out.

    Raises:
        NeverError: a pod of theirs cannot come up; the message has the cause, a crashed hub's traceback included.
        TooLateError: they did not in time; the message has the newest warning about a pod.
    """
    pods = cluster.pods(namespace)
    there: list[client.V1Pod] = []
    deployments: list[client.V1Deployment] = []

    def ready() -> bool | NotYet:
        nonlocal there, deployments
        there = [pod for pod in pods.look() if TEMPLATE in (pod.metadata.labels or {})]
        deployments = cluster.apps.list_namespaced_deployment(namespace).items
        waiting = [
            f"{it.metadata.name} {it.status.updated_replicas or 0}/{it.spec.replicas} updated, "
            f"{it.status.available_replicas or 0} available"
            for it in deployments
            if not _rolled_out(it)
        ]
        return NotYet("; ".join(waiting)) if waiting else True

    def stuck() -> str | None:
        why = pods.why_stuck(there)
        if why:
            # Of an upgrade, the new pods alone: the old ones may be crashing still, which is why there is an upgrade.
            newest = _newest_templates(cluster, namespace, deployments)
            why = pods.why_stuck([pod for pod in there if pod.metadata.labels[TEMPLATE] in newest])
        return why or _why_no_pod(deployments)

    def change(seconds: float) -> None:
        # A Deployment knows of its last pod a moment after the pod itself, when no other pod changes any more.
        if there and all(map(is_ready, there)):
            pause(seconds)
        else:
            pods.change(seconds)

    try:
        wait_until(f"the pods of {namespace}", ready, timeout=timeout, fail_if=stuck, change=change)
    except TooLateError as error:
        raise TooLateError("; ".join([str(error), *pods.last_warning()])) from error


def restart_hub(cluster: Cluster, hub: Hub) -> None:
    """Replace the pod of a hub, and return when the new one answers through the proxy.

    Raises:
        NeverError: the new pod cannot come up.
    """
    cluster.restart(hub.namespace, "hub")
    wait_until_ready(cluster, hub.namespace)
    wait_for_answer(hub, lambda: why_unrecoverable(cluster, hub.namespace))


def wait_for_answer(hub: Hub, fail_if: Callable[[], str | None] = lambda: None, timeout: float = ANSWER_TIMEOUT) -> str:
    """Wait until a hub answers through its proxy, which may learn of a new hub a moment later; returns its version.

    Args:
        fail_if: returns why it never will, if it will not.
    """

    def version() -> str | NotYet:
        try:
            return hub.version()
        except httpx.HTTPStatusError as error:
            answer = error.response
            who = answer.headers.get("server", "unknown")
            return NotYet(f"{answer.status_code} {answer.reason_phrase}, server {who}: {answer.text[:200]}")
        except httpx.HTTPError as error:
            return NotYet(str(error) or type(error).__name__)

    what = f"an answer of {hub.release} through its proxy"
    return wait_until(what, version, timeout=timeout, fail_if=seldom(fail_if))


def _newest_templates(cluster: Cluster, namespace: str, deployments: Iterable[Any]) -> set[str]:
    """Return the label TEMPLATE of each Deployment's newest pods."""
    revision = "deployment.kubernetes.io/revision"
    wanted = {
        (it.metadata.name, it.metadata.annotations.get(revision))
        for it in deployments
        # One that its controller has not looked at yet still carries the revision before.
        if (it.status.observed_generation or 0) >= it.metadata.generation
    }
    return {
        it.metadata.labels[TEMPLATE]
        for it in cluster.apps.list_namespaced_replica_set(namespace).items
        if it.spec.replicas and (it.metadata.owner_references[0].name, it.metadata.annotations.get(revision)) in wanted
    }


def _why_no_pod(deployments: Iterable[Any]) -> str | None:
    """Return why a Deployment gets no pod at all, in the words of Kubernetes; None while it may get one yet."""
    for it in deployments:
        for condition in it.status.conditions or []:
            failed = condition.type == "ReplicaFailure" and condition.status == "True"
            # The account of a new namespace comes a moment after it.
            if failed and datetime.now(UTC) - condition.last_transition_time > POD_GRACE:
                return f"{it.metadata.name} gets no pod, {condition.reason}: {condition.message}"
    return None


def _rolled_out(deployment: Any) -> bool:
    status, wanted = deployment.status, deployment.spec.replicas
    seen = (status.observed_generation or 0) >= deployment.metadata.generation
    counts = (status.updated_replicas, status.replicas, status.available_replicas)
    return seen and all((count or 0) == wanted for count in counts)
