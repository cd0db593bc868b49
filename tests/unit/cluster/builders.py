"""Pods, nodes and a cluster of stand-ins, for the tests of harness/cluster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from kubernetes import client

from harness.cluster.kind import Cluster
from tests.unit.fakes import Program

IMAGE = "registry.example/courses:clustering"


def state(waiting: str | None = None, ended: str | None = None, message: str | None = None) -> client.V1ContainerState:
    return client.V1ContainerState(
        waiting=client.V1ContainerStateWaiting(reason=waiting, message=message) if waiting else None,
        terminated=client.V1ContainerStateTerminated(reason=ended, exit_code=137) if ended else None,
        running=None if waiting or ended else client.V1ContainerStateRunning(),
    )


def container(
    now: client.V1ContainerState,
    before: client.V1ContainerState | None = None,
    name: str = "notebook",
    ready: bool = False,
) -> client.V1ContainerStatus:
    return client.V1ContainerStatus(
        name=name, image=IMAGE, image_id="", ready=ready, restart_count=0, state=now, last_state=before
    )


def pod(
    *containers: client.V1ContainerStatus,
    init: list[client.V1ContainerStatus] | None = None,
    unschedulable: str | None = None,
    leaving: bool = False,
) -> client.V1Pod:
    limits = client.V1ResourceRequirements(limits={"memory": "2Gi", "cpu": "1"})
    specs = [client.V1Container(name="sidecar"), client.V1Container(name="notebook", resources=limits)]
    condition = client.V1PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message=unschedulable
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="jupyter-1", deletion_timestamp="2026-01-01" if leaving else None),
        spec=client.V1PodSpec(containers=specs, init_containers=[client.V1Container(name="block-metadata")]),
        status=client.V1PodStatus(
            conditions=[condition] if unschedulable else None,
            container_statuses=list(containers) or None,
            init_container_statuses=init,
        ),
    )


def node(name: str, ready: str, heard: datetime | None = None) -> client.V1Node:
    """A node of which the API server heard last at a time."""
    conditions = [
        client.V1NodeCondition(type="MemoryPressure", status="Unknown", message="no word"),
        client.V1NodeCondition(
            type="Ready", status=ready, message=f"the kubelet is {ready}", last_heartbeat_time=heard
        ),
    ]
    return client.V1Node(metadata=client.V1ObjectMeta(name=name), status=client.V1NodeStatus(conditions=conditions))


KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: it
contexts: [{{name: it, context: {{cluster: it, user: it}}}}]
clusters: [{{name: it, cluster: {{server: "{server}"}}}}]
users: [{{name: it, user: {{token: abc}}}}]
"""


def cluster(place: Path, kind: str = "exit 1", network: str = "", store: str = "") -> Cluster:
    Program(place / "bin", "kind", kind)
    Program(place / "bin", "kubectl")
    tools = place / "bin"
    return Cluster(
        "jh-1",
        place / "state",
        kind=tools / "kind",
        kubectl=tools / "kubectl",
        image="node:1",
        store=store,
        network=network,
    )


def late_pod(phase: str = "Pending", age: float = 20, node: str | None = None) -> client.V1Pod:
    """The pod hub-1, none of whose containers has started."""
    made = datetime.now(UTC) - timedelta(seconds=age)
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name="hub-1", uid="1", creation_timestamp=made),
        spec=client.V1PodSpec(containers=[], node_name=node),
        status=client.V1PodStatus(phase=phase),
    )


def warning(reason: str, message: str, count: int = 1) -> client.CoreV1Event:
    """An event about the pod hub-1."""
    about = client.V1ObjectReference(kind="Pod", name="hub-1", uid="1")
    return client.CoreV1Event(
        involved_object=about, metadata=client.V1ObjectMeta(), count=count, message=message, reason=reason
    )
