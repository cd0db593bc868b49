"""The gate as objects of Kubernetes: its pod, its NodePorts, and a Service by which it reaches Keycloak."""

from __future__ import annotations

from harness.charts.manifests import Manifest
from harness.cluster.kind import GATE_FILES
from harness.plan.contract import SSO_HOST
from harness.plan.hubs import GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT

NAMESPACE = "gate"
GATE = "gate"
"""Its image among the add-ons, and its pod."""
PLACE = "/etc/gate/run"
"""Directory in its pod with the files of the run: routes, certificate, authority and calendar."""
CONFIGURATION = "/etc/gate/apache.conf"
HTTP, HTTPS = 80, 443
KEYCLOAK = "keycloak"
KEYCLOAK_ADDRESS = "10.96.0.44"
"""Address in the cluster of the Service by which the gate reaches Keycloak, wherever that has started last; of the
first 256, which Kubernetes gives to no other Service by itself."""


def objects(image: str, keycloak: str) -> list[Manifest]:
    """Return the objects of the gate, without its namespace.

    Args:
        keycloak: its address on the run's network, as `way_to_keycloak` takes it.
    """
    ports = {"http": (HTTP, GATE_HTTP_NODE_PORT), "https": (HTTPS, GATE_HTTPS_NODE_PORT)}
    return [
        *way_to_keycloak(keycloak),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": GATE},
            "spec": {
                "type": "NodePort",
                "selector": _labels(GATE),
                "ports": [{"name": name, "port": port, "nodePort": node} for name, (port, node) in ports.items()],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": GATE, "labels": _labels(GATE)},
            "spec": {
                "containers": [
                    {
                        "name": GATE,
                        "image": image,
                        # One that was built anew has the name of the one before.
                        "imagePullPolicy": "Always",
                        "ports": [{"name": name, "containerPort": port} for name, (port, _) in ports.items()],
                        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
                        "volumeMounts": [{"name": "run", "mountPath": PLACE, "readOnly": True}],
                    }
                ],
                "volumes": [{"name": "run", "hostPath": {"path": GATE_FILES, "type": "Directory"}}],
                "hostAliases": [{"ip": KEYCLOAK_ADDRESS, "hostnames": [SSO_HOST]}],
                # The node that has its files.
                "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
                # One that ends stays as it is: its end is a fault of the machine.
                "restartPolicy": "Never",
                "enableServiceLinks": False,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
            },
        },
    ]


def way_to_keycloak(address: str) -> list[Manifest]:
    """Return the Service by which the gate reaches Keycloak, which is a container beside the cluster.

    Args:
        address: of Keycloak on the run's network; another one when it starts again, and empty while it does not run:
            then the Service refuses every connection.
    """
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": KEYCLOAK},
            "spec": {"clusterIP": KEYCLOAK_ADDRESS, "ports": [{"name": "https", "port": HTTPS}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": KEYCLOAK, "labels": {"kubernetes.io/service-name": KEYCLOAK}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}] if address else [],
            "ports": [{"name": "https", "port": HTTPS, "protocol": "TCP"}],
        },
    ]


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name}
