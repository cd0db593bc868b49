"""User placeholders: pods that keep room for the next students, as the chart's own StatefulSet makes them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.base.errors import HarnessError
from harness.cluster.kind import Cluster

STATEFUL_SET = "statefulset/user-placeholder"
MARGIN = 64 * 1024**2
"""Bytes of memory that stay free, less than any student's server asks for."""
UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def to_bytes(quantity: str) -> float:
    """A quantity of Kubernetes, such as 2G or 512Mi, as a number (apimachinery, pkg/api/resource)."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(quantity))
    if not found or found[2] not in UNITS:
        raise ValueError(f"{quantity!r} is no quantity of Kubernetes")
    return float(found[1]) * UNITS[found[2]]


@contextmanager
def full_house(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Have one placeholder take all memory that a student's server could get; everything is as before at the end.

    Raises:
        HarnessError: the release keeps no placeholders.
    """
    node, *others = cluster.nodes
    kubectl, here = cluster.kubectl, ("--namespace", namespace)
    found = kubectl(*here, "get", STATEFUL_SET, "--output=json", "--ignore-not-found")
    if not found:
        raise HarnessError(f"{namespace} keeps no room for the next students: there is no {STATEFUL_SET}")
    before = json.loads(found)["spec"]
    container = before["template"]["spec"]["containers"][0]
    try:
        for other in others:
            kubectl("cordon", other)
        kubectl(*here, "scale", STATEFUL_SET, "--replicas=0")
        kubectl(*here, "wait", "pod", "--selector=component=user-placeholder", "--for=delete", "--timeout=60s")
        free = str(int(_free_memory(cluster, node) - MARGIN))
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


def _free_memory(cluster: Cluster, node: str) -> float:
    """Bytes of a node's memory that no pod has asked for."""
    found = json.loads(cluster.kubectl("get", "node", node, "--output=json"))["status"]["allocatable"]["memory"]
    on_node = f"--field-selector=spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
    pods = json.loads(cluster.kubectl("get", "pods", "--all-namespaces", on_node, "--output=json"))["items"]
    asked = sum(
        to_bytes((container.get("resources", {}).get("requests") or {}).get("memory", "0"))
        for pod in pods
        for container in pod["spec"]["containers"]
    )
    return to_bytes(found) - asked
