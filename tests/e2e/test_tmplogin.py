"""The link in a course: /tmplogin?course=…&notebook=… and what a student finds behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlencode

import nbformat
import pytest
from kubernetes.client import V1Pod

from harness.aws import COURSES
from harness.browser import Browser
from harness.cluster import Cluster
from harness.courses import MARKER
from harness.hub import Hub
from harness.plan import Plan
from harness.registry import Registry
from harness.student import Student

COURSE = "supervised_learning_fundamentals"
NOTEBOOK = "lectures/lecture1/regression.ipynb"
LINK = "/tmplogin?" + urlencode({"course": COURSE, "notebook": NOTEBOOK}, quote_via=quote, safe="")
UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


def test_link_opens_the_notebook_and_its_cells_run(
    visit: Callable[[], Student], cluster: Cluster, hub: Hub, registry: Registry, plan: Plan
) -> None:
    """A course link opens its notebook in the course's own image, and every cell of it runs."""
    student = visit()
    page = student.open(LINK)

    assert re.fullmatch(UUID, student.name), f"expected a random UUID as the student's name, found {student.name!r}"
    assert page.path == f"/user/{student.name}/notebooks/{NOTEBOOK}", f"the link ended elsewhere: {page.url}"
    found = student.contents(NOTEBOOK)
    assert found.status_code == 200, f"the notebook page opened, but the server has no {NOTEBOOK}: {found.status_code}"

    image_id = running_image(cluster, hub, student)
    pushed = registry.digest(COURSE)
    assert image_id == f"{COURSES}@{pushed}", f"the pod runs {image_id}, and the registry's {COURSE} is {pushed}"

    notebook = nbformat.read(plan.checkout / "courses" / COURSE / NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    with student.kernel(NOTEBOOK) as kernel:
        marker = kernel.run(f"open({MARKER!r}).read().strip()").value
        assert marker == repr(COURSE), f"expected the image of {COURSE}, found the marker {marker} in {MARKER}"
        results = [kernel.run(cell.source).value for cell in notebook.cells if cell.cell_type == "code"]
    r2 = float(results[-2])
    assert 0.9 < r2 < 1, f"the regression ran, but explains {r2} of the variance where its data give over 0.9"


@pytest.mark.parametrize("path", ["/tmplogin", "/hub/tmplogin"])
def test_each_hop_keeps_course_and_notebook(visit: Callable[[], Student], path: str) -> None:
    """Course and notebook survive every redirect between the link and the student's server."""
    query = "course=Supervised_Learning_Fundamentals&notebook=a%26b.ipynb"
    student = visit()
    student.open(f"{path}?{query}")

    places = [re.sub(UUID, "UUID", hop.url.partition("?")[0]) for hop in student.journey.hops]
    expected = [
        "/hub/tmplogin",
        "/hub/spawn",
        "/hub/spawn-pending/UUID",
        "/user/UUID/",
        "/user/UUID/notebooks/a&b.ipynb",
    ]
    visited = iter(places)
    lost = [place for place in expected if place not in visited]
    assert not lost, f"the journey misses {lost[0]}:\n{student.journey}"
    for hop in student.journey.hops[: places.index("/user/UUID/")]:
        assert hop.url.endswith(f"?{query}"), f"the query got lost on the way to {hop.url}:\n{student.journey}"


def test_browser_shows_the_notebook(
    browser: Browser, hub: Hub, evidence_dir: Path, deleted_after: Callable[[str], None]
) -> None:
    """In a real browser, a course link ends with the notebook on screen and no error dialog."""
    browser.open(hub.url + LINK)
    try:
        browser.wait_for("the notebook's first heading", ".jp-Notebook h1")
    finally:
        if user := re.search(UUID, browser.driver.current_url):
            deleted_after(user[0])
        browser.screenshot(evidence_dir / "notebook.png")
    headings = browser.texts(".jp-Notebook h1")
    assert any("linear regression" in heading for heading in headings), f"another notebook is on screen: {headings}"
    dialogs = browser.texts(".jp-Dialog-header")
    assert not dialogs, f"a dialog is in the way: {dialogs}"


def test_gpu_course_lands_on_the_gpu_node(visit: Callable[[], Student], cluster: Cluster, hub: Hub) -> None:
    """A course that needs a GPU gets one, on the GPU node."""
    student = visit()
    student.open("/tmplogin?course=uai_source-uai.1")
    pod = own_pod(cluster, hub, student)
    limits = pod.spec.containers[0].resources.limits or {}
    assert limits.get("nvidia.com/gpu") == "1", f"the course uai_source-uai.1 asks for no GPU: limits are {limits}"
    assert pod.spec.node_name == cluster.nodes[1], f"the pod runs on {pod.spec.node_name}, which is not the GPU node"


def own_pod(cluster: Cluster, hub: Hub, student: Student) -> V1Pod:
    pods = cluster.pods(hub.namespace).look(f"hub.jupyter.org/username={student.name}")
    assert len(pods) == 1, f"expected one pod of student {student.name}, found {[pod.metadata.name for pod in pods]}"
    return pods[0]


def running_image(cluster: Cluster, hub: Hub, student: Student) -> str:
    return str(own_pod(cluster, hub, student).status.container_statuses[0].image_id)
