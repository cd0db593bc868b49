"""Tests of the enforcement of network policies in a copy: how it is shown, and when it is taken away."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.progress import Steps
from harness.charts.chart import Release
from harness.deployment.network_policies import NetworkPolicies, remove_network_policies
from harness.host import docker
from harness.plan.hubs import HUBS, STUDENT
from harness.plan.plan import Plan
from harness.policies.addon import CANARY, FREE, METADATA, NAMESPACE
from tests.unit.deployment.doubles import FakeCluster, context_of, running_copy

NODES = ("one", "two")
ADDRESSES = {f"{name}-{node}": f"{name}.{node}" for name in (FREE, CANARY) for node in NODES}


class Network:
    """A cluster whose pods reach what they are said to reach."""

    nodes = NODES

    def __init__(self, allowed: Callable[[str, str], bool]) -> None:
        self._allowed = allowed

    def pods(self, namespace: str) -> Any:
        def look(selector: str) -> list[Any]:
            name = selector.partition("=")[2]
            return [
                SimpleNamespace(
                    metadata=SimpleNamespace(name=f"{name}-{node}"),
                    spec=SimpleNamespace(node_name=node),
                    status=SimpleNamespace(pod_ip=ADDRESSES[f"{name}-{node}"], host_ip=node),
                )
                for node in NODES
            ]

        return SimpleNamespace(look=look)

    def execute(self, namespace: str, pod: str, *command: str) -> str:
        return json.dumps(
            {
                name: "" if self._allowed(pod, host) else "timed out"
                for name, (host, *_) in json.loads(command[-1]).items()
            }
        )


def enforced(pod: str, host: str) -> bool:
    return not pod.startswith(CANARY) and not host.startswith(CANARY)


@pytest.mark.parametrize(
    ("allowed", "why"),
    [
        (enforced, ""),
        (lambda pod, host: True, "a pod on one reaches the canary on one, the canary on two, which a policy closes"),
        (
            lambda pod, host: enforced(pod, host) or (pod == f"{CANARY}-two" and host == METADATA),
            "the canary on two, which a policy lets call nothing, reaches cloud metadata",
        ),
        (
            lambda pod, host: False,
            "a pod on one that no policy is about does not reach the free pod on one",
        ),
        (
            lambda pod, host: enforced(pod, host) and host != METADATA,
            "a pod on one that no policy is about does not reach cloud metadata (timed out)",
        ),
    ],
)
def test_policies_are_shown_to_be_enforced_on_every_node(allowed: Callable[[str, str], bool], why: str) -> None:
    running: Any = SimpleNamespace(cluster=Network(allowed))
    found = NetworkPolicies(running).why_not()
    assert found.startswith(why)
    assert bool(found) == bool(why)


def test_a_policy_is_on_for_a_while(planned: Callable[..., Plan]) -> None:
    """The one that the chart renders beside those that it renders already, and no other."""
    cluster: Any = FakeCluster()
    cluster.apply = lambda namespace, *given: cluster.done.append((namespace, [*given]))
    cluster.kubectl = lambda *arguments, **_: cluster.done.append(" ".join(arguments)) or ""
    hubs, users = ({"kind": "NetworkPolicy", "metadata": {"name": name}} for name in ("hub", "singleuser"))
    asked: list[Release] = []

    def template(chart: Any, release: Release) -> list[Any]:
        asked.append(release)
        return [hubs, users]

    helm = SimpleNamespace(template=template)
    copy = running_copy(planned(), cluster, objects={STUDENT: [hubs]}, helm=helm)
    with NetworkPolicies(copy).policy_on(STUDENT):
        assert cluster.done == [(STUDENT.namespace, [users])]
    assert cluster.done[1:] == [f"--namespace {STUDENT.namespace} delete networkpolicy singleuser"]
    assert [each.replaced for each in asked] == [{"singleuser.networkPolicy.enabled": True}]


def test_what_a_killed_run_left_is_removed(
    planned: Callable[..., Plan], steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster: Any = FakeCluster()
    cluster.nodes = NODES
    cluster.remove_workloads = lambda namespace: cluster.done.append(f"workloads of {namespace}")
    cluster.kubectl = lambda *arguments, **_: cluster.done.append(" ".join(arguments)) or ""
    monkeypatch.setattr(docker, "docker", lambda *arguments: cluster.done.append(f"rules of {arguments[1]}"))
    context = context_of(planned(), steps, cluster)
    remove_network_policies(context)
    assert cluster.done == []
    context.state.set(NAMESPACE, "there")
    remove_network_policies(context)
    # Without a program at the queue, no pod would be reached: the rules go first.
    assert cluster.done[:2] == ["rules of one", "rules of two"]
    assert sum("delete pods" in each for each in cluster.done) == len(HUBS)
    assert cluster.done[-1] == f"workloads of {NAMESPACE}"
    assert context.state.get(NAMESPACE) is None
