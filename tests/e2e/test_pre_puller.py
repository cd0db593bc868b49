"""The pre-puller: a course's image is on every node before its first student, and a new one with the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from harness.artifacts.oci import OciImage
from harness.base.wait import NotYet, wait_until
from harness.charts.manifests import Manifest
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import main_status
from harness.courses.images import MARKER
from harness.deployment.changes import images_changed
from harness.deployment.model import Deployment
from harness.hub.api import Hub
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY, REPOSITORY
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec
from harness.services.registry import Registry

REPUSHED, OTHER = "uai_source-uai.scm2", "uai_source-uai.scm1"


def test_every_course_is_on_every_node(
    cluster: Cluster, hub: Hub, pre_puller: Callable[[], Any | None], pre_pulled: set[str]
) -> None:
    """The pre-puller brings every course's image to every node, and stays within its memory."""
    pods = cluster.pods(hub.namespace)

    def done() -> bool | NotYet:
        pullers = pods.look("component=continuous-image-puller")
        if len(pullers) < len(cluster.nodes):
            return NotYet(f"{len(pullers)} pullers for {len(cluster.nodes)} nodes")
        busy = [pod.metadata.name for pod in pullers if pod.status.phase != "Running"]
        return NotYet(f"still pulling: {', '.join(busy)}") if busy else True

    def trouble() -> str | None:
        puller = pre_puller()
        if not puller:
            return "there is none: the release has no DaemonSet continuous-image-puller"
        nodes, seen = puller.status.desired_number_scheduled, puller.status.observed_generation
        if seen == puller.metadata.generation and nodes < len(cluster.nodes):
            return f"it is for {nodes} of {len(cluster.nodes)} nodes: it does not tolerate the others' taints"
        pullers = pods.look("component=continuous-image-puller")
        return pods.stuck_reason(pullers) or next(begun_again(pullers), None)

    wait_until(
        "the pre-puller's end",
        done,
        timeout=240,
        fail_if=trouble,
        change=pods.change,
    )
    for node in cluster.nodes:
        missing = pre_pulled - cluster.images(node)
        assert not missing, f"pre-pulled, and not on {node}: {sorted(missing)}"
    again = list(begun_again(pods.look("component=continuous-image-puller")))
    assert not again, "\n".join(again)


def begun_again(pullers: Iterable[Any]) -> Iterator[str]:
    """Containers of the pre-puller that ended otherwise than they should."""
    for pod in pullers:
        for status in pod.status.init_container_statuses or ():
            if status.restart_count:
                yield f"{status.name} on {pod.spec.node_name} had to start again"


def test_authors_release_pulls_nothing(production: Mapping[HubSpec, list[Manifest]]) -> None:
    """The authors' release brings nothing to the nodes: the students' pre-puller has their image too."""
    pullers = [manifest["metadata"]["name"] for manifest in production[AUTHORING] if manifest["kind"] == "DaemonSet"]
    assert not pullers, f"the authors' release pulls images to every node a second time, by {pullers}"


def test_no_hook_puller(production: Mapping[HubSpec, list[Manifest]]) -> None:
    """No upgrade waits for a hook puller."""
    hooks = [
        f"{manifest['kind']} {manifest['metadata']['name']}"
        for manifest in production[STUDENT]
        if "hook-image-" in manifest["metadata"]["name"]
    ]
    assert not hooks, f"the release has a hook puller: {hooks}"


@pytest.fixture
def repush(deployment: Deployment, registry: Registry) -> Iterator[Callable[[str, str], OciImage]]:
    """Pushes another course's image under a course's tag; the course's own comes back when the test is over."""
    before: dict[str, OciImage] = {}

    def push(course: str, other: str) -> OciImage:
        before[course] = deployment.course_image(course)
        image = deployment.course_image(other)
        registry.push(image, REPOSITORY, course)
        return image

    with images_changed(deployment.plan):
        yield push
        for course, image in before.items():
            registry.push(image, REPOSITORY, course)


@pytest.mark.touches("a course's image")
def test_repushed_course_is_what_the_next_student_gets(
    visit: Callable[[], Student], cluster: Cluster, hub: Hub, repush: Callable[[str, str], OciImage]
) -> None:
    """An image pushed again under a course's tag is what the next student works in, whatever a node has."""
    pushed = repush(REPUSHED, OTHER)
    student = visit()
    student.open(f"/tmplogin?course={REPUSHED}")
    pod = cluster.server_pod(hub.namespace, student.name)
    running = main_status(pod).image_id
    assert running == f"{COURSE_REPOSITORY}@{pushed.digest}", (
        f"the student runs {running}, and pushed was {pushed.digest}: the node's old image was taken "
        "(singleuser.image.pullPolicy: Always brings the new one)"
    )
    with student.server.kernel() as kernel:
        marker = kernel.run(f"print(open({MARKER!r}).read().strip())").stdout.strip()
    assert marker == OTHER, f"the student works in the image of {marker}"
