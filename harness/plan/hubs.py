"""The two hubs of the deployment."""

from __future__ import annotations

from dataclasses import dataclass, field

STUDENT_NODE_PORT = 30000
AUTHORING_NODE_PORT = 30001
"""The proxies' NodePorts inside the cluster, as production sets them; each is published on a loopback port."""
SCALED_NODE_PORT = 30002
"""NodePort of a hub that a test installs beside them."""
GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT = 30080, 30443
"""NodePorts of the gate in front of the hubs, in a run whose tests ask for it; published as the hubs' are."""


@dataclass(frozen=True)
class HubSpec:
    """One hub. Two are equal if they are the same hub, though it may be called otherwise in one of them.

    The constants have the names that our own values files are for; `Plan.hub` has those of a run.

    Attributes:
        name: the harness's own name of it, in the ids of tests and in the files of a run.
        release, namespace, database: its names in the deployment.
        node_port: of its proxy.
    """

    name: str
    release: str = field(compare=False)
    namespace: str = field(compare=False)
    database: str = field(compare=False)
    node_port: int = field(compare=False)


STUDENT = HubSpec("jupyterhub", "jupyterhub", "jupyter", "jupyterhub", STUDENT_NODE_PORT)
AUTHORING = HubSpec(
    "jupyterhub-authoring", "jupyterhub-authoring", "jupyter-authoring", "jupyterhub_authoring", AUTHORING_NODE_PORT
)
HUBS = (STUDENT, AUTHORING)
SCALED = HubSpec("jupyterhub-scaled", "jupyterhub-scaled", "jupyter-scaled", "jupyterhub_scaled", SCALED_NODE_PORT)
"""Not part of the deployment: a copy of the students' hub with shorter times, while a test needs it."""
