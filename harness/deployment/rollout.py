"""Waits: until a release has rolled out, and until its hub answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx
from kubernetes import client

from harness.base.wait import NotYet, TooLateError, pause, seldom, wait_until
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import is_ready, no_pod_reason
from harness.evidence.diagnosis import why_unrecoverable
from harness.hub.api import Hub

READY_TIMEOUT = 300.0
"""Seconds for a release's pods to be ready, images pulled and all."""
ANSWER_TIMEOUT = 60.0
"""Seconds for a proxy to learn of a hub that is ready."""
TEMPLATE_HASH = "pod-template-hash"
"""Label of a Deployment's pods that differs between its versions."""


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
        there = [pod for pod in pods.look() if TEMPLATE_HASH in (pod.metadata.labels or {})]
        deployments = cluster.apps.list_namespaced_deployment(namespace).items
        waiting = [
            f"{it.metadata.name} {it.status.updated_replicas or 0}/{it.spec.replicas} updated, "
            f"{it.status.available_replicas or 0} available"
            for it in deployments
            if not _rolled_out(it)
        ]
        wanted, ready = sum(it.spec.replicas for it in deployments), sum(map(is_ready, there))
        # For a while after all pods were removed, the Deployments count those that were there.
        if not waiting and ready < wanted:
            waiting = [f"{ready} of {wanted} pods"]
        return NotYet("; ".join(waiting)) if waiting else True

    def stuck() -> str | None:
        reason = pods.stuck_reason(there)
        if reason:
            # In an upgrade only the new pods count: the old ones may still crash, which is why there is an upgrade.
            newest = _newest_templates(cluster, namespace, deployments)
            reason = pods.stuck_reason([pod for pod in there if pod.metadata.labels[TEMPLATE_HASH] in newest])
        refused = (no_pod_reason(it) for it in deployments if it.spec.replicas)
        return reason or next(filter(None, refused), None)

    def change(seconds: float) -> None:
        # A Deployment counts its last pod a moment after the pod is ready, when no other pod changes any more.
        if there and all(map(is_ready, there)):
            pause(seconds)
        else:
            pods.change(seconds)

    try:
        wait_until(f"the pods of {namespace}", ready, timeout=timeout, fail_if=stuck, change=change)
    except TooLateError as error:
        raise TooLateError("; ".join([str(error), *pods.last_warning()])) from error


def restart_hub(cluster: Cluster, hub: Hub) -> None:
    """Replace the pod of a hub, and wait until the new one answers through the proxy.

    Raises:
        NeverError: the new pod cannot come up.
    """
    cluster.restart(hub.namespace, "hub")
    wait_until_ready(cluster, hub.namespace)
    wait_for_answer(hub, lambda: why_unrecoverable(cluster, hub.namespace))


def wait_for_answer(hub: Hub, fail_if: Callable[[], str | None] = lambda: None, timeout: float = ANSWER_TIMEOUT) -> str:
    """Wait until a hub answers through its proxy, which may learn of a new hub a moment later; return its version.

    Args:
        fail_if: returns why it never will, or None.
    """

    def version() -> str | NotYet:
        try:
            return hub.version()
        except httpx.HTTPStatusError as error:
            answer = error.response
            server = answer.headers.get("server", "unknown")
            return NotYet(f"{answer.status_code} {answer.reason_phrase}, server {server}: {answer.text[:200]}")
        except httpx.HTTPError as error:
            return NotYet(str(error) or type(error).__name__)

    what = f"an answer of {hub.release} through its proxy"
    return wait_until(what, version, timeout=timeout, fail_if=seldom(fail_if))


def _newest_templates(cluster: Cluster, namespace: str, deployments: Iterable[Any]) -> set[str]:
    """Return the label TEMPLATE_HASH of each Deployment's newest pods."""
    revision = "deployment.kubernetes.io/revision"
    wanted = {
        (it.metadata.name, it.metadata.annotations.get(revision))
        for it in deployments
        # A Deployment that its controller has not seen yet still carries the previous revision.
        if (it.status.observed_generation or 0) >= it.metadata.generation
    }
    return {
        it.metadata.labels[TEMPLATE_HASH]
        for it in cluster.apps.list_namespaced_replica_set(namespace).items
        if it.spec.replicas and (it.metadata.owner_references[0].name, it.metadata.annotations.get(revision)) in wanted
    }


def _rolled_out(deployment: Any) -> bool:
    status, wanted = deployment.status, deployment.spec.replicas
    seen = (status.observed_generation or 0) >= deployment.metadata.generation
    counts = (status.updated_replicas, status.replicas, status.available_replicas)
    return seen and all((count or 0) == wanted for count in counts)
