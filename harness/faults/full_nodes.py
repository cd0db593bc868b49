"""Full nodes: the chart's own user placeholders take all memory that a student's server could get."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes.utils import parse_quantity

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster

STATEFUL_SET = "statefulset/user-placeholder"
MARGIN = 64 * 1024**2
"""Bytes of memory that stay free: less than any student's server requests."""


@contextmanager
def full_house(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Let one placeholder request all free memory while the context is open, and restore everything at its end.

    Raises:
        HarnessError: the release has no user placeholders.
    """
    node, *others = cluster.nodes
    kubectl, here = cluster.kubectl, ("--namespace", namespace)
    found = kubectl(*here, "get", STATEFUL_SET, "--output=json", "--ignore-not-found")
    if not found:
        raise HarnessError(f"{namespace}: expected {STATEFUL_SET}, which keeps room for the next students; found none")
    before = json.loads(found)["spec"]
    container = before["template"]["spec"]["containers"][0]
    try:
        for other in others:
            kubectl("cordon", other)
        kubectl(*here, "scale", STATEFUL_SET, "--replicas=0")
        kubectl(*here, "wait", "pod", "--selector=component=user-placeholder", "--for=delete", "--timeout=60s")
        free = str(_free_memory(cluster, node) - MARGIN)
        _patch(cluster, namespace, container["name"], {"requests": {"memory": free}}, 1)
        kubectl(*here, "rollout", "status", STATEFUL_SET, "--timeout=60s")
        yield
    finally:
        _patch(cluster, namespace, container["name"], container.get("resources") or {}, before["replicas"])
        for other in others:
            kubectl("uncordon", other)


def _patch(cluster: Cluster, namespace: str, container: str, resources: dict[str, Any], replicas: int) -> None:
    pod = {"containers": [{"name": container, "resources": {"$patch": "replace", **resources}}]}
    patch = {"spec": {"replicas": replicas, "template": {"spec": pod}}}
    cluster.kubectl("--namespace", namespace, "patch", STATEFUL_SET, "--patch", json.dumps(patch))


def _free_memory(cluster: Cluster, node: str) -> int:
    """Return the bytes of a node's memory that no pod requests."""
    found = json.loads(cluster.kubectl("get", "node", node, "--output=json"))["status"]["allocatable"]["memory"]
    on_node = f"--field-selector=spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    pods = json.loads(cluster.kubectl("get", "pods", "--all-namespaces", on_node, "--output=json"))["items"]
    requested = sum(
        parse_quantity((container.get("resources", {}).get("requests") or {}).get("memory", "0"))
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    return int(parse_quantity(found) - requested)
