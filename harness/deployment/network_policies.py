"""The enforcement of network policies in a running copy: brought when a test asks for it, and taken away again."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kubernetes import client

from harness.artifacts import resolve as artifacts
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.signals import threads
from harness.base.wait import NotYet
from harness.charts.manifests import Manifest, hub_image
from harness.cluster.kind import AT_ONCE, Cluster
from harness.cluster.pod_health import is_ready
from harness.cluster.pods import wait_for_pods
from harness.deployment.context import BootContext
from harness.deployment.images import push_addons
from harness.deployment.model import Deployment
from harness.deployment.state import STATE, State
from harness.host import docker
from harness.plan.hubs import STUDENT, HubSpec
from harness.plan.versions import read_versions
from harness.policies import node_rules
from harness.policies.addon import (
    CALLER,
    CANARY,
    ENFORCER,
    FREE,
    METADATA,
    METADATA_PORT,
    NAMESPACE,
    PORT,
    STAND_IN,
    STRANGER,
    callers,
    objects,
)
from harness.policies.probe import Answers, Place, from_pod, missed, reached

READY_TIMEOUT = 180.0
"""Seconds for the enforcer, and the pods by which it is shown to work, to be ready on both nodes."""
CALLERS = f"app.kubernetes.io/name in ({CALLER}, {STRANGER})"
KUBELET_PORT = 10250


@dataclass(frozen=True)
class NetworkPolicies:
    """The enforcement of network policies in a running copy."""

    running: Deployment

    def from_free_pod(self, node: str, places: Mapping[str, Place]) -> Answers:
        """Return what a pod reaches that no policy is about, and that has the chart's labels in another namespace."""
        return from_pod(self._cluster, NAMESPACE, self._pod_on(FREE, node).metadata.name, places)

    def from_hubs_namespace(self, spec: HubSpec, caller: str, places: Mapping[str, Place]) -> Answers:
        """Return what CALLER or STRANGER reaches."""
        return from_pod(self._cluster, self.running.plan.hub(spec).namespace, caller, places)

    def why_not(self) -> str:
        """Return why it is not shown that policies are enforced, on every node; empty if they are."""
        nodes = self._cluster.nodes
        free, canaries = ({node: self._pod_on(name, node) for node in nodes} for name in (FREE, CANARY))
        # What is refused is an answer that does not come: all are waited for at the same time.
        with threads(len(nodes)) as side:
            return next(filter(None, side.map(lambda node: self._why_not_on(node, free, canaries), nodes)), "")

    def _why_not_on(self, node: str, free: Mapping[str, client.V1Pod], canaries: Mapping[str, client.V1Pod]) -> str:
        open_to_all = {f"the free pod on {other}": Place(pod.status.pod_ip, PORT) for other, pod in free.items()}
        around = {
            **open_to_all,
            "cloud metadata": Place(METADATA, METADATA_PORT),
            f"the node {node}": Place(free[node].status.host_ip, KUBELET_PORT),
        }
        closed = {f"the canary on {other}": Place(pod.status.pod_ip, PORT) for other, pod in canaries.items()}
        with threads(1) as side:
            from_canary = side.submit(from_pod, self._cluster, NAMESPACE, canaries[node].metadata.name, around)
            seen = self.from_free_pod(node, {**around, **closed})
        if wrong := missed({name: seen[name] for name in around}):
            return f"a pod on {node} that no policy is about does not reach {', '.join(wrong)}"
        if wrong := reached({name: seen[name] for name in closed}):
            return f"a pod on {node} reaches {', '.join(wrong)}, which a policy closes to all"
        if wrong := reached(from_canary.result()):
            return f"the canary on {node}, which a policy lets call nothing, reaches {', '.join(wrong)}"
        return ""

    @contextmanager
    def policy_on(self, spec: HubSpec) -> Iterator[None]:
        """Have the policy of users' servers in force that the chart renders when it is switched on.

        Raises:
            HarnessError: it renders none.
        """
        switch = {"singleuser.networkPolicy.enabled": True}
        release = self.running.releases[self.running.plan.hub(spec)]
        on = dataclasses.replace(release, replaced={**release.replaced, **switch})
        there = {_name(each) for each in policies_of(self.running.objects[spec])}
        found = [
            each for each in policies_of(self.running.helm.template(self.running.chart, on)) if _name(each) not in there
        ]
        self._cluster.apply(release.namespace, *found)
        try:
            yield
        finally:
            for each in found:
                self._cluster.kubectl("--namespace", release.namespace, "delete", "networkpolicy", _name(each))

    @property
    def _cluster(self) -> Cluster:
        return self.running.cluster

    def _pod_on(self, name: str, node: str) -> client.V1Pod:
        pods = self._cluster.pods(NAMESPACE).look(f"app.kubernetes.io/name={name}")
        there = [pod for pod in pods if pod.spec.node_name == node]
        if len(there) != 1:
            raise HarnessError(f"expected one pod {name} on {node}, found {len(there)}")
        return there[0]


def start_network_policies(running: Deployment, steps: Steps) -> NetworkPolicies:
    """Build the enforcer, bring it into the cluster, and have the nodes' packets judged.

    Raises:
        HarnessError: it cannot be built, or does not come up.
    """
    built = artifacts.get_addons(running.artifacts.how, {ENFORCER}, running.plan.cache, steps)
    push_addons(running, built)
    cluster, python = running.cluster, hub_image(running.objects[STUDENT])
    namespaces = [spec.namespace for spec in running.plan.hubs]
    with steps.step("network policies") as step:
        State(running.plan.state / STATE).set(NAMESPACE, "there")
        # The stand-in for cloud metadata cannot listen before its address is there.
        _in_nodes(cluster, node_rules.take_out() + node_rules.ADDRESS)
        cluster.apply(NAMESPACE, *objects(read_versions().addons()[ENFORCER].published, python))
        for namespace in namespaces:
            cluster.apply(namespace, *callers(python))
        wanted = dict.fromkeys((ENFORCER, STAND_IN, FREE, CANARY), len(cluster.nodes))
        _wait_for(cluster, NAMESPACE, wanted)
        for namespace in namespaces:
            _wait_for(cluster, namespace, dict.fromkeys((CALLER, STRANGER), 1))
        _in_nodes(cluster, node_rules.put_in())
        step.done("every node asks kube-network-policies about each new connection of a pod")
    return NetworkPolicies(running)


def stop_network_policies(running: Deployment) -> None:
    """Take the enforcement away, so that everything is as it was before."""
    _remove(running.cluster, [spec.namespace for spec in running.plan.hubs])
    State(running.plan.state / STATE).forget(NAMESPACE)


def remove_network_policies(context: BootContext) -> None:
    """Remove the enforcement that a run which was killed left in a kept cluster; nothing to do where there is none."""
    if not context.state.get(NAMESPACE):
        return
    context.steps.say(f"{'kept:':<11}the enforcement of network policies is removed, which a killed run left")
    _remove(context.cluster, [spec.namespace for spec in context.plan.hubs])
    context.state.forget(NAMESPACE)


def _remove(cluster: Cluster, namespaces: Iterable[str]) -> None:
    # The rules first: without a program at the queue, no new connection would come about.
    _in_nodes(cluster, node_rules.take_out())
    for namespace in namespaces:
        cluster.kubectl("--namespace", namespace, "delete", "pods", "--selector", CALLERS, *AT_ONCE)
    # Without its namespace: the next one that starts, such as for the next drill, would have to wait until it is gone.
    cluster.remove_workloads(NAMESPACE)


def _in_nodes(cluster: Cluster, script: str) -> None:
    for node in cluster.nodes:
        docker.docker("exec", node, "sh", "-c", script)


def _wait_for(cluster: Cluster, namespace: str, wanted: Mapping[str, int]) -> None:
    """Wait until as many pods of each name are ready."""

    def ready(pods: list[client.V1Pod]) -> bool | NotYet:
        found = Counter(_app(pod) for pod in pods if is_ready(pod))
        lacking = [f"{name} {found[name]}/{count}" for name, count in wanted.items() if found[name] != count]
        return NotYet(f"ready are {', '.join(lacking)}") if lacking else True

    selector = f"app.kubernetes.io/name in ({', '.join(wanted)})"
    wait_for_pods(cluster.pods(namespace), selector, f"the pods of {namespace}", ready, READY_TIMEOUT)


def policies_of(rendered: Iterable[Manifest]) -> list[Manifest]:
    """Return the network policies among rendered objects."""
    return [each for each in rendered if each["kind"] == "NetworkPolicy"]


def _app(pod: client.V1Pod) -> str:
    return str(pod.metadata.labels["app.kubernetes.io/name"])


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])
