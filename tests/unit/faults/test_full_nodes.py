"""Full nodes: how much memory the placeholder takes, and that all is as before at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.faults.full_nodes import MARGIN, full_house

BEFORE = {"replicas": 2, "template": {"spec": {"containers": [{"name": "pause", "resources": {"requests": {}}}]}}}
PODS = [
    {"spec": {"containers": [{"resources": {"requests": {"memory": "512Mi"}}}, {"resources": {"requests": None}}]}},
    {"spec": {"containers": [{"resources": {"requests": {"memory": "1G"}}}, {}]}},
]


class FakeCluster:
    """Two nodes of 4Gi each, and what kubectl was asked to change."""

    nodes = ("control-plane", "worker")

    def __init__(self, stateful_set: dict[str, Any] | None) -> None:
        self.stateful_set = stateful_set
        self.done: list[str] = []
        self.patches: list[dict[str, Any]] = []

    def kubectl(self, *arguments: str) -> str:
        match [each for each in arguments if each not in ("--namespace", "jupyter")]:
            case ["get", "statefulset/user-placeholder", *_]:
                return json.dumps({"spec": self.stateful_set}) if self.stateful_set else ""
            case ["get", "node", *_]:
                return json.dumps({"status": {"allocatable": {"memory": "4Gi"}}})
            case ["get", "pods", *_]:
                return json.dumps({"items": PODS})
            case ["patch", *_]:
                self.patches.append(json.loads(arguments[-1])["spec"])
            case [("cordon" | "uncordon") as verb, node]:
                self.done.append(f"{verb} {node}")
        return ""


def memory_of(patch: dict[str, Any]) -> str:
    requests = patch["template"]["spec"]["containers"][0]["resources"]["requests"]
    return str(requests.get("memory", ""))


def test_one_placeholder_takes_what_no_pod_requests() -> None:
    cluster: Any = FakeCluster(BEFORE)
    with full_house(cluster, "jupyter"):
        assert cluster.done == ["cordon worker"]
        [patch] = cluster.patches
    assert (patch["replicas"], int(memory_of(patch))) == (1, 4 * 2**30 - 2**29 - 10**9 - MARGIN)


def test_all_is_as_before_whatever_happens_meanwhile() -> None:
    cluster: Any = FakeCluster(BEFORE)
    with pytest.raises(KeyboardInterrupt), full_house(cluster, "jupyter"):
        raise KeyboardInterrupt
    assert (cluster.patches[-1]["replicas"], memory_of(cluster.patches[-1])) == (2, "")
    assert cluster.done[-1] == "uncordon worker"


def test_a_release_without_placeholders() -> None:
    cluster: Any = FakeCluster(None)
    with (
        pytest.raises(HarnessError, match=r"jupyter: expected statefulset/user-placeholder, .* found none"),
        full_house(cluster, "jupyter"),
    ):
        pass
