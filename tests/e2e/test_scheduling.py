"""Scheduling: placeholders keep room for the next students and give way to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from harness.charts.manifests import Manifest
from harness.cluster.kind import Cluster
from harness.faults.full_nodes import full_house
from harness.hub.api import Hub
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.hubs import AUTHORING, HUBS, STUDENT, HubSpec

COURSE = EXAMPLE.course
ROOM = {STUDENT: 4, AUTHORING: 1}
"""Servers that production keeps room for, on each hub."""
START_TIMEOUT = 600
"""Seconds that a server may take to start: a new node has to come up first, and to pull the image."""


def test_user_scheduler_places_students(visit: Callable[[], Student], cluster: Cluster, hub: Hub) -> None:
    """Students' pods are placed by the release's own scheduler."""
    student = visit()
    student.open(f"/tmplogin?course={COURSE}")
    pods = cluster.pods(hub.namespace)
    pod = cluster.server_pod(hub.namespace, student.name)
    wanted = pod.spec.scheduler_name
    assert wanted.endswith("user-scheduler"), f"the student's pod is left to {wanted}"
    by = [event.reporting_component for event in pods.events(pod.metadata.name) if event.reason == "Scheduled"]
    assert by == [wanted], f"the pod asks for {wanted}, and {by} placed it"


@pytest.mark.usefixtures("no_pending_deletions")
def test_placeholders_give_way(visit: Callable[[], Student], cluster: Cluster, hub: Hub) -> None:
    """Where a placeholder has taken the last room, a student gets it at once."""
    pods = cluster.pods(hub.namespace)
    with full_house(cluster, hub.namespace):
        student = visit()
        student.open(f"/tmplogin?course={COURSE}")
        pod = cluster.server_pod(hub.namespace, student.name)
        waiting = [each.metadata.name for each in pods.look("component=user-placeholder") if not each.spec.node_name]
    assert pod.spec.node_name == cluster.control_plane, f"the student's server runs on {pod.spec.node_name}"
    assert waiting, "the student found room, and no placeholder had to go: the house was not full"


@pytest.mark.parametrize("role", HUBS, ids=lambda role: role.release)
def test_room_is_kept(production: Mapping[HubSpec, list[Manifest]], role: HubSpec) -> None:
    """Production keeps room for four more students, and for one more author."""
    room = sum(
        manifest["spec"]["replicas"]
        for manifest in production[role]
        if manifest["kind"] == "StatefulSet" and component_of(manifest) == "user-placeholder"
    )
    assert room >= ROOM[role], f"{role.release} keeps room for {room} more servers, expected {ROOM[role]}"


@pytest.mark.parametrize("role", HUBS, ids=lambda role: role.release)
def test_drain_of_a_node_spares_hub_and_proxy(production: Mapping[HubSpec, list[Manifest]], role: HubSpec) -> None:
    """No drain of a node takes the hub or the proxy away in the middle of a class."""
    kept = {
        component_of(manifest)
        for manifest in production[role]
        if manifest["kind"] == "PodDisruptionBudget"
        and (manifest["spec"].get("minAvailable") or manifest["spec"].get("maxUnavailable") == 0)
    }
    evicted = {"hub", "proxy"} - kept
    assert not evicted, f"{role.release}: no PodDisruptionBudget keeps a drain from evicting {sorted(evicted)}"


def test_server_has_time_to_start(student_values: Mapping[str, Any], author_values: Mapping[str, Any]) -> None:
    """A server that has to wait for a new node and its image is not given up, on either hub."""
    for who, values in (("a student", student_values), ("an author", author_values)):
        seconds = values["singleuser"]["startTimeout"]
        assert seconds >= START_TIMEOUT, f"{who}'s server is given up after {seconds} s, expected {START_TIMEOUT}"


def component_of(manifest: Manifest) -> str:
    """The part of a release that an object belongs to, by its label."""
    return str(manifest["metadata"]["labels"].get("component"))
