"""The test environment: Docker, disk, containers, API server. A failure after one of them broke proves nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from harness.base.errors import EnvironmentFault
from harness.base.quantities import GIB
from harness.base.shell import CommandError
from harness.cluster.kind import Cluster
from harness.gate import addon as gate
from harness.host import docker
from harness.host.requirements import daemon_answers, docker_root
from harness.plan.plan import Plan
from harness.services import catalogue
from harness.services.container import Service

FULL_DISK = GIB // 4
"""Free bytes below which a disk counts as full."""
API_TIMEOUT = 5
"""Seconds that the API server has for one answer."""
API_ATTEMPTS = 2
"""Times that the API server is asked: one slow answer is no fault on a busy machine."""
NODES = {
    "control-plane": ("node container", "nothing in the cluster answers"),
    "worker": ("node container", "none of its pods answers"),
}
"""Nodes by the end of their containers' names: a description, and the consequence when one does not run."""


def parts(name: str) -> dict[str, tuple[str, str]]:
    """Return the containers of a complete run: for each a description, and the consequence when it does not run."""
    return {f"{name}-{end}": about for end, about in {**NODES, **_about(catalogue.always())}.items()}


def _about(services: Iterable[type[Service]]) -> dict[str, tuple[str, str]]:
    return {each.NAME: (f"container of {each.TITLE}", each.WITHOUT_IT) for each in services}


def fault(plan: Plan, cluster: Cluster | None, *, whole: bool = True) -> str:
    """Return the first fault of the environment in one line, or an empty text; takes a second, at most half a minute.

    Args:
        cluster: None while there is none.
        whole: False while the run's containers are being started, when an absent one is no fault.
    """
    checks: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: _full_disks(plan),
        lambda: _stopped_containers(plan.name, whole=whole),
        lambda: _silent_api(cluster) if cluster else iter(()),
        lambda: _lost_nodes(cluster) if cluster else iter(()),
        lambda: _ended_gate(cluster) if cluster else iter(()),
    )
    try:
        return next((found for check in checks for found in check()), "")
    except CommandError as error:
        return f"The Docker daemon does not answer: nothing of {plan.name} can be reached. {str(error).splitlines()[0]}"


@contextmanager
def watched(name: str, on_fault: Callable[[EnvironmentFault], None]) -> Iterator[None]:
    """Report at once when one of a run's containers, or Docker, stops: a call to it may wait half a minute.

    Args:
        on_fault: called once, in a thread of its own.
    """
    over = threading.Event()

    def listen(falls: Iterator[str]) -> None:
        stopped = next(falls, "")
        if over.is_set() or not (stopped or not daemon_answers()):
            return
        on_fault(EnvironmentFault(f"The container {stopped}." if stopped else "The Docker daemon does not answer."))

    with docker.failures(parts(name)) as falls:
        threading.Thread(target=listen, args=(falls,), name="environment", daemon=True).start()
        try:
            yield
        finally:
            over.set()


def _full_disks(plan: Plan) -> Iterator[str]:
    for place in (docker_root(), plan.state, plan.cache, plan.evidence):
        there = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < FULL_DISK:
            yield f"The disk is full: {free / GIB:.2f} GiB are free under {place}. Make room (docker system prune)."


def _stopped_containers(name: str, *, whole: bool) -> Iterator[str]:
    there = docker.containers(name)
    started = {f"{name}-{end}": about for end, about in _about(catalogue.on_demand()).items()}
    for container, (description, consequence) in {**parts(name), **started}.items():
        status = there.get(container, "gone" if whole and container not in started else "")
        if status == "gone":
            yield f"The {description} {container} is gone: {consequence}."
        elif "(Paused)" in status:
            yield f"The {description} {container} is paused: {consequence}."
        elif status and not status.startswith(("Up", "Created")):
            yield f"The {description} {container} does not run ({status}): {consequence}.{_last_line(container)}"


def _last_line(container: str) -> str:
    line = docker.last_words(container)
    return f" Its last line: {line}" if line else ""


def _silent_api(cluster: Cluster) -> Iterator[str]:
    why = ""
    for _ in range(API_ATTEMPTS):
        why = cluster.why_silent(API_TIMEOUT)
        if not why:
            return
    yield f"The API server gives no answer within {API_TIMEOUT} s, asked {API_ATTEMPTS} times: {why}"


def _lost_nodes(cluster: Cluster) -> Iterator[str]:
    for node, why in cluster.lost(API_TIMEOUT).items():
        yield f"The node {node} is lost: {why} None of its pods answers."


def _ended_gate(cluster: Cluster) -> Iterator[str]:
    for pod, how in cluster.ended_pods(gate.NAMESPACE, API_TIMEOUT).items():
        lines = cluster.pods(gate.NAMESPACE).logs(pod).splitlines()
        said = f" Its last line: {lines[-1].strip()[:200]}" if lines else ""
        yield f"The pod of the gate does not run ({how}): no hub can be reached by its name.{said}"
