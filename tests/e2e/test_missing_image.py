"""A course whose image is gone from the registry hurts its own learners alone, and they are told why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from fixtures.session import attribute_to_test
from harness.base.errors import HarnessError
from harness.base.timeline import Timeline
from harness.base.wait import NotYet, wait_until
from harness.cluster.kind import Cluster
from harness.deployment.changes import images_changed
from harness.deployment.model import Deployment
from harness.hub.api import Hub
from harness.people.journey import SpawnError
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.plan.contract import COURSE_REPOSITORY, REPOSITORY
from harness.services.registry import Registry

GONE = "introduction_to_data_analytics_and_machine_learning"
IMAGE = f"{COURSE_REPOSITORY}:{GONE}"
TOLD_WITHIN = 30.0
"""Seconds in which the page of a start names its cause of failure, on a machine that is busy."""
TOLD, NOT_TOLD = "the page of the start names the image", "the page of the start does not name the image"
FROM_KUBERNETES = "[Normal]"
"""Mark of an event of Kubernetes among the messages of a start (kubespawner, KubeSpawner.progress)."""


@pytest.fixture
def missing_image(deployment: Deployment, registry: Registry, cluster: Cluster, hub: Hub) -> Iterator[None]:
    """A registry without the image of one course; it is back when the test is over."""

    def pulled() -> bool | NotYet:
        pullers = cluster.pods(hub.namespace).look("component=continuous-image-puller")
        busy = [pod.spec.node_name for pod in pullers if pod.spec.node_name and pod.status.phase != "Running"]
        lacking = [node for node in busy if IMAGE not in cluster.images(node)]
        return NotYet(f"{', '.join(lacking)} lacks it") if lacking else True

    image = deployment.course_image(GONE)
    # It would fail, and not by any fault of its own.
    wait_until(f"the pre-puller's pull of {GONE}", pulled, timeout=240)
    with images_changed(deployment.plan):
        registry.remove(GONE)
        yield
        registry.push(image, REPOSITORY, GONE)


@pytest.fixture
def unlucky(
    hub: Hub, timeline: Timeline, deleted_after: Callable[[str], None], request: pytest.FixtureRequest
) -> Iterator[Student]:
    """A student of that course, who reads the page of the start as long as it takes to be told what is wrong."""

    def why_over() -> str | None:
        if any(IMAGE in message and "failed" in message.lower() for message in student.journey.progress):
            return TOLD
        return NOT_TOLD if time.time() - student.began > TOLD_WITHIN else None

    student = Student(hub, lambda user: why_over, timeline)
    attribute_to_test(request, student)
    yield student
    student.close()
    if student.name:
        deleted_after(student.name)


@pytest.mark.usefixtures("missing_image")
def test_learners_of_another_course_are_served(unlucky: Student, visit: Callable[[], Student]) -> None:
    """A learner whose course has no image is told so within seconds; a learner of another course works meanwhile."""
    told = what_is_told(unlucky)
    other = visit()
    try:
        other.open(str(EXAMPLE))
        with other.server.kernel() as kernel:
            answer = kernel.run("6 * 7").value
    except (HarnessError, httpx.HTTPError) as error:
        answer = f"{error or type(error).__name__}"
    assert answer == "42", f"while {GONE} has no image, a learner of {EXAMPLE.course} is not served: {answer}"
    assert told, (
        f"a learner of {GONE}, whose image is gone, is not told so within {TOLD_WITHIN:.0f} s. The page of the start "
        f"says: {' | '.join(unlucky.journey.progress) or 'nothing'}"
    )


def what_is_told(student: Student) -> str:
    """What a student of the course without an image is told; empty for nothing that helps."""
    try:
        page = student.open(f"/tmplogin?course={GONE}")
    except (SpawnError, httpx.HTTPError) as error:
        if TOLD in str(error):
            return TOLD
        if NOT_TOLD not in str(error):
            pytest.fail(f"a learner of {GONE}, whose image is gone, gets no answer of the hub: {error!r}")
        # An operator may have switched off Kubernetes' events on that page, and is told by other means.
        quiet = not any(FROM_KUBERNETES in message for message in student.journey.progress)
        return "events are off" if quiet else ""
    return f"a server, {page.path}, of an image that the node still has"
