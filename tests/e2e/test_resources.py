"""A student's server: what it may use, what happens to one that wants more, and that nothing of it stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes.utils import parse_quantity

from fixtures.target import AskSpawner
from harness.base.timeline import UUID
from harness.base.wait import NotYet, wait_until
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import main_status, memory_limit
from harness.hub.api import Hub
from harness.hub.spawner_probe import Request
from harness.people.browser import Browser
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.people.student import Student
from harness.scenarios.ahead import Arrival

COURSE, NOTEBOOK = EXAMPLE.course, EXAMPLE.notebook
GPU_COURSE = "uai_source-uai.1"
GB = 1e9
NO_LIMIT = "a student's server has no memory limit: one of them may take all that its node has"


def limit_of(pod: Any) -> int:
    """Bytes of memory that a server may use."""
    limit = memory_limit(pod, pod.spec.containers[0].name)
    assert limit != "none", NO_LIMIT
    return int(parse_quantity(limit))


def greedy(limit: int) -> str:
    """A cell that takes more and more memory, up to a quarter more than it may.

    Linux refuses at once what is more than the machine has, and the kernel lives on.
    """
    return f"[b'x' * 2**25 for _ in range({limit * 5 // 4 // 2**25})]"


def test_server_may_use_what_production_gives(ask_spawner: AskSpawner) -> None:
    """A student's server may use at least 4 GB of memory, and as much CPU as there is, with a GPU and without."""
    for found in ask_spawner([Request(f"course={course}") for course in (COURSE, GPU_COURSE)]):
        assert not found.error, f"the spawner makes no server: {found.error}"
        limits = found.pod["spec"]["containers"][0]["resources"].get("limits") or {}
        assert "memory" in limits, NO_LIMIT
        memory = float(parse_quantity(limits["memory"]))
        assert memory >= 4 * GB, f"a student's server may use {memory / GB:.1f} GB, expected 4 ({found})"
        assert "cpu" not in limits, f"a student's server is held at {limits['cpu']} CPU ({found})"


@pytest.mark.opens(own=str(EXAMPLE))
def test_student_whose_kernel_wants_too_much_is_told(
    browser: Browser, hub: Hub, cluster: Cluster, evidence_dir: Path
) -> None:
    """A kernel that takes more memory than it may is killed; the page says so, and an operator can see it."""
    browser.wait_for_notebook()
    [user] = re.findall(UUID, browser.driver.current_url)[:1]
    limit = limit_of(cluster.server_pod(hub.namespace, user))
    browser.run_first_cell(greedy(limit))
    said = browser.wait_for("the dialog about the dead kernel", ".jp-Dialog", 120, ignore_server_loss=True)
    browser.screenshot(evidence_dir / "killed.png")
    assert re.search("died|restart", said, re.IGNORECASE), f"the dialog says {said!r}"
    pod = cluster.server_pod(hub.namespace, user)
    status = main_status(pod)
    ended = status.last_state.terminated if status.last_state else None
    log = cluster.pods(hub.namespace).logs(pod.metadata.name, status.name)
    seen = (ended and ended.reason == "OOMKilled") or "restarting kernel" in log
    assert seen, f"neither the state of pod {pod.metadata.name} nor its log tells an operator of a killed kernel"


@pytest.mark.students(own=f"/tmplogin?course={COURSE}")
def test_server_lives_on_when_a_kernel_is_killed(arrivals: Mapping[str, Arrival], cluster: Cluster, hub: Hub) -> None:
    """After a kernel was killed for its memory, the student can start another and go on."""
    student = arrivals["own"].arrived
    limit = limit_of(cluster.server_pod(hub.namespace, student.name))
    with pytest.raises(CellError) as caught, student.server.kernel() as kernel:
        kernel.run(greedy(limit), timeout=60)
    assert caught.value.died, f"a kernel that takes more memory than it may is not killed: {caught.value}"

    def answers() -> bool | NotYet:
        status = student.server.contents(NOTEBOOK).status_code
        return status == 200 or NotYet(f"{status} for {NOTEBOOK}")

    wait_until("the student's server after a killed kernel", answers, timeout=90)
    with student.server.kernel() as kernel:
        assert kernel.run("6 * 7").value == "42"


def save_stop_and_return(student: Student) -> tuple[int, int]:
    """Save a file, stop the server, and get another; return how the file was answered before and after."""
    student.server.write("mine.txt", "what I wrote")
    before = student.server.contents("mine.txt").status_code
    student.hub.stop_server(student.name)
    student.open(f"/hub/spawn?course={COURSE}")
    return before, student.server.contents("mine.txt").status_code


@pytest.mark.students(own=f"/tmplogin?course={COURSE}")
@pytest.mark.does(own=save_stop_and_return)
def test_nothing_survives_a_stop(arrivals: Mapping[str, Arrival], cluster: Cluster, hub: Hub) -> None:
    """What a student saves is gone with the server, and takes no volume."""
    student = arrivals["own"].arrived
    before, after = arrivals["own"].did
    assert before == 200, "what was saved is not there even before the stop"
    pod = cluster.server_pod(hub.namespace, student.name)
    claims = [volume.name for volume in pod.spec.volumes or [] if volume.persistent_volume_claim]
    assert not claims, f"the server has volumes that stay: {claims}"
    assert after == 404, f"what was saved before the stop answers {after} after it"
