"""Stand-ins for the parts of a deployment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.base.progress import Steps
from harness.charts.chart import Release
from harness.cluster.pod_health import PodFacts, stuck_reason
from harness.deployment.context import BootContext
from harness.deployment.state import STATE, State
from harness.plan.hubs import STUDENT
from harness.plan.plan import Plan

PARTS = ("control-plane", "worker", "registry", "moto", "postgres")


def context_of(plan: Plan, steps: Steps, cluster: Any = None, **more: Any) -> BootContext:
    """The context of a boot of which nothing is there yet."""
    return BootContext(plan, steps, cluster, State(plan.state / STATE), **more)


def running_copy(plan: Plan, cluster: Any = None, **more: Any) -> Any:
    """A deployment whose hubs are to be installed; nothing of it is real."""
    parts: dict[str, Any] = {
        "plan": plan,
        "chart": SimpleNamespace(path=plan.spawner),
        "releases": {STUDENT: Release(STUDENT.release, STUDENT.namespace, ())},
        "objects": {STUDENT: []},
        "cluster": cluster or FakeCluster(),
        "database": SimpleNamespace(ensure_database=lambda name: None, url=lambda name: f"postgresql://{name}"),
    }
    return SimpleNamespace(**{**parts, **more})


def revision(number: int) -> dict[str, str]:
    return {"meta.helm.sh/release-name": "jupyterhub", "deployment.kubernetes.io/revision": str(number)}


def rolled(
    name: str = "hub", number: int = 2, *, ready: int = 1, updated: int = 1, total: int = 1, seen: int = 2
) -> Any:
    """A Deployment after an upgrade."""
    status = SimpleNamespace(
        updated_replicas=updated,
        replicas=total,
        available_replicas=ready or None,
        observed_generation=seen,
        conditions=None,
    )
    metadata = SimpleNamespace(name=name, generation=2, annotations=revision(number))
    return SimpleNamespace(metadata=metadata, status=status, spec=SimpleNamespace(replicas=1))


def replica_set(owner: str, number: int, template: str, *, pods: int) -> Any:
    metadata = SimpleNamespace(
        name=f"{owner}-{template}",
        owner_references=[SimpleNamespace(kind="Deployment", name=owner)],
        annotations=revision(number),
        labels={"pod-template-hash": template},
    )
    return SimpleNamespace(metadata=metadata, spec=SimpleNamespace(replicas=pods))


NEW, OLD, PROXYS_OLD = "7f", "5c", "9d"
REPLICA_SETS = [
    replica_set("hub", 1, OLD, pods=1),
    replica_set("hub", 2, NEW, pods=1),
    # A revision is a Deployment's own number: what is the hub's newest may be another's old one.
    replica_set("proxy", 2, PROXYS_OLD, pods=0),
    replica_set("proxy", 3, "8e", pods=1),
]
PROXY = rolled("proxy", 3)


def ready_pod(template: str) -> Any:
    """A ready pod of a Deployment's version."""
    return SimpleNamespace(
        metadata=SimpleNamespace(
            name=f"pod-{template}", labels={"pod-template-hash": template}, deletion_timestamp=None
        ),
        spec=SimpleNamespace(init_containers=None, containers=[]),
        status=SimpleNamespace(
            phase="Running",
            conditions=[SimpleNamespace(type="Ready", status="True")],
            init_container_statuses=None,
            container_statuses=None,
        ),
    )


def crashing(component: str, template: str | None = None) -> Any:
    """A pod that crashes, of a Deployment's version."""
    labels = {"component": component, **({"pod-template-hash": template} if template else {})}
    waiting = SimpleNamespace(reason="CrashLoopBackOff", message=None)
    container = SimpleNamespace(
        name=component,
        image="image",
        ready=False,
        state=SimpleNamespace(terminated=None, waiting=waiting),
        last_state=None,
    )
    return SimpleNamespace(
        metadata=SimpleNamespace(name=f"{component}-{template}", labels=labels, deletion_timestamp=None),
        spec=SimpleNamespace(init_containers=None, containers=[]),
        status=SimpleNamespace(
            phase="Running", conditions=None, init_container_statuses=None, container_statuses=[container]
        ),
    )


class FakeCluster:
    """A cluster whose hub's rollout is, look after look, as given, the last one to stay; its proxy is there."""

    def __init__(self, *rollouts: Any, pods: tuple[Any, ...] = ()) -> None:
        self.rollouts = list(rollouts or [rolled()])
        self.found = list(pods)
        self.changes = 0
        self.name = "jh-1"
        self.nodes: tuple[str, ...] = ()
        self.done: list[str] = []
        """The changes that were asked of it."""
        self.apps = SimpleNamespace(
            list_namespaced_deployment=lambda namespace: SimpleNamespace(items=[self.rollouts[0], PROXY]),
            list_namespaced_replica_set=lambda namespace: SimpleNamespace(items=REPLICA_SETS),
        )

    def roll(self) -> None:
        if len(self.rollouts) > 1:
            del self.rollouts[0]

    def pods(self, namespace: str) -> Any:
        def change(seconds: float) -> None:
            self.changes += 1
            self.roll()

        return SimpleNamespace(
            look=lambda: [*self.found, *self._ready_pods()],
            change=change,
            last_warning=lambda: ["hub-1: Readiness probe failed"],
            stuck_reason=lambda pods: stuck_reason(pods, PodFacts(self.log)),
        )

    def _ready_pods(self) -> list[Any]:
        """The pods that the rollout counts."""
        return [ready_pod(NEW), ready_pod("8e")] if self.rollouts[0].status == rolled().status else []

    def apply(self, namespace: str, *objects: Any) -> None:
        self.done.append(f"apply in {namespace}")

    def kubectl(self, *args: str, **_: Any) -> str:
        self.done.append(" ".join(args))
        return ""

    def restart(self, namespace: str, deployment: str) -> None:
        self.done.append(f"restart {namespace} {deployment}")

    def remove_server(self, namespace: str, user: str) -> None:
        self.done.append(f"remove the server of {user} in {namespace}")

    def remove_workloads(self, namespace: str) -> None:
        self.done.append(f"remove what runs in {namespace}")

    def create(self, configuration: Any, **ports: int) -> None:
        self.done.append(f"create {ports}")

    def export_logs(self, into: Path, timeout: float) -> None:
        self.done.append("export logs")

    def why_silent(self, seconds: int) -> str:
        return ""

    def ended_pods(self, namespace: str, seconds: int) -> dict[str, str]:
        return {}

    def lost(self, seconds: int) -> dict[str, str]:
        return {}

    @staticmethod
    def log(pod: str, container: str, before: bool) -> str:
        return f"log of {pod}, previous={before}\nKeyError: 'image'"


def users_page(users: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of a hub whose users fit on one page."""
    return {"items": users, "_pagination": {"next": None}}
