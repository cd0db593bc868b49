"""A full quota: Kubernetes refuses every new pod of a namespace, and so every server that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.base.wait import NotYet, wait_until
from harness.cluster.kind import Cluster

NAME = "harness-no-more-pods"


@contextmanager
def full_quota(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Refuse new pods in a namespace while the context is open; those that run stay."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": NAME},
        "spec": {"hard": {"pods": "0"}},
    }
    cluster.apply(namespace, quota)
    try:
        wait_until("the quota's first count", lambda: _counted(cluster, namespace), timeout=30)
        yield
    finally:
        cluster.kubectl("--namespace", namespace, "delete", "resourcequota", NAME, "--ignore-not-found")


def _counted(cluster: Cluster, namespace: str) -> bool | NotYet:
    """Return True once the quota counts: before that, Kubernetes refuses nothing, or refuses for another reason."""
    found = cluster.kubectl("--namespace", namespace, "get", "resourcequota", NAME, "--output=jsonpath={.status.hard}")
    return bool(found) or NotYet("not counted yet")
