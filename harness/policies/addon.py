"""The enforcement of network policies as objects of Kubernetes, and beside it the pods that show that it works."""

from __future__ import annotations

from typing import Any

from harness.charts.manifests import Manifest

NAMESPACE = "network-policies"
ENFORCER = "kube-network-policies"
QUEUE = 98
"""Number of the queue of packets in each node, as in upstream's own manifest: kindnet, which has the same engine, has
another."""
METADATA = "169.254.169.254"
METADATA_PORT = 80
FREE, CANARY, STAND_IN = "free", "canary", "cloud-metadata"
"""On each node a pod that no policy is about, one that may neither call nor be called, and a stand-in for the cloud's
metadata."""
PORT = 8080
"""Port of the first two."""
LABELS = {f"hub.jupyter.org/network-access-{part}": "true" for part in ("hub", "proxy-api", "singleuser")}
"""Labels by which the chart's policies let a pod of the same namespace in."""
CALLER, STRANGER = "harness-caller", "harness-stranger"
"""Pods in a hub's namespace: one with these labels, and one without."""


def objects(enforcer: str, python: str) -> list[Manifest]:
    """Return the objects of the enforcement, without its namespace.

    Args:
        enforcer: image of kube-network-policies.
        python: an image with Python.
    """
    name = f"harness-{ENFORCER}"
    read = {"verbs": ["list", "watch"]}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ENFORCER}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["pods", "namespaces"], **read},
                {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], **read},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "subjects": [{"kind": "ServiceAccount", "name": ENFORCER, "namespace": NAMESPACE}],
            "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"},
        },
        _on_each_node(
            ENFORCER,
            {
                "image": enforcer,
                "imagePullPolicy": "Always",  # one that was built anew has the name of the one before
                "command": [
                    "/bin/netpol",
                    "--hostname-override=$(NODE)",
                    f"--nfqueue-id={QUEUE}",
                    "--metrics-bind-address=127.0.0.1:9080",
                ],
                "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "securityContext": {"privileged": True},
            },
            hostNetwork=True,
            serviceAccountName=ENFORCER,
        ),
        _on_each_node(STAND_IN, _server(python, METADATA, METADATA_PORT), hostNetwork=True),
        _on_each_node(FREE, _server(python, "0.0.0.0", PORT), labels=LABELS),
        _on_each_node(CANARY, _server(python, "0.0.0.0", PORT)),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": CANARY},
            "spec": {"podSelector": {"matchLabels": _labels(CANARY)}, "policyTypes": ["Ingress", "Egress"]},
        },
    ]


def callers(python: str) -> list[Manifest]:
    """Return the pods that call from a hub's own namespace.

    Args:
        python: an image with Python.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {**_labels(name), **labels}},
            "spec": _pod(_server(python, "0.0.0.0", PORT)),
        }
        for name, labels in ((CALLER, LABELS), (STRANGER, {}))
    ]


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}


def _server(python: str, address: str, port: int) -> dict[str, Any]:
    """Return a container with a web server that shows an empty directory, and in which a probe can run."""
    return {
        "image": python,
        "command": ["python3", "-m", "http.server", "--bind", address, "--directory", "/mnt", str(port)],
        "securityContext": {"runAsUser": 0},
    }


def _pod(container: dict[str, Any], **more: Any) -> dict[str, Any]:
    requests = {"cpu": "1m", "memory": "16Mi"}
    return {
        "containers": [
            {"name": "main", "imagePullPolicy": "IfNotPresent", "resources": {"requests": requests}, **container}
        ],
        "tolerations": [{"operator": "Exists"}],
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 0,
        **({} if "serviceAccountName" in more else {"automountServiceAccountToken": False}),
        **more,
    }


def _on_each_node(name: str, container: dict[str, Any], labels: dict[str, str] | None = None, **more: Any) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": _labels(name)},
            "template": {"metadata": {"labels": {**_labels(name), **(labels or {})}}, "spec": _pod(container, **more)},
        },
    }
