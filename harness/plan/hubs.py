"""The two hubs of the deployment, as production names them."""

from __future__ import annotations

from dataclasses import dataclass

STUDENT_NODE_PORT = 30000
AUTHORING_NODE_PORT = 30001
"""The proxies' NodePorts inside the cluster, as production sets them; each is published on a loopback port."""
SCALED_NODE_PORT = 30002
"""NodePort of a hub that a test installs beside them."""


@dataclass(frozen=True)
class HubSpec:
    """One hub: its release, namespace, database, and NodePort."""

    release: str
    namespace: str
    database: str
    node_port: int


STUDENT = HubSpec("jupyterhub", "jupyter", "jupyterhub", STUDENT_NODE_PORT)
AUTHORING = HubSpec("jupyterhub-authoring", "jupyter-authoring", "jupyterhub_authoring", AUTHORING_NODE_PORT)
HUBS = (STUDENT, AUTHORING)
SCALED = HubSpec("jupyterhub-scaled", "jupyter-scaled", "jupyterhub_scaled", SCALED_NODE_PORT)
"""Not part of the deployment: a copy of the students' hub with shorter times, while a test needs it."""
