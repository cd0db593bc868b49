"""Scheduling: placeholders keep room for the next students and give way to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from harness.cluster.kind import Cluster
from harness.faults.full_nodes import full_house
from harness.hub.api import Hub
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.ahead import Arrival

COURSE = EXAMPLE.course


@pytest.mark.students(anybody=str(EXAMPLE))
def test_user_scheduler_places_students(arrivals: Mapping[str, Arrival], cluster: Cluster, hub: Hub) -> None:
    """Students' pods are placed by the release's own scheduler."""
    student = arrivals["anybody"].arrived
    pods = cluster.pods(hub.namespace)
    pod = cluster.server_pod(hub.namespace, student.name)
    wanted = pod.spec.scheduler_name
    assert wanted.endswith("user-scheduler"), f"the student's pod is left to {wanted}"
    by = [event.reporting_component for event in pods.events(pod.metadata.name) if event.reason == "Scheduled"]
    assert by == [wanted], f"the pod asks for {wanted}, and {by} placed it"


@pytest.mark.touches("the nodes")
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
